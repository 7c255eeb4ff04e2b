"""Prints what an export, an import or a restore had to leave out, and returns its exit code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from headrace.cli.terminal.error_output import DAMAGED
from headrace.cli.terminal.terminal import tell
from headrace.report.measures import count_text

SHOWN = 5


def tell_lacking(lacking: Sequence[str], why: str) -> None:
    """Print a warning that names the missing blobs and says why they are missing. If no blob is missing, print
    nothing."""
    if lacking:
        more = f" and {len(lacking) - SHOWN} more" if len(lacking) > SHOWN else ""
        tell(f"missing blobs: {', '.join(each[:12] for each in lacking[:SHOWN])}{more}: {why}", label="warning:")


def tell_forgotten(logs: Iterable[tuple[str, int, int]]) -> None:
    """Print which predictions and labels weren't brought back, since `headrace gc` has forgotten them in this project.
    `logs` has the name of each endpoint, and how many predictions and labels it lacks."""
    for endpoint, predictions, labels in logs:
        counts = (predictions, "prediction"), (labels, "label")
        what = " and ".join(count_text(count, noun) for count, noun in counts if count)
        tell(
            f"{what} of endpoint `{endpoint}` were not brought back: `headrace gc` has forgotten them in this"
            " project. To read them once more, restore or import into a new project"
        )


def code_of(lacking: Sequence[str]) -> int:
    """Return the exit code of a command that had to leave out the blobs `lacking`: 0 if `lacking` is empty, else
    `DAMAGED`."""
    return DAMAGED if lacking else 0
