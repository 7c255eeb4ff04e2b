"""The decisions of one pass of the garbage collector about each blob, and their summary."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from headrace.ledger import generations
from headrace.ledger.inventory import Generation, Inventory
from headrace.ledger.records import RunRecord
from headrace.ledger.upkeep.merged_parts import MergedLog
from headrace.ledger.upkeep.old_parts import OldLog, OldParts
from headrace.ledger.upkeep.retention import Past
from headrace.store.blob import Found

LISTED = 1000
"""How many deleted blobs are listed one by one; `reasons` sums up all of them."""


class Garbage(Struct, frozen=True, kw_only=True):
    """A blob to delete, its region, and why it is deleted."""

    digest: str
    nonce: str
    bytes: int
    reason: str
    region: str


class Reason(Struct, frozen=True, kw_only=True):
    """A reason for deleting blobs, with the number of blobs and their bytes."""

    reason: str
    blobs: int
    bytes: int


class Held(Struct, frozen=True, kw_only=True):
    """A run that has not ended. Unnamed blobs that are younger than the run are kept, since they may belong to the run.

    `ahead_s` is how far the run's start lies in the future by a store's clock, in seconds. If it is not 0, no unnamed
    blob is deleted.
    """

    run: str
    since: float
    is_driven: bool
    ahead_s: float = 0.0


class Collected(Struct, frozen=True, kw_only=True):
    """The result of a pass: what it deleted, or with `dry_run` would delete.

    The pass deleted `count` blobs and `drafts` unfinished writes, of `bytes` bytes in all. The next pass will delete
    `later_bytes`, the size of blobs that this pass only marked. `young_bytes` is the size of blobs that no run names
    but that are too young to delete. `runs` lists the forgotten runs, and `why` the reason for each. `blobs` lists the
    first of the deleted blobs. `held` lists the runs in progress: while one is, unnamed blobs that it may name later
    are kept. `logs` lists what was forgotten of prediction logs, and `merged` what was merged in them.
    """

    runs: tuple[str, ...]
    why: dict[str, str]
    blobs: tuple[Garbage, ...]
    count: int
    reasons: tuple[Reason, ...]
    drafts: int
    bytes: int
    later_bytes: int
    young_bytes: int
    held: tuple[Held, ...]
    logs: tuple[OldLog, ...]
    merged: tuple[MergedLog, ...]
    dry_run: bool


class Out(Struct, frozen=True, kw_only=True):
    """A run that has an attempt in progress, or that has a driver but no row yet.

    `bundles` are the generations of the run's bundle. `held.since` is when the attempt began or, for a run without a
    row, when the driver took the lease. `age_s` is how many seconds ago the driver took the lease of a run without a
    row; it is None for other runs.
    """

    held: Held
    bundles: tuple[Generation, ...] = ()
    age_s: float | None = None


class Pass(Struct, kw_only=True):
    """The state of a pass of the garbage collector: the facts that its decisions need, and what it has found to delete
    so far.

    `lost` holds the generations that forgotten runs named, and those of the forgotten parts `old` of prediction logs.
    `spilled` holds the generations named by workers' reports
    that no driver has read yet. `erased` holds the generations whose bytes were erased, so that no store is allowed to
    have them. `edge` is a time by the clock of the store that is being listed: unnamed blobs that are newer than this
    time are kept.
    """

    dry_run: bool
    needed: Inventory
    lost: Inventory
    spilled: Inventory
    edge: float = 0.0
    runs: Sequence[RunRecord] = ()
    ids: Mapping[int, str] = {}
    forgotten: Sequence[Past] = ()
    old: OldParts = OldParts()
    out: tuple[Out, ...] = ()
    ahead: dict[str, float] = {}
    bundles: Container[str] = ()
    erased: Container[Generation] = ()
    merged: Mapping[Generation, str] = {}
    merged_logs: tuple[MergedLog, ...] = ()
    lives: bool = False
    waits: bool = False
    blobs: list[Garbage] = []
    reasons: dict[str, tuple[int, int]] = {}
    drafts: int = 0
    bytes: int = 0
    later: int = 0
    young: int = 0

    def forget_logs(self, old: OldParts) -> None:
        """Note the forgotten parts of prediction logs."""
        self.old = old
        self.lost.add(naming for out in old.outs for naming in generations.of_output(generations.STANDING, out))

    def takes(self, blob: Found, region: str) -> bool:
        """Return whether to delete a blob, and record the decision."""
        generation = blob.digest, blob.nonce
        if generation in self.erased:
            self._note(blob, region, had_names=False)
            return True
        if self._is_needed(generation):
            return False
        had_names = generation in self.merged or generation in self.lost
        if blob.modified >= self.edge and not had_names:
            self.young += blob.size
            return False
        if self.waits or (self.lives and had_names):
            self.later += blob.size
            return False
        self._note(blob, region, had_names=had_names)
        return True

    def _is_needed(self, generation: Generation) -> bool:
        if self.dry_run and generation in self.merged:
            return False
        return generation in self.needed or generation in self.spilled or generation[0] in self.bundles

    def _note(self, blob: Found, region: str, *, had_names: bool) -> None:
        equal = self.merged.get((blob.digest, blob.nonce))
        if (blob.digest, blob.nonce) in self.erased:
            kind = reason = "erased together with a person's data"
        elif equal is not None:
            kind, reason = "equal to another, which stays", f"equal to generation `{equal}`, which stays"
        elif had_names and (named := self.lost.runs(blob.digest, blob.nonce)) == [generations.STANDING]:
            kind = reason = "of a prediction log, and older than its endpoint keeps it"
        elif had_names:
            kind = "only runs that are forgotten named it"
            runs = [self.ids[number] for number in named if number != generations.STANDING][:3]
            reason = f"{kind}: {', '.join(f'`{run}`' for run in runs)}"
        else:
            kind = reason = "no run names it"
        if len(self.blobs) < LISTED:
            garbage = Garbage(digest=blob.digest, nonce=blob.nonce, bytes=blob.size, reason=reason, region=region)
            self.blobs.append(garbage)
        count, size = self.reasons.get(kind, (0, 0))
        self.reasons[kind] = count + 1, size + blob.size
        self.bytes += blob.size

    def result(self) -> Collected:
        """Return what the pass has deleted, or in a dry run would delete."""
        return Collected(
            runs=tuple(each.run.id for each in self.forgotten),
            why={each.run.id: each.why for each in self.forgotten},
            blobs=tuple(self.blobs),
            count=sum(count for count, _ in self.reasons.values()),
            reasons=tuple(Reason(reason=kind, blobs=n, bytes=size) for kind, (n, size) in self.reasons.items()),
            drafts=self.drafts,
            bytes=self.bytes,
            later_bytes=self.later,
            young_bytes=self.young,
            held=tuple(replace(each.held, ahead_s=self.ahead.get(each.held.run, 0.0)) for each in self.out),
            logs=self.old.logs,
            merged=self.merged_logs,
            dry_run=self.dry_run,
        )
