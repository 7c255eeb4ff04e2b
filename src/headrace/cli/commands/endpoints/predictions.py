"""`headrace predictions`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from headrace.cli import options
from headrace.cli.terminal.predictions import NAMELESS, say_batches, say_logs, say_predictions
from headrace.cli.terminal.terminal import say_file, say_json, tell
from headrace.errors import UsageError
from headrace.inspect.endpoints.labels import labelled
from headrace.inspect.endpoints.predictions import batches, logs, predictions
from headrace.inspect.get.output_file import form_of, is_stdout, written
from headrace.inspect.get.table_file import SUFFIXES, write
from headrace.inspect.views import read
from headrace.project import project

SHOWN = 20


@click.command()
@click.argument("endpoint", metavar="[ENDPOINT]", required=False)
@click.option("--since", type=click.DateTime(), metavar="TIME", help="Leave out predictions from before this time.")
@click.option("--labels", is_flag=True, help="Add each prediction's label: `label`, `label_source`, `labelled_at`.")
@click.option("--to", type=options.FILE, metavar="FILE", help="Write all predictions to a file: `delays.parquet`.")
@options.as_json
@options.config
def command(
    endpoint: str | None, since: datetime | None, labels: bool, to: Path | None, as_json: bool, config: Path | None
) -> int:
    """Without ENDPOINT, lists the endpoints that have answered. For each, it says how many predictions are in the
    store, how many are still only on this host (not sealed yet), and how many batches there are. With ENDPOINT, prints
    its last predictions (id, time, variant, version, row and answer) and its last batches (with the digests of their
    rows and answers). If ENDPOINT is `-`, prints the batches that belong to no endpoint. With `--to`, writes all
    predictions except those of batches to a file: `.parquet`, `.arrow`, `.csv`, `.json` or `.jsonl`.

    With `--labels`, each prediction has its label too: the last one that isn't withdrawn, or null.
    `headrace labels ENDPOINT` says where labels came from.

    With `--json`: `{"endpoints": [...]}`, each with `endpoint`, `predictions`, `parts`, `first`, `last`, `unsealed`,
    `labels`, `batches`, `batch_rows`. With ENDPOINT, `--json` prints the endpoint's last predictions and batches:
    `{"predictions": [...], "batches": [...]}`. A prediction has the same columns as with `--to`, as fields. A batch has
    `at`, `version`, `rows`, `refused`, `seconds`, `input`, `output`, `run`, `task`.
    """
    if endpoint is None and (since is not None or to is not None or labels):
        raise UsageError(
            "`--since`, `--to` and `--labels` are about one endpoint", hint="name it: `headrace predictions ENDPOINT`"
        )
    found = project.load(overlay=config)
    if endpoint is None:
        with read(found) as views:
            shown = logs(found, views)
        if as_json:
            say_json({"endpoints": shown})
        elif not shown:
            tell("there is no prediction yet")
        else:
            say_logs(shown)
        return 0
    endpoint = "" if endpoint == NAMELESS else endpoint
    with read(found) as views:
        since = since and since.astimezone()
        table = predictions(found, views, endpoint, since=since)
        if labels:
            table = labelled(found, views, endpoint, table)
        done = batches(views, endpoint, since=since)
    if to is not None:
        form = form_of(to, SUFFIXES, "predictions")
        with written(to, f"{endpoint}{form}") as (path, aside):
            write(table, aside, form)
        if not as_json:
            say_file(path)
        elif not is_stdout(path):
            say_json({"file": str(path), "predictions": len(table)})
        return 0
    rows = table.slice(max(0, len(table) - SHOWN)).to_pylist()
    if as_json:
        say_json({"predictions": rows, "batches": done[:SHOWN]})
        return 0
    if rows or not done:
        say_predictions(rows, len(table))
    if done:
        say_batches(done[:SHOWN], len(done))
    return 0
