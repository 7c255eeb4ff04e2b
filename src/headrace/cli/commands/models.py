"""`headrace models`."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.cli import complete, options
from headrace.cli.terminal.versions import say_registered


@click.command()
@click.argument("name", metavar="[NAME]", required=False, shell_complete=complete.models)
@options.as_json
@options.config
def command(name: str | None, as_json: bool, config: Path | None) -> int:
    """Without NAME, lists each model with its newest version. With NAME, lists all versions of that model: aliases,
    who registered it and when, the run and task that made it, size, digest, what its report says, and the note. Below
    the versions, it lists each move of an alias: from which version to which, when, by whom and why.

    With `--json`: `{"models": [...], "moves": [...]}`. `models` has all versions, sorted by name, and the newest of
    each name first. `moves` has all moves of aliases, the newest first. `headrace register` adds versions.
    """
    return say_registered("model", name, as_json, config)
