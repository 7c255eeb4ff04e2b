"""Decides which pools of a run may run a stage, and plans where tasks run."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec import Struct

from headrace.errors import PlacementError
from headrace.plan.transfers import Source, Transfers
from headrace.spec.artifact import Ref
from headrace.spec.fleet import Pool
from headrace.spec.plan import PlannedTask
from headrace.spec.stage import Stage

FIRST = "it comes first among the run's pools"
"""The reason why a task runs in its pool, if every pool of the run may run it."""


class Fit(Struct, frozen=True):
    """The names of the pools that may run a stage, in the order of the run, and why the run's other pools may not."""

    where: tuple[str, ...]
    barred: str = ""


def fit(stage: Stage, pools: Sequence[Pool], pins: Mapping[str, str]) -> Fit:
    """Return which of a run's pools may run a stage. `pins` maps each stage that the settings name under `[place]` to
    the pool that must run it. If this pool doesn't answer, it is missing in `pools`."""
    pinned = pins.get(stage.name)
    refused = {pool.name: why for pool in pools if (why := pool.holds(stage.resources)) is not None}
    if pinned is not None:
        why = refused.get(pinned) if any(pool.name == pinned for pool in pools) else "it doesn't answer"
        told = f"`[place]` names it for stage `{stage.name}`"
        return Fit((pinned,), told) if why is None else Fit((), f"`{pinned}` can't run it: {why}; {told}")
    where = tuple([pool.name for pool in pools if pool.name not in refused])
    return Fit(where, "; ".join(f"`{name}` can't run it: {why}" for name, why in refused.items()))


def check_fit(
    stages: Iterable[Stage], pools: Sequence[Pool], pins: Mapping[str, str], spare: Sequence[Pool] = ()
) -> None:
    """Check that each stage may run in at least one pool of a run. `spare` are the pools of the settings that the run
    doesn't use: the hint names those that can hold the stage.

    Raises:
        PlacementError: a stage may run in none of the pools. The message has what the stage needs, and why each pool
            can't run it.
    """
    for stage in stages:
        if not fit(stage, pools, pins).where:
            pinned = pins.get(stage.name)
            asked = [pool for pool in pools if pinned in (None, pool.name)]
            if not asked:
                raise PlacementError(
                    f"`[place]` names pool `{pinned}` for stage `{stage.name}`, and pool `{pinned}` doesn't answer",
                    hint=_hint_without(stage, pools, spare),
                )
            reasons = "; ".join(f"pool `{pool.name}`: {pool.holds(stage.resources)}" for pool in asked)
            raise PlacementError(
                f"no pool can hold stage `{stage.name}` ({stage.resources}): {reasons}",
                hint=_hint(stage, pools, pinned, spare),
            )


def _hint_without(stage: Stage, pools: Sequence[Pool], spare: Sequence[Pool]) -> str:
    if not (choices := enough([stage], pools, spare)):
        return f"`headrace doctor` checks it; no other pool is known to hold stage `{stage.name}` ({stage.resources})"
    other = f"name another pool for `{stage.name}` under `[place]` in headrace.toml"
    return f"leave it out with {_options(choices)}, or {other}"


def _hint(stage: Stage, pools: Sequence[Pool], pinned: str | None, spare: Sequence[Pool]) -> str:
    if pinned is not None:
        return f"lower its resources, or name another pool for `{stage.name}` under `[place]` in headrace.toml"
    if choices := enough([stage], pools, spare):
        return f"add a pool that can hold it: {_options(choices)}; or lower its resources"
    return "lower its resources, or add a larger pool under `[pool.NAME]` in headrace.toml"


def _options(choices: Iterable[str]) -> str:
    return " or ".join(f"`--pool {names}`" for names in choices)


def enough(stages: Collection[Stage], pools: Sequence[Pool], spare: Sequence[Pool]) -> list[str]:
    """Return values for `--pool`, at most three, with which a run can hold these stages.

    If the run's `pools` can hold the stages, the only value is the names of these pools. Otherwise each value names
    these pools and one of `spare`. Return an empty list if no such value is enough.
    """
    for choices in ([tuple(pools)], [(*pools, other) for other in spare]):
        if held := [each for each in choices if all(fit(stage, each, {}).where for stage in stages)]:
            return [",".join(pool.name for pool in each) for each in held[:3]]
    return []


def misspelt(pins: Mapping[str, str], stages: Iterable[Stage]) -> list[str]:
    """Return a note for each name under `[place]` that looks like a typing mistake: the pipeline has no stage of this
    name, but has one of a similar name. Other unknown names may be those of another pipeline's stages."""
    names = {stage.name for stage in stages}
    told = "`[place]` names stage `{}`, which this pipeline doesn't have: did you mean `{}`?"
    return [
        told.format(name, meant)
        for name in sorted(pins.keys() - names)
        for meant in sorted(names - pins.keys())
        if _slipped(name, meant)
    ]


def _slipped(one: str, other: str) -> bool:
    """Return whether two names differ only by a swap of two neighbouring letters, or by a letter that one of them
    lacks. A digit or the last letter may make a different name: `v1` and `v11`, or `fit` and `fits`, can both be right.

    >>> [_slipped("load", typed) for typed in ("laod", "lod", "loaad", "loads", "lead", "load2")]
    [True, True, True, False, False, False]
    >>> _slipped("load_users", "load_orders"), _slipped("fit_a", "fit_b")
    (False, False)
    """
    short, long = sorted((one, other), key=len)
    places = [place for place, letter in enumerate(long[:-1]) if not letter.isdigit()]
    lacking = [long[:place] + long[place + 1 :] for place in places]
    swapped = [long[:place] + long[place + 1] + long[place] + long[place + 2 :] for place in places]
    return short in lacking or short in swapped


class PlannedPools:
    """The pools of a planned run, in the order of the run. The plan assumes that each task finds room in the first pool
    that may run it.

    `pins` maps stages to the pools that the settings choose for them. `sources` maps the name of a pool to a function,
    which finds the link over which a blob would be copied to the pool's region. A pool without a function needs no
    copies.
    """

    def __init__(self, pools: Sequence[Pool], pins: Mapping[str, str], sources: Mapping[str, Source]) -> None:
        self._pools = {pool.name: pool for pool in pools}
        self._pins = pins
        self._transfers = {name: Transfers(self._pools[name], source) for name, source in sources.items()}
        self._fits: dict[str, Fit] = {}

    @property
    def cpu(self) -> float:
        """The number of cpus of all pools together."""
        return sum(pool.cpu for pool in self._pools.values())

    def of(self, stage: Stage) -> Pool:
        """Return the pool in which a stage runs. `check_fit` must have found one."""
        return self._pools[self._fit(stage).where[0]]

    def reason(self, stage: Stage) -> str | None:
        """Return why a stage runs in its pool, or None if there is only one pool."""
        return (self._fit(stage).barred or FIRST) if len(self._pools) > 1 else None

    def need(self, stage: Stage, refs: Iterable[Ref], unsure: str | None = None) -> None:
        """Add transfers for the blobs of `refs` that the region of the stage's pool lacks. `refs` are artifacts that a
        task of the stage needs. If the task may turn out not to run, `unsure` is its name."""
        if (transfers := self._transfers.get(self.of(stage).name)) is not None:
            transfers.need(refs, unsure)

    def transfers(self) -> tuple[PlannedTask, ...]:
        """Return the planned transfers. If several pools of a region need the same one, it is returned once."""
        found: dict[str, PlannedTask] = {}
        for task in (task for transfers in self._transfers.values() for task in transfers.tasks()):
            if task.name not in found or task.decision == "run":
                found[task.name] = task
        return tuple(found.values())

    def _fit(self, stage: Stage) -> Fit:
        found = self._fits.get(stage.function)
        if found is None:
            found = self._fits[stage.function] = fit(stage, tuple(self._pools.values()), self._pins)
        return found
