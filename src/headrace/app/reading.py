"""The read side of a project: what its ledger says of runs, for commands and pages."""

from __future__ import annotations

from pathlib import Path

from headrace.app.project import Project
from headrace.errors import ConfigError
from headrace.record.views import LIVE, AttemptView, OutputView, RunsView, RunView, StageView, TaskView, Views

__all__ = [
    "LIVE",
    "AttemptView",
    "OutputView",
    "RunView",
    "RunsView",
    "StageView",
    "TaskView",
    "Views",
    "ledger_file",
    "read",
]


def read(project: Project) -> Views:
    """Open the project's ledger to read."""
    return Views(ledger_file(project))


def ledger_file(project: Project) -> Path:
    """Give the ledger's file.

    Raises:
        ConfigError: the project's ledger is of a kind that this release has no code for.
    """
    url = project.ledger_url
    if not url.startswith("sqlite:///"):
        raise ConfigError(
            f"`[ledger] url` is `{url}`, and this release keeps its ledger in SQLite only",
            hint="leave it out, or give sqlite:///path/to/ledger.db",
        )
    return project.root / url.removeprefix("sqlite:///")
