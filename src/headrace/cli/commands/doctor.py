"""`headrace doctor`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from headrace.cli import options
from headrace.cli.terminal.terminal import paint, say_json, say_styled
from headrace.errors import ProjectError
from headrace.operate.doctor.doctor import examine
from headrace.operate.doctor.finding import Finding
from headrace.project import project
from headrace.report.marks import Style, printable

MARKS: dict[str, tuple[str, Style]] = {"well": ("✓", "green"), "doubtful": ("?", "yellow"), "wrong": ("✗", "red")}


@click.command()
@options.as_json
@options.config
def command(as_json: bool, config: Path | None) -> int:
    """Prints a line for each check: what was found and, if something is wrong or doubtful, what to do.

    The exit code is 2 if something is wrong, else 0.
    """
    found = []
    for finding in examine(_project(config)):
        found.append(finding)
        if not as_json:
            _say(finding)
    if as_json:
        say_json({"findings": found})
    return 2 if any(finding.state == "wrong" for finding in found) else 0


def _project(config: Path | None) -> project.Project | None:
    """Return the project, or None if there is none.

    Raises:
        HeadraceError: the project's settings are invalid.
    """
    try:
        return project.load(overlay=config)
    except ProjectError:
        return None


def _say(finding: Finding) -> None:
    mark, style = MARKS[finding.state]
    say_styled(f"{paint(mark, style, stream=sys.stdout)} {finding.about:<12} {printable(finding.found)}")
    if finding.hint:
        say_styled(f"{'':<15}{paint(printable(finding.hint), style, stream=sys.stdout)}")
