"""`headrace run`."""

from __future__ import annotations

import importlib
from pathlib import Path

import click

from headrace.cli import options
from headrace.cli.interrupts import watch
from headrace.cli.parameters import split
from headrace.cli.terminal.progress import watching
from headrace.cli.terminal.summary import begun, finish
from headrace.operate import session
from headrace.project import project


@click.command(cls=options.PipelineCommand, context_settings=options.PARAMETERS)
@options.pipeline
@click.option("--detach", is_flag=True, help="Start the run in the background, and print its id.")
@options.as_json
@options.config
def command(
    words: tuple[str, ...],
    param: tuple[str, ...],
    only: tuple[str, ...],
    force: tuple[str, ...],
    timeout: str | None,
    pool: str | None,
    detach: bool,
    as_json: bool,
    config: Path | None,
) -> int:
    """NAME is a pipeline of the project, or `path/to/file.py:name`. The pipeline's parameters are given as options:
    `headrace run flights --month 3`. `headrace run NAME --help` lists them.

    The exit code is 0 if the run succeeded, 1 if a task failed or `--timeout` ended the run, 2 for wrong usage, 3 if
    the run was cancelled, 4 if it was refused or `--timeout` ended during the trace, 5 for a fault of Headrace or if a
    server was lost, and 6 if the run waits for an approval. In the last case, no process of the run is left, and
    nothing is lost. The first ^C cancels the run: its attempts may clean up for a few seconds (`stop_s` of their pool,
    5 by default), and are killed after that. A second ^C kills them at once.
    """
    target, parameters = split("run", words, param)
    found = project.load(target=target, overlay=config)
    wanted = options.policy(found, only, force, timeout, pool)
    if detach:
        run_detached = importlib.import_module("headrace.operate.detach").run_detached  # the rare way to run
        return begun(run_detached(found, found.address(target), parameters, wanted, watch), as_json=as_json)
    with watching(as_json=as_json) as observer:
        ended = session.run(found, found.address(target), parameters, wanted, observer=observer)
    return finish(found, ended, observer, as_json=as_json, policy=wanted)
