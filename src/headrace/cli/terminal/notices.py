"""Prints notices to people about runs on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from headrace.cli.terminal.table import Cell, table
from headrace.cli.terminal.terminal import say_styled
from headrace.inspect.notices import NoticeView
from headrace.report.marks import Style, printable

STATES: dict[str, Style] = {"sent": "green", "pending": "dim", "failed": "red", "late": "yellow", "imported": "dim"}


def say_notices(notices: Sequence[NoticeView]) -> None:
    """Print a line for each notice: its run, what it says, and whether it was sent."""
    heads = ["run", "notice", "at", "state", "tries", "sent by", "why not"]
    rows = [_row(notice) for notice in notices]
    for line in table(heads, rows, numbers=(4,), spare=("tries", "at", "sent by")):
        say_styled(line)


def unsent_text(notice: NoticeView) -> str:
    """Return a line that says that a notice was not sent, and why."""
    ends = {
        "pending": "the next command that ends a run tries again",
        "failed": "no more tries are made; `headrace notices --send` tries again",
        "late": "it is too old by now to be sent",
        "imported": "it came from another ledger or a backup, and isn't sent from here",
    }
    why = f": {notice.error}" if notice.error else ""
    return printable(f"the notice of this ({notice.kind}) isn't sent{why}; {ends.get(notice.state, notice.state)}")


def _row(notice: NoticeView) -> list[Cell]:
    return [
        notice.run or "",
        notice.kind,
        f"{datetime.fromtimestamp(notice.at).astimezone():%Y-%m-%d %H:%M:%S}",
        (notice.state, STATES.get(notice.state, "dim")),
        str(notice.tries),
        ", ".join(notice.sent),
        printable(notice.error or ""),
    ]
