"""How each state looks on a terminal: a mark and a colour, never the colour alone."""

from __future__ import annotations

from headrace.cli.terminal import Style

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
DECISIONS = {"run": "▸", "reuse": "↺", "reuse_if_unchanged": "≟", "skip": "-"}
DECISION_STYLES: dict[str, Style] = {"run": "bold", "reuse": "blue", "reuse_if_unchanged": "cyan", "skip": "dim"}
