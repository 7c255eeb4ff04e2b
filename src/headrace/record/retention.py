"""Which runs are kept, and why the others may be forgotten. Pure: time comes in as a value."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from headrace.record.names import RunRecord

DAY_S = 86400.0


class Keep(Struct, frozen=True, kw_only=True):
    """The rules: a run stays that any of them keeps, and without any all stay.

    `runs`: the newest so many; `per_pipeline`: the newest so many of each pipeline; `seconds`: those that ended no
    longer ago. `pinned` runs stay in any case, as those do that have not ended.
    """

    runs: int | None = None
    per_pipeline: int | None = None
    seconds: float | None = None
    pinned: frozenset[str] = frozenset()

    @property
    def is_all(self) -> bool:
        """Whether nothing is ever forgotten."""
        return self.runs is None and self.per_pipeline is None and self.seconds is None


class Past(Struct, frozen=True):
    """A run that no rule keeps, and why."""

    run: RunRecord
    why: str


def past(runs: Sequence[RunRecord], keep: Keep, now: float) -> list[Past]:
    """Give the ended runs that no rule keeps; `runs` are all there are, the oldest first."""
    if keep.is_all:
        return []
    newer: dict[str, int] = {}
    found = []
    for place, run in enumerate(reversed(runs)):
        count = newer.get(run.pipeline, 0)
        newer[run.pipeline] = count + 1
        age_s = now - (run.ended or run.created)
        kept = (
            not run.has_ended
            or run.id in keep.pinned
            or (keep.runs is not None and place < keep.runs)
            or (keep.per_pipeline is not None and count < keep.per_pipeline)
            or (keep.seconds is not None and age_s <= keep.seconds)
        )
        if not kept:
            found.append(Past(run, _why(keep, run, age_s)))
    return found[::-1]


def _why(keep: Keep, run: RunRecord, age_s: float) -> str:
    reasons = []
    if keep.runs is not None:
        reasons.append(f"{keep.runs} newer runs are kept")
    if keep.per_pipeline is not None:
        reasons.append(f"{keep.per_pipeline} newer runs of `{run.pipeline}` are kept")
    if keep.seconds is not None:
        reasons.append(f"it ended {age_s / DAY_S:.1f} days ago")
    return ", and ".join(reasons)
