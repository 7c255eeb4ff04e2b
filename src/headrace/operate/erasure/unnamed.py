"""Tables in a store that no row of the ledger names and that hold the person: the collector has not deleted them yet.

Such a table was replaced by a larger one, or its run was forgotten, or its writer was killed.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from contextlib import suppress

import pyarrow as pa

from headrace.codec.codecs import Codecs
from headrace.errors import HeadraceError
from headrace.inspect.endpoints.person import about, labels_about, may_name, rows_about
from headrace.ledger import generations, records
from headrace.ledger.database.database import Database
from headrace.ledger.database.leases import Lease
from headrace.ledger.exclusive import beating
from headrace.ledger.inventory import Inventory
from headrace.models.labels import LABELS
from headrace.models.predicted import FIXED
from headrace.spec.artifact import Ref
from headrace.spec.endpoint import Erasure
from headrace.store.blob import Found
from headrace.store.store import Store

WHAT = "a table that no row of the ledger names"
_FILE, _STREAM = b"ARROW1", b"\xff\xff\xff\xff"
"""The first bytes of a table: of one that is a file of Arrow, and of one that is a stream."""


class Unnamed:
    """The generations that no row of the ledger names."""

    def __init__(self, db: Database, lease: Lease, erasure: Erasure, digests: Set[str]) -> None:
        """`digests` are the digests of the ids of erased predictions (`Erasure.known`)."""
        self._lease = lease
        self._erasure = erasure
        self._digests = digests
        self._codecs = Codecs()
        self._named = Inventory()
        self._named.add(beating(lease, generations.needed(db, records.runs(db))))
        self._gone = records.erased(db)

    def __enter__(self) -> Unnamed:
        return self

    def __exit__(self, *_: object) -> None:
        self._named.close()

    def about_person(self, store: Store) -> Iterator[Ref]:
        """Yield the tables of a store that hold the person and that no row names.

        Raises:
            HeadraceError: the store can't be read.
        """
        for blob in beating(self._lease, store.blobs()):
            generation = blob.digest, blob.nonce
            if generation not in self._named and generation not in self._gone:
                ref = _table(blob, store)
                if ref is not None and self._holds(ref, store):
                    yield ref

    def _holds(self, ref: Ref, store: Store) -> bool:
        value = self._codecs.load(ref, store)
        tables = [value] if isinstance(value, pa.Table) else value
        assert isinstance(tables, list | pa.RecordBatchReader)
        return any(self._is_about(each if isinstance(each, pa.Table) else pa.table(each)) for each in tables)

    def _is_about(self, table: pa.Table) -> bool:
        if table.schema.equals(LABELS):
            return bool(labels_about(table, self._digests, self._erasure).any())
        if set(FIXED.names) <= set(table.column_names):
            return bool(about(table, self._erasure).mask.any())
        if not any(may_name(field, self._erasure.columns) for field in table.schema):
            return False
        return bool(rows_about(table, self._erasure).any())


def _table(blob: Found, store: Store) -> Ref | None:
    """Return the artifact of a blob, or None if it isn't a table or is deleted meanwhile."""
    with suppress(HeadraceError), store.reader(blob.digest, blob.nonce) as file:
        begin = file.read(len(_FILE))
        if begin.startswith((_FILE, _STREAM)):
            codec, kind = ("arrow", "Table") if begin == _FILE else ("arrow-stream", "RecordBatchReader")
            return Ref(digest=blob.digest, size=blob.size, codec=codec, type=f"pyarrow.lib.{kind}", nonce=blob.nonce)
    return None
