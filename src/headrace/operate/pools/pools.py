"""Functions that open a pool's backend for a run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import NamedTuple
from urllib.parse import quote

from headrace.backends.local.backend import LocalBackend
from headrace.backends.processes.environment_variables import seen, told, withheld
from headrace.backends.processes.namespace import Namespace, bubblewrap, circumstances, works
from headrace.backends.processes.orphans import end_leftovers
from headrace.backends.processes.spawn import spawn
from headrace.errors import BackendError, ConfigError, HeadraceError, StoreError
from headrace.operate.early_zygote import take
from headrace.operate.pools.cluster_state import ClusterState
from headrace.operate.pools.regions import bring_bundle, elsewhere
from headrace.project.project import Project
from headrace.project.settings import PoolSection
from headrace.project.state import open_store
from headrace.run.driver.sites import Ground
from headrace.run.ports import Backend, Heard, Spool
from headrace.run.spilled import spilled
from headrace.run.wire import Hello
from headrace.spec.bundle import Bundle
from headrace.spec.fleet import Pool
from headrace.store.open_store import folder_of
from headrace.store.store import Store
from headrace.work.archive import unpack
from headrace.work.environments.cache import cache_folder


def open_backend(
    project: Project, pool: Pool, run: str, epoch: int, bundle: Bundle, store: Store, *, is_first: bool = True
) -> Backend:
    """Open and return a pool's backend for a run. Its workers write to the store of the pool's region.

    `epoch` is the epoch of the run's lease. `is_first` is False for every pool of the run but the first one. Such a
    pool, if it is local, starts its zygote now, so that the pool's first attempt need not wait for the zygote.

    Raises:
        ConfigError: this release has no such backend, or the settings require a Linux namespace for workers, and none
            can be made here.
        BackendError: the backend can't be reached.
    """
    address = project.region(pool.region).store
    section = _section(project, pool)
    root = None if section.namespace == "on" else project.root.resolve()
    variables = project.config.run.variables
    hello = Hello(
        run=run,
        bundle=bundle,
        store=address,
        local=str(store.local),
        memory_gib=pool.memory_gib,
        environment=section.environment,
        project=str(root or ""),
        project_inode=root.stat().st_ino if root else 0,
        guarded=section.namespace == "on",
        variables=variables,
        told=told(os.environ, variables),
        withheld=withheld(os.environ, variables),
        pool=pool.name,
        gpus=_gpus(project, pool),
    )
    match pool.backend:
        case "local":
            prefix = _prefix(project, pool, store)
            if prefix:
                unpack(bundle, store, store.local)  # in the workers' namespace, this folder is read-only
            if is_first:
                spawned = take(project.home, prefix, hello.variables)
            else:
                spawned = spawn(seen(os.environ, hello.variables), prefix)
            return LocalBackend(
                pool, hello, store.spool, epoch=epoch, prefix=prefix, spawned=spawned, grace_s=section.stop_s
            )
        case "ray":
            hidden = [project.home.resolve()]
            if project.config.pool[pool.name].namespace == "on":
                hidden.insert(0, project.root.resolve())
            backend: Backend = _ray(pool).open_ray(
                project.config.pool[pool.name],
                pool,
                hello,
                store.spool,
                epoch=epoch,
                hidden=hidden,
                shown=_folders(project, pool, store),
                readable=_others(project, pool),
            )
            return backend
    raise _no_backend(pool)


def _no_backend(pool: Pool) -> ConfigError:
    message = f"pool `{pool.name}` has backend `{pool.backend}`, which this release doesn't have"
    return ConfigError(message, hint='use "local" or "ray"')


class Reached(NamedTuple):
    """The pools of a run: those that can be used, and the errors of the others by the name of the pool."""

    grounds: list[Ground]
    absent: dict[str, HeadraceError]


def open_grounds(
    project: Project, pools: Sequence[Pool], run: str, epoch: int, bundle: Bundle, note: Callable[[str], None]
) -> Reached:
    """Open what a driver needs to use these pools. `epoch` is the epoch of the run's lease.

    The first pool must be reached. If another pool can't be reached, it is left out, and `note` is called with a
    message.

    Raises:
        ConfigError: a pool's settings can't be used.
        BackendError: the first pool can't be reached.
    """
    reached = Reached([], {})
    _make_stores(project, pools)
    try:
        for pool in pools:
            _open_ground(project, pool, run, epoch, bundle, reached)
    except BaseException:
        for ground in reversed(reached.grounds):
            ground.backend.abandon()  # what an earlier driver left there may still be taken over
        raise
    for name, error in reached.absent.items():
        note(f"{error.message}; pool `{name}` is left out")
    return reached


def _make_stores(project: Project, pools: Sequence[Pool]) -> None:
    """Make the folders of the stores of these pools. The workers of each pool read the stores of the others, and a
    Linux namespace has only the folders that exist when it is made."""
    for address in [project.region(pool.region).store for pool in pools]:
        if not address.is_remote:
            with suppress(OSError):  # the store itself says so, when it is written to
                folder_of(address).mkdir(parents=True, exist_ok=True)


def _open_ground(project: Project, pool: Pool, run: str, epoch: int, bundle: Bundle, reached: Reached) -> None:
    store = open_store(project, pool.region)
    try:
        bring_bundle(project, bundle, store)
        backend = open_backend(project, pool, run, epoch, bundle, store, is_first=not reached.grounds)
    except (BackendError, StoreError) as error:
        if not reached.grounds:
            raise
        reached.absent[pool.name] = error
        return
    _end_unknown(project, store, run)
    far = project.region(pool.region).store.is_remote
    reached.grounds.append(Ground(backend=backend, store=store, elsewhere=elsewhere(project, pool), far=far))


def _end_unknown(project: Project, store: Store, run: str) -> None:
    """End the processes that a run left on this machine in pools that the settings don't name any more. No backend
    would take over these processes."""
    folder = store.local / "workers" / run
    known = {quote(pool.name, safe="") for pool in project.pools()}
    for notes in [path for path in folder.iterdir() if path.name not in known] if folder.is_dir() else ():
        if notes.is_dir():
            end_leftovers(notes)
            shutil.rmtree(notes, ignore_errors=True)


class Abandoned:
    """A pool that a run has left and that can't be reached (`run.ports.Left`). When the pool's workers had lost their
    driver, they wrote ("spilled") their reports to the store. Only these reports can still be read."""

    def __init__(self, spool: Spool, run: str) -> None:
        self._spool = spool
        self._run = run

    def adopt(self) -> Iterable[Heard]:
        """Return the reports that the pool's workers wrote ("spilled") to the store when their driver was gone."""
        return spilled(self._spool, self._run)

    def close(self, workers: Sequence[int] | None = None, *, now: bool = False) -> None:
        """Delete the spilled reports, which the run has absorbed by now. With `workers` or `now`, do nothing."""
        if workers is None and not now:
            self._spool.forget(self._run)


def look_at(project: Project, pool: Pool) -> ClusterState:
    """Connect to the cluster of a pool that isn't local, and return its state.

    Raises:
        ConfigError: this release has no such backend, or the cluster has other versions of Ray or Python.
        BackendError: the cluster can't be reached.
    """
    if pool.backend != "ray":
        raise _no_backend(pool)
    seen: ClusterState = _ray(pool).look(project.config.pool[pool.name], pool, project.region(pool.region).store)
    return seen


def _ray(pool: Pool) -> ModuleType:
    try:  # it takes half a second to import, and need not be installed
        from headrace.operate.pools import ray  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "ray":
            raise
        raise ConfigError(
            f'pool `{pool.name}` has backend = "ray", and Ray is not installed', hint="pip install 'headrace[ray]'"
        ) from None
    return ray


def _prefix(project: Project, pool: Pool, store: Store) -> list[str]:
    """Return the words of the command that starts workers in a Linux namespace of their own, which hides some folders
    from them. The result is empty if workers get no namespace.

    Raises:
        ConfigError: the settings require a namespace, and none can be made here.
    """
    wanted = _section(project, pool).namespace
    if wanted == "off" or not (_works(project) or wanted == "on"):
        return []
    closed = wanted == "on"
    if closed and not works(closed=True):
        raise ConfigError(
            f'pool `{pool.name}` has namespace = "on", but bubblewrap is missing or forbidden to make namespaces here',
            hint='install `bubblewrap`, allow user namespaces, or set namespace = "auto"',
        )
    hidden = [project.home.resolve()]
    if closed:
        hidden.insert(0, project.root.resolve())
    shown = _folders(project, pool, store)
    ours = [store.local.resolve() / name for name in ("bundles", "workers")]  # code, and notes about processes to end
    for folder in (*shown, *ours):
        folder.mkdir(parents=True, exist_ok=True)
    readable = (*_others(project, pool), *ours)
    return Namespace(hidden=tuple(hidden), shown=tuple(shown), readable=readable, closed=closed).command()


def _section(project: Project, pool: Pool) -> PoolSection:
    return project.config.pool.get(pool.name) or PoolSection()


def _gpus(project: Project, pool: Pool) -> int:
    """Return how many accelerators the settings give to all local pools together. Return 0 if this pool isn't local."""
    return sum(each.gpus for each in project.pools() if each.backend == pool.backend == "local")


def _folders(project: Project, pool: Pool, store: Store) -> list[Path]:
    """Return the folders that must be visible to workers: the store if it is a folder, the store's local folder on this
    machine, and the cache of environments if it is inside the project's folder or state folder."""
    address = project.region(pool.region).store
    found = {store.local.resolve()}
    if not address.is_remote:
        found.add(folder_of(address).resolve())
    environments = cache_folder().resolve()
    if any(environments.is_relative_to(hidden.resolve()) for hidden in (project.root, project.home)):
        found.add(environments)
    return sorted(found)


def _others(project: Project, pool: Pool) -> list[Path]:
    """Return the stores of other regions that are folders on this machine. Workers read these stores for transfers, but
    can't write to them."""
    addresses = [region.store for region in project.regions() if region.name != pool.region]
    folders = [folder_of(address).resolve() for address in addresses if not address.is_remote]
    return [path for path in folders if path.is_dir()]


def _works(project: Project) -> bool:
    """Return whether workers can run in Linux namespaces on this machine.

    The test takes 20 ms, so if workers can run, that is noted in a file. The note is valid until something changes that
    may change the result, such as the user or the kernel's rules. If workers can't run, the test is repeated each time,
    because a user may have fixed the cause.
    """
    if bubblewrap() is None:
        return False
    note, now = project.home / "namespaces", circumstances()
    with suppress(OSError):
        if note.read_text() == now:
            return True
    does_work = works()
    if does_work:
        with suppress(OSError):
            note.write_text(now)
    return does_work
