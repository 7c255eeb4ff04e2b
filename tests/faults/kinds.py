"""All that may go wrong in a round."""

from __future__ import annotations

from tests.faults.clusters import HoldHead, HoldNode, KillActors, KillHead, KillNode, LinkCut, LinkSlow
from tests.faults.data import BlobFlipped, BlobGone, Clocks, Collecting, Upkeep
from tests.faults.disks import BadDisk, FullLedger, FullS3, FullServer, FullStore, FullWorker
from tests.faults.processes import Interrupt, KillAll, KillDriver, KillWorker, StopDriver, StopZygote
from tests.faults.rounds import Disturbance
from tests.faults.servers import (
    KillPostgres,
    KillS3,
    LeftHung,
    LineCut,
    LineHeld,
    LineRefuses,
    LineSlow,
    S3DoesAndSays500,
    S3IsSlow,
    S3Resets,
    S3Says500,
    S3Says503,
    S3Truncates,
    SuspendPostgres,
    SuspendS3,
)

KINDS: tuple[type[Disturbance], ...] = (
    KillDriver,
    KillWorker,
    KillAll,
    Interrupt,
    StopDriver,
    StopZygote,
    BadDisk,
    FullLedger,
    FullServer,
    FullStore,
    FullS3,
    FullWorker,
    BlobGone,
    BlobFlipped,
    Collecting,
    Upkeep,
    Clocks,
    KillActors,
    KillNode,
    KillHead,
    HoldNode,
    HoldHead,
    LinkCut,
    LinkSlow,
    KillPostgres,
    KillS3,
    LineCut,
    LineHeld,
    LineSlow,
    LineRefuses,
    LeftHung,
    SuspendPostgres,
    SuspendS3,
    S3DoesAndSays500,
    S3IsSlow,
    S3Resets,
    S3Says500,
    S3Says503,
    S3Truncates,
)
