"""The order in which an epoch visits the rows of a table."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

Shuffle = Literal["whole", "blocks"] | bool

WHOLE_ROWS = 1 << 20
"""The most rows that are shuffled as a whole. A permutation of this many rows takes 8 MB and 20 ms."""
BLOCK_ROWS = 1 << 12
WINDOW_BLOCKS = 1 << 8


class Order:
    """The order of a table's rows in one epoch. On all machines, the order is the same for the same seed, epoch and
    number of rows.

    `shuffle` says how the rows are mixed. `"whole"` is a permutation of all rows. `"blocks"` draws blocks of 4,096
    consecutive rows, and mixes the rows of 256 blocks at a time. This needs little memory, and reads a table that is
    larger than memory in long consecutive pieces. `True` chooses between these two by the number of rows, and `False`
    keeps the table's order.
    """

    def __init__(self, rows: int, shuffle: Shuffle, seed: int, epoch: int) -> None:
        self.rows = rows
        self._seed = (seed, epoch)
        self._kind = ("whole" if rows <= WHOLE_ROWS else "blocks") if shuffle is True else shuffle
        self._window: tuple[int, Any] = (-1, None)
        if self._kind == "whole":
            self._all = self._draw().permutation(rows)
        elif self._kind == "blocks":
            self._blocks = self._draw().permutation(-(-rows // BLOCK_ROWS))
            sizes = np.full(len(self._blocks), BLOCK_ROWS, dtype=np.int64)
            sizes[self._blocks == len(self._blocks) - 1] = rows - (len(self._blocks) - 1) * BLOCK_ROWS
            self._starts = np.concatenate([[0], np.cumsum(sizes)[WINDOW_BLOCKS - 1 :: WINDOW_BLOCKS], [rows]])

    def at(self, start: int, stop: int) -> Any:
        """Return the rows at the places from `start` to `stop`, without `stop` itself."""
        stop = min(stop, self.rows)
        if self._kind == "whole":
            return self._all[start:stop]
        if self._kind is False:
            return np.arange(start, stop)
        pieces = []
        while start < stop:
            number = int(np.searchsorted(self._starts, start, "right")) - 1
            begin, end = int(self._starts[number]), int(self._starts[number + 1])
            upto = min(stop, end)
            pieces.append(self._mixed(number)[start - begin : upto - begin])
            start = upto
        return np.concatenate(pieces) if pieces else np.arange(0)

    def _mixed(self, number: int) -> Any:
        """Return the rows of window `number` (256 blocks), mixed. The last window is cached."""
        if self._window[0] != number:
            blocks = self._blocks[number * WINDOW_BLOCKS : (number + 1) * WINDOW_BLOCKS]
            rows = (blocks[:, None] * BLOCK_ROWS + np.arange(BLOCK_ROWS)).ravel()
            rows = rows[rows < self.rows]
            self._window = number, self._draw(number).permutation(rows)
        return self._window[1]

    def _draw(self, *more: int) -> Any:
        return np.random.default_rng([*self._seed, *more])
