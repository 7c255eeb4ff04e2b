"""`headrace predict`."""

from __future__ import annotations

import importlib
from itertools import islice
from pathlib import Path

import click

from headrace.cli import complete, options
from headrace.cli.terminal.status_line import progress
from headrace.cli.terminal.terminal import say, say_json, tell
from headrace.project import project

RULES = 5
"""At most this many broken rules of the preparation are printed. With `--json`, all are."""


@click.command()
@click.argument("model", metavar="MODEL", shell_complete=complete.models)
@click.option("--rows", type=options.FILE, metavar="FILE", required=True, help="The file with the rows.")
@click.option(
    "--to",
    type=options.FILE,
    metavar="FILE",
    help="The file to write; by default one in this folder, named after the rows' file.",
)
@click.option(
    "--into",
    metavar="NAME",
    default="predicted",
    show_default=True,
    help="The column for the class or number that the model predicts.",
)
@options.as_json
@options.config
def command(model: str, rows: Path, to: Path | None, into: str, as_json: bool, config: Path | None) -> int:
    """MODEL is the name of a registered model (then its newest version is used), `NAME:3` or `NAME@ALIAS`. The rows are
    in a file of one of the forms Arrow, Parquet, CSV, JSON or JSON Lines. They need the columns that the model takes,
    in types that fit: `headrace card model:NAME` lists them. If a preparation is registered with the model, it prepares
    the rows first.

    The file that is written has all rows with their own columns, and the answers beside them. The column `predicted`
    has the class or number. For a classifier, there is also a column `predicted_CLASS` for each class, with the score
    of this class. The suffix of `--to` decides the form of the file. If the file with the rows has the same form, the
    values of the rows' own columns stay as they are; otherwise they are converted. A row that the preparation refuses
    has no answer; a note says which rules such rows broke. If the file with the rows has no rows, the file that is
    written has none. That file is written whole or not at all, and never over the file with the rows.

    Only models in safe forms are loaded: a pickled model, or a network whose module is code of the project, is refused.
    """
    predict = importlib.import_module("headrace.operate.predict").predict
    with progress(as_json=as_json) as show:
        done = predict(project.load(overlay=config), model, rows, to, into, show)
    if as_json:
        say_json(done)
        return 0
    say(done.file)
    if not done.rows:
        tell("the file that was read has no rows, so the file that was written has none", label="note:")
    if done.refused:
        tell(f"{done.refused:,} of {done.rows:,} rows have no answer: the preparation refuses them", label="note:")
    for rule, count in islice(done.broken_rules.items(), RULES):
        tell(f"{count:,} of {done.rows:,} rows broke the preparation's rule `{rule}`", label="note:")
    for name, count in done.unseen.items():
        tell(f"{count:,} of {done.rows:,} rows have a `{name}` that the model didn't learn from", label="note:")
    if not done.signature:
        tell("the model has no signature, so the types of the columns weren't checked", label="note:")
    return 0
