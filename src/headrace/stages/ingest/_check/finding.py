"""The finding of one rule of a contract in a table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.stages.ingest._check.contract import Action

EXAMPLES = 5
SHOWN_CHARACTERS = 60
NONE = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A rule, whether it holds for a table (`holds`; None if it couldn't be checked), and the reason (`why`).

    `rows` are the places of the rows that break the rule, in ascending order. `rows` is empty for a rule about the
    whole table. `columns` are the columns to show in examples.
    """

    rule: str
    action: Action
    holds: bool | None
    why: str
    rows: np.ndarray[Any, Any] = field(default_factory=lambda: NONE)
    columns: tuple[str, ...] = ()

    @property
    def breaks(self) -> bool:
        """Whether the rule is broken. A rule that couldn't be checked counts as broken, unless the rule's action is
        `warn`."""
        return self.holds is False or (self.holds is None and self.action != "warn")


def of_rows(
    rule: str, action: Action, rows: np.ndarray[Any, Any], total: int, columns: tuple[str, ...], wanted: str
) -> Finding:
    """Return the finding of a rule about single rows.

    `rows` are the places of the rows that break the rule, and `total` is the number of all rows of the table. `wanted`
    says in words what the rule requires of a row.
    """
    count = len(rows)
    if count:
        why = f"{count:,} of {total:,} rows ({share(count, total)}) {'is' if count == 1 else 'are'} not {wanted}"
    else:
        why = f"all {total:,} rows are {wanted}" if total else "there are no rows"
    return Finding(rule=rule, action=action, holds=not count, why=why, rows=rows, columns=columns)


def share(count: int, total: int) -> str:
    """Return `count` divided by `total` as a percentage, for people to read.

    >>> share(1, 3), share(1, 1_000_000)
    ('33.3%', '0.0001%')
    """
    part = 100 * count / total
    return f"{part:.3g}%" if part >= 0.001 else f"{part:.1g}%"


def shown(value: object) -> str:
    """Return a value as one line of text, cut if it is long."""
    text = value if isinstance(value, str) else str(value)
    text = text.encode("unicode_escape").decode() if not text.isprintable() else text
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}... ({len(text):,} characters)"


def value_of(scalar: pa.Scalar) -> Any:
    """Return an Arrow value as a Python value, or as text if Python can't represent the value, such as a time in the
    year 10000."""
    try:
        return scalar.as_py()
    except (OverflowError, ValueError):
        return scalar.cast(pa.string()).as_py()


def cell(value: object) -> str:
    """Return the text of a value for a cell of a report. Empty and blank texts are put in quotes, so that a reader sees
    them.

    >>> cell(""), cell(None), cell("a")
    ('""', 'null', 'a')
    """
    text = "null" if value is None else shown(value)
    return text if text.strip() else f'"{text}"'
