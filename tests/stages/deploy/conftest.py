"""Projects for the tests of batches: their processes are all gone when a test has ended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.projects import Project, lent


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project."""
    with lent(tmp_path / "project") as project:
        yield project
