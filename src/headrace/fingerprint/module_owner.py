"""Finds the owner of a module: the project, Headrace, the standard library, or another distribution."""

from __future__ import annotations

import os
import sys
from types import CodeType, ModuleType
from typing import Literal

from headrace.fingerprint.distribution import Distributions
from headrace.fingerprint.project_roots import ProjectRoots, file_of
from headrace.fingerprint.source.files import code_path

Home = Literal["project", "ours", "standard", "other"]

_STANDARD_FOLDER = os.path.dirname(os.path.realpath(os.__file__))


class ModuleOwners:
    """Finds the owner of each module."""

    def __init__(self, roots: ProjectRoots, distributions: Distributions) -> None:
        self._roots = roots
        self._distributions = distributions
        self._of_module: dict[str, Home] = {}

    def of_module(self, name: str | None) -> Home:
        """Return the owner of a loaded module, by its name."""
        if not name:
            return "other"
        owner = self._of_module.get(name)
        if owner is None:
            owner = self._module(name)
            if name in sys.modules:  # an unloaded name may later be loaded from elsewhere
                self._of_module[name] = owner
        return owner

    def of_code(self, code: CodeType, module_globals: dict[str, object]) -> Home:
        """Return the owner of a function, by its code. A function that was made by `exec` has the same owner as its
        module."""
        path = code_path(code, module_globals)
        if path in self._roots.extra_sources or self._roots.place(path) is not None:
            return "project"
        name = module_globals.get("__name__")
        return self.of_module(name if isinstance(name, str) else None)

    def of_file(self, path: str) -> Home:
        """Return the owner of a file. A file of an editable install, or of no distribution at all, belongs to the
        project."""
        if self._roots.place(path) is not None:
            return "project"
        if is_installed(path):
            return "standard" if _is_standard(path) else "other"
        if self._distributions.of_file(path) is not None:
            return "other"
        self._roots.loose(self._distributions.editable_folder(path) or _import_folder(path))
        return "project" if self._roots.place(path) is not None else "other"

    def module_name(self, name: str) -> str:
        """Return the name under which a module would be imported. For `__main__`, this is the name that follows from
        its file."""
        module = sys.modules.get(name) if name == "__main__" else None
        path = file_of(module) if module is not None else None
        if module is None or path is None:
            return name
        spec = getattr(module, "__spec__", None)
        return str(spec.name) if spec is not None else os.path.basename(path).removesuffix(".py")

    def _module(self, name: str) -> Home:
        top = name.partition(".")[0]
        if top == "headrace":
            return "ours"
        module = sys.modules.get(name)
        path = file_of(module) if module is not None else None
        if path is not None and self._roots.place(path) is not None:
            return "project"
        if top in sys.stdlib_module_names or top == "builtins":
            return "standard"
        if path is not None:
            return self.of_file(path)
        if top == "__main__":
            return "project"
        return self._without_file(module)

    def _without_file(self, module: ModuleType | None) -> Home:
        """Return the owner of a module without a file, such as a namespace package, which is found by its folders."""
        folders = list(getattr(module, "__path__", ()))
        inside = [folder for folder in folders if self._roots.place(os.path.join(os.path.abspath(folder), "_.py"))]
        return "project" if inside else "other"


def is_installed(path: str) -> bool:
    folders = path.split(os.sep)
    return "site-packages" in folders or "dist-packages" in folders or _is_standard(path)


def _is_standard(path: str) -> bool:
    real = os.path.realpath(path)
    inside = real.startswith(_STANDARD_FOLDER + os.sep)
    return inside and "site-packages" not in real.split(os.sep)


def _import_folder(path: str) -> str:
    """Return the folder of the import path from which a file was imported."""
    folders = [os.path.abspath(folder) for folder in sys.path if folder]
    holding = [folder for folder in folders if path.startswith(folder.rstrip(os.sep) + os.sep)]
    return max(holding, key=len, default=os.path.dirname(path))
