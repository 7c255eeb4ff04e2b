"""A project, and all that a process has read of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from headrace.fingerprint.distribution import Distributions
from headrace.fingerprint.module_owner import ModuleOwners
from headrace.fingerprint.project_roots import NO_SOURCES, ProjectRoots
from headrace.fingerprint.source.files import Sources


class Project:
    """Which code counts as the project's: the Python under `roots`, and `extra_sources` (cells) by their names.

    What is installed is not, but for editable installs. It keeps what it has read, so one serves for all stages of a
    process.
    """

    def __init__(self, roots: Sequence[Path], *, extra_sources: Mapping[str, str] = NO_SOURCES) -> None:
        self.roots = ProjectRoots(roots, extra_sources=extra_sources)
        self.sources = Sources(self.roots)
        self.distributions = Distributions()
        self.homes = ModuleOwners(self.roots, self.distributions)
