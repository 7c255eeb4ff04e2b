"""Imports user code from the unpacked bundle."""

from __future__ import annotations

import importlib
import linecache
import os
import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from headrace.codec.classes import distribution
from headrace.define.pipeline import PipelineFunction
from headrace.define.stage import StageFunction
from headrace.errors import HeadraceError, ProjectError, meant, there
from headrace.fingerprint.project import Project
from headrace.spec.bundle import SUFFIXES
from headrace.spec.stage import Resources, function_place
from headrace.work.notebook import NOTEBOOK, cell_names, enter_notebook
from headrace.work.stop import StopAttempt

_OURS = str(Path(__file__).parents[1])


def enter_project(folder: Path, roots: Sequence[str]) -> Project:
    """Put the bundle's roots (the folders from which its modules are imported) first on the import path. If the bundle
    has a notebook, make this notebook `__main__`. Return the project that consists of this code."""
    sys.dont_write_bytecode = True  # the folder is shared, and never changes
    sys.path[:0] = [str((folder / root).resolve()) for root in roots]
    return Project([folder / root for root in roots], extra_sources=enter_notebook(folder))


def module_of(file: str, roots: Sequence[str]) -> str:
    """Return the module name of a file in a bundle. The name is relative to the longest root that contains the file."""
    holding = [root for root in roots if root == "." or file.startswith(f"{root}/")]
    root = max(holding, key=len, default=".")
    inner = file if root == "." else file[len(root) + 1 :]
    return inner.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def import_user(name: str, folder: Path) -> ModuleType:
    """Import and return a module of the bundle.

    Raises:
        ProjectError: the module can't be imported; the message says where and why.
    """
    try:
        return importlib.import_module(name)
    except HeadraceError as error:
        raise placed(error, folder) from error
    except BaseException as error:  # the module's body is user code
        if isinstance(error, KeyboardInterrupt | StopAttempt):
            raise
        raise ProjectError(f"can't import `{name}`: {describe(error, folder)}", hint=_import_hint(error)) from error


def find_pipeline(name: str, files: Sequence[str], roots: Sequence[str], folder: Path) -> PipelineFunction[Any]:
    """Return the pipeline with this name, from the files that may define it.

    Raises:
        ProjectError: none of the files defines it.
    """
    by_file = f"to name a pipeline of this file, write `{name}:NAME`" if name.endswith(".py") else None
    if not files:
        raise ProjectError(
            f"there is no pipeline `{name}`: the project has no `pipelines.py`",
            hint=by_file or "write one, list other files under `[project] pipelines`, or give `path/to/file.py:name`",
        )
    pipelines: dict[str, PipelineFunction[Any]] = {}
    for file in files:
        module = import_user("__main__" if file == NOTEBOOK else module_of(file, roots), folder)
        for value in vars(module).values():
            if isinstance(value, PipelineFunction):
                pipelines.setdefault(value.name, value)
        if name in pipelines:
            return pipelines[name]
    hint = meant(name, pipelines, there(pipelines) if pipelines else "decorate one with `@hr.pipeline`")
    if by_file is not None:
        hint = by_file + (f"; {there(pipelines)}" if name in files and pipelines else "")
    raise ProjectError(f"there is no pipeline `{name}` in {', '.join(f'`{file}`' for file in files)}", hint=hint)


def find_function(function: str, folder: Path) -> StageFunction[..., Any]:
    """Return the stage whose name `function` is `module:qualname`. If one function is declared as several stages, a
    suffix after `#` says which stage is meant.

    Raises:
        ProjectError: there is no object with this name, or it isn't a stage.
    """
    module, qualname = function_place(function)
    value: Any = import_user(module, folder)
    for part in qualname.split("."):
        value = getattr(value, part, None)
    if not isinstance(value, StageFunction):
        raise ProjectError(
            f"`{function}` is not a stage that a worker can import",
            hint="define stages at the top level of a module, under the function's own name",
        )
    return value


def describe(error: BaseException, folder: Path) -> str:
    """Return one line of text that describes an exception and names its place in the user's code."""
    if isinstance(error, SyntaxError):
        where = f" ({os.path.basename(error.filename)}:{error.lineno})" if error.filename else ""
        return _readable(f"{error.msg}{where}", folder)
    if isinstance(error, HeadraceError):
        return placed(error, folder).message
    message, place = _said(error), place_of(error, folder)
    return _readable(f"{_name(error)}: {message}{place}" if message else f"{_name(error)}{place}", folder)


def _said(error: BaseException) -> str:
    """Return an exception's message, cut to `LONGEST` characters. If getting the message raises an error, return a text
    that says so."""
    try:
        text = str(error)
    except BaseException as problem:  # noqa: BLE001  `__str__` is user code
        return f"(its message raised `{_name(problem)}`)"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}... ({len(text)} characters)"


def placed(error: HeadraceError, folder: Path) -> HeadraceError:
    """Return an error of Headrace with the place in the user's code added to its message, unless the message already
    names a place."""
    message = error.message if _TELLS_PLACE.search(error.message) else f"{error.message}{place_of(error, folder)}"
    return type(error)(_readable(message, folder), hint=error.hint)


def place_of(error: BaseException, folder: Path) -> str:
    """Return the innermost place in the user's code that an exception passed through, in the form ` (file.py:3)`, or
    ` (In[2]:3)` for a cell of a notebook. If it passed through no user code, return ""."""
    cells = cell_names(folder)
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename in cells:
            return f" ({cells[frame.filename]}:{frame.lineno})"
        if frame.filename.startswith(f"{folder}/"):
            return f" ({os.path.relpath(frame.filename, folder)}:{frame.lineno})"
    return ""


LONGEST = 2000
"""The most characters of an exception's message that are kept. The traceback contains the message too, and there it may
be longer."""
LONGEST_TRACEBACK = 50_000
_TELLS_PLACE = re.compile(r"\([^()]+:\d+\)")


def _readable(text: str, folder: Path) -> str:
    """Return a text with paths and names of cells as the user knows them. Characters that can't be encoded are
    escaped."""
    for file, name in cell_names(folder).items():
        text = text.replace(file, name).replace(os.path.basename(file), name)
    return text.replace(f"{folder}/", "").encode(errors="backslashreplace").decode()


def user_traceback(error: BaseException, folder: Path) -> str:
    """Return an exception's traceback without Headrace's own frames, and with paths as the user knows them."""
    lines = traceback.TracebackException.from_exception(error)
    seen: set[int] = set()
    rest = [lines]
    while rest:
        current = rest.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        kept = [frame for frame in current.stack if not frame.filename.startswith(_OURS)]
        current.stack = traceback.StackSummary.from_list(kept)
        rest += [other for other in (current.__cause__, current.__context__) if other is not None]
    linecache.checkcache()
    text = _readable("".join(lines.format()), folder)
    return text if len(text) <= LONGEST_TRACEBACK else f"...{text[-LONGEST_TRACEBACK:]}"


def _name(error: BaseException) -> str:
    kind = type(error)
    return (
        kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    )


_STRANGE_FIELD = re.compile(r"Unexpected keyword argument '(\w+)'")


def _import_hint(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return "fix the line, and run again"
    if isinstance(error, ModuleNotFoundError) and error.name:
        install = f"install `{distribution(error.name)}`"
        return f"{install}, or add its file to the project (data and ignored files are not in a bundle)"
    if isinstance(error, ImportError) and "partially initialized" in str(error):
        return "two modules import each other: move what both need into a third"
    if isinstance(error, FileNotFoundError) and isinstance(error.filename, str):
        name = os.path.basename(error.filename)
        suffix = os.path.splitext(name)[1]
        never = suffix and suffix not in SUFFIXES
        why = (
            f"`{suffix}` files are data and never in a bundle"
            if never
            else "large or ignored files are never in a bundle"
        )
        return f'{why}: give it to a stage as `hr.File("{name}")`, or read it by `ingest.files`'
    strange = _STRANGE_FIELD.match(str(error))
    careful = "a module is imported before anything runs: it must import without side effects that fail"
    return meant(strange.group(1), Resources.__struct_fields__, careful) if strange else careful
