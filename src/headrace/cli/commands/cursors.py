"""`headrace cursors`."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.cli import complete, options
from headrace.cli.terminal.cursors import say_positions
from headrace.cli.terminal.terminal import say_json, tell
from headrace.inspect.views import read
from headrace.operate.cursors import versions
from headrace.project import project


@click.command()
@click.argument("name", metavar="[NAME]", required=False, shell_complete=complete.cursors)
@options.as_json
@options.config
def command(name: str | None, as_json: bool, config: Path | None) -> int:
    """Without NAME, lists each cursor with its newest version. With NAME, lists all versions of that cursor, the newest
    first. A version has its value, who set it (a run and task, or a person), and when. For cursors of `ingest`, the
    value says how far the source was read. `headrace rewind` sets a cursor back.

    With `--json`: `{"cursors": [...]}`, each with `name`, `version`, `value` (as JSON; null for a table or a large
    value), `reached` (how far the source was read, in words, or null), `kept` (false once the value was deleted),
    `erased` (whether `headrace erase` deleted it), `type`, `digest`, `bytes`, `run`, `task`, `by`, `at`.
    """
    found = project.load(overlay=config)
    with read(found) as views:
        shown = versions(found, views, name)
    if as_json:
        say_json({"cursors": shown})
    elif not shown:
        tell("there is no cursor yet: a pipeline asks for one by `hr.cursor`, and a stage advances it")
    else:
        say_positions(shown)
    return 0
