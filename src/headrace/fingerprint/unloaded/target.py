"""The targets of imports (a module, or a name in one), found by reading files, never by importing."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

from headrace.fingerprint.project_roots import file_of
from headrace.fingerprint.reached_code import ReachedCode, installed_path
from headrace.fingerprint.source.files import Source
from headrace.fingerprint.source.imports import Imported, absolute


class Target(NamedTuple):
    """The target of an import: a module, or the name `name` in a module. A target in the project has a `path`, and if
    it is a package, a `folder`."""

    module: str
    path: str | None = None
    folder: str | None = None
    name: str | None = None

    @property
    def is_project(self) -> bool:
        """Whether the target is in the project."""
        return self.path is not None or self.folder is not None


class Targets:
    """Finds the targets of imports."""

    def __init__(self, reach: ReachedCode) -> None:
        self.reach = reach

    def of(self, imported: Sequence[Imported], source: Source | None) -> dict[str, list[Target]]:
        """Return the targets of each name that these imports bind. A name has more than one target if, for example, a
        `try` imports it twice."""
        by_name: dict[str, list[Target]] = {}
        for each in imported:
            by_name.setdefault(each.name, []).extend(self.all(each, source))
        return by_name

    def all(self, imported: Imported, source: Source | None) -> list[Target]:
        """Return the targets of an import. If a package imports a name from itself, there may be two targets: the
        submodule of this name, and another object that the package binds to the name."""
        at = self.locate(absolute(imported.module, imported.level, package_of(source)))
        name = imported.attribute
        if name is None or name == "*":
            return [at]
        inner = self._submodule(at, name) if source is not None and at.path == source.path else None
        bound = self.inside(at, name)
        return [bound] if inner in (None, bound) else [inner, bound]

    def inside(self, at: Target, name: str) -> Target:
        """Return the target of a name in a module. This is the object that the module binds to the name, or, if there
        is none, the submodule of this name."""
        source = self.reach.sources.at(at.path) if at.path is not None else None
        if source is not None and name in source.top.binders and not self._is_submodule(at, source, name):
            return at._replace(name=name)
        return self._submodule(at, name) or at._replace(name=name)

    def _submodule(self, at: Target, name: str) -> Target | None:
        return None if at.folder is None else self._in_folder(at.folder, name, f"{at.module}.{name}")

    def _is_submodule(self, at: Target, source: Source, name: str) -> bool:
        """Return whether a package binds a name only by importing its own submodule: `from . import name`."""
        imported = source.top.imported(name)
        if imported is None:
            return False
        package = package_of(source)
        return all(
            entry.attribute == name and absolute(entry.module, entry.level, package) == at.module for entry in imported
        )

    def locate(self, module: str) -> Target:
        """Return the target for the module named `module`. If the module is outside the project, the target has no
        path. The result doesn't depend on whether the module is loaded."""
        loaded = sys.modules.get(module)
        path = file_of(loaded) if loaded is not None else None
        if path is not None and self.reach.homes.of_module(module) == "project" and path.endswith(".py"):
            return _module(module, path)
        if loaded is not None and self.reach.homes.of_module(module) != "project":
            return Target(module)
        for folder in self._folders():
            target = self._in_folder(folder, module.replace(".", os.sep), module)
            if target is not None:
                return target
        return self._loose(module) if loaded is None else Target(module)

    def _loose(self, module: str) -> Target:
        """Return the target for a module outside the project's folders. The target has a path only if the module
        belongs to an editable install."""
        is_standard = module.partition(".")[0] in sys.stdlib_module_names
        path = installed_path(module) if not is_standard and module else None
        if path is not None and path.endswith(".py") and self.reach.homes.of_file(path) == "project":
            return _module(module, path)
        return Target(module)

    def _folders(self) -> list[str]:
        roots = self.reach.project.roots
        imported_from = [os.path.abspath(folder) for folder in sys.path]
        inside = [folder for folder in imported_from if roots.place(os.path.join(folder, "_.py")) is not None]
        return list(dict.fromkeys([*inside, *roots.roots]))

    def _in_folder(self, folder: str, relative: str, module: str) -> Target | None:
        base = os.path.join(folder, relative)
        for path in (os.path.join(base, "__init__.py"), f"{base}.py"):
            if os.path.isfile(path) and self.reach.project.roots.place(path) is not None:
                return _module(module, path)
        if os.path.isdir(base) and self.reach.project.roots.place(os.path.join(base, "_.py")) is not None:
            return Target(module, folder=base)
        return None


def package_of(source: Source | None) -> str:
    """Return the package to which the relative imports in a source refer."""
    if source is None or source.place is None:
        return ""
    if source.place.relative.endswith("__init__.py"):
        return source.place.module
    return source.place.module.rpartition(".")[0]


def _module(module: str, path: str) -> Target:
    folder = os.path.dirname(path) if os.path.basename(path) == "__init__.py" else None
    return Target(module, path, folder)
