"""The bootstrap: how often each row is in each resample.

All numbers of a report come from the same resamples, so differences between numbers are paired. A resample is given as
counts of rows or groups, so no row is copied. There are three ways to draw:

- by group (a day, a customer): as many groups as the data have, with replacement, each group with all of its rows;
- up to 20,000 rows: as many rows as the data have, with replacement (Efron 1979);
- more rows: each row's count is a draw from Poisson(1) (Chamandy et al. 2012, "Estimating uncertainty for massive data
  streams"). For many rows, this has nearly the same result as drawing rows, and needs only a table of 65,536 entries.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

Counts = Any
"""An array of uint8, resamples by units. A unit is a row, or a group of rows that is drawn as one."""

FEW = 20_000
CHUNK = 4_000_000
"""The number of counts that are in memory at a time."""
FEW_GROUPS = 30
"""If there are fewer groups than this, resamples differ less than new samples would."""


class Resamples:
    """`count` bootstrap resamples of `rows` rows.

    An iteration yields the counts of some resamples at a time. Every iteration yields the same counts. `groups` has a
    whole number from 0 for each row: the number of the group with which the row is drawn. It is None if rows are drawn
    one by one.
    """

    def __init__(self, rows: int, *, count: int, seed: int, groups: Any = None) -> None:
        self.rows = rows
        self.count = count
        self.seed = seed
        self.groups = groups
        self.units = rows if groups is None else int(groups.max()) + 1 if rows else 0

    @property
    def how(self) -> str:
        """How the resamples were drawn, in words."""
        if self.groups is not None:
            return f"{self.count:,} bootstrap resamples of {self.units:,} groups"
        if self.rows <= FEW:
            return f"{self.count:,} bootstrap resamples of {self.rows:,} rows"
        return f"{self.count:,} Poisson bootstrap resamples of {self.rows:,} rows"

    def limits(self, by: str | None) -> Iterator[str]:
        """Yield sentences on what intervals from these resamples don't cover.

        `by` is the column that made the groups, or None.
        """
        yield (
            f"Intervals allow for one more {'row' if by is None else 'group'}, as bad or as good as one can be. Those"
            f" of ECE and of a difference of medians are percentile intervals of {self.how} (seed {self.seed}). The"
            " lower end of a widest gap or difference allows for all that were compared (max-t bootstrap)."
        )
        if by is None:
            yield (
                "Rows were drawn one by one. Where they depend on each other (one day, one customer), intervals are"
                " too narrow: name that column as `groups`."
            )
        elif self.units < FEW_GROUPS:
            yield f"There are only {self.units} groups by `{by}`, so the intervals are rough."

    def __iter__(self) -> Iterator[Counts]:
        random = np.random.Generator(np.random.SFC64(self.seed))
        width = max(1, min(self.count, CHUNK // max(1, self.units)))
        for start in range(0, self.count, width):
            some = min(width, self.count - start)
            if self.groups is not None or self.rows <= FEW:
                yield _with_replacement(random, some, self.units)
            else:
                yield _poisson(random, some, self.rows)


def _with_replacement(random: np.random.Generator, some: int, units: int) -> Counts:
    drawn = random.integers(0, units, (some, units), dtype=np.int32)
    drawn += np.arange(some, dtype=np.int32)[:, None] * units
    return np.bincount(drawn.ravel(), minlength=some * units).astype(np.uint8).reshape(some, units)


def _poisson(random: np.random.Generator, some: int, rows: int) -> Counts:
    bits: Any = random.bit_generator
    sixteenths = bits.random_raw((some * rows + 3) // 4).view(np.uint16)[: some * rows]
    return _POISSON[sixteenths].reshape(some, rows)


def _table() -> Counts:
    """Return 65,536 counts, in which each count is as frequent as in Poisson(1)."""
    chances = [math.exp(-1) / math.factorial(count) for count in range(10)]
    ends = np.round(np.cumsum(chances) * 65536).astype(int)
    ends[-1] = 65536
    return np.repeat(np.arange(10, dtype=np.uint8), np.diff(ends, prepend=0))


_POISSON = _table()
