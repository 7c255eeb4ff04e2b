"""Compares digests of rows to find the judged rows that a model has seen: rows that it was trained on, or that were
used to choose how long to train."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from headrace.errors import UsageError
from headrace.models.frames import check_column
from headrace.models.model import Model
from headrace.spec.report import Grid
from headrace.stages.tables.sketch import KEPT, digests, read, sketch

SHOWN = 10


DISTINCT = 0.5
"""Equal rows count as the same row if at least this share of a table's rows differ from each other."""


class Leak(NamedTuple):
    """The judged rows that the model was trained on.

    `rows` has their numbers, and `seen` has for each of them the number of the first equal row in the training data.
    `by` are the compared columns. If `is_by_key`, these columns identify a row. Otherwise, rows may be equal by chance.
    `different` is the number of different rows as a share of all rows: of the judged table or of the training table,
    whichever share is lower.
    """

    rows: Any
    seen: Any
    by: tuple[str, ...]
    is_by_key: bool
    different: float = 1.0

    @property
    def tells(self) -> bool:
        """Whether equal rows may be treated as the same row."""
        return self.is_by_key or self.different >= DISTINCT

    def grid(self, others: str = "training row") -> Grid:
        """Return a grid with the first few judged rows that the model was trained on, each beside its equal row in the
        training data. `others` is the name of the column of equal rows."""
        pairs = list(zip(self.rows.tolist(), self.seen.tolist(), strict=True))
        return Grid(
            title=f"Test rows that {'were' if self.is_by_key else 'may have been'} trained on",
            columns=("test row", others),
            rows=tuple((f"{mine:,}", f"{theirs:,}") for mine, theirs in pairs[:SHOWN]),
            note=f"{len(pairs):,} in all; rows are counted from 0. Compared by {', '.join(self.by)}.",
        )


def leaks(table: pa.Table, train: pa.Table, key: Sequence[str] | None) -> Leak:
    """Return the rows of a table that are also in `train`, compared by `key`, or by all columns that both tables have.

    Raises:
        UsageError: a column of the key is missing, or the tables have no column in common.
    """
    both = set(train.column_names)
    names = list(key) if key is not None else [each for each in table.column_names if each in both]
    if not names:
        raise UsageError(
            "`train` and the table that is judged have no column in common",
            hint="give training rows whose columns have the same names as those of the table",
        )
    for name in names:
        check_column(table, name)
        check_column(train, name)
    mine, theirs = digests(table, names), digests(train, names)
    order = np.argsort(theirs, kind="stable")
    ordered = theirs[order]
    place = np.minimum(np.searchsorted(ordered, mine), max(0, len(ordered) - 1))
    same = ordered[place] == mine if len(ordered) else np.zeros(len(mine), bool)
    rows = np.flatnonzero(same)
    different = min(len(np.unique(each)) / max(1, len(each)) for each in (mine, theirs))
    return Leak(rows, order[place[rows]], tuple(names), key is not None, different)


class Overlap(NamedTuple):
    """How many judged rows were used to choose how long a model was trained.

    `judged` is the number of these judged rows, and `rows` is the number of all rows that were used to choose.
    `is_counted` is True if the model's sketch holds all rows that were used. If `is_counted` is False, the sketch holds
    a sample of these rows, and `judged` is an estimate from the sample.
    """

    judged: int
    rows: int
    is_counted: bool


def overlap(model: Model, table: pa.Table, features: Sequence[str]) -> Overlap | None:
    """Return how many rows of a table were used to choose a model's number of training rounds.

    These rows are found by the model's sketch, which holds digests of the features of the rows that were used. The
    result is None if the model has no sketch, or if the table lacks a feature. If most rows of `table`, or of the table
    that was used, are equal to other rows of the same table anyway, equal rows tell little. Then only whole tables are
    compared: all rows of `table` count as used if `table` has all digests of the sketch, and if both tables have the
    same number of rows and the same number of different rows. Otherwise, no row counts as used.
    """
    theirs = read(model.chosen_on) if {*features} <= {*table.column_names} else None
    mine = sketch(table, features) if theirs is not None else None
    if theirs is None or mine is None or not len(theirs.digests):
        return None
    found = digests(table, [each for each in features if not pa.types.is_nested(table.schema.field(each).type)])
    shared = np.isin(theirs.digests, found)
    is_counted = theirs.different <= KEPT
    if min(theirs.different / theirs.rows, mine.different / mine.rows) < DISTINCT:
        count = mine.rows if shared.all() and theirs[:2] == mine[:2] else 0
        return Overlap(count, theirs.rows, is_counted=True)
    count = int(np.isin(found, theirs.digests).sum())
    return Overlap(count if is_counted else round(count * theirs.different / KEPT), theirs.rows, is_counted)
