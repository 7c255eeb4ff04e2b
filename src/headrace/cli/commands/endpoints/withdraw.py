"""`headrace withdraw`."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.cli import complete, options
from headrace.cli.terminal.terminal import say, say_json
from headrace.operate.endpoints.labels import withdraw_labels
from headrace.project import project
from headrace.report.marks import printable


@click.command()
@click.argument("endpoint", metavar="ENDPOINT", shell_complete=complete.endpoints)
@click.argument("source", metavar="SOURCE")
@options.reason
@options.as_json
@options.config
def command(endpoint: str, source: str, why: str, as_json: bool, config: Path | None) -> int:
    """What SOURCE has sent until now doesn't count any more: a prediction gets the label that it had before, from
    another source, or none. The labels stay in the log, and what SOURCE sends from now on counts. `headrace labels
    ENDPOINT` lists the sources and the withdrawals.

    With `--json`: `source`, `at`, `by` and `why`.
    """
    done = withdraw_labels(project.load(overlay=config), endpoint, source, why=why)
    if as_json:
        say_json(done)
    else:
        say(f"{printable(endpoint)}: the labels of {printable(source)} until now don't count any more")
    return 0
