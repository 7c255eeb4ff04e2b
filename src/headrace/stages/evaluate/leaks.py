"""Compares digests of rows to find the judged rows that a model has seen: rows that it was trained on, or that were
used to choose how long to train."""

from __future__ import annotations

import math
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
"""If fewer than this share of a table's rows differ from each other, equal rows of two tables prove nothing."""
SURE = 3.1
"""By how many standard deviations the number of equal rows must be above the number that chance gives: then p is below
0.001."""
RARE = 0.001
"""Two tables are the same if another table has the same rows by chance at most this often."""


class Leak(NamedTuple):
    """The judged rows that the model was trained on.

    `rows` has their numbers, and `seen` has for each of them the number of the first equal row in the training data.
    `by` are the compared columns. If `is_by_key`, these columns identify a row. Otherwise, rows may be equal by chance,
    and `chance` is the largest number of such rows that chance explains. `different` is the number of different rows as
    a share of all rows: of the judged table or of the training table, whichever share is lower.
    """

    rows: Any
    seen: Any
    by: tuple[str, ...]
    is_by_key: bool
    different: float = 1.0
    chance: int = 0

    @property
    def tells(self) -> bool:
        """Whether the equal rows may be treated as the same rows: they are equal by key, or too many for chance."""
        return self.is_by_key or len(self.rows) > self.chance

    @property
    def is_told(self) -> bool:
        """Whether a user should be warned of the equal rows, even if chance explains them."""
        return self.tells or self.different >= DISTINCT

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
    for name in key or ():
        same &= table[name].is_valid().to_numpy()  # a row without a key is known to be no other
    rows = np.flatnonzero(same)
    different = min(len(np.unique(each)) / max(1, len(each)) for each in (mine, theirs))
    chance = 0 if key is not None or not len(rows) else by_chance(mine, theirs)
    return Leak(rows, order[place[rows]], tuple(names), key is not None, different, chance)


def by_chance(mine: Any, theirs: Any) -> int:
    """Return how many rows of one table may have an equal row in another by chance, given the digests of all rows.

    This is the limit of a permutation test. If the tables have no row in common, and their rows come from the same
    source, then each deal of all rows to the two tables is equally likely. A row that stands `count` times in both
    tables together has no equal row in the other table if all of its copies are dealt to this one. The sum of these
    rows has a known mean and variance, given the size of this table. The distribution of the values plays no part, nor
    do columns that depend on each other. If the tables come from different sources, chance gives fewer equal rows.

    Two equal tables are never chance, unless they have so few rows, or so few different rows, that they may be.
    """
    if len(mine) == len(theirs) and np.array_equal(np.sort(mine), np.sort(theirs)) and not _may_recur(mine):
        return 0
    rows = len(mine) + len(theirs)
    count = np.unique(np.concatenate([mine, theirs]), return_counts=True)[1].astype(float)
    share = len(mine) / rows
    alone = share**count
    together = (1 - share) * float(np.sum(count**2 * alone))
    variance = float(np.sum(count**2 * alone * (1 - alone))) - together**2 / max(rows * share * (1 - share), 1e-9)
    deviation = math.sqrt(max(variance, 0.0))
    skewed = (SURE**2 - 1) / 6  # small numbers are skewed like Poisson's distribution (Cornish & Fisher 1938)
    return math.floor(len(mine) - float(np.sum(count * alone)) + SURE * deviation + skewed)


def _may_recur(digests: Any) -> bool:
    """Return whether another table from the same source may have the same rows as often, in any order, by chance.

    The odds are those of a multinomial distribution whose probabilities are the shares of the rows themselves: no other
    probabilities give higher odds.
    """
    counts, times = np.unique(np.unique(digests, return_counts=True)[1], return_counts=True)
    rows = len(digests)
    each = [
        number * (count * math.log(count / rows) - math.lgamma(count + 1))
        for count, number in zip(counts, times, strict=True)
    ]
    return bool(math.lgamma(rows + 1) + sum(each) > math.log(RARE))


class Overlap(NamedTuple):
    """How many judged rows were used to choose how long a model was trained.

    `judged` is the number of these judged rows, and `rows` is the number of all rows that were used to choose.
    `is_counted` is True if all rows that were used are known: from the model's sketch, or because they were given. If
    `is_counted` is False, the sketch holds a sample of these rows, and `judged` is an estimate from the sample. `key`
    are the columns that identify a row. If there are none, rows may be equal by chance, and `chance` is the largest
    number of such rows that chance explains.
    """

    judged: int
    rows: int
    is_counted: bool
    chance: int = 0
    key: tuple[str, ...] = ()

    @property
    def tells(self) -> bool:
        """Whether the equal rows may be treated as the same rows: they are equal by key, or too many for chance."""
        return self.judged > self.chance


def overlap(
    model: Model,
    table: pa.Table,
    features: Sequence[str],
    *,
    valid: pa.Table | None = None,
    key: Sequence[str] = (),
) -> Overlap | None:
    """Return how many rows of a table were used to choose a model's number of training rounds.

    If `valid` has the rows that were used, and both tables have the columns `key`, the rows are compared by `key`.

    Otherwise, these rows are found by the model's sketch, which holds digests of the features of the rows that were
    used. The result is None if the model has no sketch, or if the table lacks a feature. If most rows of `table`, or of
    the table that was used, are equal to other rows of the same table anyway, equal rows tell little. Then only whole
    tables are compared: all rows of `table` count as used if both tables have the same rows equally often. Otherwise,
    no row counts as used.
    """
    theirs = read(model.chosen_on) if {*features} <= {*table.column_names} else None
    mine = sketch(table, features) if theirs is not None else None
    if theirs is None or mine is None or not len(theirs.digests):
        return None
    if valid is not None and key and {*key, *features} <= {*valid.column_names} and {*key} <= {*table.column_names}:
        given = sketch(valid, features)
        if given is not None and given.text() == theirs.text():
            return Overlap(len(leaks(table, valid, key).rows), theirs.rows, is_counted=True, key=tuple(key))
    found = digests(table, [each for each in features if not pa.types.is_nested(table.schema.field(each).type)])
    is_counted = theirs.different <= KEPT
    different = min(theirs.different / theirs.rows, mine.different / mine.rows)
    if theirs.text() == mine.text() and theirs.total and not _may_recur(found):
        return Overlap(mine.rows, theirs.rows, is_counted=True)
    if different < DISTINCT:
        return Overlap(0, theirs.rows, is_counted=True)
    count = int(np.isin(found, theirs.digests).sum())
    count = count if is_counted else round(count * theirs.different / KEPT)
    return Overlap(count, theirs.rows, is_counted, chance=_twins(mine.rows, different, min(KEPT, theirs.different)))


def _twins(rows: int, different: float, kept: int) -> int:
    """Return how many rows of a table may have an equal row in another table by chance, if `different` is the share of
    rows that differ from each other within a table, and `kept` different rows of the other table are known.

    A row of the judged table is equal to a row of the other table as often as a row of the other table is equal to
    another row there. Of `n` rows with `d` different ones, at most `2 (n - d)` are equal to another.
    """
    share = min(1.0, 2 * (1 - different))
    return math.ceil(rows * min(1.0, share + SURE * math.sqrt(share * (1 - share) / max(1, min(rows, kept)))))
