"""Finds the blobs that a run must copy from one region to another, and plans a transfer task for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from headrace.spec.artifact import Ref, blobs
from headrace.spec.fleet import Link, Pool
from headrace.spec.plan import PlannedTask

STAGE = "transfer"

Source = Callable[[Ref], Link | None]
"""A function from a blob to the link over which it would be copied, or None if the blob needn't be copied or can't be
copied."""


def transfer_name(digest: str, source: str, target: str, nonce: str = "") -> str:
    """Return the name of a transfer task, `transfer[ab12cd34 eu->us]`. If `nonce` is given, it is added."""
    return f"{STAGE}[{digest[:8]}{'.' if nonce else ''}{nonce} {source}->{target}]"


class Transfers:
    """Collects the transfers that the tasks of a plan need, one for each blob."""

    def __init__(self, pool: Pool, source: Source) -> None:
        self._pool = pool
        self._source = source
        self._found: dict[str, PlannedTask] = {}
        self._seen: set[tuple[str, str | None]] = set()

    def need(self, refs: Iterable[Ref]) -> None:
        """Add transfers for those blobs of `refs` that are in other regions. `refs` are artifacts that a task needs."""
        for ref in refs:
            for blob in blobs(ref):
                if (blob.digest, blob.nonce) not in self._seen:
                    self._seen.add((blob.digest, blob.nonce))
                    if (link := self._source(blob)) is not None:
                        self._add(blob, link)

    def tasks(self) -> tuple[PlannedTask, ...]:
        """Return the planned transfers, in the order in which they were added."""
        return tuple(self._found.values())

    def _add(self, ref: Ref, link: Link) -> None:
        name = transfer_name(ref.digest, link.source, link.target)
        if name in self._found:
            name = transfer_name(ref.digest, link.source, link.target, ref.nonce or "")
        self._found[name] = PlannedTask(
            name=name,
            stage=STAGE,
            kind=STAGE,
            decision="run",
            reason=f"{_size(ref.size)} that are in `{link.source}`",
            pool=self._pool.name,
            expected_s=link.seconds(ref.size),
            expected_usd=link.usd(ref.size),
            bytes=ref.size,
        )


def _size(size: int) -> str:
    """Return a number of bytes as text, in decimal units: the prices of links are per GB (10**9 bytes).

    >>> _size(812), _size(22_458), _size(24_002_648), _size(3_000_000_000)
    ('812 B', '22.5 kB', '24.0 MB', '3.0 GB')
    """
    if size < 1000:
        return f"{size} B"
    if size < 1e6:
        return f"{size / 1e3:.1f} kB"
    return f"{size / 1e6:.1f} MB" if size < 1e9 else f"{size / 1e9:.1f} GB"
