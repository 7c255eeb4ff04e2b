"""Projects whose processes are all gone when a test has ended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.projects import Project


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project without pipelines."""
    found = Project(tmp_path / "project")
    found.write("headrace.toml", "[project]\npipelines = []\n")
    try:
        yield found
        found.check_no_process_is_left()
    finally:
        found.kill_all()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project without pipelines that the cases of a table share, each with a file of its own."""
    found = Project(tmp_path_factory.mktemp("shared") / "project")
    found.write("headrace.toml", "[project]\npipelines = []\n")
    try:
        yield found
        found.check_no_process_is_left()
    finally:
        found.kill_all()
