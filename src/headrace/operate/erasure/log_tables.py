"""Tables of parts of logs. Several parts may be slices of one table, which can only be rewritten as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from msgspec import Struct

from headrace.codec.codecs import Codecs
from headrace.codec.joined import Slice
from headrace.inspect.endpoints.person import Mask, without
from headrace.ledger.erasures import Rewritten
from headrace.ledger.records import PredictionPartRecord
from headrace.spec.artifact import Piece, decode_ref, slice_of, within
from headrace.store.store import Store


class LogTable(Struct, frozen=True):
    """The table of one part of a log, or of all parts that are slices of the same table. `pieces` says for each part
    which rows of `table` it has. A table may have rows that belong to no part any more, since they were forgotten."""

    parts: tuple[PredictionPartRecord, ...]
    table: pa.Table
    pieces: tuple[Piece, ...]

    @property
    def digests(self) -> set[str]:
        """The digests of all artifacts that the parts name."""
        return {each.digest for part in self.parts for each in within(decode_ref(part.out))}

    def without(self, mask: Mask, codecs: Codecs, store: Store | None, *, is_labels: bool) -> list[Rewritten]:
        """Return all parts, rewritten without the rows that `mask` selects. If `store` is None, nothing is stored, and
        the parts keep their old tables."""
        gone = np.ones(len(mask), np.bool_)
        for each in self.pieces:
            rows = slice(each.start, each.start + each.count)
            gone[rows] = mask[rows]
        left = without(self.table, gone)
        before = np.concatenate([[0], np.cumsum(~gone)]).tolist()  # of each row, how many rows before it are left
        rewritten = []
        for part, piece in zip(self.parts, self.pieces, strict=True):
            start = before[piece.start]
            count = before[piece.start + piece.count] - start
            out = decode_ref(part.out) if store is None else codecs.save(self._piece(left, start, count), store)
            rewritten.append(Rewritten(part=part, out=out, count=count, is_labels=is_labels))
        return rewritten

    def _piece(self, left: pa.Table, start: int, count: int) -> pa.Table | Slice:
        """Return what a part names when the table is `left`. An empty part names none of it, since it is never
        forgotten, and would keep the table."""
        if len(self.parts) == 1:
            return left
        return Slice(left, start, count) if count else left.slice(0, 0)


def by_table(rows: Sequence[PredictionPartRecord]) -> Iterator[list[PredictionPartRecord]]:
    """Yield parts in groups: those that are slices of one table together, each other one alone."""
    found = dict[object, list[PredictionPartRecord]]()
    for row in rows:
        piece = slice_of(decode_ref(row.out))
        found.setdefault(row.number if piece is None else piece[0], []).append(row)
    yield from found.values()


def load(parts: Sequence[PredictionPartRecord], codecs: Codecs, store: Store) -> LogTable | None:
    """Return the table of parts that `by_table` has put together, or None if it isn't one: an archive may bring
    anything.

    Raises:
        HeadraceError: the table can't be read.
    """
    outs = [decode_ref(part.out) for part in parts]
    found = [slice_of(out) for out in outs]
    table = codecs.load(outs[0] if found[0] is None else found[0][0], store)
    if not isinstance(table, pa.Table):
        return None
    rows = table.num_rows
    pieces = tuple(Piece(start=0, count=rows, of=rows) if each is None else each[1] for each in found)
    return LogTable(tuple(parts), table, pieces) if all(each.of == rows for each in pieces) else None
