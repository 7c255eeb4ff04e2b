"""Headrace in an environment that was built from a lock: its running code, and the distributions that this code needs.

An index may not have exactly this Headrace, since a development install has no release. The index may be unreachable,
even if all packages of the lock are cached. And the lock may not contain Headrace at all. So Headrace is never
installed in such an environment: a process in it finds the driver's own code by its path. The distributions that this
code needs are linked from the present environment, file by file, unless the lock has a version that fits.
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
    """Return the version of each installed distribution, by its normalized name."""
    versions: dict[str, str] = {}
    for distribution in importlib.metadata.distributions():
        if "Name" in distribution.metadata:  # missing if a distribution was only half removed
            versions.setdefault(canonicalize_name(distribution.name), distribution.version)
    return versions


def needed(locked: Mapping[str, str | None]) -> dict[str, Distribution]:
    """Return, by name, the distributions that Headrace needs and `locked` lacks, as they are installed here.

    Raises:
        EnvironmentFailed: Headrace needs a distribution in another version than the lock has, or a distribution isn't
            properly installed here.
    """
    distributions: dict[str, Distribution] = {}
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
            elif name not in distributions:
                distributions[name] = _distribution(name, by)
                rest.append((name, distributions[name]))
    return distributions


def link(distribution: Distribution, folder: Path) -> None:
    """Put a distribution's files into `folder`, the package folder of another environment. If both are on the same
    disk, the files are linked and no bytes are copied.

    Raises:
        EnvironmentFailed: the distribution has no list of its files.
    """
    if not distribution.files:
        raise EnvironmentFailed(
            f"`{distribution.name}`, which Headrace needs, has no list of its files here",
            hint=f"add `{NAME}` to the project's dependencies, and lock again",
        )
    for file in distribution.files:
        if ".." in file.parts or file.is_absolute():
            continue  # a script outside the package folder
        source, target = Path(str(distribution.locate_file(file))), folder / file
        if not source.is_file():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except FileExistsError:
            continue  # two distributions share this file of a namespace package
        except OSError:
            shutil.copy2(source, target)


def packages_folder(environment: Path) -> Path:
    """Return the folder that holds an environment's packages."""
    return Path(sysconfig.get_path("purelib", "venv", {"base": str(environment), "platbase": str(environment)}))


def python_tag() -> str:
    """Return a text that says what an environment built here runs on: the interpreter's name, version and path, and the
    platform."""
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
