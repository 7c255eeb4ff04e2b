"""Takes a person out of parts of a log, and finds tables in a store that were parts of logs before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import pyarrow as pa

from headrace.codec.codecs import Codecs
from headrace.errors import HeadraceError
from headrace.inspect.endpoints.person import Mask, without
from headrace.ledger import erasures, generations, records
from headrace.ledger.database.database import Database
from headrace.ledger.database.leases import Lease
from headrace.ledger.erasures import PART, Rewritten
from headrace.ledger.exclusive import beating
from headrace.ledger.inventory import Inventory
from headrace.ledger.parts import by_table, segments_of
from headrace.ledger.records import PredictionPartRecord
from headrace.models.predicted import FIXED, counts, mask_of
from headrace.operate.erasure.search import Found, holds
from headrace.spec.artifact import Ref, decode_ref
from headrace.spec.endpoint import Erasure, is_shared, shared
from headrace.store.store import Store

WAS_PART = f"{PART}of a log that another part has replaced"
_MAGIC = b"ARROW1"


def older(rows: Iterable[PredictionPartRecord], erasure: Erasure) -> list[list[PredictionPartRecord]]:
    """Return the parts that may have requests from before an erasure. Parts that share a table are in one list, and
    each other part in a list of its own."""
    # A table that parts share may have older rows, too: those of forgotten parts.
    return [some for some in by_table(rows) if is_shared(decode_ref(some[0].out)) or some[0].first <= erasure.until]


def rewritten(
    rows: Sequence[PredictionPartRecord],
    table: pa.Table,
    mask: Mask,
    save: Callable[[pa.Table], Ref],
    *,
    is_labels: bool = False,
) -> list[Rewritten]:
    """Return parts without the rows of their table that `mask` selects. `save` stores the new table.

    If the parts share the table, it may also have rows of parts that were forgotten. The new table lacks these rows.
    """
    if not is_shared(decode_ref(rows[0].out)):
        left = without(table, mask)
        return [Rewritten(part=rows[0], out=save(left), count=len(left), is_labels=is_labels)]
    own = mask_of(table, segments_of(rows)).to_numpy(zero_copy_only=False).astype(bool)
    left = without(table, mask | ~own)
    out, found = shared(save(left)), counts(left)
    return [Rewritten(part=row, out=out, count=found[row.writer, row.segment]) for row in rows]


def mark_nameless(
    db: Database, erasure: Erasure, stores: Mapping[str, Store], codecs: Codecs, lease: Lease
) -> Iterator[str]:
    """Mark tables with the person's predictions that nothing names any more: those of parts that were merged, or whose
    writer was killed before it could record them. Yield what couldn't be done."""
    try:
        found = list(_nameless(db, stores, lease))
    except HeadraceError as error:
        yield f"a store can't be searched: {error.message}"
        return
    for ref in found:
        lease.renew()
        try:
            if holds(Found(refs=(ref,), what=WAS_PART, joined=frozenset()), erasure, stores, codecs):
                erasures.erase(db, erasure, [(ref, WAS_PART)])
        except HeadraceError as error:
            yield f"{WAS_PART} can't be read, and `headrace gc` deletes it within hours: {error.message}"


def _nameless(db: Database, stores: Mapping[str, Store], lease: Lease) -> Iterator[Ref]:
    gone, runs = records.erased(db), records.runs(db)
    with Inventory() as named:
        named.add(beating(lease, generations.needed(db, runs)))
        named.add(generations.spilled(runs, (store.spool for store in stores.values())))
        for store in stores.values():
            for blob in beating(lease, store.blobs()):
                one = blob.digest, blob.nonce
                if one not in named and one not in gone and _is_log(store, *one):
                    yield Ref(digest=one[0], size=blob.size, codec="arrow", type="pyarrow.lib.Table", nonce=one[1])


def _is_log(store: Store, digest: str, nonce: str) -> bool:
    """Return whether a blob is a table with the columns of a log. Only the beginning and the schema are read."""
    try:
        with store.reader(digest, nonce) as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                return False
            file.seek(0)
            return bool(pa.ipc.open_file(file).schema.names[: len(FIXED)] == FIXED.names)
    except (pa.ArrowException, OSError):
        return False
