"""Keeps what one walk over a stage's code has found: the graph of nodes, and notes. Also makes the nodes for code
outside the project."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
from types import ModuleType
from typing import Literal

from blake3 import blake3

from headrace.codec.classes import public_name
from headrace.fingerprint.graph import Graph, Node
from headrace.fingerprint.names import StaticNames
from headrace.fingerprint.project import Project
from headrace.fingerprint.project_roots import file_of
from headrace.fingerprint.python_objects import is_a, module_of
from headrace.fingerprint.source.code_piece import Aside, Piece
from headrace.fingerprint.source.files import Source, read_python
from headrace.spec.code import Part, digest

Special = Literal["bundle", "module"]

_BUNDLE = {
    "builtins": ("eval", "exec", "__import__"),
    "importlib": ("import_module", "__import__", "reload", "util", "machinery"),
    "importlib.util": ("find_spec", "module_from_spec", "spec_from_file_location", "spec_from_loader"),
    "pkgutil": ("iter_modules", "walk_packages", "resolve_name", "find_loader", "get_loader"),
    "runpy": ("run_module", "run_path"),
    "sys": ("modules",),
    "gc": ("get_objects", "get_referrers"),
}
"""For each module, the names in it through which code can reach any other code by a computed name."""

NAME: frozenset[Aside] = frozenset({"name"})
READS_DOC = frozenset({"__doc__", "getdoc", "getsource", "getcomments"})
READS_ANNOTATIONS = frozenset(
    {"__annotations__", "__annotate__", "get_type_hints", "get_annotations", "signature", "getfullargspec", "Signature"}
)


class ReachedCode:
    """The code reached so far, and the notes about it.

    `acting` are the kinds of asides (docstrings, annotations) that are part of the digest. `read` are the kinds that
    some of the reached code reads.
    """

    def __init__(self, project: Project, acting: frozenset[Aside]) -> None:
        self.project = project
        self.homes = project.homes
        self.sources = project.sources
        self.graph = Graph()
        self.acting = acting
        self.read: set[Aside] = set()
        self.notes: dict[str, None] = {}
        self._reads_docs: dict[str, bool] = {}
        self._wide = {
            id(vars(sys.modules[module])[name])
            for module, names in _BUNDLE.items()
            for name in names
            if module in sys.modules and name in vars(sys.modules[module])
        }

    def note(self, text: str) -> None:
        """Add a note for the user: it says where the digest covers more or less code than the stage reaches."""
        self.notes[text] = None

    def never(self, node: Node, reason: str) -> None:
        """Record a reason why outputs that depend on `node` may not be reused."""
        node.never.append(reason)

    def text(self, piece: Piece, *, signature: bool = False, docs: bool = False, name: bool = True) -> str:
        """Return the normal form of a piece, with those asides (docstrings, annotations) that are part of the digest.
        Also record which kinds of asides the piece itself reads.

        `name=False` leaves out the function's name. This is for a stage that is declared under another name.
        """
        if not piece.words.isdisjoint(READS_DOC):
            self.read.add("doc")
        if not piece.words.isdisjoint(READS_ANNOTATIONS):
            self.read.add("annotation")
        kinds: frozenset[Aside] = self.acting | NAME if name else self.acting
        if signature or "annotation" in kinds:
            kinds = kinds | {"signature"}
        return piece.text(kinds | {"doc"} if docs else kinds)

    def reads_docs(self, value: object) -> bool:
        """Return whether an object of a distribution may read docstrings. This is assumed if the file of the object's
        module contains `__doc__`."""
        module = value.__name__ if is_a(value, ModuleType) else module_of(value)
        loaded = sys.modules.get(module) if isinstance(module, str) else None
        path = file_of(loaded) if loaded is not None and self.homes.of_module(module) == "other" else None
        return self.file_reads_docs(path)

    def file_reads_docs(self, path: str | None) -> bool:
        """Return whether a Python file contains `__doc__`."""
        if path is None or not path.endswith(".py"):
            return False
        if path not in self._reads_docs:
            text = read_python(path)
            self._reads_docs[path] = text is not None and "__doc__" in text
        return self._reads_docs[path]

    def is_notebook(self, scope: dict[str, object]) -> bool:
        """Return whether the globals `scope` are those of a notebook. The values in a notebook may differ from what its
        source makes, since cells may change them in any order."""
        return scope.get("__name__") == "__main__" and self.sources.of_globals(scope) is None

    # Code outside the project

    def symbol(self, name: str, module: str, path: str | None = None) -> Node:
        """Return the node of a name outside the project: its dotted name, and the distribution that it belongs to."""
        if self.homes.of_module(module) == "ours" and name.startswith(f"{module}."):
            name = public_name(module, name.removeprefix(f"{module}."))

        def fill(node: Node) -> None:
            node.own = f"name {name}"
            if self.homes.of_module(module) == "other":
                target = self.distribution(module, path)
                if target is not None:
                    node.edges["distribution"] = target

        return self.graph.node(("name", name, module), name, None, fill)

    def distribution(self, module: str, path: str | None = None) -> Node | None:
        """Return the node of the distribution that a module belongs to, or None."""
        path = path or self._file_upwards(module)
        installed = self.project.distributions.of_file(path) if path is not None else None
        if installed is None and path is not None:
            installed = self.project.distributions.of_top(module.partition(".")[0])
        if installed is None:
            if path is not None:
                self.note(f"`{module}` belongs to no installed distribution: only its name counts")
            return None
        return self.graph.leaf(
            ("distribution", installed.name),
            installed.name,
            "distribution",
            f"distribution {installed.digest}",
            installed.version,
        )

    def _file_upwards(self, module: str) -> str | None:
        loaded: ModuleType | None = sys.modules.get(module)
        path = file_of(loaded) if loaded is not None else None
        top = sys.modules.get(module.partition(".")[0])
        return path or (file_of(top) if top is not None else None)

    def missing(self, name: str) -> Node:
        """Return the node of a name that isn't bound to anything."""
        return self.graph.leaf(("missing", name), name, None, f"missing {name}")

    # Functions that can reach any code

    def widens(self, value: object) -> Special | None:
        """Return which code an object of the standard library can reach by a computed name: the whole project
        (`bundle`), only the module that uses the object (`module`), or none (None)."""
        if id(value) in self._wide:
            return "bundle"
        return "module" if value is globals else None

    def widens_by_name(self, module: str, name: str) -> bool:
        """Return whether the object `name` of a module that isn't loaded can reach any code of the project by a
        computed name."""
        return name in _BUNDLE.get(module, ())

    def bundle(self) -> Node:
        """Return the node of all Python files of the project."""
        return self.graph.node("bundle", "the project's Python", "bundle", self._fill_bundle)

    def note_subclasses(self, node: Node, piece: Piece) -> None:
        """Add an edge to the whole project if a piece asks a class for its subclasses: these may be defined anywhere in
        the project."""
        if "__subclasses__" in piece.words:
            node.edges["__subclasses__"] = self.bundle()
            self.note_whole(node, node.edges["__subclasses__"], "__subclasses__")

    def _fill_bundle(self, node: Node) -> None:
        texts = []
        for path, place in self.project.roots.python_files():
            source = self.sources.at(path)
            if source is None:
                texts += [place.relative, f"unread {read_python(path)}"]
                node.files.append(Part(name=place.relative, kind="file", digest=digest(texts[-1])))
                continue
            whole = source.piece(source.tree.body, StaticNames(source.top))
            texts += [place.relative, self.text(whole)]
            where = source.where_all(source.tree.body)
            node.files.append(Part(name=place.relative, kind="file", digest=digest(texts[-1]), where=where))
            for imported in whole.imports:
                if not imported.level:
                    self._bundle_import(node, imported.module)
        for name in sorted(self.project.roots.extra_sources):
            texts += ["cell", self.project.roots.extra_sources[name]]
        node.own = digest("bundle", *texts)

    def _bundle_import(self, node: Node, module: str) -> None:
        """Add an edge to the distribution of an imported module, if the module is installed and isn't the project's.
        The module needn't be loaded."""
        top = module.partition(".")[0]
        if not top or top == "headrace" or top in sys.stdlib_module_names:
            return
        path = installed_path(module) or installed_path(top)
        if path is not None and self.homes.of_file(path) == "other":
            target = self.distribution(module, path)
            if target is not None:
                node.edges[f"distribution {target.name}"] = target

    def file_digest(self, path: object) -> str:
        """Return the digest of a file's bytes, or "" if the file can't be read. This is for extension modules of the
        project."""
        if not isinstance(path, str):
            return ""
        try:
            with open(path, "rb") as file:
                return blake3(file.read()).hexdigest(length=16)
        except OSError:
            return ""

    # Notes and titles

    def note_whole(self, node: Node, found: Node, label: str = "") -> None:
        """Add a note if an edge leads to a whole module, or to the whole project."""
        if found.kind == "module":
            self.note(f"`{label or found.name}` is used as a value in `{node.name}`: all of `{found.name}` counts")
        elif found.kind == "bundle":
            self.note(f"`{label or 'a computed import'}` in `{node.name}`: all Python of the project counts")

    def title(self, source: Source | None, scope: dict[str, object], qualname: str) -> str:
        """Return the dotted name of an object, beginning with the module name of its file. For a
        function `clean` in a `__main__` that was run from `pipelines.py`, this is `pipelines.clean`."""
        place = source.place if source is not None else None
        if place is not None:
            return f"{place.module}.{qualname}"
        name = scope.get("__name__")
        return f"{name if isinstance(name, str) and name != '__main__' else 'notebook'}.{qualname}"


def installed_path(module: str) -> str | None:
    """Return the file of a module that isn't loaded, or None. The packages that contain the module aren't imported
    either."""
    top, *inner = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ValueError, ImportError):
        return None
    if spec is None:
        return None
    folders = list(spec.submodule_search_locations or ())
    path = spec.origin if spec.has_location else None
    for name in inner:
        path = next((file for folder in folders if (file := _file_in(folder, name)) is not None), path)
        folders = [os.path.join(folder, name) for folder in folders]
    return path


def _file_in(folder: str, name: str) -> str | None:
    for path in (os.path.join(folder, name, "__init__.py"), os.path.join(folder, f"{name}.py")):
        if os.path.isfile(path):
            return path
    endings = importlib.machinery.EXTENSION_SUFFIXES
    compiled = (os.path.join(folder, name + ending) for ending in endings)
    return next((path for path in compiled if os.path.isfile(path)), None)
