"""Finds the distribution that an installed module belongs to, its version, and the versions of all distributions that
it requires.

`importlib.metadata` has this information too, but it takes 20 ms to import and 70 ms to list all modules. So the code
here reads the folders next to the installed module. It uses `importlib.metadata` only if these folders don't have the
answer.
"""

from __future__ import annotations

import os
import re
import sys
from functools import cache, cached_property
from typing import NamedTuple

import msgspec

from headrace.spec.code import digest
from headrace.spec.noun import UNREADABLE


class Distribution(NamedTuple):
    """An installed distribution. `digest` covers its version, and the versions of all installed distributions that it
    requires."""

    name: str
    version: str
    digest: str


class _Info:
    """A `.dist-info` or `.egg-info` folder of a distribution. The files in it are read only when they are needed."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.folder = os.path.dirname(path)
        self.stem = os.path.basename(path).rpartition(".")[0]

    def text(self, name: str) -> str:
        try:
            with open(os.path.join(self.path, name), encoding="utf-8", errors="replace") as file:
                return file.read()
        except OSError:
            return ""

    @cached_property
    def headers(self) -> list[tuple[str, str]]:
        text = self.text("METADATA") or self.text("PKG-INFO")
        head = text.partition("\n\n")[0]
        return [(name, value.strip()) for name, _, value in (line.partition(":") for line in head.splitlines())]

    def header(self, name: str) -> str | None:
        return next((value for header, value in self.headers if header == name), None)

    @property
    def name(self) -> str:
        return self.header("Name") or self.stem.partition("-")[0]

    @property
    def version(self) -> str:
        return self.header("Version") or self.stem.partition("-")[2]

    @cached_property
    def record(self) -> str:
        return self.text("RECORD")

    def holds(self, relative: str) -> bool:
        """Return whether a file belongs to this distribution. `relative` is the file's path, relative to the folder in
        which the distribution is installed, such as `site-packages`."""
        for path in (relative, f'"{relative}"'):
            if self.record.startswith(f"{path},") or f"\n{path}," in self.record:
                return True
        top = relative.split("/", 1)[0].partition(".")[0]
        return not self.record and top in self.text("top_level.txt").split()

    @cached_property
    def direct(self) -> dict[str, object]:
        """The content of `direct_url.json`. It names the source of a distribution that was not installed from an
        index."""
        text = self.text("direct_url.json")
        try:
            return msgspec.json.decode(text, type=dict[str, object]) if text else {}
        except UNREADABLE:
            return {}

    @property
    def editable(self) -> str | None:
        """The source folder of an editable install; None for any other install."""
        inner = self.direct.get("dir_info")
        if not isinstance(inner, dict) or not inner.get("editable"):
            return None
        from urllib.parse import unquote, urlsplit  # noqa: PLC0415  some ms, and only editable installs need it

        return os.path.realpath(unquote(urlsplit(str(self.direct.get("url"))).path))

    @property
    def content(self) -> str:
        """A text that identifies this distribution's content: its version, and also a digest of its files if the
        version alone doesn't identify them."""
        if not self.direct or self.editable:
            return self.version
        lines = [line for line in self.record.splitlines() if _is_content(line)]
        return f"{self.version} {digest(*sorted(lines))}"

    @cached_property
    def requires(self) -> list[tuple[str, str]]:
        """The names of required distributions, each with its marker ("" for none). Requirements of an extra are left
        out."""
        requirements = []
        for name, value in self.headers:
            if name == "Requires-Dist":
                required, _, marker = value.partition(";")
                matched = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", required.strip())
                if matched and not re.search(r"\bextra\b", marker):
                    requirements.append((normal_name(matched[0]), marker.strip()))
        return requirements


def _is_content(line: str) -> bool:
    path = line.split(",", 1)[0]
    return not (path.startswith(("..", "/")) or ".dist-info/" in path or "__pycache__" in path)


@cache
def _holds_here(marker: str) -> bool:
    """Return whether a requirement with this marker applies in this environment."""
    if not marker:
        return True
    from packaging.markers import InvalidMarker, Marker  # noqa: PLC0415  20 ms, and few projects need it

    try:
        return Marker(marker).evaluate()
    except InvalidMarker:
        return True


def normal_name(name: str) -> str:
    """Return a distribution's name in the normal form in which package indexes compare names."""
    return re.sub(r"[-_.]+", "-", name).lower()


class Distributions:
    """The distributions on this process's import path."""

    def __init__(self) -> None:
        self._of_file: dict[str, _Info | None] = {}
        self._described: dict[str, Distribution] = {}
        self._listed: dict[str, dict[str, _Info]] = {}

    def of_file(self, path: str) -> Distribution | None:
        """Return the distribution that a module's file belongs to, or None."""
        if path not in self._of_file:
            self._of_file[path] = self._find(path)
        info = self._of_file[path]
        return self._describe(info) if info is not None else None

    def named(self, name: str) -> Distribution | None:
        """Return the installed distribution with this name, or None."""
        info = self._by_name.get(normal_name(name))
        return self._describe(info) if info is not None else None

    def of_top(self, name: str) -> Distribution | None:
        """Return the distribution that declares a top-level module, or None. This is for modules whose files are not in
        any distribution's list of files."""
        return next(filter(None, map(self.named, self._by_top.get(name, ()))), None)

    @cached_property
    def _by_top(self) -> dict[str, list[str]]:
        import importlib.metadata  # noqa: PLC0415  20 ms, and 70 more for the list; only where folders have no answer

        distributions = importlib.metadata.packages_distributions()
        return {top: sorted(names) for top, names in distributions.items()}

    def editable_folder(self, path: str) -> str | None:
        """Return the folder of the editable install that a file belongs to, or None."""
        real = os.path.realpath(path)
        folders = [info.editable for info in self._by_name.values() if info.direct]
        return next((folder for folder in folders if folder and real.startswith(folder.rstrip("/") + "/")), None)

    @cached_property
    def _by_name(self) -> dict[str, _Info]:
        infos: dict[str, _Info] = {}
        for folder in sys.path:
            for name, info in self._in_folder(folder).items():
                infos.setdefault(name, info)
        return infos

    def _in_folder(self, folder: str) -> dict[str, _Info]:
        if folder not in self._listed:
            try:
                names = sorted(os.listdir(folder or "."))
            except OSError:
                names = []
            infos = (_Info(os.path.join(folder, name)) for name in names if name.endswith((".dist-info", ".egg-info")))
            self._listed[folder] = {normal_name(info.stem.partition("-")[0]): info for info in infos}
        return self._listed[folder]

    def _find(self, path: str) -> _Info | None:
        for folder in sorted({entry for entry in sys.path if path.startswith(entry.rstrip("/") + "/")}, key=len)[::-1]:
            relative = os.path.relpath(path, folder).replace(os.sep, "/")
            infos = self._in_folder(folder)
            likely = infos.get(normal_name(relative.split("/", 1)[0].partition(".")[0]))
            if likely is not None and likely.holds(relative):
                return likely
            for info in infos.values():
                if info.holds(relative):
                    return info
        return None

    def _describe(self, info: _Info) -> Distribution:
        if info.path not in self._described:
            needed: dict[str, _Info] = {}
            rest = list(info.requires)
            while rest:
                name, marker = rest.pop()
                installed = self._by_name.get(name)
                if installed is not None and name not in needed and _holds_here(marker):
                    needed[name] = installed
                    rest.extend(installed.requires)
            texts = [f"{name} {needed[name].content}" for name in sorted(needed)]
            own = digest(normal_name(info.name), info.content, *texts)
            self._described[info.path] = Distribution(info.name, info.version, own)
        return self._described[info.path]
