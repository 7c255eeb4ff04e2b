"""Reads the packages that a lock pins, with versions and hashes. Locks of several tools can be read."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct
from packaging.markers import Marker, default_environment
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from headrace.errors import EnvironmentFailed
from headrace.spec.redaction import masked
from headrace.work.environments import uv_lock
from headrace.work.environments.lock import is_own, own_locks

PYPI = "https://pypi.org/simple"
_OPTION = re.compile(
    r"(-i|--index-url|--extra-index-url|-f|--find-links|--no-index|--trusted-host|--no-binary|--only-binary)\b"
)
_SKIPPED = re.compile(r"(-r|--requirement|-c|--constraint|-e|--editable|--require-hashes|--pre|--prefer-binary)\b")
_HASH = re.compile(r"\s+--hash[= ]\S+")


class Pin(Struct, frozen=True, kw_only=True):
    """One distribution to install. `line` is its line in a requirements file.

    `version` is None if only the source of the distribution shows its version.
    """

    name: str
    version: str | None
    line: str

    @property
    def hashed(self) -> bool:
        """Whether the line has a hash, so that the installer can check the package's file."""
        return "--hash" in self.line


class Pins(Struct, frozen=True, kw_only=True):
    """All pins of an environment, from the lock `file`. `options` are options for the installer (indexes).

    `loose` is None for a real lock. For any other file, `loose` says why the file isn't a lock; `pins` are then
    incomplete or not exact.
    """

    file: str
    pins: tuple[Pin, ...]
    options: tuple[str, ...] = ()
    loose: str | None = None


def read_pins(texts: Mapping[str, str], file: str, group: str | None) -> Pins:
    """Return what a lock pins for a group, or for the project without any group.

    Raises:
        EnvironmentFailed: the lock can't be read, has no such group, or is for another Python.
    """
    if is_own(file, group):
        group = None
    try:
        match file:
            case "uv.lock":
                return _from_uv(texts[file], group)
            case "poetry.lock" | "pdm.lock":
                tool = file.partition(".")[0]
                why = f"`{file}` has a format that only `{tool}` can install (`{tool} export` writes another)"
                if group is not None:
                    raise missing_group(file, group, ())
                return Pins(file=file, pins=(), loose=why)
            case _ if file.endswith(".toml"):
                return _from_pylock(file, texts[file], group)
            case _:
                if group is not None:
                    raise missing_group(file, group, ())
                return _from_requirements(file, texts)
    except (KeyError, TypeError, AttributeError, ValueError) as error:  # errors of TOML and of versions too
        raise EnvironmentFailed(
            f"`{file}` can't be read as a lock: {type(error).__name__}: {error}", hint="lock the environment again"
        ) from error


def missing_group(file: str, group: str, known: tuple[str, ...]) -> EnvironmentFailed:
    """Return the error for a group that a lock doesn't have."""
    groups = f"it has {', '.join(f'`{each}`' for each in known)}; " if known else ""
    return EnvironmentFailed(
        f"`{file}` has no group or extra `{group}`",
        hint=f"{groups}a group may have a lock of its own, {_listed(group)}",
    )


def _listed(group: str) -> str:
    return " or ".join(f"`{name}`" for name in own_locks(group))


def _from_uv(text: str, group: str | None) -> Pins:
    lock = tomllib.loads(text)
    _check_python("uv.lock", lock.get("requires-python"))
    root = uv_lock.root(lock)
    known = uv_lock.groups(root)
    if group is not None and group not in known:
        raise missing_group("uv.lock", group, known)
    pins: dict[str, Pin] = {}
    indexes: dict[str, None] = {}
    for package in uv_lock.walk(lock, root, group):
        name = canonicalize_name(package["name"])
        line, index = uv_lock.line(package)
        if line is None:
            continue
        if name in pins and pins[name].line != line:
            raise EnvironmentFailed(
                f"`uv.lock` gives both `{name}` {pins[name].version} and {package.get('version')}"
                + (f" for `{group}`" if group else ""),
                hint="tell uv which groups exclude each other (`[tool.uv] conflicts`), and lock again",
            )
        if index not in (None, PYPI):
            indexes[f"--extra-index-url {index}"] = None
        pins[name] = Pin(name=name, version=package.get("version"), line=line)
    return Pins(file="uv.lock", pins=_in_order(pins), options=tuple(indexes))


def _from_pylock(file: str, text: str, group: str | None) -> Pins:
    lock = tomllib.loads(text)
    _check_python(file, lock.get("requires-python"))
    extras, groups, default = (lock.get(key, ()) for key in ("extras", "dependency-groups", "default-groups"))
    if group is not None and group not in (*extras, *groups):
        raise missing_group(file, group, (*groups, *extras))
    chosen = {
        "dependency_groups": frozenset(default if group not in groups else (*default, group)),
        "extras": frozenset(() if group in groups or group is None else (group,)),
    }
    pins: dict[str, Pin] = {}
    indexes: dict[str, None] = {}
    for package in lock["packages"]:
        if "marker" in package and not Marker(package["marker"]).evaluate(chosen, context="lock_file"):
            continue
        name = canonicalize_name(package["name"])
        if "directory" in package:
            continue  # code of the project's repository: it comes with the bundle
        if name in pins:
            raise EnvironmentFailed(f"`{file}` gives `{name}` twice for one environment", hint="lock again")
        if package.get("index", PYPI).rstrip("/") != PYPI:
            indexes[f"--extra-index-url {package['index']}"] = None
        pins[name] = Pin(name=name, version=package.get("version"), line=_pylock_line(file, name, package))
    return Pins(file=file, pins=_in_order(pins), options=tuple(indexes))


def _pylock_line(file: str, name: str, package: Mapping[str, Any]) -> str:
    """Return a package as a line for a requirements file. The line has the hashes of all files of the package, since
    the installer chooses one of them."""
    files = [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else ())]
    hashes = sorted({f"--hash={kind}:{value}" for file_entry in files for kind, value in file_entry["hashes"].items()})
    if files and "version" in package:
        return " ".join([f"{name}=={package['version']}", *hashes])
    if "url" in package.get("vcs", {}):
        vcs = package["vcs"]
        inner = f"#subdirectory={vcs['subdirectory']}" if "subdirectory" in vcs else ""
        return f"{name} @ {vcs['type']}+{vcs['url']}@{vcs['commit-id']}{inner}"
    if "url" in package.get("archive", {}):
        hashes = [f"--hash={kind}:{value}" for kind, value in package["archive"]["hashes"].items()]
        return " ".join([f"{name} @ {package['archive']['url']}", *hashes])
    raise EnvironmentFailed(
        f"`{file}` has `{name}` from a file that other machines don't have",
        hint="publish it to an index, or make it an editable dependency: then its code is sent with the project's code",
    )


def _from_requirements(file: str, texts: Mapping[str, str]) -> Pins:
    environment: dict[str, str] = {**default_environment(), "extra": ""}  # type: ignore[dict-item]  # a TypedDict of texts
    by_name: dict[str, Pin] = {}
    options: dict[str, None] = {}
    loose = None
    for name, number, line in _lines(texts):
        if _OPTION.match(line):
            options[line] = None
            continue
        if _SKIPPED.match(line):
            continue
        try:
            wanted = Requirement(_HASH.sub("", line).strip())
        except InvalidRequirement:
            loose = loose or f"`{name}:{number}` is a requirement that other machines can't install: `{_brief(line)}`"
            continue
        if wanted.marker is not None and not wanted.marker.evaluate(environment):
            continue
        pins = [
            specifier.version
            for specifier in wanted.specifier
            if specifier.operator in ("==", "===") and "*" not in specifier.version
        ]
        if not pins and wanted.url is None:
            loose = loose or f"`{name}:{number}` pins no version: `{_brief(line)}`"
        key = canonicalize_name(wanted.name)
        by_name[key] = Pin(name=key, version=pins[0] if pins else None, line=line)
    return Pins(file=file, pins=_in_order(by_name), options=tuple(options), loose=loose)


def _lines(texts: Mapping[str, str]) -> Iterator[tuple[str, int, str]]:
    """Yield each requirement or option in requirements files as (file, line number, text). The text is joined to one
    line, and has no comment."""
    for name, text in texts.items():
        start = 0
        parts: list[str] = []
        for number, line in enumerate(text.splitlines(), 1):
            bare = re.sub(r"(^|\s)#.*$", "", line).strip()
            start = start if parts else number
            parts.append(bare.removesuffix("\\").strip())
            if not bare.endswith("\\"):
                whole = " ".join(filter(None, parts))
                parts = []
                if whole:
                    yield name, start, whole


def _check_python(file: str, wanted: str | None) -> None:
    here = default_environment()["python_full_version"]
    try:
        fits = wanted is None or SpecifierSet(wanted).contains(here, prereleases=True)
    except InvalidSpecifier:
        return
    if not fits:
        raise EnvironmentFailed(
            f"`{file}` is for Python {wanted}, and this machine has {here}",
            hint="run Headrace on such a Python version there, or widen `requires-python` and lock again",
        )


def _in_order(found: Mapping[str, Pin]) -> tuple[Pin, ...]:
    return tuple(found[name] for name in sorted(found))


def _brief(line: str) -> str:
    shown = masked(line)
    return shown if len(shown) < 60 else f"{shown[:57]}..."
