"""A session: the one place that wires ledger, store, backend and driver together for a project."""

from __future__ import annotations

import getpass
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from headrace.app import debugging, explaining, getting, planning
from headrace.app.bundling import make_bundle, names_of
from headrace.app.clock import SystemClock
from headrace.app.detach import detached
from headrace.app.explaining import Explanation
from headrace.app.files import keep_path
from headrace.app.past import PastCode
from headrace.app.project import Project
from headrace.app.watcher import NoWatcher, Watcher
from headrace.backends.local.backend import LocalBackend
from headrace.backends.local.namespace import Namespace, works
from headrace.errors import ConfigError, LeaseHeld
from headrace.place.share import grant
from headrace.record.sqlite import RunLedger, SqliteLedger
from headrace.record.views import RunView, Views
from headrace.run.driver import Driver
from headrace.run.events import Cancelled, Event, Opened, Renewed, Taken, decode_event
from headrace.run.machine import Machine
from headrace.run.wire import Hello, Trace
from headrace.spec.bundle import Bundle
from headrace.spec.fleet import Pool
from headrace.spec.plan import Plan
from headrace.spec.policy import Policy
from headrace.store.folder import FolderStore


def run(
    project: Project,
    pipeline: str,
    params: Mapping[str, str],
    policy: Policy,
    *,
    watcher: Watcher,
    detach: bool = False,
) -> RunView:
    """Run a pipeline to its end and give the run; with `detach`, give it once it has begun.

    Raises:
        UsageError: it can't be traced; there is no run then.
        RefusedError: no pool can hold one of its tasks.
    """
    if detach:
        run_id = detached(lambda opened: _run(project, pipeline, params, policy, opened))
    else:
        run_id = _run(project, pipeline, params, policy, watcher)
    return views(project).show(run_id)


def plan(project: Project, pipeline: str, params: Mapping[str, str], policy: Policy) -> Plan:
    """Plan a pipeline as it is now, and run nothing.

    Raises:
        UsageError: it can't be traced.
        RefusedError: no pool can hold one of its tasks.
    """
    name, files = _named(project, pipeline)
    with open_ledger(project) as ledger, ledger.open_run(name, holder=_user()) as lease:
        store = open_store(project)
        bundle = make_bundle(project, store)
        pool = project.pools()[0]
        hello = Hello(run=lease.run, bundle=bundle, store=str(store.root), memory_gib=pool.memory_gib)
        backend = _backend(project, pool, hello, store)
        try:
            order = Trace(name, files, tuple(params.items()))
            graph = planning.trace(project, store, backend, order, SystemClock().now())
        finally:
            backend.close()
        return planning.plan(
            name, graph, policy=policy, pool=pool, bundle=bundle, lease=lease, store=store, views=views(project)
        )


def resume(project: Project, run_id: str, *, new_code: bool = False, watcher: Watcher) -> RunView:
    """Go on with a run that was interrupted, failed or cancelled; what had succeeded is not run again.

    Raises:
        LeaseHeld: its driver lives.
    """
    with open_ledger(project) as ledger:
        run_id = views(project).find(run_id).run
        with ledger.take(run_id, holder=_user()) as lease:
            machine = replay(lease)
            if machine.closed is not None and machine.closed.state == "succeeded" and not new_code:
                watcher.note(f"run {run_id} has succeeded already")
                return views(project).show(run_id)
            store = open_store(project)
            watcher.opened(run_id)
            clock = SystemClock()
            events: list[Event] = [Taken(lease.epoch, _user(), clock.now(), again=True)]
            if new_code:
                events.append(Renewed(make_bundle(project, store), clock.now()))
            bundle = machine.bundle if not new_code else events[-1].bundle  # type: ignore[union-attr]
            assert bundle is not None
            with _driver(project, lease, machine, store, bundle, watcher) as driver:
                driver.open(events)
                driver.adopt()
                if not machine.trace_ended:
                    driver.trace()
                driver.drive()
    return views(project).show(run_id)


def cancel(project: Project, run_id: str, *, now: bool = False, by: str = "") -> str:
    """Have a run end: by its driver, or by taking its lease where none lives. Give a line that says what was done."""
    run_id = views(project).find(run_id).run
    by = by or _user()
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
                    driver.open([Taken(lease.epoch, by, at), Cancelled(by, f"cancelled by {by}", at, now=True)])
                    driver.adopt()
                    driver.drive()
                return f"run {run_id} is cancelled; it had no driver"
        except LeaseHeld:
            ledger.signal(run_id, "cancel", by=by, body="now" if now else "")
            return f"run {run_id} was told to end{' at once' if now else ''}"


def explain(project: Project, run_id: str, task: str) -> Explanation:
    """Say what was decided about a task of a run, why, and what differs from the run before."""
    return explaining.explain(views(project), open_store(project), run_id, task)


def get(project: Project, run_id: str, task: str | None, to: Path) -> Path:
    """Write an artifact to a file: a task's output (`TASK`, or a part of it, `TASK.PART`), or one named by its digest.

    Raises:
        NotFoundError: there is none.
    """
    found = views(project)
    ref = found.artifact(run_id) if task is None else getting.find(found, run_id, task)
    return getting.write(ref, open_store(project), to)


def debug(project: Project, run_id: str, task: str, *, use_pdb: bool = False, new_code: bool = False) -> object:
    """Run a task of a run again in this process, with the inputs that it had; give its output."""
    machine = Machine()
    for event in views(project).events(run_id):
        machine.step(event)
    root = project.root if new_code else None
    return debugging.debug(machine, open_store(project), task, use_pdb=use_pdb, root=root)


def replay(lease: RunLedger) -> Machine:
    """Rebuild a run from its events alone."""
    machine = Machine()
    for body in lease.events():
        machine.step(decode_event(body))
    return machine


def views(project: Project) -> Views:
    """Give the read views of the project's ledger."""
    return Views(ledger_path(project))


def ledger_path(project: Project) -> Path:
    """Give the ledger's file.

    Raises:
        ConfigError: the project's ledger is of a kind that this release has no code for.
    """
    url = project.ledger_url
    if not url.startswith("sqlite:///"):
        raise ConfigError(
            f"`[ledger] url` is `{url}`, and this release keeps its ledger in SQLite only",
            hint="leave it out, or give sqlite:///path/to/ledger.db",
        )
    return Path(url.removeprefix("sqlite:///"))


def open_ledger(project: Project) -> SqliteLedger:
    """Open the project's ledger, which is made if it isn't there."""
    project.make_home()
    return SqliteLedger(ledger_path(project), pools=project.pools(), share=grant)


def open_store(project: Project) -> FolderStore:
    """Open the project's store.

    Raises:
        ConfigError: it is of a kind that this release has no code for.
    """
    url = project.store_url
    if "://" in url:
        raise ConfigError(
            f"`[store] url` is `{url}`, and this release keeps its store in a folder only", hint="give a folder"
        )
    return FolderStore(project.root / Path(url).expanduser())


def _named(project: Project, pipeline: str) -> tuple[str, tuple[str, ...]]:
    """Give a pipeline's name, and the files that may define it."""
    file, _, name = pipeline.rpartition(":")
    return name, (file,) if file else names_of(project)


def _run(project: Project, pipeline: str, params: Mapping[str, str], policy: Policy, watcher: Watcher) -> str:
    name, files = _named(project, pipeline)
    with open_ledger(project) as ledger:
        store = open_store(project)
        bundle = make_bundle(project, store)
        clock = SystemClock()
        with ledger.open_run(name, holder=_user()) as lease:
            opened = Opened(
                pipeline=name,
                files=files,
                bundle=bundle,
                at=clock.now(),
                params=tuple(params.items()),
                policy=policy,
                user=_user(),
            )
            with _driver(project, lease, Machine(), store, bundle, watcher) as driver:
                driver.open([opened, Taken(lease.epoch, _user(), clock.now())])
                driver.trace()
                driver.drive()
            return lease.run


@contextmanager
def _driver(
    project: Project, lease: RunLedger, machine: Machine, store: FolderStore, bundle: Bundle, watcher: Watcher
) -> Iterator[Driver]:
    """Give a driver with everything wired, which ^C and SIGTERM interrupt."""
    pool = project.pools()[0]
    hello = Hello(run=lease.run, bundle=bundle, store=str(store.root), memory_gib=pool.memory_gib)
    driver = Driver(
        machine=machine,
        ledger=lease,
        store=store,
        backend=_backend(project, pool, hello, store),
        clock=SystemClock(),
        next_seq=lease.next_seq,
        files=lambda about, path: keep_path(project.root, store, about, path),
        opened=lambda: watcher.opened(lease.run),
        rows=watcher.tasks,
        changed_code=lambda earlier, stage: PastCode(views(project)).changed(earlier, stage),
        closed=watcher.closed,
    )
    with _interrupted_by(driver.interrupt):
        yield driver


def _backend(project: Project, pool: Pool, hello: Hello, store: FolderStore) -> LocalBackend:
    if pool.backend != "local":
        raise ConfigError(
            f"pool `{pool.name}` has backend `{pool.backend}`, which this release doesn't have", hint='use "local"'
        )
    wanted = project.config.pool[pool.name].namespace if pool.name in project.config.pool else "auto"
    prefix: list[str] = []
    if wanted == "on" or (wanted == "auto" and works()):
        if wanted == "on" and not works():
            raise ConfigError(
                f'pool `{pool.name}` has namespace = "on", and bubblewrap is missing or may not work here',
                hint='install `bubblewrap`, or set namespace = "auto"',
            )
        hidden = (project.home.resolve(), *([project.root.resolve()] if wanted == "on" else []))
        store.draft().__exit__(None, None, None)  # a store that isn't there yet can't be shown
        prefix = Namespace(hidden=hidden, shown=(store.root.resolve(),)).command()
    return LocalBackend(pool, hello, prefix=prefix)


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


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
