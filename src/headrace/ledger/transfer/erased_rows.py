"""Removes erased bytes from the rows of an archive that is older than the erasure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any

import msgspec

from headrace.ledger import erasures, generations, records
from headrace.ledger.database.database import Database
from headrace.ledger.database.reader import PLAIN
from headrace.ledger.inventory import Generation, Inventory
from headrace.ledger.standing.tables import BY_TABLE, PARTS
from headrace.ledger.transfer.archive import LOGS, NAMED, RESULTS, Archive, Record, Writer
from headrace.ledger.transfer.archive_check import columns, shapes
from headrace.ledger.upkeep.merge import Moves, moved, moved_event
from headrace.run.events import encode_event, stored_event
from headrace.run.projection import kept_by
from headrace.spec.artifact import ERASED, Ref, decode_ref, within
from headrace.spec.noun import UNREADABLE

PART = BY_TABLE["erased"].part
"""The part of an archive that has the erased generations."""

Scrubbing = Callable[[str, list[Any]], list[Any]]
"""Takes a table's name and a row's values in the order of our columns, and returns the values."""

_ARTIFACTS = {"tasks": ("out",), "results": ("out",), **{each.table: each.artifacts for each in BY_TABLE.values()}}
"""The columns with artifacts of each table."""
_encode_ref = msgspec.msgpack.Encoder().encode


def erased_in(archive: Archive) -> Iterator[Generation]:
    """Yield the generations that were erased in the ledger of an archive."""
    names, shape = columns()["erased"], shapes(archive)["erased"]
    for table, row in archive.rows(PART):
        if table == "erased":
            values = dict(zip(names, shape.values(row), strict=True))
            yield values["digest"], values["nonce"]


def refs_in(archive: Archive) -> Iterator[tuple[str, Mapping[str, Any], Ref]]:
    """Yield all artifacts that an archive's rows name, and all artifacts that these contain. Each comes with the table
    and the values of its row. The same artifact may be yielded several times. Rows that can't be read are left out."""
    names, shape = columns(), shapes(archive)
    for part in [*archive.runs(), RESULTS, *PARTS]:
        for table, row in archive.rows(part):
            if table in names:
                values = dict(zip(names[table], shape[table].values(row), strict=True))
                yield from ((table, values, each) for ref in _refs(table, values) for each in within(ref))


def _refs(table: str, values: Mapping[str, Any]) -> list[Ref]:
    try:
        if table == "events":
            return kept_by(stored_event(values["body"]))
        return [decode_ref(values[name]) for name in _ARTIFACTS.get(table, ()) if values[name] is not None]
    except UNREADABLE:  # `headrace fsck` reports it
        return []


def scrubbing(gone: Set[Generation]) -> Scrubbing:
    """Return a function that changes a row for the erased generations `gone`. It removes the bytes of erased small
    values from the row, and marks a result that needs an erased artifact as not reusable."""
    small = erasures.small(gone)
    places = {table: {name: place for place, name in enumerate(names)} for table, names in columns().items()}

    def scrubbed(table: str, row: list[Any]) -> list[Any]:
        if not gone:
            return row
        row = list(row)
        place = places[table]
        if table == "events":
            row[place["body"]] = _event(row[place["body"]], small)
        for name in _ARTIFACTS.get(table, ()):
            if row[place[name]] is not None:
                row[place[name]] = _ref(row[place[name]], small)
        if table == "results" and row[place["unusable"]] is None and not gone.isdisjoint(_needs(row[place["out"]])):
            row[place["unusable"]] = erasures.UNUSABLE
        return row

    return scrubbed


def write_again(archive: Archive, writer: Writer, db: Database, beat: Callable[[], None]) -> tuple[int, int]:
    """Write an archive's rows again, changed by all erasures of a ledger. Parts of prediction logs are replaced by the
    ledger's own parts. Return the number and the bytes of the blobs that the new rows name."""
    shape, gone = shapes(archive), records.erased(db)
    scrubbed = scrubbing(gone)

    def rows(part: str) -> Iterator[Record]:
        beat()
        for table, row in archive.rows(part):
            yield table, _present(db, table, scrubbed(table, shape[table].values(row)), gone)

    for part in archive.runs():
        writer.rows(part, rows(part))
    writer.rows(RESULTS, rows(RESULTS))
    with Inventory() as named:
        named.add((digest, nonce, 0, size) for digest, nonce, size in archive.named())
        for part, tables in PARTS.items():
            every = rows(part) if part != PART else _own(db, tables)
            writer.rows(part, _noted(every, named))
        named.remove(gone)
        writer.rows(NAMED, (("named", list(each)) for each in named))
        count, size = len(named), named.bytes()
    for part in (each for each in archive.end.parts if each.startswith(LOGS)):
        writer.rows(part, archive.rows(part))
    for generation in archive.end.lacking:
        digest, _, nonce = generation.partition(".")
        if (digest, nonce) not in gone:
            writer.lacks(digest, nonce)
    return count, size


def _present(db: Database, table: str, row: list[Any], gone: Set[Generation]) -> list[Any]:
    """Return the row to write for a row of an archive. If a standing row has an erased artifact, return the ledger's
    own row in its place, if there is one. Otherwise return the row unchanged."""
    declared = BY_TABLE.get(table)
    if declared is None or not declared.artifacts:
        return row
    values = dict(zip(columns()[table], row, strict=True))
    outs = [values[name] for name in declared.artifacts if values[name] is not None]
    if gone.isdisjoint(each for out in outs for each in _needs(out)):
        return row
    found = db.execute(getattr(db.sql, declared.twin.finds), db.sql.values(declared.twin.finds, values)).fetchone()
    return row if found is None else list(found)


def _own(db: Database, tables: Sequence[str]) -> Iterator[Record]:
    yield from ((name, list(row)) for name in tables for row in BY_TABLE[name].read(db, PLAIN))


def _noted(rows: Iterator[Record], named: Inventory) -> Iterator[Record]:
    """Yield standing rows, and add the generations that each row needs to `named`."""
    for table, row in rows:
        places = {name: place for place, name in enumerate(columns()[table])}
        for name in BY_TABLE[table].artifacts:
            if (out := row[places[name]]) is not None:
                named.add(generations.of_output(generations.STANDING, out))
        yield table, row


def _event(body: bytes, small: Moves) -> bytes:
    if not any(digest.encode() in body for digest, _ in small):
        return body
    event = moved_event(stored_event(body), small)
    return body if event is None else encode_event(event)


def _needs(out: bytes) -> Iterator[Generation]:
    return ((ref.digest, ref.nonce or ERASED) for ref in within(decode_ref(out)))


def _ref(out: bytes, small: Moves) -> bytes:
    ref = moved(decode_ref(out), small)
    return out if ref is None else _encode_ref(ref)
