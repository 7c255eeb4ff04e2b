"""Checks the contents of an archive in full, before the first row of it is written.

An archive's digests show that its bytes are as they were written, but not who wrote them. So each row is checked
against its table's columns. The names of artifacts must have the right form, since they become file names. Each event
is decoded. A key that is unique in a ledger must be unique in the archive. If an archive passes these checks, its rows
can be inserted into a ledger.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import cache
from typing import Any, NamedTuple, get_args

from blake3 import blake3

from headrace.errors import RecordDamaged
from headrace.ledger.database.schema import SCHEMA, SINCE
from headrace.ledger.database.sqlite import nothing
from headrace.ledger.standing.tables import BY_TABLE, PARTS, STANDING
from headrace.ledger.transfer.archive import LOGS, NAMED, RESULTS, RUNS, Archive, Record
from headrace.run.events import RunState, TaskState, decode_event
from headrace.run.projection import kept_by
from headrace.spec import intent
from headrace.spec.artifact import Ref, decode_ref
from headrace.spec.noun import UNREADABLE

OF_RUNS = ("runs", "events", "tasks", "metrics", "logged", "blobs", "inbox")
"""The tables of a run's part, in the order in which the part has them."""

TABLES = (*OF_RUNS, "results", *BY_TABLE)

ID = re.compile(r"[A-Za-z0-9_-]+")
"""The form of a run's id, and of a blob's nonce: both become names of folders and files."""

LOG = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
DIGEST = re.compile(r"[0-9a-f]{64}")
PART = re.compile(rf"(?:{RUNS}|{LOGS})[0-9]+\.rows")

FORMS: dict[tuple[str, str], Callable[[Any], object]] = {
    ("runs", "id"): ID.fullmatch,
    ("runs", "state"): lambda state: state in get_args(RunState),
    ("tasks", "state"): lambda state: state in get_args(TaskState),
    ("blobs", "digest"): DIGEST.fullmatch,
    ("blobs", "nonce"): ID.fullmatch,
    **{
        (each.table, column): frozenset(choices).__contains__
        for each in STANDING
        for column, choices in each.choices.items()
    },
    **{(each.table, column): form for each in STANDING for column, form in each.forms.items()},
}
"""For a table and a column, a check of the column's values in addition to the check of their type."""

ENCODED = (
    ("tasks", "out"),
    ("results", "out"),
    *((each.table, column) for each in STANDING for column in each.artifacts),
)
"""Columns that hold an encoded artifact."""

ONCE: dict[str, list[tuple[str, ...]]] = {
    "tasks": [("run", "name")],
    "metrics": [("run", "task", "kind", "name")],
    "logged": [("run", "task", "seq")],
    "blobs": [("run", "digest", "nonce")],
    **{each.table: [tuple(each.key), *([each.unique] if each.unique else [])] for each in STANDING},
}
"""For each table, one or more lists of columns that together identify a row. `events` isn't here, because its rows are
in the order of their numbers."""


def columns(schema: int = SCHEMA) -> dict[str, list[str]]:
    """Return the columns of each archived table in the version `schema` of the tables."""
    later = [item for version, tables in SINCE.items() if version > schema for item in tables.items()]
    gone = {name for name, lacking in later if not lacking}
    lacking = {(name, column) for name, those in later for column in those}
    return {
        name: [column.name for column in _columns()[name] if (name, column.name) not in lacking]
        for name in TABLES
        if name not in gone
    }


class Shape:
    """Puts the values of an older table's rows into the order of our columns. A column that the older table lacks
    becomes None."""

    def __init__(self, theirs: Sequence[str], ours: Sequence[str]) -> None:
        places = [theirs.index(name) if name in theirs else -1 for name in ours]
        self._places = None if list(theirs) == list(ours) else places

    def values(self, row: list[Any]) -> list[Any]:
        return row if self._places is None else [row[place] if place >= 0 else None for place in self._places]


def shapes(archive: Archive) -> dict[str, Shape]:
    """Return, for each table, how to convert the archive's rows to our columns.

    Raises:
        LedgerError: the archive's columns don't match the version of its tables.
    """
    told = archive.head.columns
    if archive.head.schema < 1 or {name: sorted(each) for name, each in told.items()} != {
        name: sorted(each) for name, each in columns(archive.head.schema).items()
    }:
        raise archive.changed("its tables have other columns than those of its version")
    return {name: Shape(told.get(name, []), names) for name, names in columns().items()}


class Arrival:
    """A check of one archive. After `look`, `tables` holds the archive's artifacts that are tables."""

    def __init__(self, archive: Archive, beat: Callable[[], None] = lambda: None) -> None:
        self._archive = archive
        self._beat = beat
        self._shapes = shapes(archive)
        self._rows = {name: _Row(name) for name in TABLES}
        self._widths = {name: len(each) for name, each in archive.head.columns.items()}
        self._runs: dict[int, str] = {}
        self.tables: dict[tuple[str, str | None], Ref] = {}

    def look(self) -> None:
        """Check all rows of the archive.

        Raises:
            LedgerError: a row can't have been written by a ledger.
        """
        for name in self._archive.end.parts:
            self._beat()
            try:
                self._look_at(name)
            except _Wrong as wrong:
                raise self._archive.changed(f"in `{name}`, {wrong}") from wrong
        standing = (part for part, tables in PARTS.items() if any(table in self._widths for table in tables))
        for name in (RESULTS, *standing, NAMED):
            if name not in self._archive.end.parts:
                raise self._archive.changed(f"it has no `{name}`")

    def _look_at(self, name: str) -> None:
        records = self._archive.rows(name)
        if name.startswith(RUNS) and PART.fullmatch(name):
            self._run(records)
        elif name.startswith(LOGS) and PART.fullmatch(name):
            self._printed(records)
        elif name == NAMED:
            self._named(records)
        elif name == RESULTS or name in PARTS:
            allowed = PARTS.get(name, ("results",))
            seen: set[tuple[str, Any]] = set()
            for record in records:
                self._row(record, allowed, seen)
        else:
            raise _Wrong("a part is of an unknown kind")

    def _run(self, records: Iterator[Record]) -> None:
        """Check a run's part: the run's row first, then the rows of each table, one table after another."""
        number, before, last = -1, -1, -1
        seen: set[tuple[str, Any]] = set()
        for table, row in records:
            values = self._row((table, row), OF_RUNS, seen)
            place = OF_RUNS.index(table)
            if place < before or (place == 0) != (before < 0):
                raise _Wrong(f"a row of `{table}` is in the wrong place")
            if place == 0:
                number = values["number"]
                if number in self._runs or values["id"] in self._runs.values():
                    raise _Wrong(f"run `{values['id']}` is there twice")
                self._runs[number] = values["id"]
            elif values["run"] != number:
                raise _Wrong(f"a row of `{table}` belongs to another run")
            if table == "events":
                if values["seq"] <= last:
                    raise _Wrong("events aren't in their order")
                last = values["seq"]
                self._event(values["body"])
            before = place
        if before < 0:
            raise _Wrong("a run's part has no rows")

    def _event(self, body: bytes) -> None:
        try:
            kept = kept_by(decode_event(body))
        except UNREADABLE as error:
            raise _Wrong(f"an event can't be read: {error}") from error
        for ref in kept:
            self._ref(ref)

    def _row(self, record: Record, allowed: Sequence[str], seen: set[tuple[str, Any]]) -> dict[str, Any]:
        table, row = record
        if table not in allowed or table not in self._widths:
            raise _Wrong(f"a row of `{table}` is in a part that can't have it")
        if len(row) != self._widths[table]:
            raise _Wrong(f"a row of `{table}` has {len(row)} values instead of {self._widths[table]}")
        values = self._rows[table].check(self._shapes[table].values(row))
        for name in (column for of, column in ENCODED if of == table):
            if values[name] is not None:
                self._encoded(values[name], f"`{table}.{name}`")
        for column, identity in BY_TABLE[table].identities.items() if table in BY_TABLE else ():
            if values[column] != identity(values):
                raise _Wrong(f"`{table}.{column}` doesn't match the artifact")
        for names in ONCE.get(table, ()):
            key = table, tuple((name, values[name]) for name in names)
            if key in seen:
                raise _Wrong(f"a row of `{table}` is there twice")
            seen.add(key)
        return values

    def _encoded(self, data: bytes, what: str) -> None:
        try:
            self._ref(decode_ref(data))
        except RecordDamaged as error:
            raise _Wrong(f"in {what}, {error.message}") from error

    def _ref(self, ref: Ref) -> None:
        """Check an artifact and its parts."""
        rest = [ref]
        while rest:
            each = rest.pop()
            named = each.nonce is None or ID.fullmatch(each.nonce)
            if not (DIGEST.fullmatch(each.digest) and named and each.size >= 0):
                wrong = f"`{each.digest[:80]}.{each.nonce}`, {each.size} bytes"
                raise _Wrong(f"an artifact has an invalid name or size: {wrong}")
            data = each.inline
            if data is not None and (len(data) != each.size or blake3(data).hexdigest() != each.digest):
                raise _Wrong(f"the bytes of artifact `{each.digest[:12]}` don't have its digest")
            if each.names is not None and len(each.names) != len(each.parts or ()):
                raise _Wrong(f"the artifact `{each.digest[:12]}` has parts without a name")
            rest.extend(each.parts or ())
            if each.codec in OF_TABLES:
                self.tables.setdefault((each.digest, each.nonce), each)

    def _named(self, records: Iterator[Record]) -> None:
        for table, row in records:
            match row:
                case [str(digest), str(nonce), int(size)] if table == "named" and size >= 0:
                    if not (DIGEST.fullmatch(digest) and ID.fullmatch(nonce)):
                        raise _Wrong(f"a blob has an invalid name, `{digest[:80]}.{nonce}`")
                case _:
                    raise _Wrong("there is a row that names no blob")

    def _printed(self, records: Iterator[Record]) -> None:
        ids = set(self._runs.values())
        for table, row in records:
            match row:
                case [str(run), str(log), int(start), bytes()] if table == "log" and run in ids and start >= 0:
                    if not LOG.fullmatch(log):
                        raise _Wrong(f"a log has an invalid name, `{log[:80]}`")
                case _:
                    raise _Wrong("a row isn't a log of a run in the archive")


OF_TABLES = intent.TABLES - {"joined"}  # a joined table has no bytes of its own
"""The codecs for tables. A table's bytes have offsets, which a reader follows without a check."""


class _Wrong(Exception):
    """A fault in a row; its message describes the fault."""


class _Row:
    """Checks the rows of one table."""

    def __init__(self, table: str) -> None:
        self._table = table
        self._columns = [
            (column.name, _VALUES[column.type], not column.is_filled, FORMS.get((table, column.name)))
            for column in _columns()[table]
        ]

    def check(self, row: list[Any]) -> dict[str, Any]:
        """Return a row's values by column name; raise `_Wrong` if a value doesn't fit its column."""
        for (name, is_one, nullable, form), value in zip(self._columns, row, strict=True):
            if value is None:
                good = nullable or (self._table, name) == ("inbox", "id")  # the database assigns it
            else:
                good = is_one(value) and (form is None or bool(form(value)))
            if not good:
                raise _Wrong(f"`{self._table}.{name}` is {value!r:.80}")
        return dict(zip((name for name, *_ in self._columns), row, strict=True))


class _Column(NamedTuple):
    """A column of a table in SQLite: its name and its type. `is_filled` is True if NULL is not allowed."""

    name: str
    type: str
    is_filled: bool


@cache
def _columns() -> dict[str, list[_Column]]:
    """Return the columns of each archived table."""
    with closing(nothing()) as db:
        rows = {table: db.execute(f"PRAGMA table_info({table})").fetchall() for table in TABLES}
    return {table: [_Column(name, kind, bool(filled)) for _, name, kind, filled, *_ in rows[table]] for table in TABLES}


_VALUES: dict[str, Callable[[Any], bool]] = {
    "INTEGER": lambda value: type(value) is int and -(1 << 31) <= value < 1 << 31,
    "BIGINT": lambda value: type(value) is int and -(1 << 63) <= value < 1 << 63,
    "FLOAT": lambda value: (type(value) is float and value == value) or (type(value) is int and abs(value) < 1 << 63),
    "BLOB": lambda value: type(value) is bytes,
    "TEXT": lambda value: type(value) is str and "\0" not in value,
}
"""For each type of column, a check for values that SQLite and PostgreSQL both accept."""
