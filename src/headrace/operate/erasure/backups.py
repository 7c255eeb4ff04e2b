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
from headrace.operate.erasure.search import FORMS, LOGS, Found, named, searched
from headrace.spec.artifact import ERASED, Ref
from headrace.spec.endpoint import Erasure


def mark(db: Database, backups: Backups, lease: Lease) -> None:
    """In the snapshots of a backup, mark the tables that hold an erased person. Tables that the ledger still has are
    left alone: each erasure has searched them already, or a run made them afterwards. So this must be called before a
    new snapshot is made, which then has these marks."""
    persons = {row.erasure: erasures.erasure_of(row) for row in erasures.rows(db)}
    found = backups.snapshots() if persons else []
    if not found:
        return
    gone, codecs = {row.digest: row.erasure for row in records.erased_rows(db)}, Codecs()
    marked = set(records.erased(db))
    live = {(ref.digest, ref.nonce or ERASED) for ref in named(db, records.runs(db), lease.renew)}
    known = {digest for digest, _ in live}
    for snapshot in found:
        try:
            tables = _tables(backups, snapshot, lease)
        except LedgerError:
            continue  # `Backups.erase` reports it
        what = f"a table of the backup `{snapshot.name}`"
        for table in tables:
            lease.renew()
            if table.generation in marked or table.generation in live:
                continue
            if table.ref.digest in known and table.ref.digest not in gone:
                continue
            if table.ref.digest in gone:  # a copy of bytes that were erased
                whose = [persons[gone[table.ref.digest]]]
                erasures.erase(db, whose[0], [(table.ref, what)])
            else:
                whose = [each for each in persons.values() if table.may_be_about(each)]
                whose = [each for each in whose if _is_about(db, backups, each, table.ref, what, codecs)]
            known.add(table.ref.digest)
            if whose:
                gone[table.ref.digest] = whose[0].id
                marked.add(table.generation)


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
        if is_about := searched(found, erasure, {"backup": backups.store}, codecs).is_about:
            erasures.erase(db, erasure, [(ref, what)])
        return is_about
    except BlobMissing:
        return False  # the backup lacks it
    except HeadraceError as error:
        unread = erasures.told(db, erasure).unread
        if (told := f"{what}: {error.message}") not in unread:
            erasures.tell(db, erasure, unread=[*unread, told])
        return False
