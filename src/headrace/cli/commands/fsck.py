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
    help="Copy damaged blobs from another region or from a blob with the same bytes. If there is none, mark the "
    "results as not reusable, so that the next run makes them again.",
)
@options.as_json
@options.config
def command(deep: bool, repair: bool, as_json: bool, config: Path | None) -> int:
    """Checks the ledger's own integrity, and that each blob that the ledger names is in a store with the right size.
    With `--deep`, it also checks the bytes of each blob in each region, and the rows of each run against its events.

    The exit code is 0 if all is well or was repaired, and 5 if something is damaged.
    """
    found = check(project.load(overlay=config), deep=deep, repair=repair)
    if as_json:
        say_json(found)
    else:
        _say(found)
    return DAMAGED if any(problem.mended is None for problem in found.problems) else 0


def _say(found: Checked) -> None:
    for problem in found.problems:
        subject = paint(f"{problem.about} {printable(problem.subject)}", "red", stream=sys.stdout)
        say_styled(f"{subject}: {printable(problem.what)}")
        say(f"    {problem.mended or problem.hint}", "dim")
    looked = f"{count_text(found.runs, 'run')} and {count_text(found.blobs, 'blob')} ({bytes_text(found.bytes)})"
    say(f"{count_text(len(found.problems), 'problem')} in {looked}", "red" if found.problems else "green")
    if found.orphans or found.drafts:
        size = bytes_text(found.orphan_bytes + found.draft_bytes)
        tell(f"{size} belong to no run; `headrace gc` deletes what is old enough", label="hint:")
