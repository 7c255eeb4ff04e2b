"""Finds erased persons in older snapshots of a backup. Such a snapshot may have tables that the ledger no longer names,
because their runs were forgotten before the erasure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from headrace.codec.codecs import Codecs
from headrace.errors import BlobMissing, HeadraceError, LedgerError
from headrace.ledger import erasures, records
from headrace.ledger.database.database import Database
from headrace.ledger.database.leases import Lease
from headrace.ledger.database.schema import SCHEMA
from headrace.ledger.exclusive import beating
from headrace.ledger.transfer.backup import Backups, Snapshot
from headrace.ledger.transfer.erased_rows import refs_in
from headrace.operate.erasure.search import FORMS, LOGS, Found, holds
from headrace.spec.artifact import ERASED, Ref
from headrace.spec.endpoint import Erasure


def mark(db: Database, backups: Backups, newest: Snapshot, lease: Lease) -> None:
    """In the older snapshots of a backup, mark the tables that hold an erased person. `newest` is the snapshot that was
    just made. Its tables are left out, because each erasure has searched them already."""
    persons = {row.erasure: erasures.erasure_of(row) for row in erasures.rows(db)}
    if not persons:
        return
    gone, codecs = {row.digest: row.erasure for row in records.erased_rows(db)}, Codecs()
    marked = set(records.erased(db))
    with backups.archive(newest, schema=SCHEMA) as archive:
        known = {ref.digest for _, _, ref in beating(lease, refs_in(archive))}
    for snapshot in backups.snapshots():
        try:
            tables = _tables(backups, snapshot, lease)
        except LedgerError:
            continue  # `Backups.erase` reports it
        what = f"a table of the backup `{snapshot.name}`"
        for found in tables:
            lease.renew()
            if found.generation in marked or (found.ref.digest in known and found.ref.digest not in gone):
                continue
            if found.ref.digest in gone:  # a copy of bytes that were erased
                whose = [persons[gone[found.ref.digest]]]
                erasures.erase(db, whose[0], [(found.ref, what)])
            else:
                whose = [each for each in persons.values() if found.may_be_about(each)]
                whose = [each for each in whose if _is_about(db, backups, each, found.ref, what, codecs)]
            known.add(found.ref.digest)
            if whose:
                gone[found.ref.digest] = whose[0].id
                marked.add(found.generation)


class _Table(Struct, frozen=True):
    """A table of a snapshot. If it is a part of a log, `part` has its row."""

    ref: Ref
    part: Mapping[str, Any] | None

    @property
    def generation(self) -> tuple[str, str]:
        return self.ref.digest, self.ref.nonce or ERASED

    def may_be_about(self, erasure: Erasure) -> bool:
        """Return whether an erasure reaches the table. It leaves logs of other endpoints and newer requests alone."""
        part = self.part
        return part is None or (part["endpoint"] == erasure.endpoint and part["first"] <= erasure.until)


def _tables(backups: Backups, snapshot: Snapshot, lease: Lease) -> list[_Table]:
    found = dict[tuple[str, str], _Table]()
    with backups.archive(snapshot, schema=SCHEMA) as archive:
        for name, values, ref in beating(lease, refs_in(archive)):
            if ref.codec in FORMS and ref.nonce != ERASED and (ref.nonce is not None or ref.inline is not None):
                table = _Table(ref, values if name in LOGS else None)
                if table.part is not None or table.generation not in found:  # runs name parts of logs, too
                    found[table.generation] = table
    return [*found.values()]


def _is_about(db: Database, backups: Backups, erasure: Erasure, ref: Ref, what: str, codecs: Codecs) -> bool:
    """Return whether the table `ref` holds the person of an erasure, and mark it if it does. If the table can't be
    read, note this in the erasure's record."""
    found = Found(refs=(ref,), what=what, joined=frozenset())
    try:
        if is_about := holds(found, erasure, {"backup": backups.store}, codecs):
            erasures.erase(db, erasure, [(ref, what)])
        return is_about
    except BlobMissing:
        return False  # the backup lacks it
    except HeadraceError as error:
        unread = erasures.told(db, erasure).unread
        if (told := f"{what}: {error.message}") not in unread:
            erasures.tell(db, erasure, unread=[*unread, told])
        return False
