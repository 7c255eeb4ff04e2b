"""Rows as structs: each column goes to the field of its name, whatever place it has in the statement.

TASK_ROWS = Reader(TaskRow, log=(span, "log", "log_start", "log_end"))
rows = list(TASK_ROWS.read(db.execute(db.sql.TASK_ROWS, (run,))))
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, Generic, TypeVar

from headrace.ledger.database.database import Rows

T = TypeVar("T")


class Reader(Generic[T]):
    """Makes structs of a kind out of rows.

    A field that isn't a column is `made`, by a function of the columns that are named after it. Columns that the struct
    has no field for are left alone; a field that has neither a column nor a default is an error.
    """

    def __init__(self, kind: type[T], **made: tuple[Any, ...]) -> None:
        self._kind = kind
        self._made = made
        self._makers: dict[tuple[tuple[str, ...], tuple[str, ...]], Callable[[Any], Any]] = {}

    def read(self, rows: Rows) -> Iterator[T]:
        """Go over rows as structs."""
        return self._read(rows, ())

    def beside(self, rows: Rows, *columns: str) -> Iterator[tuple[Any, ...]]:
        """Go over rows as structs, each followed by the row's values of some columns."""
        return self._read(rows, columns)

    def needs(self) -> set[str]:
        """Name the columns that it makes structs of."""
        fields: tuple[str, ...] = self._kind.__struct_fields__  # type: ignore[attr-defined]
        return {*fields} - {*self._made} | {name for _, *sources in self._made.values() for name in sources}

    def _read(self, rows: Rows, beside: tuple[str, ...]) -> Iterator[Any]:
        rest = iter(rows)
        first = next(rest, None)  # before it comes, a server that was asked for several things says nothing of columns
        if first is None:
            return iter(())
        return map(self.maker(columns(rows), beside), chain((first,), rest))

    def maker(self, names: tuple[str, ...], beside: tuple[str, ...] = ()) -> Callable[[Any], Any]:
        """Return what makes a struct of a row that has these columns."""
        make = self._makers.get((names, beside))
        if make is None:
            make = self._makers[names, beside] = self._compiled(names, beside)
        return make

    def _compiled(self, names: tuple[str, ...], beside: tuple[str, ...]) -> Callable[[Any], Any]:
        """Write the call down, as `namedtuple` does: to name the fields for each row anew takes half as long again."""
        places = {name: f"row[{place}]" for place, name in enumerate(names)}
        fields: tuple[str, ...] = self._kind.__struct_fields__  # type: ignore[attr-defined]
        values = {field: places[field] for field in fields if field in places}
        values |= {
            field: f"{field}_of({', '.join(places[name] for name in sources)})"
            for field, (_, *sources) in self._made.items()
        }
        call = f"kind({', '.join(f'{field}={value}' for field, value in values.items())})"
        made = {f"{field}_of": of for field, (of, *_) in self._made.items()}
        text = f"({call}, {', '.join(places[name] for name in beside)})" if beside else call
        found: Callable[[Any], Any] = eval(f"lambda row: {text}", {"kind": self._kind, **made})
        return found


class Plain(Reader[tuple[Any, ...]]):
    """Leaves rows as they are, for who passes them on."""

    def __init__(self) -> None:
        super().__init__(tuple)

    def maker(self, names: tuple[str, ...], beside: tuple[str, ...] = ()) -> Callable[[Any], Any]:
        """Return what leaves a row alone."""
        del names, beside
        return tuple


PLAIN = Plain()


def columns(rows: Rows) -> tuple[str, ...]:
    """Name the columns of rows."""
    return tuple([column[0] for column in rows.description])
