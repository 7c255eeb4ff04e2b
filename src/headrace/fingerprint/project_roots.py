"""The folders whose code belongs to the project, and names for the files in them. The names don't depend on the folder
of the checkout."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import NamedTuple

FOREIGN_FOLDERS = frozenset({"site-packages", "dist-packages", "node_modules", "__pycache__", "__pypackages__"})
NO_SOURCES: Mapping[str, str] = MappingProxyType({})


class Place(NamedTuple):
    """The place of a file in the project: the root that contains the file, the file's path under this root, and the
    module name that follows from this path."""

    root: str
    relative: str
    module: str


class ProjectRoots:
    """The folders whose Python files belong to the project; `extra_sources` maps names to code without a file (cells).

    Installed code (anything under `site-packages`, or an environment inside a root) doesn't belong to the project.
    `loose(folder)` adds the folder of an editable install. Its files then belong to the project like those under a
    root.
    """

    def __init__(self, roots: Sequence[Path], *, extra_sources: Mapping[str, str] = NO_SOURCES) -> None:
        self.roots = [os.path.abspath(root) for root in roots]
        self.extra_sources = dict(extra_sources)
        self._places: dict[str, Place | None] = {}
        self._environments: dict[str, bool] = {}
        self._loose: list[str] = []
        self._prefixes: re.Pattern[str] | None = None

    def place(self, path: str) -> Place | None:
        """Return the place of a file, or None if the file isn't the project's."""
        if path not in self._places:
            self._places[path] = self._find(path)
        return self._places[path]

    def loose(self, folder: str) -> None:
        """Add a folder outside the roots, whose Python files then belong to the project too."""
        if folder not in self._loose:
            self._loose.append(folder)
            self._prefixes = None
            self._places = {path: place for path, place in self._places.items() if place is not None}

    def neutral(self, text: str) -> str:
        """Return a text in which a mark replaces the root at the beginning of each path of the project. So a digest of
        the text stays the same if the checkout is moved."""
        if self._prefixes is None:
            self._prefixes = self._pattern()
        return self._prefixes.sub("\0root\0", text.replace("\0", "\0\0"))

    def _pattern(self) -> re.Pattern[str]:
        spelled = {name for root in [*self.roots, *self._loose] for name in (root, os.path.realpath(root))}
        longest_first = sorted((root for root in spelled if len(root) > 1), key=len, reverse=True)
        if not longest_first:
            return re.compile(r"(?!)")
        return re.compile("(?:" + "|".join(map(re.escape, longest_first)) + r")(?![\w.-])")

    def _find(self, path: str) -> Place | None:
        if not os.path.isabs(path):
            return None
        for spelling in dict.fromkeys((path, os.path.realpath(path))):
            for root in [*self.roots, *self._loose]:
                for spelled in dict.fromkeys((root, os.path.realpath(root))):
                    if spelling.startswith(spelled.rstrip(os.sep) + os.sep) and not self._foreign(spelled, spelling):
                        return _named(root, os.path.relpath(spelling, spelled))
        return None

    def _foreign(self, root: str, path: str) -> bool:
        folder = os.path.dirname(path)
        while len(folder) > len(root):
            if os.path.basename(folder) in FOREIGN_FOLDERS or self._is_environment(folder):
                return True
            folder = os.path.dirname(folder)
        return False

    def _is_environment(self, folder: str) -> bool:
        if folder not in self._environments:
            self._environments[folder] = os.path.exists(os.path.join(folder, "pyvenv.cfg")) or os.path.isdir(
                os.path.join(folder, "conda-meta")
            )
        return self._environments[folder]

    def python_files(self) -> list[tuple[str, Place]]:
        """Return every Python file under the roots, in an order that doesn't depend on the file system."""
        placed = []
        for root in [*self.roots, *self._loose]:
            for folder, folders, files in os.walk(root):
                folders[:] = sorted(
                    each
                    for each in folders
                    if not each.startswith(".")
                    and each not in FOREIGN_FOLDERS
                    and not self._is_environment(os.path.join(folder, each))
                )
                paths = (os.path.join(folder, name) for name in sorted(files) if name.endswith(".py"))
                placed += [(path, place) for path in paths if (place := self.place(path)) is not None]
        return placed


def file_of(module: ModuleType) -> str | None:
    """Return the absolute path of a module's file, or None if it has none.

    A module may have replaced itself with another object. In this case, the file is that of the module that defines the
    object's class.
    """
    if not issubclass(type(module), ModuleType):
        return _file_upon_path(type(module).__module__)
    path = module.__dict__.get("__file__")
    return os.path.abspath(path) if isinstance(path, str) else None


def _file_upon_path(name: str) -> str | None:
    for folder in sys.path:
        base = os.path.join(os.path.abspath(folder), *name.split("."))
        for path in (os.path.join(base, "__init__.py"), f"{base}.py"):
            if os.path.isfile(path):
                return path
    return None


def _named(root: str, relative: str) -> Place:
    stem = relative.removesuffix(".py")
    dotted = stem.replace(os.sep, ".")
    return Place(root, relative.replace(os.sep, "/"), dotted.removesuffix(".__init__"))
