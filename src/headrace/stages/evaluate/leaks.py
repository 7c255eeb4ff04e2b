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
from headrace.stages.tables.sketch import KEPT, Sketch, digests, read, sketch

SHOWN = 10

DISTINCT = 0.5
"""If fewer than this share of a table's rows differ from each other, equal rows of two tables prove nothing."""
SURE = 3.1
"""By how many standard deviations the number of equal rows must be above the number that chance gives: then p is below
0.001."""
RARE = 0.001
"""What chance gives at most this often isn't chance."""
FEW = 200
"""If at most so many rows of two tables occur more than once, the odds of equal rows are computed exactly."""


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
    source, then each deal of all rows to the two tables is equally likely. The distribution of the values plays no
    part, nor do columns that depend on each other. If the tables come from different sources, chance gives fewer equal
    rows.

    Two equal tables are never chance, unless they have so few rows, or so few different rows, that they may be.
    """
    if len(mine) == len(theirs) and np.array_equal(np.sort(mine), np.sort(theirs)) and not _may_recur(mine):
        return 0
    counts = np.unique(np.concatenate([mine, theirs]), return_counts=True)[1]
    limit = _exact_limit if counts[counts > 1].sum() <= FEW else _normal_limit
    return limit(counts, len(mine))


def _exact_limit(counts: Any, size: int) -> int:
    """Return the number of equal rows that a deal to a table of `size` rows exceeds with a probability of at most
    `RARE`. `counts` are the numbers of copies of each different row.

    The probability is the number of such deals as a share of all deals, as in Fisher's exact test. The deals are
    counted one different row after the other: `taken` of its copies can be dealt to this table in C(copies, taken)
    ways. These copies have an equal row in the other table, unless all copies are here. The rows that occur once fill
    the rest of the table.

    For example, let no table have equal rows of its own, and let them share `k` rows. Then all of the `k` pairs are
    split. Of C(rows, size) deals, 2^k C(rows - 2k, size - k) split them all. In large tables this is a share of nearly
    (2s (1 - s))^k, where `s` is this table's share of the rows: 2^-k for tables of the same size.
    """
    rows, several = int(counts.sum()), counts[counts > 1].tolist()
    most = sum(several)
    ways = np.zeros((most + 1, most + 1))  # by the number of rows dealt here, and by how many of them are equal rows
    ways[0, 0] = 1
    for copies in several:
        before, ways = ways, np.zeros_like(ways)
        for taken in range(copies + 1):
            equal = taken if taken < copies else 0
            fewer = before[: most + 1 - taken, : most + 1 - equal]
            ways[taken:, equal:] += float(math.comb(copies, taken)) * fewer
    rest = [_log_ways(rows - most, size - taken) - _log_ways(rows, size) for taken in range(most + 1)]
    at_least = np.cumsum((np.exp(rest) @ ways)[::-1])[::-1]
    return int(np.count_nonzero(at_least > RARE)) - 1


def _log_ways(rows: int, size: int) -> float:
    """Return the logarithm of the number of ways to choose `size` of `rows` rows."""
    if not 0 <= size <= rows:
        return -math.inf
    return math.lgamma(rows + 1) - math.lgamma(size + 1) - math.lgamma(rows - size + 1)


def _normal_limit(counts: Any, size: int) -> int:
    """Return nearly the same as `_exact_limit`, for any number of rows that occur more than once.

    A row of `copies` copies has no equal row in the other table if all copies are dealt to this one. The number of
    these rows has a known mean and variance, given the size of this table. Its distribution is nearly normal.
    """
    rows, copies = int(counts.sum()), counts.astype(float)
    share = size / rows
    alone = share**copies
    together = (1 - share) * float(np.sum(copies**2 * alone))
    variance = float(np.sum(copies**2 * alone * (1 - alone))) - together**2 / max(rows * share * (1 - share), 1e-9)
    deviation = math.sqrt(max(variance, 0.0))
    skewed = (SURE**2 - 1) / 6  # small numbers are skewed like Poisson's distribution (Cornish & Fisher 1938)
    return math.floor(size - float(np.sum(copies * alone)) + SURE * deviation + skewed)


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

    The model doesn't have these rows, but a sketch of them: digests of their features. If `valid` matches the sketch,
    and both tables have the columns `key`, the rows are compared by `key`. Otherwise, they are compared by the sketch.

    The result is None if the model has no sketch, or if the table lacks a feature.
    """
    used = read(model.chosen_on) if {*features} <= {*table.column_names} else None
    judged = sketch(table, features) if used is not None else None
    if used is None or judged is None:
        return None
    if valid is not None and _is_keyed(table, key) and _is_keyed(valid, key) and _is_of(used, valid, features):
        return Overlap(len(leaks(table, valid, key).rows), used.rows, is_counted=True, key=tuple(key))
    found = digests(table, [each for each in features if not pa.types.is_nested(table.schema.field(each).type)])
    return _by_sketch(used, judged, found)


def _is_keyed(table: pa.Table, key: Sequence[str]) -> bool:
    """Return whether rows can be compared by `key`: there is a key, and the table has its columns."""
    return bool(key) and {*key} <= {*table.column_names}


def _is_of(used: Sketch, table: pa.Table, features: Sequence[str]) -> bool:
    """Return whether a table has the rows of a sketch."""
    given = sketch(table, features) if {*features} <= {*table.column_names} else None
    return given is not None and given.matches(used)


def _by_sketch(used: Sketch, judged: Sketch, found: Any) -> Overlap:
    """Return how many judged rows are among the rows of the sketch `used`, given the digests of the judged rows.

    If both tables have the same rows, all rows count. If most rows of one table are equal to other rows of it anyway,
    equal rows prove nothing, and no row counts.
    """
    different = min(each.different / each.rows for each in (used, judged))
    if judged.matches(used) and not _may_recur(found):
        return Overlap(judged.rows, used.rows, is_counted=True)
    if different < DISTINCT:
        return Overlap(0, used.rows, is_counted=True)
    count, is_counted = int(np.isin(found, used.digests).sum()), used.different <= KEPT
    if not is_counted:
        count = round(count * used.different / KEPT)
    return Overlap(count, used.rows, is_counted, chance=_twins(judged.rows, different, len(used.digests)))


def _twins(rows: int, different: float, kept: int) -> int:
    """Return how many of the `rows` judged rows may be equal to a training row by chance. `different` is the share of
    different rows among the training rows, and `kept` of those are known.

    By chance, a judged row is equal to a training row as often as a training row is equal to another training row. If
    `d` of `n` training rows are different, at most `2 (n - d)` of them are equal to another.
    """
    share = min(1.0, 2 * (1 - different))
    return math.ceil(rows * min(1.0, share + SURE * math.sqrt(share * (1 - share) / max(1, min(rows, kept)))))
