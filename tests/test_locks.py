"""What is locked can be had on each Python that we promise. uv, which locks it, heeds no upper bound of a Python."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]
CLASSIFIERS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
PYTHONS = [each.rpartition(" ")[2] for each in CLASSIFIERS if each.startswith("Programming Language :: Python :: 3.")]


def _locked(name: str, python: str) -> Iterator[Requirement]:
    """Yield what a lock pins for a Python."""
    for line in (ROOT / "requirements" / f"{name}.txt").read_text().splitlines():
        if "==" in line and not line.lstrip().startswith(("#", "--")):
            requirement = Requirement(line.removesuffix("\\").strip())
            here = {"python_version": python, "python_full_version": f"{python}.0"}
            if requirement.marker is None or requirement.marker.evaluate(here):
                yield requirement


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("lock", ["build", "dev", "apart"])
def test_what_is_installed_of_a_lock_may_be_installed_on_each_python_that_we_promise(lock: str, python: str) -> None:
    refused, looked_at = [], 0
    for requirement in _locked(lock, python):
        try:
            found = distribution(requirement.name)
        except PackageNotFoundError:  # for another platform
            continue
        if requirement.specifier.contains(found.version):
            looked_at += 1
            wants = (found.metadata.get_all("Requires-Python") or [""])[0]
            if not SpecifierSet(wants).contains(f"{python}.0"):
                refused.append(f"{requirement} wants Python {wants}")
    assert not refused
    assert looked_at or lock == "apart", "nothing of the lock is installed: run `make env`"
