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
    pipeline records it (`ingest.feedback`). All labels are stored; if a prediction has several, the last one counts.

    For each source of labels, the command lists how many labels it has `recorded`. Each of these labels is also counted
    in one of the other columns. The last label of a prediction is `counting`. An earlier label is `repeated` if the
    prediction's next label has the same value, and `corrected` if the next label has another value. A label is
    `unknown` if the endpoint has no such prediction, or not yet. After `headrace withdraw`, the labels that were
    withdrawn are `withdrawn`, whatever they were before. `headrace predictions ENDPOINT --labels` shows the labels.

    With `--json`: an object with `endpoint`, `sources` and `withdrawals`. Each source has `source`, `recorded`,
    `counting`, `repeated`, `corrected`, `unknown` and `withdrawn`. Each withdrawal has `source`, `at`, `by` and `why`.
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
