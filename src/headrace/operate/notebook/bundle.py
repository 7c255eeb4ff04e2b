"""The bundle files of a pipeline in a notebook: the pickled pipeline, and the source of the statements that it
reaches."""

from __future__ import annotations

import ast
import functools
import inspect
import io
import json
import linecache
import re
import sys
from collections import ChainMap, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import CodeType, FunctionType, MappingProxyType
from typing import Any, BinaryIO, ClassVar
from weakref import WeakKeyDictionary

import cloudpickle

from headrace.define.pipeline import PipelineFunction
from headrace.define.stage import StageFunction
from headrace.errors import ProjectError
from headrace.fingerprint.fingerprint import counts_by_source
from headrace.fingerprint.names import global_names
from headrace.fingerprint.project import Project
from headrace.fingerprint.python_objects import instance_dict, is_a
from headrace.fingerprint.source.files import Source, first_line
from headrace.fingerprint.source.names_in_strings import named
from headrace.operate.notebook.display import shell
from headrace.work.notebook import CELLS, NAMES, NOTEBOOK, caching, decorated, in_file

Statements = Mapping[str, list[ast.stmt]]
"""Top-level statements by cell."""


def notebook_files(pipeline: PipelineFunction[Any], root: Path) -> dict[str, bytes]:
    """Return the files that a bundle has for a notebook, by file name: the pickled pipeline, and the sources and names
    of the cells. Of the sources, only the statements that the pipeline reaches are kept, since others may hold secrets
    or data.

    Raises:
        ProjectError: the pipeline uses an object that can't be sent to another process, such as IPython's shell.
    """
    scope = pipeline.function.__globals__
    cells = _Cells(Project([root], extra_sources=_executed()), scope)
    beside: dict[str, Any] = {}
    while True:
        pickled = io.BytesIO()
        pickler = _Pickler(pickled)
        try:
            pickler.dump((pipeline, beside))
        except ProjectError:
            raise
        except Exception as error:  # pickling runs code of the objects that it reaches
            raise ProjectError(
                f"pipeline `{pipeline.name}` reaches something that can't be sent to a worker: {error}",
                hint="make connections, locks and open files inside of stages",
            ) from error
        reached = cells.reached(pickler, beside)
        wider = _beside(scope, (statement for each in reached.values() for statement in each))
        if wider.keys() == beside.keys():
            break
        beside = wider
    sources = cells.only(reached)
    names = {file: name for file in sources if (name := _name(file))}
    return {NOTEBOOK: pickled.getvalue(), CELLS: json.dumps(sources).encode(), NAMES: json.dumps(names).encode()}


class _Cells:
    """The cells that have run, and the statements in them that a pickled pipeline reaches."""

    def __init__(self, project: Project, scope: Mapping[str, Any]) -> None:
        self._project = project
        self._scope = scope
        self._by_source: dict[str, bool] = {}

    def reached(self, pickler: _Pickler, beside: Iterable[str]) -> Statements:
        """Return, by cell, the statements that define the functions and classes that `pickler` has pickled. If a
        fingerprint can't read the value of a global, also return the statements that make or use this global. Only
        globals are considered whose names are in `beside` or are read by pickled code."""
        found: dict[str, dict[int, ast.stmt]] = defaultdict(dict)
        for code in pickler.codes:
            found[code.co_filename].update((id(each), each) for each in self._around(code))
        classes = pickler.classes_without_code()
        names = {*beside, *(name for code in pickler.codes for name in global_names(code).read)} & set(self._scope)
        by_source = {
            name for name in names if any(self._scope[name] is cls for cls in classes) or self._counts_by_source(name)
        }
        for name in {*by_source, *(cls.__qualname__.partition(".")[0] for cls in classes)}:
            for source in self._project.sources.cells_that_bind(name)[-1:]:
                found[source.path].update((id(each), each) for each in _makers(source, name))
        return {cell: list(statements.values()) for cell, statements in found.items()}

    def only(self, reached: Statements) -> dict[str, str]:
        """Return the text of each cell that has statements in `reached`, by the file name that Python gave to the
        cell's code. The text has no other statements."""
        texts = self._project.roots.extra_sources.items()
        return {cell: _only(text, reached[cell]) for cell, text in texts if reached.get(cell)}

    def _around(self, code: CodeType) -> Iterator[ast.stmt]:
        """Yield the top-level statement of a cell that contains `code`. If `code` isn't from a cell, yield nothing."""
        cell = code.co_filename
        source = self._project.sources.at(cell) if cell in self._project.roots.extra_sources else None
        if source is None:
            return
        place = _place(source, code)
        for statement in source.tree.body:
            start, end = _span(statement)
            if start <= place <= end:
                yield statement

    def _counts_by_source(self, name: str) -> bool:
        if name not in self._by_source:
            self._by_source[name] = counts_by_source(self._scope[name], self._project)
        return self._by_source[name]


def _place(source: Source, code: CodeType) -> tuple[int, int]:
    """Return a line and column of the definition that code of a cell comes from."""
    inside = [(line, column) for line, _, column, end in code.co_positions() if line and column is not None and end]
    if inside:
        return min(inside)
    node = source.node(code)  # as code has no columns if Python was started with `-X no_debug_ranges`
    return (code.co_firstlineno, 0) if node is None else (node.lineno, node.col_offset)


def _only(text: str, statements: Iterable[ast.stmt]) -> str:
    """Return a cell's text with only `statements` in it, each at its own line and column."""
    lines = text.encode().split(b"\n")  # Python counts columns in bytes
    kept = [b""] * len(lines)
    for (first, column), (last, end) in sorted(map(_span, statements)):
        # `0;` stands for statements that are left out before this one, since Python refuses spaces there
        before = (kept[first - 1] or b"0").ljust(column - 1) + b";" if column else b""
        own = [*lines[first - 1 : last - 1], lines[last - 1][:end]]
        kept[first - 1 : last] = [before + own[0][column:], *own[1:]]
    return b"\n".join(kept).decode()


def _span(statement: ast.stmt) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the line and column at which a statement begins, and those at which it ends."""
    end = statement.end_lineno or 0, statement.end_col_offset or 0
    return (first_line(statement), statement.col_offset), end


def _makers(source: Source, name: str) -> list[ast.stmt]:
    """Return a cell's statements that make the class or value `name`. If they aren't all `class` statements, also
    return the statements that use `name`, because these may change the value."""
    binders = source.top.binders[name]
    return binders if all(isinstance(each, ast.ClassDef) for each in binders) else source.top.statements(name)


def _beside(scope: Mapping[str, Any], statements: Iterable[ast.stmt]) -> dict[str, Any]:
    """Return the globals, by name, that statements use in decorators, base classes, annotations and defaults.

    Functions don't read these globals when they run. But a function's fingerprint includes them, whether the function
    is in a notebook or in a file.
    """
    names = {name for statement in statements for node in ast.walk(statement) for name in _names_beside(node)}
    values = {}
    for name in sorted(names & set(scope)):
        with suppress(Exception):  # pickling runs the object's own code; if it fails, the name counts as missing
            _Pickler(io.BytesIO()).dump(scope[name])
            values[name] = scope[name]
    return values


def _names_beside(node: ast.AST) -> Iterator[str]:
    beside: list[ast.expr | None] = []
    hints: list[ast.expr | None] = []
    match node:
        case ast.FunctionDef(args=args) | ast.AsyncFunctionDef(args=args):
            given = (*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg)
            beside += [*node.decorator_list, *args.defaults, *args.kw_defaults]
            hints += [node.returns, *(each.annotation for each in given if each is not None)]
        case ast.ClassDef():
            beside += [*node.decorator_list, *node.bases, *(each.value for each in node.keywords)]
        case ast.AnnAssign():
            hints += [node.annotation]
    for inner in _inside(beside + hints):
        if isinstance(inner, ast.Name):
            yield inner.id
    yield from (chain[0] for chain in named(_texts(beside)))
    for text in _texts(hints):
        yield from re.findall(r"[^\W\d]\w*", text)


def _texts(expressions: Iterable[ast.expr | None]) -> list[str]:
    constants = (each.value for each in _inside(expressions) if isinstance(each, ast.Constant))
    return [value for value in constants if isinstance(value, str)]


def _inside(expressions: Iterable[ast.expr | None]) -> Iterator[ast.AST]:
    for expression in expressions:
        yield from ast.walk(expression) if expression is not None else ()


def _code(code: CodeType) -> tuple[Any, ...]:
    make, arguments, *_ = cloudpickle.CloudPickler.dispatch_table[CodeType](code)
    return in_file, (make, arguments, code.co_filename)


_Cached = type(functools.cache(len))


def _empty_cache(function: FunctionType) -> None:
    """If `functools.singledispatch` made a function, empty its cache, so that earlier calls don't change its
    fingerprint. The same is done for a function that `functools.wraps` made around such a function, because both have
    the same cache."""
    cache = getattr(vars(function).get("_clear_cache"), "__self__", None)
    if is_a(cache, WeakKeyDictionary):
        cache.clear()


def _named_like(definition: Any) -> Any:
    """Return the object that an imported module has under the name of a stage, a pipeline or a function. Return None if
    there is no such object."""
    module = definition.__module__
    found: Any = None if module == "__main__" else sys.modules.get(module)
    for part in definition.__qualname__.split("."):
        found = inspect.getattr_static(found, part, None)
    return found


def _is_decorated(function: FunctionType) -> bool:
    """Return whether an imported module has, under a function's name, an object that a decorator made from this
    function."""
    return instance_dict(_named_like(function)).get("__wrapped__") is function


_IPYTHON = "IPython.core.interactiveshell"
"""The module that puts its own function `open` into each notebook. Workers get Python's `open` instead."""


class _Pickler(cloudpickle.CloudPickler):  # type: ignore[misc]  # cloudpickle has no types
    """A pickler that keeps the file name of code, because this name tells which cell the code is in. cloudpickle 3.1.3
    leaves the name out. `codes` holds all code that was pickled."""

    dispatch_table: ClassVar[Any] = ChainMap(
        {
            CodeType: _code,
            # `functools.singledispatch` keeps its functions in these two, which pickle itself doesn't support
            MappingProxyType: lambda each: (MappingProxyType, (dict(each),)),
            WeakKeyDictionary: lambda each: (WeakKeyDictionary, (dict(each),)),
        },
        cloudpickle.CloudPickler.dispatch_table,
    )

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.codes: list[CodeType] = []
        self._shell = shell()
        self._classes: list[type] = []

    def reducer_override(self, obj: Any) -> Any:
        """Return how to pickle an object. Python's `pickle` calls this method, under this name, for each object.

        Raises:
            ProjectError: the object is IPython's shell.
        """
        if obj is self._shell and obj is not None:
            raise self._shell_reached()
        if is_a(obj, CodeType):
            self.codes.append(obj)
        elif is_a(obj, type) and obj.__module__ == "__main__":
            self._classes.append(obj)
        elif is_a(obj, _Cached) and obj.__module__ == "__main__":
            return caching, (obj.__wrapped__, obj.cache_parameters())
        elif is_a(obj, FunctionType) and obj.__module__ == "__main__":
            _empty_cache(obj)
        elif is_a(obj, StageFunction | PipelineFunction) and _named_like(obj) is obj:
            return obj.__qualname__  # as cloudpickle does for a module's plain functions: a worker imports it
        elif is_a(obj, FunctionType) and _is_decorated(obj):
            return decorated, (obj.__module__, obj.__qualname__)
        elif is_a(obj, FunctionType) and obj.__globals__.get("__name__") == _IPYTHON and obj.__qualname__ == "open":
            return getattr, (io, "open")
        return super().reducer_override(obj)

    def _shell_reached(self) -> ProjectError:
        users = (code for code in reversed(self.codes) if "get_ipython" in code.co_names)
        user = next((f"`{code.co_qualname}`" for code in users), "the pipeline")
        return ProjectError(
            f"{user} uses a magic, such as `%time` or `!ls`, or calls `get_ipython()`: workers have no IPython shell",
            hint="use Python instead, such as `subprocess.run`; or call the magic in a cell outside of stages, and pass"
            " its result as an argument",
        )

    def classes_without_code(self) -> list[type]:
        """Return the notebook's classes that were pickled and have no functions. Such a class has no code that leads to
        its `class` statement."""
        with_code = {code.co_qualname.rpartition(".")[0] for code in self.codes}
        return [cls for cls in self._classes if cls.__qualname__ not in with_code]


def _executed() -> dict[str, str]:
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
