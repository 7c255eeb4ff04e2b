"""Finds what a module does while it is loaded, besides binding its own names: registering, patching, calling.

When a stage runs an import that stands inside a function, Python runs the bodies of the imported module, of the
packages around it, and of all modules that these import. To compute a fingerprint, Headrace doesn't load these modules;
it only reads their source. So the effects of their bodies on each other must be read from the source too.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct, field

from headrace.fingerprint.names import StaticNames
from headrace.fingerprint.reached_code import ReachedCode
from headrace.fingerprint.source.changes import root_of
from headrace.fingerprint.source.code_piece import chain_of
from headrace.fingerprint.source.files import DEFINITIONS, Source
from headrace.fingerprint.source.imports import imports_of
from headrace.fingerprint.source.normal_form import IMPORTERS
from headrace.fingerprint.source.top_level import executed
from headrace.fingerprint.unloaded.target import Target, Targets

METACLASSES = frozenset({"type", "ABCMeta", "EnumMeta", "EnumType"})


class Act(Struct, eq=False):
    """A statement in a module's body that may change values of other modules.

    `touches` are the files of the modules that define what the statement calls or stores into. `own` is True if the
    statement calls code of its own module, which may do anything.
    """

    statement: ast.stmt
    touches: set[str] = field(default_factory=set)
    own: bool = False


class Loading:
    """Finds what modules do while they are loaded."""

    def __init__(self, reach: ReachedCode, targets: Targets) -> None:
        self._reach = reach
        self._targets = targets
        self._acts: dict[str, list[Act]] = {}
        self._imports: dict[str, list[str]] = {}

    def acting(self, targets: Sequence[Target], importer: str | None) -> list[tuple[str, list[ast.stmt]]]:
        """Return the statements that run when `targets` are imported and that may change values of other modules. They
        are grouped by file, in the order in which the files are loaded.

        The modules that the file `importer` itself loads come first. Of their statements, only those that may have
        changed the targets are returned.
        """
        files = self._loaded([file for each in targets for file in self._files(each)])
        before = [each for each in self._loaded([importer] if importer is not None else []) if each not in files]
        acting = [
            (file, [act.statement for act in self._of(file) if self._reaches(act, file, files)]) for file in before
        ]
        acting += [(file, [act.statement for act in self._of(file)]) for file in files]
        return [(file, statements) for file, statements in acting if statements]

    def elsewhere(self, importer: str, home: str) -> Iterator[tuple[str, ast.stmt]]:
        """Yield the statements of other modules that may change values of the module `home`. Only modules that
        `importer` loads are searched. Each statement is yielded with its file."""
        for file in self._loaded([importer]):
            for act in self._of(file):
                if home in act.touches and file != home:
                    yield file, act.statement

    def _reaches(self, act: Act, file: str, files: dict[str, None]) -> bool:
        return not act.touches.isdisjoint(files) or (
            act.own and any(imported in files for imported in self._imported(file))
        )

    def _loaded(self, files: Sequence[str]) -> dict[str, None]:
        """Return `files`, and the files that are imported while these are loaded. A file comes after those that it
        imports."""
        done: dict[str, None] = {}
        seen: set[str] = set()
        rest = [(file, False) for file in reversed(files)]
        while rest:
            file, is_done = rest.pop()
            if is_done:
                done[file] = None
            elif file not in seen:
                seen.add(file)
                rest.append((file, True))
                rest += [(imported, False) for imported in reversed(self._imported(file))]
        return done

    def _files(self, target: Target) -> Iterator[str]:
        """Yield the files that run when a target is imported: those of the packages around it, then its own."""
        if not target.is_project:
            return
        names = target.module.split(".")
        for length in range(1, len(names)):
            package = self._targets.locate(".".join(names[:length]))
            if package.path is not None:
                yield package.path
        if target.path is not None:
            yield target.path

    def _imported(self, file: str) -> list[str]:
        if file not in self._imports:
            source = self._reach.sources.at(file)
            targets = self._import_targets(source) if source is not None else ()
            self._imports[file] = list(dict.fromkeys(path for target in targets for path in self._files(target)))
        return self._imports[file]

    def _import_targets(self, source: Source) -> Iterator[Target]:
        for statement in source.tree.body:
            for node in executed(statement):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    for imported in imports_of(node):
                        yield from self._targets.all(imported, source)
                elif isinstance(node, ast.Call) and (module := _literal_import(node)) is not None:
                    yield self._targets.locate(module)

    # Statements that act

    def _of(self, file: str) -> list[Act]:
        if file not in self._acts:
            source = self._reach.sources.at(file)
            acts = [self._act(source, statement) for statement in source.tree.body] if source is not None else []
            self._acts[file] = [act for act in acts if act.own or act.touches]
        return self._acts[file]

    def _act(self, source: Source, statement: ast.stmt) -> Act:
        act = Act(statement)
        for node in executed(statement):
            if isinstance(node, ast.Call) and not self._is_ours(source, node.func):
                self._uses(act, source, root_of(node.func))
                if self._widens(source, node):
                    act.own = True
                elif isinstance(statement, ast.Expr):
                    self._given(act, source, node)
            elif isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
                self._uses(act, source, root_of(node), stores=True)
            elif isinstance(node, DEFINITIONS):
                for decorator in node.decorator_list:
                    if not isinstance(decorator, ast.Call) and not self._is_ours(source, decorator):
                        self._uses(act, source, root_of(decorator))
                if isinstance(node, ast.ClassDef):
                    act.touches.update(self._registering_bases(source, node))
        return act

    def _uses(self, act: Act, source: Source, name: str | None, *, stores: bool = False) -> None:
        """Record in `act` the modules from which the value of `name` comes. `name` is the root of the expression that a
        statement calls or stores into."""
        rest, seen = [name], set[str | None]()
        while rest:
            name = rest.pop()
            if name is None or name in seen:
                continue
            seen.add(name)
            for each in source.top.imports.get(name, ()):
                paths = {at.path for at in self._targets.all(each, source) if at.path is not None}
                act.touches |= paths
                act.own |= stores and not paths
            binders = source.top.binders.get(name, [])
            act.own |= any(isinstance(each, DEFINITIONS) for each in binders)
            rest += [inner for each in binders if not isinstance(each, DEFINITIONS) for inner in _read(each)]
            if not binders and not hasattr(builtins, name):
                stars = [self._targets.all(each, source)[0] for each in source.top.stars]
                act.touches.update(at.path for at in stars if at.path is not None)

    def _given(self, act: Act, source: Source, call: ast.Call) -> None:
        """Record in `act` the modules from which the arguments of a library call come, such as a function that the
        library will call later."""
        for argument in (*call.args, *(keyword.value for keyword in call.keywords)):
            for name in _read(argument):
                self._uses(act, source, name)

    def _widens(self, source: Source, call: ast.Call) -> bool:
        """Return whether a call may import or run any code at all, such as `exec`, or `import_module` with a computed
        name."""
        chain = chain_of(call.func)
        if chain is None or _literal_import(call) is not None:
            return False
        if chain[0] not in source.top.binders:
            return self._reach.widens(getattr(builtins, chain[0], None)) is not None
        targets = [at for imported in source.top.imported(chain[0]) or () for at in self._targets.all(imported, source)]
        return any(self._reach.widens_by_name(at.module, at.name or chain[-1]) for at in targets if not at.is_project)

    def _is_ours(self, source: Source, called: ast.expr) -> bool:
        chain = chain_of(called.func if isinstance(called, ast.Call) else called)
        return chain is not None and StaticNames(source.top).ours(chain)

    def _registering_bases(self, source: Source, statement: ast.ClassDef) -> Iterator[str]:
        """Yield the files of a class's bases and metaclasses, but only of those that run code of their own when the
        class is made."""
        rest: list[tuple[Source, ast.expr]] = [(source, base) for base in _made_from(statement)]
        seen: set[int] = set()
        while rest:
            at, expression = rest.pop()
            for inner, definition in self._definitions(at, expression):
                if id(definition) not in seen:
                    seen.add(id(definition))
                    rest += [(inner, base) for base in _made_from(definition)]
                    if _is_told(definition):
                        yield inner.path

    def _definitions(self, source: Source, expression: ast.expr) -> Iterator[tuple[Source, ast.ClassDef]]:
        """Yield the definitions of the class that an expression names. Imports are followed to find them."""
        chain = chain_of(expression)
        rest = [(source, chain)] if chain is not None else []
        seen: set[tuple[str, tuple[str, ...]]] = set()
        while rest:
            at, chain = rest.pop()
            if (at.path, chain) in seen or not chain:
                continue
            seen.add((at.path, chain))
            for binder in at.top.binders.get(chain[0], ()):
                if isinstance(binder, ast.ClassDef):
                    yield at, binder
            for imported in at.top.imports.get(chain[0], ()):
                for target in self._targets.all(imported, at):
                    used = 1
                    while target.name is None and used < len(chain) and target.is_project:
                        target, used = self._targets.inside(target, chain[used]), used + 1
                    inner = self._reach.sources.at(target.path) if target.path is not None else None
                    if inner is not None and target.name is not None:
                        rest.append((inner, (target.name, *chain[used:])))


def _read(node: ast.AST) -> list[str]:
    return [inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Load)]


def _literal_import(call: ast.Call) -> str | None:
    chain = chain_of(call.func)
    first = call.args[0] if len(call.args) == 1 and not call.keywords else None
    is_import = chain is not None and chain[-1] in IMPORTERS
    return first.value if is_import and isinstance(first, ast.Constant) and isinstance(first.value, str) else None


def _made_from(statement: ast.ClassDef) -> Iterable[ast.expr]:
    return (*statement.bases, *(keyword.value for keyword in statement.keywords if keyword.arg == "metaclass"))


def _is_told(statement: ast.ClassDef) -> bool:
    """Return whether a class or metaclass runs code of its own when a class is derived from it."""
    names = {each.name for each in statement.body if isinstance(each, ast.FunctionDef)}
    is_meta = any((chain_of(each) or ("",))[-1] in METACLASSES for each in statement.bases)
    return bool(names & {"__init_subclass__", "__prepare__", "__new__"}) or (is_meta and "__init__" in names)
