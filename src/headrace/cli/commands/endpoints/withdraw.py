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
    """The labels that SOURCE has sent until now don't count any more. A prediction with such a label gets its last
    label from another source, or no label. The withdrawn labels stay in the log. Labels that SOURCE sends from now on
    count. `headrace labels ENDPOINT` lists the sources and the withdrawals.

    With `--json`: `source`, `at`, `by` and `why`.
    """
    done = withdraw_labels(project.load(overlay=config), endpoint, source, why=why)
    if as_json:
        say_json(done)
    else:
        say(f"{printable(endpoint)}: the labels of {printable(source)} until now don't count any more")
    return 0
