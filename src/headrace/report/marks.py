"""Marks and colours for the states of runs and tasks, and for a plan's decisions. Each has both, since some people
can't see the colours. Also a function that makes text safe for a terminal."""

from __future__ import annotations

import os
from typing import Literal, TextIO

Style = Literal["bold", "dim", "red", "green", "yellow", "blue", "cyan"]

MARKS = {
    "queued": "·",
    "waiting": "·",
    "running": "▸",
    "succeeded": "✓",
    "reused": "↺",
    "failed": "✗",
    "skipped": "-",
    "cancelled": "■",
    "refused": "✗",
}
STYLES: dict[str, Style] = {
    "queued": "dim",
    "waiting": "dim",
    "running": "bold",
    "succeeded": "green",
    "reused": "blue",
    "failed": "red",
    "skipped": "dim",
    "cancelled": "yellow",
    "refused": "red",
}
DECISIONS = {"run": "▸", "reuse": "↺", "reuse_if_unchanged": "≟", "skip": "-", "skip_if_unchanged": "-"}
DECISION_STYLES: dict[str, Style] = {
    "run": "bold",
    "reuse": "blue",
    "reuse_if_unchanged": "cyan",
    "skip": "dim",
    "skip_if_unchanged": "dim",
}


def printable(text: str, *, keep: str = "\n\t") -> str:
    """Return a text with its control characters escaped, except those in `keep`, so that it can't move the cursor."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in keep else repr(each)[1:-1] for each in text)


def is_live(stream: TextIO) -> bool:
    """Return whether a stream is a terminal on which a display can be redrawn in place.

    For `!command` in a Jupyter notebook this is False: the command gets a terminal, but the cell can't be redrawn.
    """
    return stream.isatty() and os.environ.get("TERM") != "dumb" and "JPY_PARENT_PID" not in os.environ
