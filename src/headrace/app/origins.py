"""Where artifacts come from, and what came of them, for commands."""

from __future__ import annotations

from headrace.app.project import Project
from headrace.app.reading import read
from headrace.record.lineage import Lineage, Need, Step, Trail

__all__ = ["Need", "Step", "Trail", "trail"]


def trail(project: Project, run_or_digest: str, task: str | None) -> Trail:
    """Give the trail of a task's output or, without a task, of the artifact with this digest.

    Raises:
        NotFoundError: there is none.
    """
    with read(project) as views:
        lineage = Lineage(views)
        return lineage.of_artifact(run_or_digest) if task is None else lineage.of_task(run_or_digest, task)
