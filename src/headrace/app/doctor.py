"""Looks over the machine, the project and its state, and says of each thing what was found and what to do."""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Literal

from msgspec import Struct

from headrace.app import machine
from headrace.app.measures import bytes_text, count_text, seconds_text
from headrace.app.pipelines import written
from headrace.app.project import Project
from headrace.app.reading import read
from headrace.app.state import ledger_path, open_store
from headrace.backends.local.namespace import bubblewrap, works
from headrace.errors import HeadraceError

LEAST_BYTES, FEW_BYTES = 100 << 20, 2 << 30
SLOW_SYNC_S = 0.05
TRIAL_BYTES = 1 << 20
SKEW_S = 5.0

State = Literal["well", "doubtful", "wrong"]


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that was looked at. `hint` says what to do about it, where there is something to do."""

    about: str
    state: State
    found: str
    hint: str | None = None


Answer = tuple[State, str, str | None]


def examine(project: Project | None) -> Iterator[Finding]:
    """Look over the machine and, where there is one, the project. What can't be looked at is wrong, and says why."""
    checks: dict[str, Callable[[], Answer]] = dict(MACHINE)
    if project is not None:
        checks |= {about: partial(check, project) for about, check in PROJECT.items()}
    for about, check in checks.items():
        try:
            state, found, hint = check()
        except HeadraceError as error:
            state, found, hint = "wrong", error.message, error.hint
        except OSError as error:
            state, found, hint = "wrong", str(error), "check that the folder is there, and its rights"
        yield Finding(about=about, state=state, found=found, hint=hint)


def _python() -> Answer:
    found = f"{platform.python_implementation()} {platform.python_version()} at {sys.executable}"
    if sys.implementation.name != "cpython":
        return "doubtful", found, "Headrace is tested with CPython only"
    return "well", found, None


def _machine() -> Answer:
    cpus, memory = machine.cpus(), machine.memory_gib()
    found = f"{cpus:g} of {os.cpu_count()} cpus, {memory:.1f} GiB of memory"
    if memory < 1:
        return "doubtful", found, "little memory: workers that import large libraries may not fit"
    return "well", found, None


def _namespace() -> Answer:
    if works():
        return "well", f"bubblewrap works ({bubblewrap()})", None
    if sys.platform != "linux":
        return "doubtful", "none on this system", "workers can see the whole machine; nothing can be done about it here"
    if bubblewrap() is None:
        return "doubtful", "bubblewrap isn't installed", "install `bubblewrap`, so that workers see only what they need"
    return (
        "doubtful",
        "bubblewrap may not work here",
        "allow user namespaces; without, workers see the whole machine",
    )


def _pipelines(project: Project) -> Answer:
    found = [each.name for each in written(project)]
    if not found:
        return (
            "doubtful",
            "no `@pipeline` in the project's files",
            "add one, or list its file in `[project] pipelines`",
        )
    return "well", ", ".join(f"`{name}`" for name in found), None


def _pools(project: Project) -> Answer:
    pools = project.pools()
    found = "; ".join(f"`{pool.name}`: {pool.cpu:g} cpus, {pool.memory_gib:.1f} GiB" for pool in pools)
    for pool in pools:
        if pool.backend == "local" and (pool.cpu > machine.cpus() or pool.memory_gib > machine.memory_gib()):
            return (
                "doubtful",
                found,
                f"lower cpu or memory_gib of pool `{pool.name}` to what the machine gives",
            )
    return "well", found, None


def _state_folder(project: Project) -> Answer:
    home = project.make_home()
    with tempfile.TemporaryFile(dir=home) as file:
        file.write(b"trial")
    return "well", f"`{home}` can be written", None


def _space(project: Project) -> Answer:
    free = shutil.disk_usage(project.make_home()).free
    found = f"{bytes_text(free)} free"
    if free < LEAST_BYTES:
        return "wrong", found, "free some: `headrace gc` deletes what no run needs"
    if free < FEW_BYTES:
        return "doubtful", found, "`headrace gc` deletes what no run needs"
    return "well", found, None


def _locks(project: Project) -> Answer:
    with tempfile.NamedTemporaryFile(dir=project.make_home()) as file, open(file.name, "rb") as other:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return "well", "the file system keeps locks", None
    return "wrong", "the file system doesn't keep locks", "move the state to a local disk by HEADRACE_HOME"


def _ledger(project: Project) -> Answer:
    file = ledger_path(project)
    if not file.exists():
        return "well", "none yet; the first run makes it", None
    with read(project) as views:
        runs = views.runs(limit=1 << 31).runs
    return "well", f"{count_text(len(runs), 'run')} in {bytes_text(file.stat().st_size)}", None


def _store(project: Project) -> Answer:
    store = open_store(project)
    data = os.urandom(TRIAL_BYTES)
    start = time.perf_counter()
    blob = store.put(data)
    wrote = time.perf_counter()
    try:
        store.verify(blob.digest, blob.nonce)
    finally:
        store.delete(blob.digest, blob.nonce)
    found = f"1 MiB kept in {seconds_text(wrote - start)}, read in {seconds_text(time.perf_counter() - wrote)}"
    if wrote - start > SLOW_SYNC_S:
        return "doubtful", found, "the disk is slow to sync: every durable step waits for it"
    return "well", found, None


def _clock(project: Project) -> Answer:
    with tempfile.NamedTemporaryFile(dir=project.make_home()) as file:
        skew = os.stat(file.name).st_mtime - time.time()
    if abs(skew) > SKEW_S:
        return "doubtful", f"the disk's clock differs by {seconds_text(abs(skew))}", "set both clocks by NTP"
    with read(project) as views:
        newest = views.runs(limit=1).runs
    if newest and newest[0].created > time.time() + SKEW_S:
        return "doubtful", f"run `{newest[0].run}` began in the future", "set the clock by NTP; nothing is lost by it"
    return "well", f"{time.strftime('%Y-%m-%d %H:%M:%S %Z')}", None


MACHINE: Mapping[str, Callable[[], Answer]] = {"python": _python, "machine": _machine, "namespace": _namespace}
PROJECT: Mapping[str, Callable[[Project], Answer]] = {
    "pipelines": _pipelines,
    "pools": _pools,
    "state": _state_folder,
    "space": _space,
    "locks": _locks,
    "ledger": _ledger,
    "store": _store,
    "clock": _clock,
}
