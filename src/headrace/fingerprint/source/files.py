"""Source files. Each is read, parsed and compiled only once. For a loaded code object, this module finds the definition
in its source file."""

from __future__ import annotations
import __future__

import ast
import linecache
import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from types import CodeType
from typing import NamedTuple

from headrace.fingerprint.project_roots import Place, ProjectRoots
from headrace.fingerprint.source.code_piece import Names, Piece
from headrace.fingerprint.source.normal_form import deep, piece
from headrace.fingerprint.source.top_level import TopLevel

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
FUTURES = sum(getattr(__future__, name).compiler_flag for name in __future__.all_feature_names)


class Found(NamedTuple):
    """The definition of a code object: the definition's syntax, the code object that it compiles to now, and the code
    object that contains this one."""

    node: Definition
    code: CodeType
    around: CodeType | None


class Source:
    """The source of one file or notebook cell.

    `path` is the file name that the code objects of this source have. `place` is None for code without a file.
    """

    def __init__(self, path: str, text: str, place: Place | None, flags: int = 0) -> None:
        self.path = path
        self.text = text
        self.place = place
        self.tree = ast.parse(text)
        self._flags = flags
        self._pieces: dict[tuple[object, ...], Piece] = {}

    @cached_property
    def code(self) -> CodeType:
        """The compiled module."""
        flags = self._flags | (0 if self.place else ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        compiled: CodeType = compile(self.tree, self.path, "exec", flags=flags, dont_inherit=True)
        return compiled

    @property
    def _apart(self) -> list[CodeType]:
        """The statements of a cell, compiled one by one as IPython does. The result differs from that of the whole
        cell: Python compiles a call of a module's attribute in another way if the module is imported in the same unit.
        """
        flags = self._flags | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        units = [ast.Module([unit], []) for unit in self.tree.body]
        return [compile(unit, self.path, "exec", flags=flags, dont_inherit=True) for unit in units]

    @cached_property
    def top(self) -> TopLevel:
        """The source's top-level statements, by name."""
        return TopLevel(self.tree)

    def where(self, node: ast.AST) -> str:
        """Return `path:first-last`, the lines of a definition. For a cell, `path` is its file name."""
        return f"{self.place.relative if self.place else self.path}:{first_line(node)}-{getattr(node, 'end_lineno', 0)}"

    def where_all(self, nodes: list[ast.stmt]) -> str | None:
        """Return `path:first-last`, the lines of several statements, as `where` does; None if there are none."""
        return f"{self.where(nodes[0]).rpartition('-')[0]}-{nodes[-1].end_lineno}" if nodes else None

    def code_of(self, node: ast.AST) -> CodeType | None:
        """Return the code that a definition in this source compiled to, or None."""
        name = getattr(node, "name", None)
        codes = (code for pairs in self._codes.values() for code, _ in pairs)
        return next(
            (
                candidate
                for candidate in codes
                if candidate.co_name == name and candidate.co_firstlineno == first_line(node)
            ),
            None,
        )

    def find(self, code: CodeType) -> Found | None:
        """Return the definition of a loaded code object, or None if the source no longer compiles to this code."""
        candidates = self._codes.get(code.co_qualname, ())
        same = [pair for pair in candidates if pair[0] == code]
        if not same:
            loaded = bare(code)
            same = [pair for pair in candidates if bare(pair[0]) == loaded]
        for compiled, around in same:
            node = self.node(compiled)
            if node is not None:
                return Found(node, compiled, around)
        return None

    def classes(self, qualname: str) -> list[Found]:
        """Return all definitions of classes with this name. There are two, for example, if a condition chooses between
        them."""
        by_node: dict[int, Found] = {}
        for code, around in self._codes.get(qualname, ()):
            node = self.node(code)
            if isinstance(node, ast.ClassDef):
                by_node.setdefault(id(node), Found(node, code, around))
        return list(by_node.values())

    def node(self, code: CodeType) -> Definition | None:
        """Return the syntax of the definition that compiled to the code object `code` of this source, or None."""
        if code.co_name != "<lambda>":
            return self._definitions.get((code.co_name, code.co_firstlineno))
        spans = [span for span in code.co_positions() if span[0] is not None and span[1] is not None and span[3]]
        inside = [
            node
            for node in self._lambdas.get(code.co_firstlineno, ())
            if all(_within(span, node) for span in spans) and _arguments(node) == code.co_varnames[: _count(code)]
        ]
        return max(inside, key=lambda node: (node.lineno, node.col_offset), default=None)

    def is_class(self, code: CodeType) -> bool:
        """Return whether code is the body of a class."""
        return isinstance(self.node(code), ast.ClassDef)

    def evaluated_in(self, found: Found) -> CodeType | None:
        """Return the code that evaluates a definition's decorators. This is the code around the definition, but not the
        code that Python generates for type parameters."""
        around = found.around
        while around is not None and around.co_name.startswith("<generic parameters"):
            around = self.around(around)
        return around

    def around(self, code: CodeType) -> CodeType | None:
        """Return the code around a code object of this source."""
        return next((around for candidate, around in self._codes.get(code.co_qualname, ()) if candidate is code), None)

    def piece(self, nodes: Sequence[ast.AST], names: Names) -> Piece:
        """Return the normal form of some nodes of this source. It is computed once, and then kept."""
        key = (type(names), *map(id, nodes))
        if key not in self._pieces:
            self._pieces[key] = piece(nodes, names)
        return self._pieces[key]

    @cached_property
    def _codes(self) -> dict[str, list[tuple[CodeType, CodeType]]]:
        codes: dict[str, list[tuple[CodeType, CodeType]]] = {}
        rest = [self.code] if self.place else [*self._apart, self.code]
        while rest:
            around = rest.pop()
            for constant in around.co_consts:
                if isinstance(constant, CodeType):
                    codes.setdefault(constant.co_qualname, []).append((constant, around))
                    rest.append(constant)
        return codes

    @cached_property
    def _definitions(self) -> dict[tuple[str, int], Definition]:
        return {(node.name, first_line(node)): node for node in definitions(self.tree)}

    @cached_property
    def _lambdas(self) -> dict[int, list[ast.Lambda]]:
        by_line: dict[int, list[ast.Lambda]] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Lambda):
                by_line.setdefault(node.lineno, []).append(node)
        return by_line


class Sources:
    """Finds the source files and cells of a process, by the file names that their code objects have."""

    def __init__(self, roots: ProjectRoots) -> None:
        self._roots = roots
        self._read: dict[tuple[str, int], Source | None] = {}

    def of_code(self, code: CodeType, module_globals: dict[str, object]) -> Source | None:
        """Return the source that a loaded code object came from, or None if it isn't available."""
        path = code_path(code, module_globals)
        place = self._roots.place(path)
        # cells of a notebook share the `from __future__` imports of the cells before them
        flags = 0 if place else code.co_flags & FUTURES
        return self.at(path, flags, module_globals)

    def has_text(self, code: CodeType, module_globals: dict[str, object]) -> bool:
        """Return whether the file or cell that a code object names can be read as text, even if it isn't Python."""
        return self.text(code_path(code, module_globals), module_globals) is not None

    def of_globals(self, module_globals: dict[str, object]) -> Source | None:
        """Return the source of the loaded module with the globals `module_globals`. Return None for a notebook, which
        has a source for each cell."""
        path = module_globals.get("__file__")
        return self.at(os.path.abspath(path)) if isinstance(path, str) and path.endswith(".py") else None

    def at(self, path: str, flags: int = 0, module_globals: dict[str, object] | None = None) -> Source | None:
        """Return the source at a path, or None if it can't be read or isn't Python."""
        key = (path, flags)
        if key not in self._read:
            self._read[key] = self._load(path, flags, module_globals)
        return self._read[key]

    def is_cell(self, path: str) -> bool:
        """Return whether `path`, a file name from a code object, is the name of a notebook cell."""
        if path in self._roots.extra_sources:
            return True
        entry = linecache.cache.get(path)
        made = path == "<string>" or "generated" in path
        return entry is not None and len(entry) == 4 and entry[1] is None and not made

    def cells_that_bind(self, name: str) -> list[Source]:
        """Return the notebook cells that bind a name, in the order in which they ran."""
        paths = [*self._roots.extra_sources, *(path for path in list(linecache.cache) if self.is_cell(path))]
        sources = [source for path in dict.fromkeys(paths) if (source := self.at(path)) is not None]
        return [source for source in sources if name in source.top.binders]

    def _load(self, path: str, flags: int, module_globals: dict[str, object] | None) -> Source | None:
        text = self.text(path, module_globals)
        if text is None:
            return None
        try:
            with deep():
                return Source(path, text, self._roots.place(path), flags)
        except (SyntaxError, ValueError):
            return None

    def text(self, path: str, module_globals: dict[str, object] | None = None) -> str | None:
        """Return the text of a file or cell, or None."""
        if path in self._roots.extra_sources:
            return self._roots.extra_sources[path]
        if os.path.isfile(path):
            return read_python(path)
        lines = linecache.getlines(path, module_globals)
        return "".join(lines) or None


def read_python(path: str) -> str | None:
    """Return the text of a Python file, decoded as the file declares. Return None if the file can't be read."""
    try:
        with open(path, "rb") as file:
            data = file.read()
        if data.isascii():
            return data.decode("ascii").replace("\r\n", "\n")
        return _decoded(data)
    except (OSError, UnicodeDecodeError, SyntaxError, LookupError):
        return None


def _decoded(data: bytes) -> str:
    import io  # noqa: PLC0415  only sources that aren't ASCII need these
    import tokenize  # noqa: PLC0415

    return io.TextIOWrapper(io.BytesIO(data), tokenize.detect_encoding(io.BytesIO(data).readline)[0]).read()


def code_path(code: CodeType, module_globals: dict[str, object]) -> str:
    """Return the absolute path of the file that a code object came from. If there is no such file, return the file name
    that the code object has."""
    path = code.co_filename
    if os.path.isabs(path) or path.startswith("<"):
        return path
    module_file = module_globals.get("__file__")
    if isinstance(module_file, str) and os.path.basename(module_file) == os.path.basename(path):
        return os.path.abspath(module_file)
    return os.path.abspath(path) if os.path.exists(path) else path


def bare(code: CodeType) -> tuple[object, ...]:
    """Return the contents of a code object without its line numbers. So the result stays the same if the code moves to
    other lines."""
    return (
        code.co_code,
        code.co_exceptiontable,
        code.co_names,
        code.co_varnames,
        code.co_freevars,
        code.co_cellvars,
        code.co_argcount,
        code.co_posonlyargcount,
        code.co_kwonlyargcount,
        code.co_flags,
        tuple(_bare_constant(constant) for constant in code.co_consts),
    )


def _bare_constant(value: object) -> object:
    if isinstance(value, CodeType):
        return bare(value)
    if isinstance(value, tuple):
        return ("tuple", *(_bare_constant(item) for item in value))
    if isinstance(value, frozenset):
        return ("frozenset", frozenset(_bare_constant(item) for item in value))
    return (type(value).__name__, repr(value))


def definitions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """Yield every function and class that is defined by a `def` or `class` statement in a tree."""
    rest: list[ast.AST] = [tree]
    while rest:
        node = rest.pop()
        if isinstance(node, DEFINITIONS):
            yield node
        rest.extend(inner_statements(node))


def inner_statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the statements directly inside a node, and its `except` and `case` clauses."""
    for name in ("body", "orelse", "finalbody", "handlers", "cases"):
        inner = getattr(node, name, None)
        if isinstance(inner, list):
            yield from inner


def first_line(node: ast.AST) -> int:
    """Return the first line of a definition, including its decorators."""
    decorators = getattr(node, "decorator_list", None)
    line: int = decorators[0].lineno if decorators else getattr(node, "lineno", 0)
    return line


def _within(span: tuple[int | None, int | None, int | None, int | None], node: ast.Lambda) -> bool:
    line, end_line, column, end_column = (number or 0 for number in span)
    start = (node.lineno, node.col_offset)
    end = (node.end_lineno or 0, node.end_col_offset or 0)
    return start <= (line, column) and (end_line, end_column) <= end


def _arguments(node: ast.Lambda) -> tuple[str, ...]:
    arguments = node.args
    plain = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return tuple(argument.arg for argument in plain)


def _count(code: CodeType) -> int:
    return code.co_argcount + code.co_kwonlyargcount
