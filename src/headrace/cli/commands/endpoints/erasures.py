"""`headrace erasures`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import click

from headrace.cli import options
from headrace.cli.terminal.table import Cell, table
from headrace.cli.terminal.terminal import say, say_json, say_styled, tell
from headrace.inspect.endpoints.erasures import ErasureView, erasure, erasures
from headrace.inspect.views import read
from headrace.project import project
from headrace.report.marks import printable
from headrace.report.measures import count_text


@click.command()
@click.argument("named", metavar="[ERASURE]", required=False)
@options.as_json
@options.config
def command(named: str | None, as_json: bool, config: Path | None) -> int:
    """Without ERASURE, lists all erasures, the newest first. With ERASURE, the id of an erasure, prints this erasure
    and lists each blob that it erased. The persons' keys aren't recorded, only digests of them.

    With `--json`: `{"erasures": [...]}`, each with `erasure`, `endpoint`, `columns`, `at`, `by`, `why`, `done` (null:
    something is left to do), `until`, `predictions`, `labels`, `unreadable`, `parts`, `unsealed`, `tables`, `below`,
    `bundles` and `unread`. With ERASURE, it prints only this erasure, which also has `erased`: a list of blobs, each
    with `digest`, `nonce` and `what`.
    """
    with read(project.load(overlay=config)) as views:
        if named is not None:
            found = erasure(views, named)
            say_json(found) if as_json else _say_erasure(found)
            return 0
        every = erasures(views)
    if as_json:
        say_json({"erasures": every})
    elif not every:
        tell("nobody was erased yet: `headrace erase ENDPOINT KEY` erases a person")
    else:
        _say_erasures(every)
    return 0


def _say_erasures(erasures: Sequence[ErasureView]) -> None:
    """Print a line for each erasure."""
    heads = ["erasure", "endpoint", "asked", "by", "why", "predictions", "state"]
    rows: list[list[Cell]] = [
        [
            printable(each.erasure),
            printable(each.endpoint),
            _time(each.at),
            printable(each.by),
            printable(each.why),
            str(each.predictions),
            "not complete" if each.done is None else "complete",
        ]
        for each in erasures
    ]
    for line in table(heads, rows, spare=("by", "asked")):
        say_styled(line)


def _say_erasure(erasure: ErasureView) -> None:
    """Print an erasure with each blob that it erased."""
    state = "not complete yet" if erasure.done is None else f"complete since {_time(erasure.done)}"
    say(f"erasure {printable(erasure.erasure)} of endpoint {printable(erasure.endpoint)}: {state}")
    say(f"    asked by {printable(erasure.by)} on {_time(erasure.at)}: {printable(erasure.why)}", "dim")
    say(f"    requests about the person until {_time(erasure.until)} are left out too", "dim")
    if erasure.unreadable:
        what = count_text(erasure.unreadable, "prediction")
        say(f"    erased {what} of requests that can't be read, which might be about the person", "dim")
    for row in erasure.erased:
        say(f"    {printable(row.digest)}.{printable(row.nonce)}: {printable(row.what)}", "dim")
    for each in erasure.tables:
        say(f"    {printable(each)}, which consists of parts of the log", "dim")
    for each in erasure.below:
        say(f"    made from erased tables, and left as it is: {printable(each)}", "dim")
    for each in erasure.bundles:
        say(f"    has the same value, and is left as it is: {printable(each)}", "dim")
    for each in erasure.unread:
        say(f"    couldn't be searched: {printable(each)}", "dim")


def _time(at: float) -> str:
    return f"{datetime.fromtimestamp(at).astimezone():%Y-%m-%d %H:%M}"
