"""Runs a task of a run again in this process, with its real inputs, so that a debugger can be in it."""

from __future__ import annotations

import asyncio
import inspect
import os
import pdb  # noqa: T100  the debugger is what this command is for
import sys
import tempfile
import traceback
from typing import Any

from headrace.app.project import Project
from headrace.app.state import open_store, views
from headrace.codec.codecs import Codecs
from headrace.errors import NotFoundError, TaskFailed
from headrace.run.machine import Machine
from headrace.spec.graph import Arg, Const, Many, Secret
from headrace.store.folder import FolderStore
from headrace.work.archive import unpack
from headrace.work.load import describe, enter_bundle, find_function


def debug(project: Project, run: str, task: str, *, use_pdb: bool = False, new_code: bool = False) -> object:
    """Call a task's stage in this process with the inputs that it had, and give its output.

    With `new_code`, the project's code as it is now runs instead of the run's own.

    Raises:
        NotFoundError: there is no such task, or an input of it was never made.
        TaskFailed: it raised.
    """
    store = open_store(project)
    machine = Machine()
    for event in views(project).events(run):
        machine.step(event)
    found = machine.tasks.get(task)
    if found is None or machine.bundle is None:
        raise NotFoundError(f"the run has no task `{task}`", hint=f"it has {', '.join(list(machine.tasks)[:8])}")
    folder = project.root if new_code else unpack(machine.bundle, store)
    enter_bundle(folder, machine.bundle.roots)
    stage = find_function(found.stage.function, folder)
    values: dict[str, Any] = {name: _value(arg, store) for name, arg in machine.inputs(task)}
    missing = [name for name, _ in found.node.args if name not in values]
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


def _value(arg: Arg, store: FolderStore) -> object:
    match arg:
        case Const(ref=ref):
            return Codecs().load(ref, store, verify=True)
        case Many(shape="dict", items=items, names=names):
            return {name: _value(item, store) for name, item in zip(names, items, strict=True)}
        case Many(shape=shape, items=items):
            found = [_value(item, store) for item in items]
            return tuple(found) if shape == "tuple" else found
        case Secret(name=name):
            return os.environ.get(name, "")
        case _:
            raise NotFoundError("an input was never made", hint="debug the task that should have made it")
