"""Finds the blobs that a run must copy from one region to another, and plans a transfer task for each."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable

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
        self._found: dict[tuple[str, str | None], tuple[Ref, Link] | None] = {}
        self._unsure: dict[tuple[str, str | None], str] = {}

    def need(self, refs: Iterable[Ref], unsure: str | None = None) -> None:
        """Add transfers for those blobs of `refs` that are in other regions. `refs` are artifacts that a task needs. If
        the task may turn out not to run, `unsure` is its name."""
        for blob in (blob for ref in refs for blob in blobs(ref)):
            one = blob.digest, blob.nonce
            if one not in self._found:
                link = self._source(blob)
                self._found[one] = None if link is None else (blob, link)
                if unsure is not None:
                    self._unsure[one] = unsure
            elif unsure is None:
                self._unsure.pop(one, None)

    def tasks(self) -> tuple[PlannedTask, ...]:
        """Return the planned transfers, in the order in which they were added."""
        planned: dict[str, PlannedTask] = {}
        for one, found in self._found.items():
            if found is not None:
                task = self._planned(*found, self._unsure.get(one), planned)
                planned[task.name] = task
        return tuple(planned.values())

    def _planned(self, ref: Ref, link: Link, unsure: str | None, names: Container[str]) -> PlannedTask:
        name = transfer_name(ref.digest, link.source, link.target)
        if name in names:
            name = transfer_name(ref.digest, link.source, link.target, ref.nonce or "")
        usd = link.usd(ref.size)
        return PlannedTask(
            name=name,
            stage=STAGE,
            kind=STAGE,
            decision="run" if unsure is None else "skip_if_unchanged",
            reason=f"{_size(ref.size)} that are in `{link.source}`{'' if unsure is None else f', if `{unsure}` runs'}",
            pool=self._pool.name,
            expected_s=link.seconds(ref.size),
            expected_usd=usd if unsure is None else (0.0, usd),
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
