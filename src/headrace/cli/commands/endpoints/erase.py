"""`headrace erase`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from headrace.cli import complete, options
from headrace.cli.terminal.terminal import say, say_json, tell
from headrace.errors import UsageError, listed
from headrace.operate.erasure.outputs import first_of
from headrace.project import project
from headrace.report.marks import printable
from headrace.report.measures import count_text

if TYPE_CHECKING:
    from headrace.operate.erasure.erase import Erased

UNFINISHED = 6
_FEW = 5
"""At most this many outputs of each kind, and source files, that stay are printed."""


@click.command()
@click.argument("endpoint", metavar="[ENDPOINT]", required=False, shell_complete=complete.endpoints)
@click.argument("key", metavar="[KEY]", required=False)
@click.option("--why", metavar="TEXT", default="", help="The reason; it is recorded.")
@click.option("--column", "columns", metavar="NAME", multiple=True,
              help="Another column in which the value KEY means the person; may be given again.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say what would be erased, and erase nothing.")
@click.option("--no-wait", is_flag=True, help="Don't wait until a server of this host has sealed its log.")
@click.option("--resume", "resumes", is_flag=True,
              help="Complete all erasures. Repeat complete ones, for new tables and for this host.")  # fmt: skip
@options.as_json
@options.config
def command(
    endpoint: str | None,
    key: str | None,
    why: str,
    columns: tuple[str, ...],
    dry_run: bool,
    no_wait: bool,
    resumes: bool,
    as_json: bool,
    config: Path | None,
) -> int:
    """KEY is the value of the endpoint's key column in the requests about the person. If KEY is `-`, the value is read
    from stdin, so that it isn't in your shell's history. The requests about the person are removed from the log. If a
    table of a run has this value in a column with the name of the key column, the whole table is erased; its task runs
    again when the table is needed. Models and reports that were made from these tables are listed, but not erased. If a
    source file of a run contains the value, the file is listed too, and not erased either. Other files, printed output,
    logged values and parameters of runs aren't searched.

    Erased bytes are deleted from all regions and from this host's caches, and the next `headrace backup` deletes them
    from the backup. The ledger records who erased, when and why, with a digest of the key. If the command is killed,
    `headrace erase --resume` completes the erasure. The exit code is 6 if something is left to do; the command says
    what.

    Requests about the person that arrive in the ten minutes after the erasure are left out too, because clocks of hosts
    may differ. Later requests are kept.

    With `--json`: an object with `erasure`, `until`, `predictions`, `labels`, `unreadable`, `parts`, `unsealed`,
    `tables`, `below`, `bundles`, `unread`, `blobs`, `models` and `waits`; with `--resume`, `{"erasures": [...]}`.
    """
    from headrace.operate.erasure.erase import erase, resume  # noqa: PLC0415  Arrow, 0.2 s

    found = project.load(overlay=config)
    if resumes:
        if endpoint is not None or columns or dry_run:
            raise UsageError(
                "`--resume` takes no ENDPOINT, `--column` or `--dry-run`",
                hint="leave these out: `headrace erase --resume` completes all erasures",
            )
        every = resume(found, waits=not no_wait, say=tell)
        if as_json:
            say_json({"erasures": every})
        else:
            for each in every:
                _say(each)
            if not every:
                tell("nobody was erased yet")
        return UNFINISHED if any(each.waits for each in every) else 0
    if endpoint is None or key is None:
        raise UsageError("ENDPOINT or KEY is missing", hint='`headrace erase ENDPOINT KEY --why "..."`')
    if key == "-":
        key = sys.stdin.readline().rstrip("\n")
    done = erase(found, endpoint, key, columns=columns, why=why, dry_run=dry_run, waits=not no_wait, say=tell)
    say_json(done) if as_json else _say(done)
    return UNFINISHED if done.waits else 0


def _say(erased: Erased) -> None:
    """Print what was erased, or would be, and what is left to do."""
    counts = f"{count_text(erased.predictions, 'prediction')} and {count_text(erased.labels, 'label')}"
    if erased.parts:
        counts += f" in {count_text(erased.parts, 'part')} of the log"
    if erased.unsealed:
        counts += f", {erased.unsealed:,} that {'was' if erased.unsealed == 1 else 'were'} not sealed yet"
    tables = count_text(len(erased.tables), "table")
    if erased.dry_run:
        say(f"would erase {counts}, and {tables}")
    else:
        say(f"erasure {erased.erasure}: {counts}, and {tables}; {count_text(erased.blobs, 'blob')} deleted now")
    if erased.unreadable:
        what = count_text(erased.unreadable, "prediction")
        say(f"    among them {what} of requests that can't be read, which might be about the person", "dim")
    _say_list("", erased.tables)
    if erased.tables:
        say(
            "    a run makes such tables again if its source still has the person: take the person out there first",
            "dim",
        )
    if erased.models:
        named = listed(map(printable, erased.models), _FEW)
        say(f"    models that can't be loaded any more until a run deploys them again: {named}", "dim")
    every = "`--json` lists them" if erased.dry_run else f"`headrace erasures {erased.erasure}` lists them"
    outputs, files = count_text(len(erased.below), "output"), count_text(len(erased.bundles), "source file")
    _say_below(f"made from these tables, and left as they are: {outputs}", first_of(erased.below, _FEW, every))
    more = [f"and {len(erased.bundles) - _FEW:,} more: {every}"] if len(erased.bundles) > _FEW else []
    _say_below(f"have the same value, and are left as they are: {files}", [*erased.bundles[:_FEW], *more])
    if erased.bundles:
        say(
            "    to delete source files: change them in the project, let `headrace gc` forget these runs, and empty",
            "dim",
        )
        say("    the folder `bundles/` of the store on each host that has run tasks, while no run is active", "dim")
    _say_list("couldn't be searched: ", erased.unread)
    say("    not searched: other files, printed output, logged values, parameters of runs", "dim")
    if not erased.dry_run:
        until = datetime.fromtimestamp(erased.until).astimezone()
        say(f"    requests about the person that arrive until {until:%Y-%m-%d %H:%M:%S} are left out too", "dim")
    if not (erased.predictions or erased.unsealed or erased.tables):
        tell(f"nothing of endpoint `{erased.endpoint}` has this key (write a number in its shortest form, such as 7)")
    for each in erased.waits:
        tell(f"not complete: {printable(each)}; `headrace erase --resume` does the rest", label="warning:")


def _say_below(head: str, lines: Sequence[str]) -> None:
    """Print lines below a head, if there are any."""
    for line in (f"    {head}", *(f"        {printable(line)}" for line in lines)) if lines else ():
        say(line, "dim")


def _say_list(head: str, lines: Sequence[str]) -> None:
    for line in lines:
        say(f"    {head}{printable(line)}", "dim")
