"""`headrace resume`."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.cli import options
from headrace.cli.terminal.progress import watching
from headrace.cli.terminal.summary import finish
from headrace.operate import session
from headrace.project import project


@click.command()
@options.run_id
@click.option(
    "--new-code", is_flag=True, help="Use the project's code as it is now, not the code that the run began with."
)
@click.option("--now", is_flag=True, help="End attempts that a dead driver left running, and begin them again.")
@click.option("--timeout", metavar="TIME", help="End the run after this time from now, such as `90s` or `6h`.")
@options.pool
@options.as_json
@options.config
def command(
    run_id: str, new_code: bool, now: bool, timeout: str | None, pool: str | None, as_json: bool, config: Path | None
) -> int:
    """Runs the tasks that failed, were skipped or were cancelled, or that haven't run yet. Tasks that succeeded don't
    run again. Without `--timeout`, the run's own timeout starts again from zero.

    If a driver died and left attempts running, those on this machine and on a Ray cluster go on, and their results are
    used. With `--now`, `--new-code` or another `--pool`, these attempts are ended. The exit codes are those of
    `headrace run`.

    A task that kept checkpoints begins at its last checkpoint. With `--new-code`, a task whose code or inputs have
    changed begins from the beginning.
    """
    limit = None if timeout is None else options.time_limit(timeout)
    found = project.load(overlay=config)
    with watching(as_json=as_json) as observer:
        ended = session.resume(found, run_id, new_code=new_code, now=now, pool=pool, timeout_s=limit, observer=observer)
    return finish(found, ended, observer, as_json=as_json)
