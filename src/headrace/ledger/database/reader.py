"""Turns rows into structs: each column becomes the field of the same name, whatever the order of the columns.

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
    """Makes structs of one type from rows.

    For each field that is not a column, `made` has a tuple: a function that makes the field, then the names of the
    columns that the function takes. Columns without a field of their name are ignored. A field with neither a column
    nor a default is an error.
    """

    def __init__(self, kind: type[T], **made: tuple[Any, ...]) -> None:
        self._kind = kind
        self._made = made
        self._makers: dict[tuple[tuple[str, ...], tuple[str, ...]], Callable[[Any], Any]] = {}

    def read(self, rows: Rows) -> Iterator[T]:
        """Yield each row as a struct."""
        return self._read(rows, ())

    def beside(self, rows: Rows, *columns: str) -> Iterator[tuple[Any, ...]]:
        """Yield a tuple for each row: first the struct made from the row, then the row's values in `columns`."""
        return self._read(rows, columns)

    def needs(self) -> set[str]:
        """Return the names of the columns from which this reader makes its structs."""
        fields: tuple[str, ...] = self._kind.__struct_fields__  # type: ignore[attr-defined]
        return {*fields} - {*self._made} | {name for _, *sources in self._made.values() for name in sources}

    def _read(self, rows: Rows, beside: tuple[str, ...]) -> Iterator[Any]:
        rest = iter(rows)
        first = next(rest, None)  # read first: in pipeline mode the columns aren't known before the first row
        if first is None:
            return iter(())
        return map(self.maker(columns(rows), beside), chain((first,), rest))

    def maker(self, names: tuple[str, ...], beside: tuple[str, ...] = ()) -> Callable[[Any], Any]:
        """Return a function that makes a struct from a row with the columns `names`. If `beside` names columns, the
        function returns a tuple: the struct, then the row's values in these columns."""
        make = self._makers.get((names, beside))
        if make is None:
            make = self._makers[names, beside] = self._compiled(names, beside)
        return make

    def _compiled(self, names: tuple[str, ...], beside: tuple[str, ...]) -> Callable[[Any], Any]:
        """Return the function that `maker` returns, compiled with `eval`, as `namedtuple` does. A function that looks
        up the fields for each row would take 1.5 times as long."""
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
    """A reader that returns rows unchanged, as tuples."""

    def __init__(self) -> None:
        super().__init__(tuple)

    def maker(self, names: tuple[str, ...], beside: tuple[str, ...] = ()) -> Callable[[Any], Any]:
        """Return `tuple`, which leaves a row as it is."""
        del names, beside
        return tuple


PLAIN = Plain()


def columns(rows: Rows) -> tuple[str, ...]:
    """Return the names of the rows' columns."""
    return tuple([column[0] for column in rows.description])
