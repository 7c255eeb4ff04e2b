"""Artifacts that could not be had."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.cli.terminal.error_output import DAMAGED
from headrace.cli.terminal.terminal import tell

SHOWN = 5


def tell_lacking(lacking: Sequence[str], why: str) -> None:
    """Say which blobs could not be had, and why, where there are any."""
    if lacking:
        more = f" and {len(lacking) - SHOWN} more" if len(lacking) > SHOWN else ""
        tell(f"lacking {', '.join(each[:12] for each in lacking[:SHOWN])}{more}: {why}", label="warning:")


def code_of(lacking: Sequence[str]) -> int:
    """Return the exit code of a command that had to leave these out."""
    return DAMAGED if lacking else 0
