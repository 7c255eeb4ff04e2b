"""What comes in an archive, looked at in full before the first row of it is written.

An archive's digests say that its bytes are those that were written, not who wrote them. So each row is held against the
columns of its table, each artifact that it names against the form of such names (they become files), each event is
decoded, and what can be in one ledger once only is in the archive once. What gets through here can be inserted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, get_args

import msgspec
from blake3 import blake3
from sqlalchemy import BigInteger, Column, Float, Integer, LargeBinary

from headrace.record.archive import CURSORS, LOGS, NAMED, REGISTRY, RESULTS, RUNS, Archive, Record
from headrace.record.tables import SCHEMA, metadata
from headrace.run.events import RunState, TaskState, decode_event
from headrace.run.projection import kept_by
from headrace.spec import intent
from headrace.spec.artifact import Ref

OF_RUNS = ("runs", "events", "tasks", "metrics", "logged", "blobs", "inbox")
"""The tables of a run's part, in their order."""

TABLES = (*OF_RUNS, "results", "cursors", "versions", "aliases")

SINCE: dict[int, dict[str, tuple[str, ...]]] = {
    3: {"cursors": ("run", "task", "at"), "metrics": (), "logged": (), "versions": (), "aliases": ()},
    4: {"cursors": ("by",)},
    5: {"versions": ("preparation",), "aliases": ("why",)},
}
"""The columns that a table has got with a version of the tables; where none is named, the table itself came with it."""

ID = re.compile(r"[A-Za-z0-9_-]+")
"""What a run's id may be, and the nonce of a blob: they name folders and files too."""

LOG = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
DIGEST = re.compile(r"[0-9a-f]{64}")
PART = re.compile(rf"(?:{RUNS}|{LOGS})[0-9]+\.rows")

FORMS: dict[tuple[str, str], Callable[[Any], object]] = {
    ("runs", "id"): ID.fullmatch,
    ("runs", "state"): lambda state: state in get_args(RunState),
    ("tasks", "state"): lambda state: state in get_args(TaskState),
    ("blobs", "digest"): DIGEST.fullmatch,
    ("blobs", "nonce"): ID.fullmatch,
    ("versions", "kind"): lambda kind: kind in ("model", "dataset"),
    ("aliases", "kind"): lambda kind: kind in ("model", "dataset"),
}
"""What a value has to be beyond its column's type."""

ENCODED = (
    ("tasks", "out"),
    ("results", "out"),
    ("cursors", "value"),
    ("versions", "out"),
    ("versions", "report"),
    ("versions", "preparation"),
)
"""Columns that hold an encoded artifact."""

ONCE = {
    "tasks": ("run", "name"),
    "metrics": ("run", "task", "kind", "name"),
    "logged": ("run", "task", "seq"),
    "blobs": ("run", "digest", "nonce"),
    "cursors": ("name", "version"),
    "versions": ("kind", "name", "version"),
    "aliases": ("kind", "name", "alias"),
}
"""What tells the rows of a table apart; those of `events` come in the order of theirs."""

_decode_ref = msgspec.msgpack.Decoder(Ref).decode


def columns(schema: int = SCHEMA) -> dict[str, list[str]]:
    """Return the columns of the tables that travel, as a version of the tables has them."""
    later = [item for version, tables in SINCE.items() if version > schema for item in tables.items()]
    gone = {name for name, lacking in later if not lacking}
    lacking = {(name, column) for name, those in later for column in those}
    return {
        name: [str(each.name) for each in metadata.tables[name].columns if (name, each.name) not in lacking]
        for name in TABLES
        if name not in gone
    }


class Shape:
    """Brings rows of an older table into the order of ours; a column that they lack is empty."""

    def __init__(self, theirs: Sequence[str], ours: Sequence[str]) -> None:
        places = [theirs.index(name) if name in theirs else -1 for name in ours]
        self._places = None if list(theirs) == list(ours) else places

    def values(self, row: list[Any]) -> list[Any]:
        return row if self._places is None else [row[place] if place >= 0 else None for place in self._places]


def shapes(archive: Archive) -> dict[str, Shape]:
    """Return how the rows of each table are read.

    Raises:
        LedgerError: the archive's columns aren't those of its version of the tables.
    """
    told = archive.head.columns
    if archive.head.schema < 1 or {name: sorted(each) for name, each in told.items()} != {
        name: sorted(each) for name, each in columns(archive.head.schema).items()
    }:
        raise archive.changed("its tables have other columns than those of its version")
    return {name: Shape(told.get(name, []), names) for name, names in columns().items()}


class Arrival:
    """One look at an archive; `tables` are the artifacts in it that are tables."""

    def __init__(self, archive: Archive, beat: Callable[[], None] = lambda: None) -> None:
        self._archive = archive
        self._beat = beat
        self._shapes = shapes(archive)
        self._rows = {name: _Row(name) for name in TABLES}
        self._widths = {name: len(each) for name, each in archive.head.columns.items()}
        self._runs: dict[int, str] = {}
        self.tables: dict[tuple[str, str | None], Ref] = {}

    def look(self) -> None:
        """Look at all rows.

        Raises:
            LedgerError: one of them can't be what a ledger has written.
        """
        for name in self._archive.end.parts:
            self._beat()
            try:
                self._look_at(name)
            except _Wrong as wrong:
                raise self._archive.changed(f"in `{name}`, {wrong}") from wrong
        for name in (RESULTS, CURSORS, NAMED):
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
        elif name in (RESULTS, CURSORS, REGISTRY):
            allowed = {RESULTS: ("results",), CURSORS: ("cursors",), REGISTRY: ("versions", "aliases")}[name]
            seen: set[tuple[str, Any]] = set()
            for record in records:
                self._row(record, allowed, seen)
        else:
            raise _Wrong("there is a part of no known kind")

    def _run(self, records: Iterator[Record]) -> None:
        """Look at a run's part: its own row, and then the rows of its tables, one table after the other."""
        number, before, last = -1, -1, -1
        seen: set[tuple[str, Any]] = set()
        for table, row in records:
            values = self._row((table, row), OF_RUNS, seen)
            place = OF_RUNS.index(table)
            if place < before or (place == 0) != (before < 0):
                raise _Wrong(f"a row of `{table}` stands where none should")
            if place == 0:
                number = values["number"]
                if number in self._runs or values["id"] in self._runs.values():
                    raise _Wrong(f"run `{values['id']}` is there twice")
                self._runs[number] = values["id"]
            elif values["run"] != number:
                raise _Wrong(f"a row of `{table}` is another run's")
            if table == "events":
                if values["seq"] <= last:
                    raise _Wrong("events aren't in their order")
                last = values["seq"]
                self._event(values["body"])
            before = place
        if before < 0:
            raise _Wrong("there is no row")

    def _event(self, body: bytes) -> None:
        try:
            kept = kept_by(decode_event(body))
        except (msgspec.MsgspecError, RecursionError) as error:
            raise _Wrong(f"an event can't be read: {error}") from error
        for ref in kept:
            self._ref(ref)

    def _row(self, record: Record, allowed: Sequence[str], seen: set[tuple[str, Any]]) -> dict[str, Any]:
        table, row = record
        if table not in allowed or table not in self._widths:
            raise _Wrong(f"there is a row of `{table}`")
        if len(row) != self._widths[table]:
            raise _Wrong(f"a row of `{table}` has {len(row)} values instead of {self._widths[table]}")
        values = self._rows[table].check(self._shapes[table].values(row))
        for name in (column for of, column in ENCODED if of == table):
            if values[name] is not None:
                self._encoded(values[name], f"`{table}.{name}`")
        if table in ONCE:
            key = table, tuple(values[name] for name in ONCE[table])
            if key in seen:
                raise _Wrong(f"a row of `{table}` is there twice")
            seen.add(key)
        return values

    def _encoded(self, data: bytes, what: str) -> None:
        try:
            self._ref(_decode_ref(data))
        except (msgspec.MsgspecError, RecursionError) as error:
            raise _Wrong(f"{what} holds no artifact: {error}") from error

    def _ref(self, ref: Ref) -> None:
        """Look at an artifact and its parts."""
        rest = [ref]
        while rest:
            each = rest.pop()
            named = each.nonce is None or ID.fullmatch(each.nonce)
            if not (DIGEST.fullmatch(each.digest) and named and each.size >= 0):
                raise _Wrong(f"an artifact has the name `{each.digest[:80]}.{each.nonce}`")
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
                        raise _Wrong(f"a blob has the name `{digest[:80]}.{nonce}`")
                case _:
                    raise _Wrong("there is a row that names no blob")

    def _printed(self, records: Iterator[Record]) -> None:
        ids = set(self._runs.values())
        for table, row in records:
            match row:
                case [str(run), str(log), int(start), bytes()] if table == "log" and run in ids and start >= 0:
                    if not LOG.fullmatch(log):
                        raise _Wrong(f"a log has the name `{log[:80]}`")
                case _:
                    raise _Wrong("there is a row that is no log of a run in it")


OF_TABLES = intent.TABLES - {"joined"}  # which has no bytes of its own
"""Codecs of tables, whose bytes a reader would follow anywhere."""


class _Wrong(Exception):
    """What is wrong with a row."""


class _Row:
    """Checks the rows of a table."""

    def __init__(self, table: str) -> None:
        self._table = table
        self._columns = [
            (str(column.name), _values_of(column), bool(column.nullable), FORMS.get((table, str(column.name))))
            for column in metadata.tables[table].columns
        ]

    def check(self, row: list[Any]) -> dict[str, Any]:
        """Return a row's values by the names of their columns."""
        for (name, is_one, nullable, form), value in zip(self._columns, row, strict=True):
            if value is None:
                good = nullable or (self._table, name) == ("inbox", "id")  # which the database gives out
            else:
                good = is_one(value) and (form is None or bool(form(value)))
            if not good:
                raise _Wrong(f"`{self._table}.{name}` is {value!r:.80}")
        return dict(zip((name for name, *_ in self._columns), row, strict=True))


def _values_of(column: Column[Any]) -> Callable[[Any], bool]:
    """Return what tells which values a column takes, in each kind of ledger."""
    kind = column.type
    if isinstance(kind, Integer):
        bits = 63 if isinstance(kind, BigInteger) else 31
        return lambda value: type(value) is int and -(1 << bits) <= value < 1 << bits
    if isinstance(kind, Float):
        return lambda value: (type(value) is float and value == value) or (type(value) is int and abs(value) < 1 << 63)
    if isinstance(kind, LargeBinary):
        return lambda value: type(value) is bytes
    return lambda value: type(value) is str and "\0" not in value
