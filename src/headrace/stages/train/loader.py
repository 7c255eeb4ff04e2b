"""The loader: it yields batches of a stored table. It can shuffle the rows, split batches among ranks, read ahead, and
continue at the exact row."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.define.argument_check import check_table, held_to_types
from headrace.errors import UsageError
from headrace.stages.train.columns import Layout, numbers
from headrace.stages.train.order import Order, Shuffle

SLAB_BYTES = 1 << 21
"""How many bytes of rows (a slab) are gathered at a time, before they are cut into batches. A slab usually has the rows
of many batches, and fits in a processor's cache."""
AHEAD = 4
"""How many slabs are gathered ahead."""

Batch = dict[str, Any]
_End = object()


class Loader:
    """Yields a table's rows as batches of NumPy arrays, epoch after epoch.

    An iteration yields the rest of the current epoch. The next iteration begins the next epoch. A thread gathers rows
    ahead, directly from the table's memory. The memory of a stored table is a memory map.

    Args:
        table: an Arrow table of numbers. Nulls become NaN, and categories become their codes. Columns of lists are
            padded to the longest list of a batch.
        batch_size: the number of rows in a batch, over all ranks together.
        columns: the names of columns, each of which becomes an array. Or a mapping from names of arrays to a column or
            a list of columns, such as `{"x": ["age", "income"], "y": "paid"}`. A list of columns becomes one matrix of
            float32. By default all columns.
        shuffle: `True`, `"whole"` and `"blocks"` mix the rows (see `Order`); `False` keeps the table's order.
        seed: the order of an epoch depends on this seed and on the epoch's number.
        rank: the number of this process, from 0. Each rank gets its part of each batch, in the order of the ranks.
        world: the number of processes that share each batch.
        drop_last: leave out the rows at the end of an epoch that don't fill a batch.
        pad: for each array of lists, by its name: the value that is added to the end of short lists; by default 0.
        never_empty: if a batch has fewer rows than there are ranks, a rank without rows gets the batch's first row.

    `input_wait_s` is how many seconds the caller has waited for batches since the loader was created.

    Raises:
        UsageError: `table` isn't a table, a column is missing or holds no numbers, or a size or rank is invalid.
    """

    @held_to_types("train.Loader")
    def __init__(
        self,
        table: Any,
        *,
        batch_size: int,
        columns: Sequence[str] | Mapping[str, str | Sequence[str]] | None = None,
        shuffle: Shuffle = True,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        drop_last: bool = False,
        pad: Mapping[str, float] | None = None,
        never_empty: bool = False,
    ) -> None:
        check_table("train.Loader", "table", table, pa.Table)
        if not 0 <= rank < world:
            raise UsageError(
                f"`rank` is {rank} and `world` is {world}, but ranks are numbered from 0 to `world` - 1",
                hint="give `world=` the number of processes, and `rank=` the number of this process, from 0",
            )
        if batch_size < world:
            raise UsageError(
                f"`batch_size` is {batch_size}, which is less than the number of ranks: `world` is {world}",
                hint="raise `batch_size`, so that each rank gets at least one row of a batch",
            )
        chosen = table.schema.names if columns is None else columns
        wanted = chosen if isinstance(chosen, Mapping) else {name: name for name in chosen}
        self._arrays = {name: [each] if isinstance(each, str) else list(each) for name, each in wanted.items()}
        self._stacked = {name for name, each in wanted.items() if not isinstance(each, str)}
        self._columns = numbers(table, list(dict.fromkeys(each for names in self._arrays.values() for each in names)))
        for name in self._stacked:
            self._check_stack(name)
        self._layouts = {each.starts: Layout(each.starts) for each in self._columns.values()}
        self._pad = dict(pad or {})
        self._shuffle, self._seed = shuffle, seed
        self._rank, self._world = rank, world
        self._never_empty = never_empty
        self.rows: int = table.num_rows
        self.batch_size = batch_size
        self.epoch = 0
        self.position = 0
        self.input_wait_s = 0.0
        self._end: int = self.rows - self.rows % batch_size if drop_last else self.rows

    def __len__(self) -> int:
        """Return the number of batches in a whole epoch."""
        return (self._end + self.batch_size - 1) // self.batch_size

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches that are left of the current epoch. `position` counts the rows of the epoch that were
        yielded so far, over all ranks."""
        ahead = _Ahead(self._slabs(self.epoch, self.position))
        try:
            while True:
                began = time.perf_counter()
                slab = ahead.next()
                self.input_wait_s += time.perf_counter() - began
                if slab is _End:
                    break
                for rows, batch in slab:
                    self.position += rows
                    yield batch
        finally:
            ahead.close()
        self.epoch += 1
        self.position = 0

    def state_dict(self) -> dict[str, int]:
        """Return the loader's state. Its `position` is the index of the next row in `epoch`."""
        return {"epoch": self.epoch, "position": self.position, "seed": self._seed, "rows": self.rows}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Continue from the state of another loader of the same table. The batch size and the number of ranks may
        differ.

        Raises:
            UsageError: the state is from a table with another number of rows, from another seed, or not from a loader.
        """
        if absent := [name for name in ("epoch", "position", "seed", "rows") if name not in state]:
            raise UsageError(f"the state has no `{absent[0]}`", hint="give what a loader's `state_dict()` returned")
        if (state["rows"], state["seed"]) != (self.rows, self._seed):
            raise UsageError(
                f"the state is that of a loader with {state['rows']} rows and seed {state['seed']},"
                f" but this loader has {self.rows} rows and seed {self._seed}",
                hint="use the same table and seed, or start again",
            )
        self.epoch, self.position = state["epoch"], state["position"]

    def _slabs(self, epoch: int, position: int) -> Iterator[list[tuple[int, Batch]]]:
        """Yield the batches that are left of an epoch, a few at a time. Each batch comes with its number of rows over
        all ranks."""
        order = Order(self.rows, self._shuffle, self._seed, epoch)
        width = sum(each.dtype.itemsize * int(np.prod(each.shape)) for each in self._columns.values())
        step = max(1, SLAB_BYTES // max(1, width * self.batch_size // self._world)) * self.batch_size
        while position < self._end:
            upto = min(position + step, self._end)
            yield self._cut(order.at(position, upto))
            position = upto

    def _cut(self, rows: Any) -> list[tuple[int, Batch]]:
        """Return this rank's part of the given rows, cut into batches."""
        sizes = [min(self.batch_size, len(rows) - start) for start in range(0, len(rows), self.batch_size)]
        shares = [self._share(size) for size in sizes]
        if self._world > 1:
            starts = range(0, len(rows), self.batch_size)
            rows = np.concatenate([rows[s + low : s + high] for s, (low, high) in zip(starts, shares, strict=True)])
        slab = self._gather(rows)
        found, start = [], 0
        for size, (low, high) in zip(sizes, shares, strict=True):
            stop = start + high - low
            found.append((size, {name: self._padded(name, each[start:stop]) for name, each in slab.items()}))
            start = stop
        return found

    def _share(self, size: int) -> tuple[int, int]:
        """Return the range of this rank's rows in a batch. The ranks' parts differ by at most one row."""
        low, high = size * self._rank // self._world, size * (self._rank + 1) // self._world
        return (0, 1) if low == high and self._never_empty else (low, high)

    def _gather(self, rows: Any) -> dict[str, Any]:
        splits = {starts: layout.split(rows) for starts, layout in self._layouts.items()}
        slab: dict[str, Any] = {}
        for name, parts in self._arrays.items():
            columns = [self._columns[each] for each in parts]
            if name in self._stacked:
                slab[name] = matrix = np.empty((len(rows), len(columns)), np.float32)
                for place, column in enumerate(columns):
                    column.take(splits[column.starts], matrix[:, place])
            elif columns[0].is_ragged:
                slab[name] = columns[0].take_lists(splits[columns[0].starts], len(rows))
            else:
                slab[name] = out = np.empty((len(rows), *columns[0].shape), columns[0].dtype)
                columns[0].take(splits[columns[0].starts], out)
        return slab

    def _padded(self, name: str, part: Any) -> Any:
        """Return a batch of lists as a matrix that is as wide as the longest list. Return any other batch unchanged."""
        column = self._columns[self._arrays[name][0]]
        if not column.is_ragged:
            return part
        wide = max(map(len, part), default=0)
        matrix = np.full((len(part), wide), self._pad.get(name, 0), column.dtype)
        for place, each in enumerate(part):
            matrix[place, : len(each)] = each
        return matrix

    def _check_stack(self, name: str) -> None:
        for each in self._arrays[name]:
            column = self._columns[each]
            if column.is_ragged or column.shape:
                raise UsageError(
                    f"column `{each}` holds lists, so it can't be stacked with other columns into the array `{name}`",
                    hint="give it as an array of its own",
                )


class _Ahead:
    """Reads from an iterator in a thread, a few items ahead of the caller. If reading an item fails, the caller gets
    the error in place of this item."""

    def __init__(self, slabs: Iterator[Any]) -> None:
        self._found: queue.Queue[Any] = queue.Queue(AHEAD)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._draw, args=(slabs,), name="headrace-loader", daemon=True)
        self._thread.start()

    def next(self) -> Any:
        found = self._found.get()
        if isinstance(found, BaseException):
            raise found
        return found

    def close(self) -> None:
        self._closed.set()
        with suppress(queue.Empty):
            while True:
                self._found.get_nowait()
        self._thread.join()

    def _draw(self, slabs: Iterator[Any]) -> None:
        try:
            for slab in slabs:
                if not self._put(slab):
                    return
            self._put(_End)
        except Exception as error:  # noqa: BLE001  `next` raises it for the caller
            self._put(error)

    def _put(self, slab: Any) -> bool:
        """Put an item into the queue. Return False if the caller wants no more items."""
        while not self._closed.is_set():
            with suppress(queue.Full):
                self._found.put(slab, timeout=0.1)
                return True
        return False
