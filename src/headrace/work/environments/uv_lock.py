"""Reads `uv.lock`: the packages that the project, with one of its groups or extras, needs on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from packaging.markers import Marker, default_environment
from packaging.utils import canonicalize_name

from headrace.errors import EnvironmentFailed

Table = Mapping[str, Any]
_HERE = (".", "")


def root(lock: Table) -> Table:
    """Return the package that is the project itself.

    Raises:
        EnvironmentFailed: the lock has no such package.
    """
    for package in lock.get("package", ()):
        if any(package["source"].get(kind) in _HERE for kind in ("virtual", "editable", "directory")):
            return dict(package)
    raise EnvironmentFailed(
        "`uv.lock` has no entry for the project in the folder where `uv.lock` lies",
        hint="lock in the folder that has both `pyproject.toml`, with a `[project]`, and `headrace.toml`",
    )


def groups(package: Table) -> tuple[str, ...]:
    """Return the names of a project's dependency groups and extras."""
    return (*package.get("dev-dependencies", ()), *package.get("optional-dependencies", ()))


def walk(lock: Table, start: Table, group: str | None) -> Iterator[Table]:
    """Yield every package that the project `start`, with a group or extra if `group` names one, needs on this machine.
    Each package is yielded only once. If a group and an extra have the same name, the group is used."""
    environment: dict[str, str] = {**default_environment(), "extra": _mark(start, group)}  # type: ignore[dict-item]
    by_name: dict[str, list[Table]] = {}
    for package in lock["package"]:
        by_name.setdefault(package["name"], []).append(package)
    seen: set[tuple[int, str]] = set()
    rest = [*start.get("dependencies", ())]
    if group is not None:
        kind = "dev-dependencies" if group in start.get("dev-dependencies", ()) else "optional-dependencies"
        rest += start[kind][group]
    while rest:
        wanted = rest.pop()
        if "marker" in wanted and not Marker(wanted["marker"]).evaluate(environment):
            continue
        package = _find(by_name[wanted["name"]], wanted)
        for extra in ("", *wanted.get("extra", ())):
            if (id(package), extra) in seen:
                continue
            if not any(known == id(package) for known, _ in seen):
                yield package
            seen.add((id(package), extra))
            rest += (
                package.get("optional-dependencies", {}).get(extra, ()) if extra else package.get("dependencies", ())
            )


def line(package: Table) -> tuple[str | None, str | None]:
    """Return a package as a line for a requirements file, and the index that it comes from. The line is None for code
    of the project.

    Raises:
        EnvironmentFailed: the package comes from a file that only exists on the machine where the lock was made.
    """
    name, source = package["name"], package["source"]
    files = [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else ())]
    hashes = [f"--hash={file['hash']}" for file in files if "hash" in file]
    if "registry" in source:
        index = source["registry"] if "://" in source["registry"] else None
        return " ".join([f"{name}=={package['version']}", *hashes]), index
    if "git" in source:
        return _git(name, source["git"]), None
    if "url" in source:
        return " ".join([f"{name} @ {source['url']}", *hashes[:1]]), None
    if "editable" in source or "virtual" in source:
        return None, None
    raise EnvironmentFailed(
        f"`uv.lock` has `{name}` from `{next(iter(source.values()))}`, which other machines don't have",
        hint="publish it to an index, or make it an editable dependency: then its code is sent with the project's code",
    )


def _mark(start: Table, group: str | None) -> str:
    """Return the name that the lock's markers use for a group. Dependencies that differ between conflicting groups have
    such markers."""
    if group is None:
        return ""
    kind = "group" if group in start.get("dev-dependencies", ()) else "extra"
    name = canonicalize_name(start["name"])
    return f"{kind}-{len(name)}-{name}-{canonicalize_name(group)}"


def _find(packages: list[Table], wanted: Table) -> Table:
    """Return the package that a dependency refers to. If several packages have the same name, the dependency says which
    version or source it means."""
    for package in packages:
        if all(package.get(key) == wanted[key] for key in ("version", "source") if key in wanted):
            return package
    raise KeyError(wanted["name"])


def _git(name: str, address: str) -> str:
    parts = urlsplit(address)
    folder = parse_qs(parts.query).get("subdirectory")
    bare = parts._replace(query="", fragment="").geturl()
    return f"{name} @ git+{bare}@{parts.fragment}" + (f"#subdirectory={folder[0]}" if folder else "")
