"""Runs a task's stage again in this process, with the task's real inputs, so that a debugger can step through it."""

from __future__ import annotations

import asyncio
import inspect
import os
import pdb  # noqa: T100  the debugger is what this command is for
import sys
import tempfile
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headrace.backends.processes.environment_variables import withheld
from headrace.codec.codecs import Codecs
from headrace.define.attempt import Alone
from headrace.errors import NotFoundError, TaskFailed, UsageError, listed, near
from headrace.operate.bundle import check_renewable
from headrace.project.project import Project
from headrace.project.settings import PoolSection
from headrace.project.state import reading_store, views
from headrace.report.measures import count_text
from headrace.run.machine.machine import Machine
from headrace.spec.graph import Arg, Const, Many, Secret
from headrace.store.store import Store
from headrace.work.archive import unpack
from headrace.work.environments.cache import cache_folder, environments_folder
from headrace.work.environments.choose import environment_python
from headrace.work.environments.enter import environment_of, on
from headrace.work.environments.headrace_code import code_folder
from headrace.work.user_code import describe, enter_project, find_function


def debug(project: Project, run: str, task: str, *, use_pdb: bool = False, new_code: bool = False) -> object:
    """Call a task's stage in this process with the inputs that the task had in the run, and return the stage's output.

    If the stage needs another environment than this process has, the process replaces itself by the same command in
    that environment. With `use_pdb`, the debugger stops at the first line. With `new_code`, the project's present code
    runs, not the run's own.

    Raises:
        NotFoundError: there is no such task, or an input of it was never made.
        UsageError: `task` is a mapped task, not one of its elements, or a secret that the task takes isn't set here. Or
            `new_code` is true, and the pipeline is defined in a notebook.
        TaskFailed: the stage raised an exception.
    """
    store = reading_store(project)
    machine = Machine()
    with views(project) as past:
        for event in past.events(run):
            machine.step(event)
    state = machine.tasks.get(task)
    if new_code:
        check_renewable(project, run, machine.opened)
    if state is None or machine.bundle is None:
        raise NotFoundError(f"the run has no task `{task}`", hint=near(task, [*machine.tasks], "its tasks are"))
    if state.move is not None:
        raise NotFoundError(f"`{task}` is a transfer, which runs no code of the project", hint="debug a task")
    if state.node.over and state.parent is None:
        names = [element.name for element in state.elements or ()]
        raise UsageError(
            f"`{task}` is a map of {count_text(len(names), 'element')}",
            hint=f"debug one of them: {listed(names, 3)}" if names else "debug a task that it needs",
        )
    folder = project.root if new_code else unpack(machine.bundle, store, store.local)
    Alone.folder = project.root
    _enter(project, folder, state.stage.environment, state.pool)
    environment = dict(os.environ)
    for name in withheld(environment, project.config.run.variables):
        del os.environ[name]  # so that the stage sees the same variables as in a worker
    enter_project(folder, machine.bundle.roots)
    stage = find_function(state.stage.function, folder)
    values: dict[str, Any] = {name: _value(arg, store, environment) for name, arg in machine.inputs(task)}
    missing = [name for name, _ in state.node.args if name not in values]
    if missing:
        raise NotFoundError(
            f"input `{missing[0]}` of `{task}` was never made", hint="debug the task that should have made it"
        )
    rest = next((values.pop(name) for name in list(values) if name.startswith("*")), ())
    with tempfile.TemporaryDirectory(prefix="headrace-debug-") as scratch:
        os.chdir(scratch)
        try:
            if use_pdb:
                return pdb.runcall(stage.function, *rest, **values)
            value = stage.function(*rest, **values)
            return asyncio.run(value) if inspect.iscoroutine(value) else value
        except Exception as error:
            traceback.print_exc()
            if use_pdb or sys.stdin.isatty():
                pdb.post_mortem(error.__traceback__)
            raise TaskFailed(f"`{task}` raised {describe(error, folder)}", hint="its traceback is above") from error
        finally:
            os.chdir("/")


def _enter(project: Project, folder: Path, group: str | None, pool: str | None) -> None:
    """If this process doesn't run in a built environment yet, replace it by the same command in the environment that
    the stage has in its pool."""
    cache = cache_folder().absolute()
    if Path(sys.prefix).is_relative_to(environments_folder(cache)):
        return
    policy = project.config.pool.get(pool or "", PoolSection()).environment
    python = environment_python(folder, group, policy, cache)
    if python is not None:
        sys.stdout.flush()
        os.execve(python, on(python, code_folder(cache), "headrace.cli.main", sys.argv[1:]), environment_of(python))


def _secret(name: str, environment: Mapping[str, str]) -> str:
    try:
        return environment[name]
    except KeyError:
        raise UsageError(
            f"secret `{name}` is not set", hint=f"set the environment variable {name} where you debug"
        ) from None


def _value(arg: Arg, store: Store, environment: Mapping[str, str]) -> object:
    match arg:
        case Const(ref=ref):
            return Codecs().load(ref, store, safe_only=False)
        case Many(shape="dict", items=items, names=names):
            return {name: _value(item, store, environment) for name, item in zip(names, items, strict=True)}
        case Many(shape=shape, items=items):
            values = [_value(item, store, environment) for item in items]
            return tuple(values) if shape == "tuple" else values
        case Secret(name=name):
            return _secret(name, environment)
        case _:
            raise NotFoundError("an input was never made", hint="debug the task that should have made it")
