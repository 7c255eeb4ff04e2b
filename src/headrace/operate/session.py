"""Run, resume, cancel and stop: the one module that connects a project's ledger, store, backend and driver."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from types import FrameType

from msgspec import Struct

from headrace.errors import BackendError, HeadraceError, LeaseHeld, LedgerError, StoreError, UsageError, listed
from headrace.inspect.history import PastCode
from headrace.inspect.views import in_words
from headrace.ledger.ledger import Ledger
from headrace.ledger.run_ledger import RunLedger
from headrace.operate.bundle import changed_files, check_renewable, is_of_notebook, make_bundle, names_of
from headrace.operate.clock import SystemClock
from headrace.operate.input_files import keep_path
from headrace.operate.notify.sender import send_due
from headrace.operate.pools.pools import Abandoned, open_backend, open_grounds
from headrace.operate.pools.regions import Absent, bring_bundle
from headrace.operate.pools.resumed import check_held, check_known, check_stored, pools_of
from headrace.operate.progress.log import logged
from headrace.operate.progress.observer import NoObserver, Observer
from headrace.operate.progress.wait_notice import looking_out
from headrace.plan.resolve import LABELS
from headrace.project.project import Project
from headrace.project.state import open_ledger, open_store, views
from headrace.run.driver.driver import Driver
from headrace.run.events import Cancelled, Event, Opened, Renewed, Taken, stored_event
from headrace.run.machine.machine import Machine
from headrace.run.ports import Left
from headrace.spec.bundle import Bundle
from headrace.spec.fleet import Pool
from headrace.spec.policy import Policy
from headrace.store.store import Store
from headrace.waits import hurry, is_hurried, take_time
from headrace.work.archive import unpack

FEW = 3
"""A note names at most this many changed files."""


PEERS = (LedgerError, StoreError, BackendError)
"""The errors raised when the ledger, the store or the backend is lost or fails."""


class Ended(Struct, frozen=True):
    """The end of a run, as its driver knows it: the run's id, its final state, and the reason for that state."""

    run: str
    state: str
    why: str = ""


def run(project: Project, pipeline: str, params: Mapping[str, str], policy: Policy, *, observer: Observer) -> Ended:
    """Run a pipeline, wait until the run ends, and return how it ended.

    Raises:
        UsageError: the pipeline can't be traced. In this case, no run is created.
        RefusedError: no pool can hold one of its tasks.
    """
    return drive(project, pipeline, params, policy, observer)


def resume(
    project: Project,
    run_id: str,
    *,
    new_code: bool = False,
    now: bool = False,
    pool: str | None = None,
    timeout_s: float | None = None,
    observer: Observer,
) -> Ended:
    """Continue a run that was interrupted, failed or cancelled, wait until it ends, and return how it ended.

    Tasks that succeeded don't run again. The run continues in its previous pools unless `pool` names others, separated
    by commas. The run may take `timeout_s` seconds from now. If `timeout_s` is None, the run's own timeout starts again
    from zero. With `new_code`, the run continues with the project's present code. Attempts that an earlier driver has
    started and that still run are kept, but with `new_code` or `now` they are ended and begin again.

    Raises:
        LeaseHeld: the run has a live driver.
        ConfigError: `pool` is None, and a pool or region of the run isn't in the settings. The run stays as it was.
        PlacementError: no pool in which the run is to continue can hold one of its tasks. The run stays as it was.
        UsageError: with `new_code`, the pipeline can't be traced, or is defined in a notebook. In both cases, the run
            stays as it was.
        RunCancelled: somebody cancelled the run before its new code was traced. The run stays as it was.
    """
    with logged(project, observer) as observer, looking_out(observer.note), open_ledger(project) as ledger:
        run_id = _full_id(project, run_id)
        ended = _go_on(project, ledger, run_id, observer, new_code=new_code, now=now, pool=pool, timeout_s=timeout_s)
        send_due(project, ledger, observer.note)
        return ended


def go_on(project: Project, run_id: str, *, observer: Observer) -> Ended:
    """Continue a run that waits, after a signal for it was put into its inbox. Tasks that failed aren't tried again.

    Raises:
        LeaseHeld: the run has a live driver, which reads the inbox.
        ConfigError: a pool or region of the run isn't in the settings. The inbox is kept.
    """
    with logged(project, observer) as observer, looking_out(observer.note), open_ledger(project) as ledger:
        ended = _go_on(project, ledger, run_id, observer, again=False)
        send_due(project, ledger, observer.note)
        return ended


def _go_on(
    project: Project,
    ledger: Ledger,
    run_id: str,
    observer: Observer,
    *,
    again: bool = True,
    new_code: bool = False,
    now: bool = False,
    pool: str | None = None,
    timeout_s: float | None = None,
) -> Ended:
    """Continue a run. If `again` is False, only handle the signals in its inbox."""
    with ledger.take(run_id, holder=ledger.user) as lease:
        stale = lease.inbox() if again else ()  # what comes from now on is meant for this driver
        machine = replay(lease)
        if new_code:
            check_renewable(project, run_id, machine.opened)
        if machine.closed is not None and machine.closed.state == "succeeded" and not new_code:
            observer.note(f"run {run_id} has succeeded already")
            return Ended(run_id, "succeeded")
        if not again and machine.closed is not None:
            return Ended(run_id, machine.closed.state, machine.closed.why)
        if not new_code:
            check_stored(project, lease, machine)
        if pool is None:
            check_known(project, run_id, machine)
        pools = pools_of(project, machine, pool)
        if again and not new_code:
            check_held(project, machine, pools)
        store = open_store(project, pools[0].region)
        observer.opened(run_id)
        clock = SystemClock()
        events: list[Event] = [_taken(lease, pools, ledger.user, again=again and not new_code)]
        bundle = make_bundle(project, store) if new_code else machine.bundle
        assert bundle is not None
        bring_bundle(project, bundle, store)
        unpack(bundle, store, store.local)  # before the run goes on, so that the user sees an error
        if not new_code:
            _note_changed(project, machine.opened, bundle, store, observer)
        else:
            events.append(Renewed(bundle, clock.now(), counted=True))
        with _driver(project, pools, lease, machine, store, bundle, observer, timeout_s) as driver:
            _say_pools(project, [each for each in pools if each.name not in driver.absent], observer)
            left = _left(project, pools, lease, machine, observer, driver.absent)
            driver.adopt(keep=not (new_code or now), left=left)
            if new_code or machine.closed is None or machine.closed.state != "succeeded":
                driver.open(events, stale)
            if not machine.trace_ended:
                driver.trace()
            closed = driver.drive()
            for each in left:
                each.close()
    return _hear_late(project, ledger, Ended(run_id, closed.state, closed.why), observer)


def _hear_late(project: Project, ledger: Ledger, ended: Ended, observer: Observer) -> Ended:
    """Continue a run that waits, if a signal came to it while its driver was ending. The signal's sender saw a live
    driver and relies on it."""
    if ended.state != "waiting" or not ledger.has_signals(ended.run):
        return ended
    try:
        return _go_on(project, ledger, ended.run, observer, again=False)
    except LeaseHeld:  # somebody else goes on with it
        return ended


def cancel(project: Project, run_id: str, *, now: bool = False) -> str:
    """Cancel a run, and return a line that says what was done.

    A live driver is told to end the run. If the run has no live driver, this process takes the lease and ends the run.
    With `now`, running attempts are ended at once.
    """
    run_id = _full_id(project, run_id)
    with open_ledger(project) as ledger:
        by = ledger.user
        try:
            with ledger.take(run_id, holder=by) as lease:
                stale = lease.inbox()
                machine = replay(lease)
                if machine.closed is not None:
                    return f"run {run_id} has ended already ({machine.closed.state})"
                assert machine.bundle is not None
                pools = pools_of(project, machine, None)
                store = open_store(project, pools[0].region)
                with _driver(project, pools, lease, machine, store, machine.bundle, NoObserver()) as driver:
                    at = SystemClock().now()
                    driver.adopt()
                    if machine.closed is None:
                        end = Cancelled(by, f"cancelled by {by}", at, now=True)
                        driver.open([_taken(lease, pools, by), end], stale)
                    driver.drive()
            send_due(project, ledger)
            if machine.cancelled is None:
                return f"run {run_id} had ended already, but had no driver to record that"
            return f"run {run_id} is cancelled; it had no driver"
        except LeaseHeld:
            ledger.signal(run_id, "cancel", by=by, body="now" if now else "")
            if ledger.holder(run_id) is None and not ledger.is_over(run_id):  # it left in this moment
                return cancel(project, run_id, now=now)
            return f"run {run_id} was told to end{' at once' if now else ''}"


def stop(project: Project, run_id: str, task: str) -> str:
    """Ask the attempt of a running task to end early with the result that it has by then. Return a line that says what
    was done.

    For a mapped task, the attempts of all running elements are asked.

    Raises:
        NotFoundError: there is no such run or task.
        UsageError: the task isn't running.
    """
    with views(project) as found:
        run_id = found.find(run_id).run
        state = found.task(run_id, task).state
        running = [row for row in found.rows(run_id) if task in (row.name, row.parent) and row.state == "running"]
    with open_ledger(project) as ledger:
        if not running or ledger.holder(run_id) is None:
            raise UsageError(
                f"task `{task}` of run `{run_id}` isn't running" + ("" if running else f": it {in_words(state)}"),
                hint=f"`headrace show {run_id}` shows which tasks are running",
            )
        ledger.signal(run_id, "stop", by=ledger.user, body=task)
    return (
        f"`{task}` of run {run_id} was told to stop; it stops when its stage next checks for this, and goes on if the"
        " stage never checks"
    )


def replay(lease: RunLedger) -> Machine:
    """Return the state machine of a run, rebuilt from the run's events."""
    machine = Machine()
    for body in lease.events():
        machine.step(stored_event(body))
    return machine


def named(project: Project, pipeline: str) -> tuple[str, tuple[str, ...]]:
    """Return the name in a pipeline's address (`NAME` or `FILE:NAME`), and the files that may define the pipeline."""
    file, _, name = pipeline.rpartition(":")
    return name, (file,) if file else names_of(project)


def drive(
    project: Project,
    pipeline: str,
    params: Mapping[str, str],
    policy: Policy,
    observer: Observer,
    *,
    opens_s: float = math.inf,
) -> Ended:
    """Run a pipeline as `run` does, but store the run in the ledger ("open" it) after `opens_s` seconds at the latest,
    even if the trace hasn't ended. From then on, an error in the pipeline fails the run and isn't raised."""
    name, files = named(project, pipeline)
    with logged(project, observer) as observer, looking_out(observer.note), open_ledger(project) as ledger:
        pools = project.run_pools(policy.pool)
        store = open_store(project, pools[0].region)
        bundle = make_bundle(project, store)
        clock = SystemClock()
        with ledger.open_run(name, holder=ledger.user) as lease:
            opened = Opened(
                pipeline=name,
                files=files,
                bundle=bundle,
                at=clock.now(),
                params=tuple(params.items()),
                policy=policy,
                user=ledger.user,
                labels=LABELS,
            )
            with _driver(project, pools, lease, Machine(), store, bundle, observer, opens_s=opens_s) as driver:
                driver.open([opened, _taken(lease, pools, ledger.user)])
                driver.trace()
                closed = driver.drive()
        ended = _hear_late(project, ledger, Ended(lease.run, closed.state, closed.why), observer)
        send_due(project, ledger, observer.note)
        return ended


def _taken(lease: RunLedger, pools: Sequence[Pool], by: str, *, again: bool = False) -> Taken:
    """Return the event that records that this driver takes over the run. The event names the user `by` and the `pools`
    in which the run continues."""
    now = SystemClock().now()
    others = tuple([(pool.name, pool.region) for pool in pools[1:]])
    return Taken(lease.epoch, by, now, again=again, pool=pools[0].name, region=pools[0].region, others=others)


def _left(
    project: Project,
    pools: Sequence[Pool],
    lease: RunLedger,
    machine: Machine,
    observer: Observer,
    absent: Collection[str],
) -> Sequence[Left]:
    """Return the backends of the pools that a run used before and no longer uses. Pools that the settings don't have
    any more are left out.

    If such a pool can't be reached, a note says so, and only the reports that its workers spilled are read. The same is
    done for the pools in `absent`, which the run still uses but which can't be reached.
    """
    now = {pool.name for pool in pools}
    found: list[Left] = [
        Abandoned(open_store(project, pool.region).spool, lease.run) for pool in pools if pool.name in absent
    ]
    for before in project.pools():
        if machine.bundle is None or before.name not in machine.pools or before.name in now:
            continue
        store = open_store(project, before.region)
        try:
            found.append(open_backend(project, before, lease.run, lease.epoch, machine.bundle, store))
        except HeadraceError as error:  # the pool can't be reached, or its settings have changed
            observer.note(f"attempts in pool `{before.name}` may go on there for a while: {error.message}")
            found.append(Abandoned(store.spool, lease.run))
    return found


def _opened(project: Project, pools: Sequence[Pool], run_id: str, observer: Observer) -> None:
    observer.opened(run_id)
    _say_pools(project, pools, observer)


def _say_pools(project: Project, pools: Sequence[Pool], observer: Observer) -> None:
    if len(pools) > 1:
        observer.note(f"in pools {listed(pool.name for pool in pools)}")
    elif pools[0].backend != "local" or len(project.pools()) > 1:
        observer.note(f"in pool `{pools[0].name}`")


def _note_changed(project: Project, opened: Opened | None, bundle: Bundle, store: Store, observer: Observer) -> None:
    """Write a note that names the files which have changed since the run began. The resumed run uses the old versions
    of these files."""
    settings = {path.name for path in project.config_files}  # the resumed run uses the settings as they are now
    names = [name for name in changed_files(project, bundle, store) if name not in settings]
    if names:
        verb = "have" if len(names) > 1 else "has"
        how = "a new run from the notebook" if is_of_notebook(opened) else "`--new-code`"
        observer.note(
            f"{listed(names, FEW)} {verb} changed since the run began, and the run goes on with the old content:"
            f" {how} takes code and files as they are now"
        )


@contextmanager
def _driver(
    project: Project,
    pools: Sequence[Pool],
    lease: RunLedger,
    machine: Machine,
    store: Store,
    bundle: Bundle,
    observer: Observer,
    timeout_s: float | None = None,
    opens_s: float = math.inf,
) -> Iterator[Driver]:
    """Yield a driver for the run, connected to everything that it needs. ^C and SIGTERM interrupt it.

    `store` is the store of the region of the first pool. `timeout_s` is the time limit of this driver in seconds; None
    means the run's own. `opens_s` is explained at `drive`.
    """
    exits = ExitStack()
    reached = open_grounds(project, pools, lease.run, lease.epoch, bundle, observer.note)
    for ground in reached.grounds:
        lease.share(ground.backend.pool)
    past = cache(lambda: PastCode(exits.enter_context(views(project))))  # opened on first use: most runs need none
    driver = Driver(
        machine=machine,
        ledger=lease,
        grounds=reached.grounds,
        absent={name: error.message for name, error in reached.absent.items()},
        pins=project.pins(pools),
        spare=project.spare(pools),
        clock=SystemClock(),
        next_seq=lease.next_seq,
        files=lambda about, path: keep_path(project, pools[0].region, store, about, path),
        opened=lambda: _opened(project, [ground.backend.pool for ground in reached.grounds], lease.run, observer),
        rows=observer.tasks,
        changed_code=lambda before, node, stage: past().changed(before, node, stage),
        changed_given=lambda before, node, change: past().changed_given(before, node, machine.codes, change),
        closed=observer.closed,
        note=observer.note,
        absent_regions=Absent(project, lease),
        secret=os.environ.get,
        timeout_s=timeout_s,
        opens_s=opens_s,
        run=lease.run,
    )
    with exits, _interrupted_by(driver.interrupt) as interrupts:
        try:
            yield driver
        except PEERS as error:
            if driver.is_open and interrupts():
                observer.note(f"left the run without waiting any longer: {error.message}")
                observer.note(f"`headrace resume {lease.run}` goes on from what was recorded")
                raise KeyboardInterrupt from error
            if driver.is_open:
                error.exit_code = HeadraceError.exit_code
            raise


def _full_id(project: Project, run: str) -> str:
    """Return the full id of a run that is given by a part of its id, or by `latest`."""
    with views(project) as found:
        return found.find(run).run


@contextmanager
def _interrupted_by(interrupt: Callable[[], None]) -> Iterator[Callable[[], bool]]:
    """Make ^C and SIGTERM call `interrupt` while the context lasts. A second signal ends all waits for servers that
    don't answer.

    The context's value is a function that returns whether there was a second signal. If the current thread isn't the
    main thread, nothing is changed, because only the main thread handles signals.
    """
    count = 0

    def handle(_number: int, _frame: FrameType | None) -> None:
        nonlocal count
        count += 1
        interrupt()
        if count > 1:
            hurry()

    try:
        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:
        yield lambda: False
        return
    try:
        yield is_hurried
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        take_time()
