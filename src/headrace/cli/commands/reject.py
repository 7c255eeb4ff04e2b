"""`headrace reject`."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.cli import options
from headrace.cli.terminal.decision import finish_decision
from headrace.cli.terminal.progress import watching
from headrace.operate.approval import decide
from headrace.project import project


@click.command()
@options.run_id
@options.asking_task
@options.reason
@options.later
@options.as_json
@options.config
def command(run_id: str, task: str | None, why: str, later: bool, as_json: bool, config: Path | None) -> int:
    """Rejects TASK, or all tasks of the run that wait for an approval. A rejected task is skipped, with all tasks that
    need its output, and the run ends as refused. After `headrace resume`, these tasks wait for an approval again.

    If the run has no live driver, this command resumes it, as `headrace resume` does, in the same pools. The exit codes
    are then those of `headrace run`: 4 for a run that was refused.
    """
    found = project.load(overlay=config)
    with watching(as_json=as_json) as observer:
        decided = decide(found, run_id, task, "reject", why, later=later, observer=observer)
    return finish_decision(found, decided, "rejected", observer, as_json=as_json)
