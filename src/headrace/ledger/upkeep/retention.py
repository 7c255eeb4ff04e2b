"""Decides which runs to keep, and why the others may be forgotten. The time is an argument, so the decision is a pure
function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from headrace.ledger.records import RunRecord

DAY_S = 86400.0


class Keep(Struct, frozen=True, kw_only=True):
    """The rules for keeping runs. A run is kept if any rule keeps it; without rules, all runs are kept.

    `runs` is how many of the newest runs are kept, and `per_pipeline` is how many of each pipeline's newest runs are
    kept. `seconds` keeps the runs that ended at most this many seconds ago. If one of these is None, there is no such
    rule. Runs in `pinned`, and runs that have not ended, are always kept.
    """

    runs: int | None = None
    per_pipeline: int | None = None
    seconds: float | None = None
    pinned: frozenset[str] = frozenset()

    @property
    def is_all(self) -> bool:
        """Whether all runs are kept."""
        return self.runs is None and self.per_pipeline is None and self.seconds is None


class Past(Struct, frozen=True):
    """A run that no rule keeps, and why."""

    run: RunRecord
    why: str


def past(runs: Sequence[RunRecord], keep: Keep, now: float) -> list[Past]:
    """Return the ended runs that no rule keeps, the oldest first; `runs` are all runs of the ledger. Imported runs are
    ordered by when they began, not by when they were imported."""
    if keep.is_all:
        return []
    newer: dict[str, int] = {}
    kept_newer: dict[str, int] = {}
    found = []
    for place, run in enumerate(sorted(runs, key=lambda run: (run.created, run.number), reverse=True)):
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
        if kept:
            kept_newer[run.pipeline] = kept_newer.get(run.pipeline, 0) + 1
        else:
            found.append(Past(run, _why(keep, run, kept_newer, age_s)))
    return found[::-1]


def _why(keep: Keep, run: RunRecord, newer: Mapping[str, int], age_s: float) -> str:
    """Return why a run may be forgotten; `newer` says how many newer runs of each pipeline are kept, by any rule."""
    reasons = []
    if keep.runs is not None:
        reasons.append(_newer(sum(newer.values())))
    if keep.per_pipeline is not None:
        reasons.append(_newer(newer.get(run.pipeline, 0), f" of `{run.pipeline}`"))
    if keep.seconds is not None:
        reasons.append(f"it ended {_ago(age_s)} ago")
    return ", and ".join(reasons)


def _newer(count: int, of: str = "") -> str:
    """Return the text that says how many newer runs are kept.

    >>> _newer(0), _newer(1), _newer(20, " of `flights`")
    ('no run is kept', '1 newer run is kept', '20 newer runs of `flights` are kept')
    """
    if count == 0:
        return f"no run{of} is kept"
    return f"1 newer run{of} is kept" if count == 1 else f"{count} newer runs{of} are kept"


def _ago(age_s: float) -> str:
    """Return an age as text, in the largest unit that gives a number of at least 2.

    >>> _ago(40), _ago(600), _ago(8 * 3600), _ago(55.1 * DAY_S)
    ('40 seconds', '10 minutes', '8.0 hours', '55.1 days')
    """
    if age_s < 120:
        return f"{age_s:.0f} seconds"
    if age_s < 7200:
        return f"{age_s / 60:.0f} minutes"
    return f"{age_s / 3600:.1f} hours" if age_s < 2 * DAY_S else f"{age_s / DAY_S:.1f} days"
