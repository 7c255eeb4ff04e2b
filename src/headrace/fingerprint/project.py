"""A project, and all of its code that a process has read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from headrace.fingerprint.distribution import Distributions
from headrace.fingerprint.module_owner import ModuleOwners
from headrace.fingerprint.project_roots import NO_SOURCES, ProjectRoots
from headrace.fingerprint.source.files import Sources


class Project:
    """The code that belongs to the project: the Python files under `roots`, and the cells in `extra_sources` by their
    names.

    Installed code doesn't belong to the project, except for editable installs. All stages of a process share one
    `Project`, so that each file is read only once.
    """

    def __init__(self, roots: Sequence[Path], *, extra_sources: Mapping[str, str] = NO_SOURCES) -> None:
        self.roots = ProjectRoots(roots, extra_sources=extra_sources)
        self.sources = Sources(self.roots)
        self.distributions = Distributions()
        self.homes = ModuleOwners(self.roots, self.distributions)
