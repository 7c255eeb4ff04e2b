"""Prints the warning of a command that found some artifacts missing, and returns its exit code."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.cli.terminal.error_output import DAMAGED
from headrace.cli.terminal.terminal import tell

SHOWN = 5


def tell_lacking(lacking: Sequence[str], why: str) -> None:
    """Print a warning that names the missing blobs and says why they are missing. If no blob is missing, print
    nothing."""
    if lacking:
        more = f" and {len(lacking) - SHOWN} more" if len(lacking) > SHOWN else ""
        tell(f"missing blobs: {', '.join(each[:12] for each in lacking[:SHOWN])}{more}: {why}", label="warning:")


def code_of(lacking: Sequence[str]) -> int:
    """Return the exit code of a command that had to leave out the blobs `lacking`: 0 if `lacking` is empty, else
    `DAMAGED`."""
    return DAMAGED if lacking else 0
