"""Checks the machine, the project and its state. Each finding says what was found and what to do."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from headrace.backends.processes.namespace import bubblewrap, works
from headrace.errors import HeadraceError
from headrace.operate.doctor.finding import Answer, Finding
from headrace.operate.doctor.ledger import ledger_checks
from headrace.operate.doctor.notices import notice_checks
from headrace.operate.doctor.pools import pool_checks
from headrace.operate.doctor.stores import store_checks
from headrace.project import host_limits
from headrace.project.pipelines import written
from headrace.project.project import Project
from headrace.report.measures import bytes_text

LEAST_BYTES, FEW_BYTES = 100 << 20, 2 << 30


def examine(project: Project | None) -> Iterator[Finding]:
    """Yield a finding for each check of the machine and, if `project` isn't None, of the project.

    If a check raises an error, its finding has the state `wrong` and the error's message.
    """
    checks: dict[str, Callable[[], Answer]] = dict(MACHINE)
    if project is not None:
        checks |= {about: partial(check, project) for about, check in PROJECT.items()}
        checks |= ledger_checks(project) | store_checks(project) | pool_checks(project) | notice_checks(project)
    for about, check in checks.items():
        try:
            state, found, hint = check()
        except HeadraceError as error:
            state, found, hint = "wrong", error.message, error.hint
        except OSError as error:
            state, found, hint = "wrong", str(error), "check that the folder exists, and check its permissions"
        yield Finding(about=about, state=state, found=found, hint=hint)


def _python() -> Answer:
    found = f"{platform.python_implementation()} {platform.python_version()} at {sys.executable}"
    if sys.implementation.name != "cpython":
        return "doubtful", found, "Headrace is tested with CPython only"
    return "well", found, None


def _machine() -> Answer:
    cpus, memory = host_limits.cpus(), host_limits.memory_gib()
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
        "allow user namespaces; without them, workers see the whole machine",
    )


def _pipelines(project: Project) -> Answer:
    if project.absent:
        return "wrong", project.absent, "write this file, or correct `[project] pipelines`"
    for file in project.files:
        try:
            compile(file.read_bytes(), str(file), "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            return "wrong", f"`{file.name}` isn't Python: {error}", "correct it: no run can import it"
    found = [each.name for each in written(project)]
    if not found:
        return (
            "doubtful",
            "no `@pipeline` in the project's files",
            "add one, or list its file in `[project] pipelines`",
        )
    names = ", ".join(f"`{name}`" for name in found)
    return "well", f"{names}; their files weren't imported: `headrace plan {found[0]}` does that", None


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


MACHINE: Mapping[str, Callable[[], Answer]] = {"python": _python, "machine": _machine, "namespace": _namespace}
PROJECT: Mapping[str, Callable[[Project], Answer]] = {
    "pipelines": _pipelines,
    "state": _state_folder,
    "space": _space,
}
