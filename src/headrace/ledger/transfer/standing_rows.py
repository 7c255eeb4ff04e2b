"""Imports the rows that live between runs, table by table, as `ledger.standing` declares them."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter, itemgetter

from msgspec.structs import asdict, replace

from headrace.errors import UsageError
from headrace.ledger import registration
from headrace.ledger.database import scan
from headrace.ledger.database.database import Database
from headrace.ledger.inventory import Generation
from headrace.ledger.standing.declaration import Row, Standing, Twin, Whole
from headrace.ledger.standing.tables import BY_TABLE, PARTS
from headrace.ledger.transfer.archive import Archive
from headrace.ledger.transfer.archive_check import Shape, columns
from headrace.ledger.upkeep.merge import ANY, moved
from headrace.ledger.upkeep.old_parts import OldLog
from headrace.spec.artifact import ERASED, Ref, decode_ref, within

Page = tuple[Standing, list[Row]]


def compare(db: Database, archive: Archive, shapes: Mapping[str, Shape]) -> None:
    """Compare the archive's standing rows with their counterparts in the ledger.

    Raises:
        UsageError: a row of the archive differs from the ledger's.
    """
    for table, rows in _pages(archive, shapes):
        for twin in (table.twin, *table.twins):
            for row, here in zip(rows, _find(db, table, twin, rows), strict=True):
                if here is not None and not _agree(table, twin, row, here):
                    what, hint = table.differs(row)
                    raise UsageError(f"the ledger {what}; nothing was imported", hint=hint)


def bring(db: Database, archive: Archive, shapes: Mapping[str, Shape]) -> dict[str, int]:
    """Add the archive's standing rows that the ledger lacks, within the caller's transaction. Return how many rows of
    each table were added.

    Rows about one thing (`Whole`) are left out if the ledger has the thing already. The registry is locked. So a run
    that registers a version at the same time waits until the transaction ends.

    Raises:
        UsageError: since `compare`, another process has added a row that differs from its counterpart in the archive.
        LedgerError: a row points at a row that is neither in the ledger nor in the archive.
    """
    registration.lock(db)
    added = dict.fromkeys(BY_TABLE, 0)
    known = {each.whole.known: _known(db, each.whole) for each in BY_TABLE.values() if each.whole is not None}
    for table, every in _pages(archive, shapes):
        rows = every
        if table.whole is not None:
            get = attrgetter(*table.whole.columns)
            rows = [row for row in every if get(row) not in known[table.whole.known]]
        here = _find(db, table, table.twin, rows)
        fresh = [table.brought(row) for row, found in zip(rows, here, strict=True) if found is None]
        if fresh:
            db.executemany(getattr(db.sql, table.puts), [db.sql.values(table.puts, asdict(row)) for row in fresh])
            here = _find(db, table, table.twin, rows)
        for row, found in zip(rows, here, strict=True):
            if found is None or not _agree(table, table.twin, row, found):
                other = table.called(row)
                raise UsageError(
                    f"a run has put another {other} here in the meantime, so the one in the archive is not added",
                    hint=f"nothing was imported; {table.differs(row)[1]}",
                )
        for row in table.lacking(db, fresh):
            raise archive.changed(f"{table.called(row)} points at something that doesn't exist")
        added[table.table] += len(fresh)
    return added


def forgotten(
    db: Database, archive: Archive, shapes: Mapping[str, Shape], gone: Container[Generation]
) -> tuple[OldLog, ...]:
    """Return what an archive has of prediction logs that this ledger has forgotten: an import doesn't bring it back.
    Parts that are empty here since an erasure (`gone`) aren't counted."""
    logs = dict[str, OldLog]()
    for table, rows in _pages(archive, shapes, only=_LOGS):
        kind = _LOGS[table.table]
        for row, here in zip(rows, _find(db, table, table.twin, rows), strict=True):
            if here is None or here.count or not row.count or _is_erased(decode_ref(row.out), gone):
                continue
            log = logs.get(row.endpoint) or OldLog(endpoint=row.endpoint, predictions=0, labels=0, parts=0)
            logs[row.endpoint] = replace(log, **{kind: getattr(log, kind) + row.count, "parts": log.parts + 1})
    return tuple(logs[each] for each in sorted(logs))


_LOGS = {"prediction_parts": "predictions", "label_parts": "labels"}


def _is_erased(ref: Ref, gone: Container[Generation]) -> bool:
    return any((each.digest, each.nonce or ERASED) in gone for each in within(ref))


def _known(db: Database, whole: Whole) -> set[tuple[object, ...]]:
    return {tuple(row) for row in db.execute(getattr(db.sql, whole.known)).fetchall()}


def _pages(archive: Archive, shapes: Mapping[str, Shape], *, only: Container[str] = BY_TABLE) -> Iterator[Page]:
    """Yield the archive's standing rows page by page, each with its table: those of the tables `only`."""
    for part, tables in PARTS.items():
        if not any(name in only for name in tables):
            continue
        for name, records in groupby(archive.rows(part), key=itemgetter(0)):
            if name not in only:
                continue
            table, shape = BY_TABLE[name], shapes[name]
            make = table.reader.maker(tuple(columns()[name]))
            yield from ((table, page) for page in scan.chunks(make(shape.values(row)) for _, row in records))


def _find(db: Database, table: Standing, twin: Twin, rows: Sequence[Row]) -> list[Row | None]:
    """Return, for each of these rows of an archive, its counterpart in the ledger, or None."""
    make = table.reader.maker(tuple(columns()[table.table]))
    found = db.lookups(getattr(db.sql, twin.finds), [db.sql.values(twin.finds, asdict(row)) for row in rows])
    return [None if values is None else make(values) for values in found]


def _agree(table: Standing, twin: Twin, row: Row, here: Row) -> bool:
    """Return whether two rows are equal in the columns `twin.agrees`. Generations of the same bytes count as equal."""
    return all(
        _is_same(getattr(row, column), getattr(here, column), is_artifact=column in table.artifacts)
        for column in twin.agrees
    )


def _is_same(one: object, other: object, *, is_artifact: bool) -> bool:
    if one == other or not (is_artifact and isinstance(one, bytes) and isinstance(other, bytes)):
        return one == other
    return moved(decode_ref(one), ANY) == moved(decode_ref(other), ANY)
