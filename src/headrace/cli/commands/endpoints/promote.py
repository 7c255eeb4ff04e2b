"""`headrace promote`."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.cli import complete, options
from headrace.cli.terminal.endpoints import say_moved
from headrace.operate.endpoints.routes import promote
from headrace.project import project


@click.command()
@click.argument("named", metavar="NAMED", shell_complete=complete.models)
@click.option("--key", metavar="COLUMN", help="The column of a record that says whom the answer is about.")
@click.option("--time", metavar="COLUMN", help="The column of a record that says which time the answer is about.")
@options.forced
@options.as_json
@options.config
def command(
    named: str,
    key: str | None,
    time: str | None,
    why: str | None,
    forced: str | None,
    as_json: bool,
    config: Path | None,
) -> int:
    """Makes a version of a registered model the variant `production` of the endpoint that has the model's name. This
    variant gets all requests that no other variant gets. If there is no such endpoint yet, the command makes it. NAMED
    is the version: `NAME:3`, `NAME` (the newest) or `NAME@ALIAS`. The model's alias `production` moves to the version
    too. Once there is an endpoint, `headrace alias` also promotes a version, if it points the alias `production` at it.

    Other variants keep their shares, but a variant of the same version ends. `--key` and `--time` name columns that
    each record must have from then on. Without these options, the endpoint keeps its present columns.

    If this version takes other columns than the version that was `production` before, the command warns: clients may
    still send the columns of the earlier version.

    If the version's report has not passed its gates or can't be read, the command refuses. With `--force --why "..."`,
    it promotes the version anyway.
    """
    route = promote(project.load(overlay=config), named, key=key, time=time, why=why, forced=forced)
    say_moved(route, as_json=as_json)
    return 0
