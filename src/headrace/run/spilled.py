"""Reads back the reports that workers wrote to the spool while no driver listened."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.run.ports import Heard, Spool
from headrace.run.wire import Frames, Report, decode_up


def spilled(spool: Spool, run: str) -> Iterator[Heard]:
    """Yield the reports that the workers of a run wrote to the spool, in the order in which each worker wrote them. The
    last report of a worker is left out if it is incomplete.

    The name of a file in the spool begins with the number of its worker: `WORKER-...`.
    """
    for name, data in spool.spills(run):
        worker = name.partition("-")[0]
        for body in Frames().feed(data):
            message = decode_up(body)
            if isinstance(message, Report) and worker.isdecimal():
                yield Heard(int(worker), message)
