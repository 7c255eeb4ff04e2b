"""The declaration of a table whose rows live between runs: which rows there are, which artifacts they keep, and how
they are exported, imported, checked and shown.

Statements are given by their names in `ledger.sql`. Their parameters have the names of the table's columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from headrace.ledger.database import scan
from headrace.ledger.database.database import Database
from headrace.ledger.database.reader import Reader

Row = Any
"""A row of a standing table: a struct of `ledger.records` that has all columns of the table."""


class Twin(Struct, frozen=True, kw_only=True):
    """How to find this ledger's counterpart of a row of an archive: `finds` is the statement that finds it, and
    `agrees` are the columns in which the two rows must be equal. If they differ there, the import is refused."""

    finds: str
    agrees: tuple[str, ...] = ()


class Whole(Struct, frozen=True, kw_only=True):
    """Rows of one or more tables that are about one thing, such as an alias. The values of `columns` identify the
    thing. If the ledger has the thing already, an import leaves out all rows about it. `known` is the statement that
    lists the things in the ledger."""

    columns: tuple[str, ...]
    known: str


class Target(Struct, frozen=True, kw_only=True):
    """The other row at which a row points: its table, and the statement that finds it. The other row must exist."""

    table: str
    finds: str


class Standing(Struct, frozen=True, kw_only=True):
    """A table whose rows live between runs.

    Attributes:
        table: the table's name.
        reader: makes structs of its rows.
        key: the columns that together identify a row, each with a value that comes before all others.
        part: the part of an archive that has the rows.
        pages: the statement that reads a page of rows, in the order of their keys.
        puts: the statement that adds a row from an archive; it changes nothing if a row with this key exists already.
        brought: takes a row of an archive; returns the row to add to this ledger.
        twin: finds the row of this ledger with the same key as a row of an archive.
        twins: find counterparts of an archive's row by other columns than the key.
        whole: the rows that are imported either all together or not at all.
        differs: takes a row of an archive that differs from the ledger's; returns what differs, and what to do.
        called: what people call a row, such as "model `delays:3`".
        shown: the command that shows a row.
        artifacts: the columns that hold an encoded artifact. The store keeps these artifacts.
        only_newest: if True, the store keeps only the artifacts of the newest of all rows that have the same key except
            for its last column. For example, it keeps only the newest version of each cursor.
        points: the statement that replaces a row's artifacts by the same artifacts in other generations.
        run_of: the id of the run that made a row's artifacts, or None. The run is kept as long as the artifacts are.
        keeps_makers: whether the runs that made the artifacts are also kept, if the run of `run_of` only reused them.
        lost: takes a row that has lost an artifact; returns advice for the user. None: the usual advice for lost
            artifacts.
        target: where to find the row that a row points at.
        unique: other columns that together identify a row.
        identities: for a column with the identity of artifacts, a function that computes this identity from a row's
            values.
        forms: for a column, a check of its values in addition to their type.
        choices: for a column that has one of a few values, these values.
        forgets: the statement that deletes rows which nobody needs any more. Its parameter is a time: rows older than
            this aren't needed.
        is_own: takes the key of a row, and returns whether Headrace uses the row only for itself. Such a row is never
            shown, exported or checked.
    """

    table: str
    reader: Reader[Row]
    key: Mapping[str, str | int]
    part: str
    pages: str
    puts: str
    brought: Callable[[Any], Row] = lambda row: row
    twin: Twin
    twins: tuple[Twin, ...] = ()
    whole: Whole | None = None
    differs: Callable[[Row], tuple[str, str]]
    called: Callable[[Row], str]
    shown: Callable[[Row], str]
    artifacts: tuple[str, ...] = ()
    only_newest: bool = False
    points: str | None = None
    run_of: Callable[[Row], str | None] = lambda _: None
    keeps_makers: bool = False
    lost: Callable[[Row], str] | None = None
    target: Target | None = None
    unique: tuple[str, ...] = ()
    identities: Mapping[str, Callable[[Mapping[str, Any]], str]] = {}
    forms: Mapping[str, Callable[[Any], object]] = {}
    choices: Mapping[str, tuple[str, ...]] = {}
    forgets: str | None = None
    is_own: Callable[..., bool] | None = None

    def rows(self, db: Database) -> Iterator[Row]:
        """Yield the table's rows, in the order of their keys."""
        return self.read(db, self.reader)

    def read(self, db: Database, reader: Reader[Any]) -> Iterator[Any]:
        """Yield the table's rows, in the order of their keys, as the objects that `reader` makes."""
        return scan.pages(db, reader, getattr(db.sql, self.pages), (), self.is_own, **self.key)

    def kept(self, db: Database) -> Iterator[Row]:
        """Yield the rows whose artifacts the store keeps."""
        if not self.artifacts:
            return
        if not self.only_newest:
            yield from self.rows(db)
            return
        *same, _ = self.key
        last = None
        for row in self.rows(db):  # the newest of the same comes last
            if last is not None and any(getattr(row, column) != getattr(last, column) for column in same):
                yield last
            last = row
        if last is not None:
            yield last

    def lacking(self, db: Database, rows: Sequence[Row]) -> list[Row]:
        """Return those of `rows` that point at a row that doesn't exist. A row points at nothing if it has None in a
        column that the target's statement needs."""
        if self.target is None:
            return []
        finds = self.target.finds
        needs = [(row, db.sql.values(finds, asdict(row))) for row in rows]
        pointing = [(row, values) for row, values in needs if None not in values]
        found = db.lookups(getattr(db.sql, finds), [values for _, values in pointing])
        return [row for (row, _), there in zip(pointing, found, strict=True) if there is None]

    def encoded(self, row: Row) -> list[bytes]:
        """Return a row's encoded artifacts."""
        values = (getattr(row, column) for column in self.artifacts)
        return [value for value in values if value is not None]
