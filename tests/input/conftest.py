"""Projects whose processes are all gone when a test has ended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.projects import Project, lent

NO_PIPELINES = "[project]\npipelines = []\n"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project without pipelines."""
    with lent(tmp_path / "project", NO_PIPELINES) as project:
        yield project


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project without pipelines that the cases of a table share, each with a file of its own."""
    with lent(tmp_path_factory.mktemp("shared") / "project", NO_PIPELINES) as project:
        yield project
