"""The next driver of a run takes over 16 workers that are busy with attempts: how long until it has heard of all.

The workers are real processes, which an earlier driver's backend started. The floor is to ask 16 processes one thing
each over a socket.
"""

from __future__ import annotations

import os
import socket
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from bench.table import Row
from headrace.run.events import Checkpointed
from headrace.testing.backend_listener import Ear
from tests.contract.stands import LocalStand

WORKERS = 16
BAR_S = 1.0


def rows(folder: Path, rounds: int) -> Iterator[Row]:
    """Take over the workers of one zygote, anew in each round."""
    times = [_adopted(folder / f"round-{number}") for number in range(min(rounds, 5))]
    yield Row(
        what=f"a takeover of {WORKERS} busy local workers",
        measured=min(times),
        floor=min(_asked() for _ in range(rounds)),
        bar=BAR_S,
        floor_is=f"{WORKERS} forks that answer one message over a socket",
    )


def _adopted(folder: Path) -> float:
    folder.mkdir()
    stand = LocalStand(folder)
    earlier = Ear(stand.backend())
    workers = range(1, WORKERS + 1)
    earlier.begin(*workers)
    for worker in workers:
        earlier.tell(worker, stand.order("wait", f"t{worker}"))
    for worker in workers:
        earlier.wait_for(worker, Checkpointed)
    earlier.backend.abandon()
    later = Ear(stand.backend())
    began = time.perf_counter()
    heard = later.adopt()
    took = time.perf_counter() - began
    later.backend.close(now=True)
    if len(heard) != WORKERS:
        raise RuntimeError(f"{len(heard)} of {WORKERS} workers were taken over")
    return took


def _asked() -> float:
    pairs = [socket.socketpair() for _ in range(WORKERS)]
    pids = [_answering(theirs) for _, theirs in pairs]
    began = time.perf_counter()
    for ours, _ in pairs:
        ours.sendall(b"?")
    for ours, _ in pairs:
        ours.recv(1)
    took = time.perf_counter() - began
    for (ours, theirs), pid in zip(pairs, pids, strict=True):
        ours.close()
        theirs.close()
        _, status = os.waitpid(pid, 0)
        if status:
            raise RuntimeError("a process of the floor failed")
    return took


def _answering(end: socket.socket) -> int:
    if (pid := os.fork()) == 0:
        failed = 1
        try:
            end.sendall(end.recv(1))
            failed = 0
        except OSError:
            traceback.print_exc()
        finally:
            os._exit(failed)
    return pid
