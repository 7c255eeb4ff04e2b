"""`headrace fsck`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from headrace.cli import options
from headrace.cli.terminal.error_output import DAMAGED
from headrace.cli.terminal.terminal import paint, say, say_json, say_styled, tell
from headrace.operate.upkeep.upkeep import Checked, check
from headrace.project import project
from headrace.report.marks import printable
from headrace.report.measures import bytes_text, count_text


@click.command()
@click.option("--deep", is_flag=True, help="Read every blob, and replay every run.")
@click.option(
    "--repair",
    is_flag=True,
    help="Copy damaged blobs from another region or from a blob with the same bytes. If there is no such copy, mark "
    "the results that need the blob as not reusable, so that the next run makes them again.",
)
@options.as_json
@options.config
def command(deep: bool, repair: bool, as_json: bool, config: Path | None) -> int:
    """Checks the ledger's own integrity, and that each blob that the ledger names is in a store and has the right size.
    With `--deep`, it also checks the bytes of each blob in each region, and the rows of each run against its events.

    The exit code is 0 if all is well or was repaired, and 5 if something is damaged.
    """
    checked = check(project.load(overlay=config), deep=deep, repair=repair)
    if as_json:
        say_json(checked)
    else:
        _say(checked)
    return DAMAGED if any(problem.mended is None for problem in checked.problems) else 0


def _say(checked: Checked) -> None:
    for problem in checked.problems:
        subject = paint(f"{problem.about} {printable(problem.subject)}", "red", stream=sys.stdout)
        say_styled(f"{subject}: {printable(problem.what)}")
        say(f"    {problem.mended or problem.hint}", "dim")
    looked = f"{count_text(checked.runs, 'run')} and {count_text(checked.blobs, 'blob')} ({bytes_text(checked.bytes)})"
    say(f"{count_text(len(checked.problems), 'problem')} in {looked}", "red" if checked.problems else "green")
    if checked.orphans or checked.drafts:
        size = bytes_text(checked.orphan_bytes + checked.draft_bytes)
        tell(f"{size} belong to no run; `headrace gc` deletes what is old enough", label="hint:")
