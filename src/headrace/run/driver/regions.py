"""The other regions, as a driver sees them: they may hold blobs that the region of a pool lacks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec import Struct

from headrace.errors import StoreError, absent
from headrace.run.events import Lacked
from headrace.run.machine.task import Task
from headrace.run.machine.transfers import generation, name_of
from headrace.run.ports import AbsentRegions, Blobs
from headrace.spec.address import StoreAddress
from headrace.spec.artifact import Ref, blobs, generations
from headrace.spec.fleet import Link, Pool

LONG_S = 60.0
"""If an attempt took at least this many seconds, the garbage collector may already have deleted blobs that the attempt
stored early."""


class Elsewhere(Struct, frozen=True):
    """Another region: its store, as the driver sees it and as a worker opens it, and the link from it to the pool's
    region."""

    region: str
    blobs: Blobs
    address: StoreAddress
    link: Link


class Places:
    """Finds blobs, first in the region of a pool, then in other regions. If there is only one region, no other store is
    asked.

    If `far` is True, the store of the pool's region takes a while to answer, so it is asked about many blobs at once if
    possible.
    """

    def __init__(self, pool: Pool, here: Blobs, elsewhere: Sequence[Elsewhere], *, far: bool = False) -> None:
        self._pool = pool
        self._far = far
        self._here = here
        self._elsewhere = sorted(elsewhere, key=lambda each: (each.link.usd_per_gb, -each.link.bits_per_s))
        self._known: set[str] = set()

    @property
    def several(self) -> bool:
        """Whether there are other regions."""
        return bool(self._elsewhere)

    def address(self, region: str) -> StoreAddress | None:
        """Return the address of another region's store, or None if the region is unknown."""
        return next((each.address for each in self._elsewhere if each.region == region), None)

    def look(self, outs: Iterable[Ref]) -> None:
        """If the store takes a while to answer, ask it about the blobs of many outputs at once, so that later calls
        need not ask it."""
        if not self._far:
            return
        wanted = {generation(each): each for out in outs for each in blobs(out)}
        rest = [each for known, each in wanted.items() if known not in self._known]
        sizes = self._here.sizes([(each.digest, each.nonce or "") for each in rest])
        self._known.update(generation(each) for each, size in zip(rest, sizes, strict=True) if size == each.size)

    def holds(self, out: Ref) -> bool:
        """Return whether each blob of an output is complete in some region."""
        return all(
            generation(each) in self._known or self._size_here(each) or self._holder(each) is not None
            for each in blobs(out)
        )

    def lost(self, outs: Iterable[Ref], took_s: float) -> Ref | None:
        """Return a blob of an attempt's outputs that no store has any more, or None. The attempt took `took_s` seconds.

        The garbage collector deletes only old blobs. So after a short attempt, a store that answers slowly is not
        asked. If the store can't be asked, return None.
        """
        if self._far and took_s < LONG_S:
            return None
        wanted = {generation(each): each for out in outs for each in blobs(out)}
        try:
            sizes = self._here.sizes([(each.digest, each.nonce or "") for each in wanted.values()]) if wanted else []
        except StoreError:
            return None
        missed = (each for each, size in zip(wanted.values(), sizes, strict=True) if size != each.size)
        return next((each for each in missed if self._holder(each) is None), None)

    def link(self, ref: Ref) -> Link | None:
        """Return the link over which a blob would be copied to the pool's region. Return None if the pool's region has
        the blob already, or if no region has it."""
        holder = None if self._is_here(ref) else self._holder(ref)
        return None if holder is None else holder.link

    def lacks(self, refs: Iterable[Ref], tasks: Mapping[str, Task]) -> list[Lacked]:
        """Return, without duplicates, the blobs of artifacts that the pool's region lacks and another region has.

        Blobs that no region has are left out: the attempt that reads such a blob reports the error.
        """
        if not self._elsewhere:
            return []
        lacks: dict[str, Lacked] = {}
        for ref in refs:
            for each in blobs(ref):
                if generation(each) not in lacks and not self._is_here(each):
                    holder = self._holder(each)
                    if holder is not None:
                        lacks[generation(each)] = self._lacked(each, holder, tasks)
        return list(lacks.values())

    def _lacked(self, ref: Ref, holder: Elsewhere, tasks: Mapping[str, Task]) -> Lacked:
        here = self._pool.region
        return Lacked(
            task=name_of(ref, holder.region, here, tasks),
            ref=ref,
            source=holder.region,
            target=here,
            usd=holder.link.usd(ref.size),
            cpu=min(1.0, self._pool.cpu),
        )

    def _is_here(self, ref: Ref) -> bool:
        known = generation(ref)
        if known not in self._known and self._size_here(ref):
            self._known.add(known)
        return known in self._known

    def _size_here(self, ref: Ref) -> bool:
        return self._here.size(ref.digest, ref.nonce or "") == ref.size

    def _holder(self, ref: Ref) -> Elsewhere | None:
        nonce = ref.nonce or ""
        return next((each for each in self._elsewhere if each.blobs.size(ref.digest, nonce) == ref.size), None)


class WhyGone:
    """Says why an earlier output can't be reused: no store in the settings has it. If regions that aren't in the
    settings may have the output, the reason names them. These are the regions in which the run that made it started
    attempts; each run is looked up once."""

    def __init__(self, absent_regions: AbsentRegions | None = None) -> None:
        self._absent_regions = absent_regions
        self._known: dict[str, str] = {}

    def __call__(self, run: str, out: Ref) -> str:
        """Return the reason for an output of the run `run`. If that run was deleted, `run` is empty, and the regions of
        each blob are looked up."""
        if run in self._known:
            return self._known[run]
        made = f"its output of run {run} is" if run else "its output is"
        regions: Collection[str] = ()
        if self._absent_regions is not None:
            of_blobs = map(self._absent_regions.may_have, generations(out))
            regions = self._absent_regions.of_run(run) if run else set[str]().union(*of_blobs)
        why = absent(f"{made} not in the store", regions)[0] if regions else f"{made} gone from the store"
        if run:
            self._known[run] = why
        return why
