"""All that may go wrong in a round."""

from __future__ import annotations

from tests.faults.clusters import HoldNode, KillActors, KillHead, KillNode, LinkCut, LinkSlow
from tests.faults.data import BlobFlipped, BlobGone, Clocks, Collecting
from tests.faults.disks import FullLedger, FullS3, FullServer, FullStore, FullWorker
from tests.faults.processes import Interrupt, KillAll, KillDriver, KillWorker, StopDriver
from tests.faults.rounds import Disturbance
from tests.faults.servers import (
    KillPostgres,
    KillS3,
    LineCut,
    LineHeld,
    LineSlow,
    S3DoesAndSays500,
    S3IsSlow,
    S3Resets,
    S3Says500,
    S3Says503,
    S3Truncates,
)

KINDS: tuple[type[Disturbance], ...] = (
    KillDriver,
    KillWorker,
    KillAll,
    Interrupt,
    StopDriver,
    FullLedger,
    FullServer,
    FullStore,
    FullS3,
    FullWorker,
    BlobGone,
    BlobFlipped,
    Collecting,
    Clocks,
    KillActors,
    KillNode,
    KillHead,
    HoldNode,
    LinkCut,
    LinkSlow,
    KillPostgres,
    KillS3,
    LineCut,
    LineHeld,
    LineSlow,
    S3DoesAndSays500,
    S3IsSlow,
    S3Resets,
    S3Says500,
    S3Says503,
    S3Truncates,
)
