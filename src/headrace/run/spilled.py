"""What workers spilled while no driver listened, read back into the reports that it consists of."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.run.ports import Heard, Spool
from headrace.run.wire import Frames, Report, decode_up


def spilled(spool: Spool, run: str) -> Iterator[Heard]:
    """Yield what the workers of a run spilled, each worker's in the order of its writing; a torn last report is none.

    A file of the spool begins with its worker's number: `WORKER-...`.
    """
    for name, data in spool.spills(run):
        worker = name.partition("-")[0]
        for body in Frames().feed(data):
            message = decode_up(body)
            if isinstance(message, Report) and worker.isdecimal():
                yield Heard(int(worker), message)
