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
@click.option("--new-code", is_flag=True, help="Go on with the project's code as it is now, not as the run began with.")
@click.option("--timeout", metavar="TIME", help="End it when it has gone on that long: `90s`, `6h`.")
@options.pool
@options.as_json
@options.config
def command(
    run_id: str, new_code: bool, timeout: str | None, pool: str | None, as_json: bool, config: Path | None
) -> int:
    """Tasks that succeeded are not run again; those that failed, were skipped or cancelled are. Without `--timeout` the
    time that the run was given counts anew.

    On this machine, what a driver that died has left at work is ended. On a Ray cluster it goes on, and its result is
    taken. The exit code is as that of `headrace run`.
    """
    limit = None if timeout is None else options.time_limit(timeout)
    found = project.load(overlay=config)
    with watching(as_json=as_json) as observer:
        ended = session.resume(found, run_id, new_code=new_code, pool=pool, timeout_s=limit, observer=observer)
    return finish(found, ended, observer, as_json=as_json)
