"""`headrace predictions`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from headrace.cli import options
from headrace.cli.terminal.predictions import say_logs, say_predictions
from headrace.cli.terminal.terminal import say, say_json, tell
from headrace.errors import UsageError
from headrace.inspect.endpoints.labels import labelled
from headrace.inspect.endpoints.predictions import logs, predictions
from headrace.inspect.get.output_file import form_of, written
from headrace.inspect.get.table_file import SUFFIXES, write
from headrace.inspect.views import read
from headrace.project import project

SHOWN = 20


@click.command()
@click.argument("endpoint", metavar="[ENDPOINT]", required=False)
@click.option("--since", type=click.DateTime(), metavar="TIME", help="Leave out what was requested earlier.")
@click.option("--labels", is_flag=True, help="Add what really came of each: `label`, `label_source`, `labelled_at`.")
@click.option("--to", type=options.FILE, metavar="FILE", help="Write all of them to a file, such as `delays.parquet`.")
@options.as_json
@options.config
def command(
    endpoint: str | None, since: datetime | None, labels: bool, to: Path | None, as_json: bool, config: Path | None
) -> int:
    """Without ENDPOINT, lists the endpoints that have answered, and how many predictions each has in the store and,
    not yet sealed, on this host. With ENDPOINT, prints its last predictions: id, time, variant, version, and the row
    and answer. With `--to`, all of them are written to a table: `.parquet`, `.arrow`, `.csv`, `.json` or `.jsonl`.

    With `--labels`, each prediction has its label too: the last one that isn't withdrawn, or null. `headrace labels
    ENDPOINT` says where labels came from.

    With `--json`: `{"endpoints": [...]}`, each with `endpoint`, `predictions`, `parts`, `first`, `last`, `unsealed`,
    `labels`; or `{"predictions": [...]}`, the last ones of ENDPOINT, with the columns as fields.
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
    with read(found) as views:
        table = predictions(found, views, endpoint, since=since and since.astimezone())
        if labels:
            table = labelled(found, views, endpoint, table)
    if to is not None:
        form = form_of(to, SUFFIXES, "predictions")
        with written(to, f"{endpoint}{form}") as (path, aside):
            write(table, aside, form)
        say_json({"file": str(path), "predictions": len(table)}) if as_json else say(str(path))
        return 0
    rows = table.slice(max(0, len(table) - SHOWN)).to_pylist()
    say_json({"predictions": rows}) if as_json else say_predictions(rows, len(table))
    return 0
