"""The statements of `ledger.sql`, in the dialect of SQLite or PostgreSQL.

    sql = statements("sqlite")
    db.execute(sql.RUN_BY_ID, (run,))

The file is read when the first ledger is opened, and not again. A statement is put together when it is first used.
SQLAlchemy could check the statements, but takes longer to import than a small pipeline takes to run. So the statements
and their names are not checked here. `tests/ledger/test_statements.py` finds names that are missing or unused, and lets
each database prepare each statement.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from operator import itemgetter
from pathlib import Path
from typing import Literal

from headrace.ledger.database.schema import revision

Dialect = Literal["sqlite", "postgresql"]

FILE = Path(__file__).with_name("ledger.sql")

MARKS: dict[Dialect, str] = {"sqlite": "?", "postgresql": "%s"}

WORDS: dict[Dialect, dict[str, str]] = {
    "sqlite": {"text": "TEXT", "bytes": "BLOB", "by_key": "WITHOUT ROWID"},
    # The collation "C" orders text by its bytes. Searches for the beginning of a text rely on that order.
    "postgresql": {"text": 'TEXT COLLATE "C"', "bytes": "BYTEA", "by_key": ""},
}
"""The text that replaces each word in braces in `ledger.sql`."""

_PARAMETER = re.compile(r":(\w+)")


class Statements:
    """The statements of one dialect, as attributes: the text of each under its name in capitals."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._written: dict[str, str] = {}
        self._orders: dict[str, Callable[[Mapping[str, object]], tuple[object, ...]]] = {}
        for part in FILE.read_text(encoding="utf-8").split("\n--- ")[1:]:
            head, _, text = part.partition("\n")
            name, _, of = head.partition(" ")
            if of in ("", f"({dialect})"):  # the dialect's own statement comes after the common one, and replaces it
                self._written[name.upper()] = text

    def __getattr__(self, name: str) -> str:
        text = _PARAMETER.sub(MARKS[self._dialect], self._plain(name))
        setattr(self, name, text)
        return text

    def names(self) -> list[str]:
        """Return the names of all statements, in the order of `ledger.sql`."""
        return list(self._written)

    def parameters(self, name: str) -> tuple[str, ...]:
        """Return the names of a statement's parameters, in their order."""
        return tuple(_PARAMETER.findall(self._plain(name)))

    def values(self, name: str, given: Mapping[str, object]) -> tuple[object, ...]:
        """Return a statement's parameter values in the order of its parameters, picked by name from `given`."""
        order = self._orders.get(name)
        if order is None:
            order = self._orders[name] = _picking(self.parameters(name))
        return order(given)

    @property
    def create(self) -> list[str]:
        """The statements that create the tables of an empty ledger, in the order in which they must run."""
        return [getattr(self, name) for name in self._written if name.startswith("CREATE_")]

    def _plain(self, name: str) -> str:
        """Return a statement in one line, without comments, and with the words in braces replaced as in `WORDS`."""
        if name not in self._written:
            raise AttributeError(f"`{FILE.name}` has no statement `{name.lower()}` for {self._dialect}")
        lines = [line for line in self._written[name].splitlines() if not line.startswith("--")]
        text = " ".join(" ".join(lines).split())
        for word, own in (*WORDS[self._dialect].items(), ("revision", revision())):
            text = text.replace(f"{{{word}}}", own)
        return text.strip()


def _picking(names: Sequence[str]) -> Callable[[Mapping[str, object]], tuple[object, ...]]:
    """Return a function that returns the values under these names as a tuple."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda given: tuple(given[name] for name in names)


@cache
def statements(dialect: Dialect) -> Statements:
    """Return the statements of `ledger.sql` in a dialect. The file is read only at the first call for a dialect."""
    return Statements(dialect)
