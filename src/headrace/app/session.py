"""A session: the one place that wires ledger, store, backend and driver together for a project."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from types import FrameType

from headrace.app.bundling import make_bundle, names_of
from headrace.app.clock import SystemClock
from headrace.app.files import keep_path
from headrace.app.past import PastCode
from headrace.app.pools import open_backend
from headrace.app.project import Project
from headrace.app.state import open_ledger, open_store, user, views
from headrace.app.watcher import NoWatcher, Watcher
from headrace.errors import LeaseHeld
from headrace.record.sqlite import RunLedger
from headrace.run.driver import Driver
from headrace.run.events import Cancelled, Event, Opened, Renewed, Taken, decode_event
from headrace.run.machine import Machine
from headrace.spec.bundle import Bundle
from headrace.spec.policy import Policy
from headrace.store.folder import FolderStore
from headrace.work.archive import unpack


def run(project: Project, pipeline: str, params: Mapping[str, str], policy: Policy, *, watcher: Watcher) -> str:
    """Run a pipeline to its end and give the run's id.

    Raises:
        UsageError: it can't be traced; there is no run then.
        RefusedError: no pool can hold one of its tasks.
    """
    return drive(project, pipeline, params, policy, watcher)


def resume(project: Project, run_id: str, *, new_code: bool = False, watcher: Watcher) -> str:
    """Go on with a run that was interrupted, failed or cancelled, and give its id; what had succeeded isn't run again.

    Raises:
        LeaseHeld: its driver lives.
    """
    with open_ledger(project) as ledger:
        run_id = views(project).find(run_id).run
        with ledger.take(run_id, holder=user()) as lease:
            machine = replay(lease)
            if machine.closed is not None and machine.closed.state == "succeeded" and not new_code:
                watcher.note(f"run {run_id} has succeeded already")
                return run_id
            store = open_store(project)
            watcher.opened(run_id)
            clock = SystemClock()
            events: list[Event] = [Taken(lease.epoch, user(), clock.now(), again=not new_code)]
            bundle = make_bundle(project, store) if new_code else machine.bundle
            assert bundle is not None
            unpack(bundle, store)  # here, where an error reaches the user
            if new_code:
                events.append(Renewed(bundle, clock.now()))
            with _driver(project, lease, machine, store, bundle, watcher) as driver:
                driver.adopt()
                if new_code or machine.closed is None or machine.closed.state != "succeeded":
                    driver.open(events)
                if not machine.trace_ended:
                    driver.trace()
                driver.drive()
    return run_id


def cancel(project: Project, run_id: str, *, now: bool = False, by: str = "") -> str:
    """Have a run end: by its driver, or by taking its lease where none lives. Give a line that says what was done."""
    run_id = views(project).find(run_id).run
    by = by or user()
    with open_ledger(project) as ledger:
        try:
            with ledger.take(run_id, holder=by) as lease:
                machine = replay(lease)
                if machine.closed is not None:
                    return f"run {run_id} has ended already ({machine.closed.state})"
                assert machine.bundle is not None
                store = open_store(project)
                with _driver(project, lease, machine, store, machine.bundle, NoWatcher()) as driver:
                    at = SystemClock().now()
                    driver.adopt()
                    if machine.closed is None:
                        driver.open([Taken(lease.epoch, by, at), Cancelled(by, f"cancelled by {by}", at, now=True)])
                    driver.drive()
                if machine.cancelled is None:
                    return f"run {run_id} had come to its end; it had no driver to note it"
                return f"run {run_id} is cancelled; it had no driver"
        except LeaseHeld:
            ledger.signal(run_id, "cancel", by=by, body="now" if now else "")
            return f"run {run_id} was told to end{' at once' if now else ''}"


def replay(lease: RunLedger) -> Machine:
    """Rebuild a run from its events alone."""
    machine = Machine()
    for body in lease.events():
        machine.step(decode_event(body))
    return machine


def named(project: Project, pipeline: str) -> tuple[str, tuple[str, ...]]:
    """Give a pipeline's name, and the files that may define it."""
    file, _, name = pipeline.rpartition(":")
    return name, (file,) if file else names_of(project)


def drive(project: Project, pipeline: str, params: Mapping[str, str], policy: Policy, watcher: Watcher) -> str:
    name, files = named(project, pipeline)
    with open_ledger(project) as ledger:
        store = open_store(project)
        bundle = make_bundle(project, store)
        clock = SystemClock()
        with ledger.open_run(name, holder=user()) as lease:
            opened = Opened(
                pipeline=name,
                files=files,
                bundle=bundle,
                at=clock.now(),
                params=tuple(params.items()),
                policy=policy,
                user=user(),
            )
            with _driver(project, lease, Machine(), store, bundle, watcher) as driver:
                driver.open([opened, Taken(lease.epoch, user(), clock.now())])
                driver.trace()
                driver.drive()
            return lease.run


@contextmanager
def _driver(
    project: Project, lease: RunLedger, machine: Machine, store: FolderStore, bundle: Bundle, watcher: Watcher
) -> Iterator[Driver]:
    """Give a driver with everything wired, which ^C and SIGTERM interrupt."""
    past = cache(lambda: PastCode(views(project)))  # few runs ask, and those that do ask for many tasks
    driver = Driver(
        machine=machine,
        ledger=lease,
        store=store,
        backend=open_backend(project, lease.run, bundle, store),
        clock=SystemClock(),
        next_seq=lease.next_seq,
        files=lambda about, path: keep_path(project.root, project.home, store, about, path),
        opened=lambda: watcher.opened(lease.run),
        rows=watcher.tasks,
        changed_code=lambda earlier, stage: past().changed(earlier, stage),
        closed=watcher.closed,
    )
    with _interrupted_by(driver.interrupt):
        yield driver


@contextmanager
def _interrupted_by(interrupt: Callable[[], None]) -> Iterator[None]:
    """Have ^C and SIGTERM call `interrupt` instead of raising; in a thread that gets no signals, change nothing."""

    def handle(_number: int, _frame: FrameType | None) -> None:
        interrupt()

    try:
        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
