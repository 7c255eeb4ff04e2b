"""`headrace alias`."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.cli import complete, options
from headrace.cli.terminal.versions import say_version
from headrace.operate.register import point
from headrace.project import project


@click.command()
@click.argument("named", metavar="NAMED", shell_complete=complete.addresses)
@click.argument("alias", metavar="ALIAS")
@click.option("--remove", is_flag=True, help="Remove the alias from that version.")
@options.forced
@options.as_json
@options.config
def command(
    named: str, alias: str, remove: bool, why: str | None, forced: str | None, as_json: bool, config: Path | None
) -> int:
    """Points ALIAS at a version: then `model:NAME@ALIAS` means that version. NAMED is the version's address:
    `model:NAME:3`, `model:NAME` (the newest), `model:NAME@ALIAS`, or `dataset:...`. If another version has the alias,
    that version loses it.

    Each move is recorded: who moved the alias, when, from which version, and with `--why "..."` the reason.
    `headrace models NAME` lists the moves.

    If the alias is `production` and the model has an endpoint, the endpoint's requests go to the version from then on,
    as after `headrace promote`. If this version takes other columns than the version that was `production` before, the
    command warns: clients may still send the columns of the earlier version.

    If the version's report has not passed its gates or can't be read, the command refuses. With `--force --why "..."`,
    it moves the alias anyway.
    """
    version = point(project.load(overlay=config), named, alias, remove=remove, why=why, forced=forced)
    say_version(version, as_json=as_json)
    return 0
