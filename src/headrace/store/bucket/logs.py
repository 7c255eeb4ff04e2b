"""What attempts printed, in an object store: outside of all digests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from headrace.store.bucket.bucket import Absent, Bucket
from headrace.store.folder.logs import PIECE_BYTES
from headrace.store.folder.spool import plain


class ObjectLogs:
    """Logs as objects `logs/RUN/NAME/START`, each a piece of what one attempt printed."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def keep(self, run: str, name: str, start: int, data: Iterable[bytes]) -> None:
        """Put what was printed; pieces are as `data` gives them, all but the last of `PIECE_BYTES`."""
        for piece in data:
            self._bucket.put(_name(run, name, start), piece, replace=True)
            start += len(piece)

    def read(self, run: str, name: str, start: int, end: int) -> Iterator[bytes]:
        """Go over what an attempt printed."""
        while start < end:
            length = min(PIECE_BYTES, end - start)
            try:
                yield bytes(self._bucket.range(_name(run, name, start), 0, length))
            except Absent:
                return
            start += length

    def forget(self, run: str) -> None:
        """Delete all that a run has printed."""
        names = [each.name for each in self._bucket.objects(f"logs/{plain(run)}/")]
        if names:
            self._bucket.delete(*names)


def _name(run: str, name: str, start: int) -> str:
    return f"logs/{plain(run)}/{plain(name)}/{start:015}"
