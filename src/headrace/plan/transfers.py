"""Which blobs a plan expects to be brought from one region to another, as the tasks that a run makes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from headrace.spec.artifact import Ref, blobs
from headrace.spec.fleet import Link, Pool
from headrace.spec.plan import PlannedTask

STAGE = "transfer"

Source = Callable[[Ref], Link | None]
"""Gives the link over which a blob would be brought, or None where it needn't or can't be."""


def transfer_name(digest: str, source: str, target: str, nonce: str = "") -> str:
    """Name a transfer: `transfer[ab12cd34 eu->us]`, with the nonce of its blob where the digest alone won't do."""
    return f"{STAGE}[{digest[:8]}{'.' if nonce else ''}{nonce} {source}->{target}]"


class Transfers:
    """Gathers what the tasks of a plan need from other regions, each blob once."""

    def __init__(self, pool: Pool, source: Source) -> None:
        self._pool = pool
        self._source = source
        self._found: dict[str, PlannedTask] = {}
        self._seen: set[tuple[str, str | None]] = set()

    def need(self, refs: Iterable[Ref]) -> None:
        """Record that a task needs these artifacts."""
        for ref in refs:
            for each in blobs(ref):
                if (each.digest, each.nonce) not in self._seen:
                    self._seen.add((each.digest, each.nonce))
                    if (link := self._source(each)) is not None:
                        self._add(each, link)

    def tasks(self) -> tuple[PlannedTask, ...]:
        """Return the transfers, in the order in which they were found to be needed."""
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
    """Say a number of bytes in the units that links are priced by.

    >>> _size(812), _size(22_458), _size(24_002_648), _size(3_000_000_000)
    ('812 B', '22.5 kB', '24.0 MB', '3.0 GB')
    """
    if size < 1000:
        return f"{size} B"
    if size < 1e6:
        return f"{size / 1e3:.1f} kB"
    return f"{size / 1e6:.1f} MB" if size < 1e9 else f"{size / 1e9:.1f} GB"
