"""Queries of a ledger: rows by a statement, and a run by its id or a part of it."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from headrace.errors import FEW, NotFoundError, listed, near
from headrace.ledger.database.database import Database
from headrace.ledger.database.reader import Reader
from headrace.ledger.generations import regions_naming
from headrace.ledger.views.rows import RUN_LINES, RunLine
from headrace.run.events import Event, Gone, Taken

T = TypeVar("T")

_ALL = 1 << 31


class Query:
    """Runs queries on a ledger that is open for reading."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._sql = db.sql

    def read(self, reader: Reader[T], statement: str, *parameters: object) -> list[T]:
        """Run a statement and return its rows, as the objects that `reader` makes."""
        with self._db.troubles():
            return list(reader.read(self._db.execute(statement, parameters)))

    def all(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows."""
        with self._db.troubles():
            return self._db.execute(statement, parameters).fetchall()

    def of_kind(self, run: str | None, kind: type[Event]) -> list[tuple[int, bytes]]:
        """Return a run's events of a kind, encoded, each with its number. For `Taken` and `Gone` an index finds them;
        for another kind, all events of the run are read."""
        # An event is encoded as an array of fewer than 16 items, so its tag is after one byte.
        tag = msgspec.msgpack.encode(kind.__struct_config__.tag)
        statement = self._sql.OF_DRIVER if kind in (Taken, Gone) else self._sql.OF_KIND
        return self.all(statement, self.run(run).number, len(tag), tag)

    def regions(self, generation: str) -> set[str]:
        """Return the regions that may have a generation (`DIGEST.NONCE`)."""
        with self._db.troubles():
            return regions_naming(self._db, generation, {})

    def run(self, name: str | None) -> RunLine:
        """Return a run. `name` is its id, the beginning of its id, or the last part of its id. For None, `""` or
        `latest`, return the newest run.

        Raises:
            NotFoundError: no run matches, or several do; the message lists similar ids.
        """
        if name in (None, "", "latest"):
            lines = self.read(RUN_LINES, self._sql.NEWEST_RUN)
            if not lines:
                raise NotFoundError("there is no run yet", hint="`headrace run NAME` makes one")
            return lines[0]
        assert name is not None
        lines = self.read(RUN_LINES, self._sql.RUN_LINE, name)
        lines = lines or self.read(RUN_LINES, self._sql.RUNS_BY_PREFIX, name, name + "\U0010ffff", 5)
        if len(lines) == 1:
            return lines[0]
        if lines:
            raise NotFoundError(
                f"several runs begin with `{name}`",
                hint=f"give more characters: {listed((each.id for each in lines), FEW)}",
            )
        ids = [run_id for (run_id,) in self.all(self._sql.RUN_IDS, _ALL)]
        ending = [each for each in ids if each.endswith(f"-{name}")]
        if len(ending) == 1:
            return self.read(RUN_LINES, self._sql.RUN_LINE, ending[0])[0]
        if ending:
            raise NotFoundError(f"several runs end in `{name}`", hint=f"give more characters: {listed(ending, FEW)}")
        raise NotFoundError(f"there is no run `{name}`", hint=near(name, ids[:1000], "the newest are"))
