"""Merges the parts of the prediction logs: once a day is over, its parts get a few large tables, instead of a small one
for each minute and server."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing

import pyarrow as pa
from msgspec import Struct

from headrace.codec.codecs import Codecs
from headrace.errors import HeadraceError
from headrace.ledger.database.database import Database, Unmet
from headrace.ledger.database.leases import Lease
from headrace.ledger.records import PredictionPartRecord
from headrace.ledger.upkeep import daily_parts
from headrace.models.predicted import FIXED, counts
from headrace.project.project import Project
from headrace.project.state import open_ledger, open_store, reading_store
from headrace.spec.artifact import decode_ref
from headrace.spec.endpoint import shared

MOST_BYTES = 128 << 20
"""How large a table of several parts may become, in bytes. So much memory is needed to make it, twice at most."""
MOST_S = 20.0
"""After how many seconds merging stops. The rest is merged when the log is sealed again, a minute later."""
_TOGETHER = 100
"""How many tables of parts are open at once."""


def merge_parts(project: Project, *, within_s: float = MOST_S) -> int:
    """Merge the parts of days that have ended, and return how many parts got another table. If another process merges
    parts, collects garbage or erases a person, do nothing.

    The same predictions are read before and after, part by part too. Only parts with the same columns are merged.

    Raises:
        StoreError, LedgerError: the store or the ledger can't be used. What was merged by then stays merged.
    """
    until = time.monotonic() + within_s
    with open_ledger(project) as ledger, closing(ledger.connect()) as db, db.troubles():
        if not daily_parts.is_due(db, ledger.now()):
            return 0
        with daily_parts.only_one(db) as lease:
            if lease is None:
                return 0
            now = ledger.now()
            merging = _Merging(project, db, lease, now)
            try:
                for rows in list(daily_parts.days(db, now)):
                    merging.merge(rows, until)
                if time.monotonic() < until:
                    daily_parts.looked(db, now)
            except Unmet:
                pass  # this process was stopped, and another one has taken the lease
            return merging.count


class _Batch(Struct):
    """Parts whose predictions will share a table. `tables` has all their rows, in order. `size` is in bytes."""

    rows: list[PredictionPartRecord] = []
    tables: list[pa.Table] = []
    size: int = 0

    def add(self, row: PredictionPartRecord, table: pa.Table, size: int) -> None:
        self.rows.append(row)
        self.tables.append(table)
        self.size += size
        if len(self.tables) >= _TOGETHER:  # each of them keeps a file open until it is copied
            self.tables = [pa.concat_tables(self.tables).combine_chunks()]


class _Merging:
    """One look for parts to merge, under the lease. `count` is how many parts got another table."""

    def __init__(self, project: Project, db: Database, lease: Lease, now: float) -> None:
        self._store = open_store(project)
        self._everywhere = reading_store(project)
        self._codecs = Codecs()
        self._db = db
        self._lease = lease
        self._now = now
        self.count = 0

    def merge(self, rows: Sequence[PredictionPartRecord], until: float) -> None:
        """Merge parts of one day. Begin with no more of them after `until`, by the monotonic clock."""
        batches = dict[bytes, _Batch]()  # by their columns
        for row, table, size in self._tables(rows, until):
            columns = table.schema.serialize().to_pybytes()
            batch = batches.setdefault(columns, _Batch())
            if batch.size + size > MOST_BYTES:
                self._share(batch)
                batch = batches[columns] = _Batch()
            batch.add(row, table, size)
        for batch in batches.values():
            self._share(batch)

    def _tables(
        self, rows: Sequence[PredictionPartRecord], until: float
    ) -> Iterator[tuple[PredictionPartRecord, pa.Table, int]]:
        """Yield those parts that can be merged, each with its table and the table's size in bytes."""
        for row in rows:
            ref = decode_ref(row.out)
            # A table in the row itself is no file of the store, and a large one is large enough.
            if ref.codec != "arrow" or ref.nonce is None or ref.size > MOST_BYTES // 2:
                continue
            if time.monotonic() > until:
                return
            self._lease.renew()
            try:
                table = self._codecs.load(ref, self._everywhere)
                is_whole = isinstance(table, pa.Table) and _is_whole(table, row)
            except (HeadraceError, pa.ArrowException):
                continue  # `headrace fsck` reports it
            if is_whole:
                yield row, table, ref.size

    def _share(self, batch: _Batch) -> None:
        """Store one table with the predictions of several parts, and let the parts share it."""
        if len(batch.rows) < 2:
            return  # one part has a table already
        self._lease.renew()
        ref = self._codecs.save(pa.concat_tables(batch.tables), self._store)
        if ref.nonce is None:
            return  # small parts are in rows of the ledger, and aren't merged
        if daily_parts.share(self._db, self._lease, batch.rows, shared(ref), now=self._now):
            self.count += len(batch.rows)
        else:  # a part was changed meanwhile: perhaps a person was erased, whom this table still has
            self._store.delete_all([(ref.digest, ref.nonce)])


def _is_whole(table: pa.Table, row: PredictionPartRecord) -> bool:
    """Return whether a table has what its row says: predictions of one segment of one writer."""
    is_log = table.schema.names[: len(FIXED)] == FIXED.names and table.schema.field("id").type == pa.string()
    # Tables with other dictionaries of values can't be one table without changing them.
    is_plain = not any(_has_dictionary(field.type) for field in table.schema)
    return is_log and is_plain and counts(table) == {(row.writer, row.segment): row.count} and len(table) == row.count


def _has_dictionary(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.BaseExtensionType):
        return _has_dictionary(kind.storage_type)
    inner = [kind.field(place).type for place in range(kind.num_fields)]
    return bool(pa.types.is_dictionary(kind)) or any(map(_has_dictionary, inner))
