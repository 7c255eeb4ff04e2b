"""Finds where artifacts come from and what was made from them, for commands."""

from __future__ import annotations

from headrace.errors import NotFoundError
from headrace.inspect.get import addresses
from headrace.inspect.get.get import check_is_no_run, find, named_part
from headrace.inspect.views import read
from headrace.ledger.views.lineage import Lineage
from headrace.ledger.views.rows import OutputView
from headrace.ledger.views.steps import Need, Step, Trail
from headrace.project.project import Project

__all__ = ["Need", "OutputView", "Step", "Trail", "trail"]


def trail(project: Project, run_or_digest: str, task: str | None) -> Trail:
    """Return the trail of a task's output, or of a part of it (`split.train`). Without a task, return the trail of the
    artifact with this digest or address.

    Raises:
        NotFoundError: there is no such run, task or artifact.
    """
    with read(project) as views:
        lineage = Lineage(views)
        version = addresses.version(views, run_or_digest)
        if version is not None:
            made = addresses.maker(views, version)
            return lineage.of_artifact(version.out.digest) if made is None else lineage.of_task(*made)
        if task is None:
            try:
                return lineage.of_artifact(run_or_digest)
            except NotFoundError as error:
                check_is_no_run(views, run_or_digest)
                raise error
        run = views.find(run_or_digest).run  # only once: later, `latest` may be another run
        name, path = named_part(views, run, task)
        return lineage.of_task(run, name, find(views, run, task) if path else None)
