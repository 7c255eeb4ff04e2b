"""The bundle files of a pipeline in a notebook: the pickled pipeline, and the source of the notebook's cells."""

from __future__ import annotations

import ast
import io
import json
import linecache
import re
from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from types import CodeType
from typing import Any, ClassVar

import cloudpickle

from headrace.define.pipeline import PipelineFunction
from headrace.errors import ProjectError
from headrace.operate.notebook.display import shell
from headrace.work.notebook import CELLS, NAMES, NOTEBOOK, in_file


def notebook_files(pipeline: PipelineFunction[Any]) -> dict[str, bytes]:
    """Return the files that a bundle has for a notebook, by file name: the pickled pipeline, and the sources and names
    of the cells.

    Raises:
        ProjectError: the pipeline uses an object that can't be sent to another process.
    """
    pickled, cells = io.BytesIO(), _cells()
    try:
        _Pickler(pickled).dump((pipeline, _beside(pipeline.function.__globals__, cells.values())))
    except Exception as error:  # pickling runs code of the objects that it reaches
        raise ProjectError(
            f"pipeline `{pipeline.name}` reaches something that can't be sent to a worker: {error}",
            hint="make connections, locks and open files inside of stages",
        ) from error
    names = {file: name for file in cells if (name := _name(file))}
    return {NOTEBOOK: pickled.getvalue(), CELLS: json.dumps(cells).encode(), NAMES: json.dumps(names).encode()}


def _beside(scope: Mapping[str, Any], cells: Iterable[str]) -> dict[str, Any]:
    """Return the globals, by name, that the cells use in decorators, base classes, annotations and defaults.

    Functions don't read these globals when they run. But a function's fingerprint includes them, whether the function
    is in a notebook or in a file.
    """
    named: set[str] = set()
    for cell in cells:
        with suppress(SyntaxError, ValueError):
            named |= {name for node in ast.walk(ast.parse(cell)) for name in _names_beside(node)}
    values = {}
    for name in sorted(named & set(scope)):
        with suppress(Exception):  # pickling runs the object's own code; if it fails, the name counts as missing
            _Pickler(io.BytesIO()).dump(scope[name])
            values[name] = scope[name]
    return values


def _names_beside(node: ast.AST) -> Iterator[str]:
    beside: list[ast.expr | None] = []
    match node:
        case ast.FunctionDef(args=args) | ast.AsyncFunctionDef(args=args):
            given = (*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg)
            beside += [*node.decorator_list, node.returns, *args.defaults, *args.kw_defaults]
            beside += [each.annotation for each in given if each is not None]
        case ast.ClassDef():
            beside += [*node.decorator_list, *node.bases, *(each.value for each in node.keywords)]
        case ast.AnnAssign():
            beside += [node.annotation]
    for each in beside:
        for inner in ast.walk(each) if each is not None else ():
            if isinstance(inner, ast.Name):
                yield inner.id
            elif isinstance(inner, ast.Constant) and isinstance(inner.value, str):
                yield from re.findall(r"[^\W\d]\w*", inner.value)


def _code(code: CodeType) -> tuple[Any, ...]:
    make, arguments, *_ = cloudpickle.CloudPickler.dispatch_table[CodeType](code)
    return in_file, (make, arguments, code.co_filename)


class _Pickler(cloudpickle.CloudPickler):  # type: ignore[misc]  # cloudpickle has no types
    """A pickler that keeps the file name of code, because this name tells which cell the code is in. cloudpickle 3.1.3
    leaves the name out."""

    dispatch_table: ClassVar[Any] = ChainMap({CodeType: _code}, cloudpickle.CloudPickler.dispatch_table)


def _cells() -> dict[str, str]:
    """Return the sources of the cells that have run, by the file names that Python gave to their code."""
    return {
        name: "".join(entry[2])
        for name, entry in list(linecache.cache.items())
        if len(entry) == 4 and ("ipykernel_" in name or name.startswith("<ipython-input"))
    }


def _name(file: str) -> str | None:
    """Return the name by which IPython's own tracebacks call a cell, such as `In[3]`. Return None if it is unknown."""
    named = getattr(getattr(shell(), "compile", None), "format_code_name", None)
    found = None if named is None else named(file)
    return None if found is None else str(found[1])
