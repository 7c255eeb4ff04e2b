"""Finds erased persons in older snapshots of a backup. Such a snapshot may have tables that the ledger no longer names,
because their runs were forgotten before the erasure."""

from __future__ import annotations

from headrace.codec.codecs import Codecs
from headrace.errors import BlobMissing, HeadraceError
from headrace.ledger import erasures, generations
from headrace.ledger.database.database import Database
from headrace.ledger.database.leases import Lease
from headrace.ledger.database.schema import SCHEMA
from headrace.ledger.records import ErasureRecord
from headrace.ledger.transfer.backup import Backups, Snapshot
from headrace.ledger.transfer.erased_rows import refs_in
from headrace.operate.erasure.search import FORMS, Found, holds
from headrace.spec.artifact import ERASED, Ref


def mark(db: Database, backups: Backups, newest: Snapshot, lease: Lease) -> None:
    """In the older snapshots of a backup, mark the tables that hold an erased person. `newest` is the snapshot that was
    just made. Its tables are left out, because each erasure has searched them already."""
    if not (rows := erasures.rows(db)):
        return
    gone, codecs = generations.erased(db), Codecs()
    with backups.archive(newest, schema=SCHEMA) as archive:
        known = {ref.digest for ref in refs_in(archive)}
    for snapshot in backups.snapshots():
        lease.renew()
        with backups.archive(snapshot, schema=SCHEMA) as archive:
            tables = {(ref.digest, ref.nonce): ref for ref in refs_in(archive) if ref.codec in FORMS}
        for ref in tables.values():
            if ref.digest in known or (ref.digest, ref.nonce or ERASED) in gone or ref.nonce == ERASED:
                continue
            lease.renew()
            for row in rows:
                _look(db, backups, row, ref, f"a table of the backup `{snapshot.name}`", codecs)
        known |= {digest for digest, _ in tables}


def _look(db: Database, backups: Backups, row: ErasureRecord, ref: Ref, what: str, codecs: Codecs) -> None:
    """Mark the table `ref` if it holds the person of an erasure. If the table can't be read, note this in the erasure's
    record."""
    erasure = erasures.erasure_of(row)
    found = Found(refs=(ref,), what=what, joined=frozenset())
    try:
        if holds(found, erasure, {"backup": backups.store}, codecs):
            erasures.erase(db, erasure, [(ref, what)])
    except BlobMissing:
        return  # the backup lacks it
    except HeadraceError as error:
        unread = erasures.told(db, erasure).unread
        if (told := f"{what}: {error.message}") not in unread:
            erasures.tell(db, erasure, unread=[*unread, told])
