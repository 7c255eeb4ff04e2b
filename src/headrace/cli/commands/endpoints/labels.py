"""`headrace labels`."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.cli import complete, options
from headrace.cli.terminal.predictions import say_labels
from headrace.cli.terminal.terminal import say_json, tell
from headrace.inspect.endpoints.labels import labels
from headrace.inspect.views import read
from headrace.project import project


@click.command()
@click.argument("endpoint", metavar="ENDPOINT", shell_complete=complete.endpoints)
@options.as_json
@options.config
def command(endpoint: str, as_json: bool, config: Path | None) -> int:
    """A label says what really came of a prediction: clients send it (`POST /v1/endpoints/ENDPOINT/feedback`), or a
    pipeline records it (`ingest.feedback`). All labels are kept; the last one of a prediction counts. The command lists
    the sources of an endpoint's labels, and how many labels each has recorded. Each label is counted in one more
    column: `counting` if it is the label of its prediction; `repeated` or `corrected` if the next label of the
    prediction says the same or something else; `unknown` if the endpoint has no such prediction, or not yet;
    `withdrawn` after `headrace withdraw`. `headrace predictions ENDPOINT --labels` shows the labels.

    With `--json`: `endpoint`, `sources`, each with `source`, `recorded`, `counting`, `repeated`, `corrected`,
    `unknown` and `withdrawn`, and `withdrawals`, each with `source`, `at`, `by` and `why`.
    """
    found = project.load(overlay=config)
    with read(found) as views:
        shown = labels(found, views, endpoint)
    if as_json:
        say_json(shown)
    elif not shown.sources and not shown.withdrawals:
        tell(f"endpoint `{endpoint}` has no labels yet")
    else:
        say_labels(shown)
    return 0
