"""The pools in which a resumed run continues."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from headrace.errors import ConfigError, StoreError, absent, listed
from headrace.ledger.run_ledger import RunLedger
from headrace.ledger.views.views import Views
from headrace.plan.pools import check_fit, enough
from headrace.plan.resolve import Unmappable, follow
from headrace.project.project import Project
from headrace.project.state import absent_regions, reading_store
from headrace.run.machine.machine import Machine
from headrace.run.machine.task import Task
from headrace.spec.artifact import ERASED, blobs
from headrace.spec.fleet import Pool
from headrace.spec.graph import constants, outs
from headrace.spec.policy import NOT_ASKED


def check_known(project: Project, run_id: str, machine: Machine) -> None:
    """Check that the settings have all pools and regions that a run's last driver used.

    Raises:
        ConfigError: a pool or region is missing.
    """
    pools, regions = {pool.name for pool in project.pools()}, {region.name for region in project.regions()}
    last = dict.fromkeys(machine.phases.pools.values())  # those of pools that are gone aren't known any more
    lacking = [f"pool `{name}`" for name in machine.pools if name not in pools]
    lacking += [f"region `{name}`" for name in last if name and name not in regions]
    if lacking:
        them = "them" if len(lacking) > 1 else "it"
        raise ConfigError(
            f"run `{run_id}` was in {' and '.join(lacking)}: the settings don't have {them}",
            hint=f"if another settings file has {them}, give that file as `--config`; otherwise name other pools:"
            f" `headrace resume {run_id} --pool NAMES`",
        )


def check_stored(project: Project, lease: RunLedger, machine: Machine) -> None:
    """Check that the stores in the settings have a run's code and the inputs of its tasks that are still to be done.
    Nothing is looked up if the settings have all regions of the run and of the runs that it reused outputs of.

    Raises:
        ConfigError: something may be only in a region that isn't in the settings.
    """
    used = set[str]().union(*(lease.regions(run=each) for each in {lease.run, *machine.outputs.makers.values()}))
    regions = absent_regions(project, used)
    if not regions:
        return
    needed = {} if machine.bundle is None else {(machine.bundle.digest, machine.bundle.nonce): "its code"}
    for task in machine.tasks.values():
        if _is_left(task) and task.elements is None:  # the elements of a mapped task are tasks of their own
            needed.update(dict.fromkeys(_blobs(task, machine), f"an input of `{task.name}`"))
    with suppress(OSError, StoreError):  # a store that doesn't answer may have everything
        for what, size in zip(needed.values(), reading_store(project).sizes(needed), strict=True):
            if size is None:
                message, hint = absent(f"run `{lease.run}`: {what} is in no store of the settings", regions)
                raise ConfigError(message, hint=hint)


def _blobs(task: Task, machine: Machine) -> Iterator[tuple[str, str]]:
    """Return the digest and the nonce of each blob that a task's inputs need. Inputs that aren't made yet are left
    out."""
    args = machine.inputs(task.name) if task.parent is not None else task.node.args
    refs = [ref for _, arg in args for ref in constants(arg)]
    for out in (out for _, arg in args for out in outs(arg)):
        source = machine.tasks[out.task]
        if source.good and source.out is not None:
            with suppress(Unmappable):  # the task will fail, and say so
                refs.append(follow(source.out, out.path))
    return ((each.digest, each.nonce or "") for ref in refs for each in blobs(ref) if each.nonce != ERASED)


def check_held(project: Project, machine: Machine, pools: Sequence[Pool]) -> None:
    """Check that each task that is still to be done can run in at least one of `pools`, the pools in which the run
    continues. If one of them is a cluster, check nothing, because its size isn't known before its backend is opened.

    Raises:
        PlacementError: a task can run in none of the pools.
    """
    if any(pool.backend != "local" for pool in pools):
        return
    stages = {task.stage.function: task.stage for task in machine.tasks.values() if _is_left(task)}
    check_fit(stages.values(), pools, project.pins(pools), project.spare(pools))


def _is_left(task: Task) -> bool:
    """Return whether a task of a run that has stopped may still have to run when the run is resumed."""
    is_left_out = task.by_when or task.reason == NOT_ASKED
    return task.phase not in ("succeeded", "reused") and not is_left_out and task.move is None


def pools_of(project: Project, machine: Machine, wanted: str | None) -> tuple[Pool, ...]:
    """Return the pools in which a run continues: those named in `wanted`. If `wanted` is None, return those of the
    run's previous pools that the settings still have. If there are none, return the pools of the settings.

    `headrace cancel` accepts that the settings lack some of the run's pools. All other callers call `check_known`
    first.
    """
    before = tuple([pool for pool in project.pools() if pool.name in machine.pools])
    if wanted is not None or not before:
        return project.run_pools(wanted)
    return tuple(sorted(before, key=lambda pool: machine.pools.index(pool.name)))


def without_lost(project: Project, views: Views, run: str) -> str:
    """Return a hint that says how to resume a run without the pools that it lost, if `[place]` sends the stage of a
    failed task to one of them. Return an empty text if no other pools can hold what the run still has to do."""
    if not project.config.place:
        return ""  # most projects: the run's events need not be read
    story = views.story(run)
    pins = {stage: pool for stage, pool in project.config.place.items() if pool in story.gone}
    rows = [row for row in views.rows(run) if row.state not in ("succeeded", "reused")] if pins else []
    failed = {row.stage for row in rows if row.state == "failed"} & pins.keys()
    if not failed:
        return ""
    left = {row.stage for row in rows if row.reason != NOT_ASKED}
    stages = [stage for stage in story.stages.values() if stage.name in left]
    known = {pool.name: pool for pool in project.pools()}
    pools = [known[name] for name in story.pools if name in known and name not in story.gone]
    spare = [pool for name, pool in known.items() if name not in story.pools]
    ways = " or ".join(f"`headrace resume {run} --pool {names}`" for names in enough(stages, pools, spare))
    lost = sorted({pins[name] for name in failed})
    silent, them = ("doesn't answer", "it") if len(lost) == 1 else ("don't answer", "them")
    return f"if {listed(lost)} still {silent}, {ways} continues the run without {them}" if ways else ""
