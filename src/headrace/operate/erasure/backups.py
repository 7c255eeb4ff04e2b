"""Finds erased persons in older snapshots of a backup. Such a snapshot may have tables that the ledger no longer names,
because their runs were forgotten before the erasure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any

from msgspec import Struct

from headrace.codec.codecs import Codecs
from headrace.errors import BlobMissing, HeadraceError, LedgerError
from headrace.ledger import erasures, records
from headrace.ledger.database.database import Database
from headrace.ledger.database.leases import Lease
from headrace.ledger.database.schema import SCHEMA
from headrace.ledger.exclusive import beating
from headrace.ledger.inventory import Generation
from headrace.ledger.records import RunRecord
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
    snapshots = backups.snapshots() if persons else []
    if not snapshots:
        return
    ends = _ends(db, records.runs(db))  # before the look at the runs
    live = _named_by(db, records.runs(db), lease.renew)
    if found := list(_found(db, backups, snapshots, persons, live, lease)):
        db.atomically(lambda: _mark_absent(db, found, live, ends))


def _found(
    db: Database,
    backups: Backups,
    snapshots: Sequence[Snapshot],
    persons: Mapping[str, Erasure],
    live: Set[Generation],
    lease: Lease,
) -> Iterator[tuple[Erasure, Ref, str]]:
    """Yield the tables to mark. Each comes with an erasure whose person it has, and with a text that describes it.
    `persons` are all erasures, and `live` is what the ledger names."""
    gone, codecs = {row.digest: row.erasure for row in records.erased_rows(db)}, Codecs()
    marked, known = set(records.erased(db)), {digest for digest, _ in live}
    for snapshot in snapshots:
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
            else:
                whose = [each for each in persons.values() if table.may_be_about(each)]
                whose = [each for each in whose if _is_about(db, backups, each, table.ref, what, codecs)]
            known.add(table.ref.digest)
            yield from ((each, table.ref, what) for each in whose)
            if whose:
                gone[table.ref.digest] = whose[0].id
                marked.add(table.generation)


def _mark_absent(
    db: Database,
    found: Sequence[tuple[Erasure, Ref, str]],
    live: Set[Generation],
    ends: Mapping[int, int],
) -> None:
    """Mark tables as erased, within the caller's transaction. Leave out those that the ledger has by now, because a run
    has made them during the search. Of the runs, only those with new events are read (`live` and `ends` are what the
    ledger named before, and what `_ends` returned): nobody else can write to SQLite meanwhile."""
    runs = records.runs(db)
    changed = [run for run, end in zip(runs, _ends(db, runs).values(), strict=True) if ends.get(run.number) != end]
    gone, live = {row.digest for row in records.erased_rows(db)}, live | _named_by(db, changed, lambda: None)
    fresh = {digest for digest, _ in live} - gone
    for erasure, ref, what in found:
        if (ref.digest, ref.nonce or ERASED) not in live and ref.digest not in fresh:
            erasures.mark(db, erasure, [(ref, what)])


def _ends(db: Database, runs: Sequence[RunRecord]) -> dict[int, int]:
    """Return, for each run, the number of its next event."""
    numbers = [run.number for run in runs]
    rows = db.lookups(db.sql.NEXT_SEQ, [(number,) for number in numbers])
    return dict(zip(numbers, (seq for (seq,) in rows), strict=True))


def _named_by(db: Database, runs: Sequence[RunRecord], beat: Callable[[], None]) -> set[Generation]:
    """Return the generations of all artifacts that these runs name, and those that belong to no run."""
    return {(ref.digest, ref.nonce or ERASED) for ref in named(db, runs, beat)}


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
    """Return whether the table `ref` holds the person of an erasure. If it can't be read, note this in the erasure's
    record."""
    found = Found(refs=(ref,), what=what, joined=frozenset())
    try:
        return searched(found, erasure, {"backup": backups.store}, codecs).is_about
    except BlobMissing:
        return False  # the backup lacks it
    except HeadraceError as error:
        erasures.tell_unread(db, erasure, f"{what}: {error.message}")
        return False
