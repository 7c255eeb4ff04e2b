"""Calls the functions of a project that a version of a model needs, and checks what the functions return. `prepare`
converts the rows that clients send to the rows that the model takes, and `predict` asks the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from headrace.errors import HeadraceError, sentence
from headrace.models.fitting import fitted
from headrace.models.model import Called
from headrace.models.scores import INTO
from headrace.models.types import kind_named
from headrace.spec.signature import Signature

Place = Callable[[BaseException], str]
"""Returns where in the project's code an error was raised, such as ` (features.py:3)`."""


class OwnCodeFailed(HeadraceError):
    """A function of the project raised an error, or didn't return a table with one row for each row that it got."""


class Prepare:
    """Prepares rows by a function of the project. The function gets the rows as a table, and the values in `given` as
    keyword arguments. `signature` says which columns the function takes."""

    def __init__(
        self,
        function: Callable[..., Any],
        given: Mapping[str, Any],
        signature: Signature,
        place: Place = lambda _: "",
    ) -> None:
        self._function = function
        self._given = given
        self._takes = signature.takes
        self._place = place
        kinds = [(column.name, kind_named(column.type)) for column in signature.takes]
        self._kinds = {name: kind for name, kind in kinds if kind is not None}

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Return the rows that the model takes. The function gets exactly the columns of the signature, in the
        signature's types, even if a client sent more columns or other types.

        Raises:
            UsageError: the rows don't fit the signature.
            HeadraceError: the function itself raised this, so the rows are to blame.
            OwnCodeFailed: the function raised another error, or didn't return a table with one row for each row.
        """
        rows = fitted(rows, self._takes).select([column.name for column in self._takes])
        kinds = [(field.name, self._kinds.get(field.name, field.type)) for field in rows.schema]
        rows = rows.cast(pa.schema(kinds))
        return _called(self._function, rows.num_rows, self._place, rows, **self._given)


class Predict(Called):
    """A model with a function of the project that asks the model. The function gets the model and a table, and returns
    a table with the answers: the column `predicted`, and perhaps more columns, whose names begin with `predicted_`."""

    def __init__(self, model: Any, function: Callable[..., Any], place: Place = lambda _: "") -> None:
        super().__init__(model, function)
        self._place = place

    def answers(self, table: pa.Table, columns: Sequence[str], into: str = INTO) -> dict[str, Any]:
        """Return the columns of the answers.

        Raises:
            HeadraceError: the function itself raised this, so the rows are to blame.
            OwnCodeFailed: the function raised another error, or didn't return a table with such columns and one row for
                each row.
        """
        rows = table.select(list(columns))
        found = _called(self._predict, table.num_rows, self._place, self._model, rows)
        strange = [name for name in found.column_names if name != INTO and not name.startswith(f"{INTO}_")]
        if strange or INTO not in found.column_names or len(set(found.column_names)) < found.num_columns:
            named = ", ".join(f"`{name}`" for name in found.column_names)
            raise OwnCodeFailed(
                f"`{self._predict.__name__}` must return the column `{INTO}`, and any other column must be named"
                f" `{INTO}_...`; it returned {named or 'no columns'}"
            )
        return {into + name.removeprefix(INTO): found[name] for name in found.column_names}


def _called(function: Callable[..., Any], count: int, place: Place, *arguments: Any, **given: Any) -> pa.Table:
    """Call a function, and return the table that it returns. Raise `OwnCodeFailed` if the result isn't a table with
    `count` rows."""
    name = function.__name__
    try:
        table = function(*arguments, **given)
    except HeadraceError:
        raise
    except (Exception, SystemExit) as error:  # the function is the user's
        told = f"{type(error).__name__}: {sentence(error)}{place(error)}"
        raise OwnCodeFailed(f"`{name}` failed for these rows: {told}") from error
    if not isinstance(table, pa.Table):
        raise OwnCodeFailed(f"`{name}` must return an Arrow table, and returned a `{type(table).__name__}`")
    if table.num_rows != count:
        raise OwnCodeFailed(
            f"`{name}` must return one row for each row that it gets, in the same order: it got {count:,} rows, and"
            f" returned {table.num_rows:,}"
        )
    return table
