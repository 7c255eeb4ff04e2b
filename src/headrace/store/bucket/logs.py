"""The logs of an object store: the printed output of attempts. Logs have no digests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from headrace.store.bucket.bucket import Absent, Bucket
from headrace.store.folder.logs import PIECE_BYTES
from headrace.store.folder.spool import plain


class ObjectLogs:
    """Logs as objects `logs/RUN/NAME/START`. Each object is a piece of the output of one attempt.

    `START` is the position of the piece in the worker's log, in bytes.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def keep(self, run: str, name: str, start: int, data: Iterable[bytes]) -> None:
        """Write an attempt's output, with one object for each piece in `data`.

        `start` is the position of the first piece in the log `name`. All pieces except the last have `PIECE_BYTES`
        bytes.
        """
        for piece in data:
            self._bucket.put(_name(run, name, start), piece, replace=True)
            start += len(piece)

    def read(self, run: str, name: str, start: int, end: int) -> Iterator[bytes]:
        """Yield the bytes of a log from `start` to `end`, in pieces. Stop at a piece that wasn't kept."""
        while start < end:
            length = min(PIECE_BYTES, end - start)
            try:
                yield bytes(self._bucket.range(_name(run, name, start), 0, length))
            except Absent:
                return
            start += length

    def forget(self, run: str) -> None:
        """Delete all logs of a run."""
        names = [entry.name for entry in self._bucket.objects(f"logs/{plain(run)}/")]
        if names:
            self._bucket.delete(*names)


def _name(run: str, name: str, start: int) -> str:
    return f"logs/{plain(run)}/{plain(name)}/{start:015}"
