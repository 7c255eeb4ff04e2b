"""Headrace in an environment that was built from a lock: its code as it runs here, and what that needs.

An index may not have this very Headrace (a development install has no release), may not be reachable when all of the
lock's packages are cached, and a lock need not name Headrace at all. So its code is never installed: the process that
runs there finds it by path, as its driver's side has it. The distributions that it needs are linked from the present
environment, file by file, except where the lock has them in a version that will do.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from importlib.metadata import Distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from headrace.errors import EnvironmentFailed
from headrace.work.environments.headrace_code import NAME


def present() -> dict[str, str]:
    """Return the version of each distribution that is installed here, by its name as indexes compare it."""
    found: dict[str, str] = {}
    for each in importlib.metadata.distributions():
        if "Name" in each.metadata:  # not so where a half-removed one was left
            found.setdefault(canonicalize_name(each.name), each.version)
    return found


def needed(locked: Mapping[str, str | None]) -> dict[str, Distribution]:
    """Return what Headrace needs beside what a lock has, by name, as it is installed here.

    Raises:
        EnvironmentFailed: the lock has one of them in a version that won't do, or one isn't installed properly here.
    """
    found: dict[str, Distribution] = {}
    rest = [(NAME, _distribution(NAME, NAME))]
    while rest:
        by, distribution = rest.pop()
        for text in distribution.requires or ():
            wanted = Requirement(text)
            if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
                continue
            name = canonicalize_name(wanted.name)
            if name in locked:
                _check(wanted, by, locked[name])
            elif name not in found:
                found[name] = _distribution(name, by)
                rest.append((name, found[name]))
    return found


def link(distribution: Distribution, folder: Path) -> None:
    """Put a distribution's files into another environment's folder of packages; no bytes are copied on one disk.

    Raises:
        EnvironmentFailed: nobody knows what its files are.
    """
    if not distribution.files:
        raise EnvironmentFailed(
            f"`{distribution.name}`, which Headrace needs, has no list of its files here",
            hint=f"add `{NAME}` to the project's dependencies, and lock again",
        )
    for file in distribution.files:
        if ".." in file.parts or file.is_absolute():
            continue  # a program beside the packages
        source, target = Path(str(distribution.locate_file(file))), folder / file
        if not source.is_file():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except FileExistsError:
            continue  # two distributions share a file of a namespace
        except OSError:
            shutil.copy2(source, target)


def packages_folder(environment: Path) -> Path:
    """Return the folder in which an environment's packages lie."""
    return Path(sysconfig.get_path("purelib", "venv", {"base": str(environment), "platbase": str(environment)}))


def python_tag() -> str:
    """Name what an environment that is built here can run on: interpreter, its version and place, and platform."""
    version = ".".join(map(str, sys.version_info[:2]))
    return f"{sys.implementation.name} {version} {sysconfig.get_platform()} {sys.base_prefix}"


def _distribution(name: str, by: str) -> Distribution:
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        raise EnvironmentFailed(
            f"`{name}`, which `{by}` needs, is not installed on this machine, so it can't be given to an environment",
            hint=f"install Headrace there with `pip install {NAME}`",
        ) from None


def _check(wanted: Requirement, by: str, version: str | None) -> None:
    if version is not None and not wanted.specifier.contains(version, prereleases=True):
        raise EnvironmentFailed(
            f"the lock has `{wanted.name}` {version}, and `{by}` needs `{wanted.name}{wanted.specifier}`",
            hint=f"add `{NAME}` to the project's dependencies, and lock again",
        )
