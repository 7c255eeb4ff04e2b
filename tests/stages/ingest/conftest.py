"""Projects for the tests of sources: their processes are all gone when a test has ended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.projects import Project, lent


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project."""
    with lent(
        tmp_path / "project", "[pool.local]\ncpu = 1\n"
    ) as project:  # one worker: what it imports, it imports once
        yield project
