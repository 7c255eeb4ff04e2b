"""How each state looks: a mark and a colour, never the colour alone; and text that can't act on a terminal."""

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
    """Return a text with its control characters written out, so that a name can't move the cursor."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in keep else repr(each)[1:-1] for each in text)


def is_live(stream: TextIO) -> bool:
    """Return whether a stream is a terminal on which a picture can be drawn again and again."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"
