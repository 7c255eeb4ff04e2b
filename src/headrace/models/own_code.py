"""Functions of a project that a version of a model needs: `prepare` makes the model's rows of those that clients send,
and `predict` asks the model. They are called, and what they return is checked."""

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
    """A function of the project raised an error, or returned something else than a table with a row for each row."""


class Prepare:
    """Prepares rows by a function, which gets them as a table, and the values `given` by name. `signature` says what
    rows it takes."""

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
        """Return the rows as the model takes them. The function gets exactly the columns of its signature, in their
        types, in whatever form a client sent them.

        Raises:
            UsageError: the rows don't fit the signature.
            HeadraceError: the function itself raised this, so the rows are to blame.
            OwnCodeFailed: the function raised another error, or returned something else than a row for each row.
        """
        rows = fitted(rows, self._takes).select([column.name for column in self._takes])
        kinds = [(field.name, self._kinds.get(field.name, field.type)) for field in rows.schema]
        rows = rows.cast(pa.schema(kinds))
        return _called(self._function, rows.num_rows, self._place, rows, **self._given)


class Predict(Called):
    """A model that is asked by a function, which gets the model and a table, and returns a table with the answers: the
    column `predicted`, and perhaps more columns, whose names begin with `predicted_`."""

    def __init__(self, model: Any, function: Callable[..., Any], place: Place = lambda _: "") -> None:
        super().__init__(model, function)
        self._place = place

    def answers(self, table: pa.Table, columns: Sequence[str], into: str = INTO) -> dict[str, Any]:
        """Return the columns of the answers.

        Raises:
            HeadraceError: the function itself raised this, so the rows are to blame.
            OwnCodeFailed: the function raised another error, or returned no such table.
        """
        rows = table.select(list(columns))
        found = _called(self._predict, table.num_rows, self._place, self._model, rows)
        strange = [name for name in found.column_names if name != INTO and not name.startswith(f"{INTO}_")]
        if strange or INTO not in found.column_names or len(set(found.column_names)) < found.num_columns:
            named = ", ".join(f"`{name}`" for name in found.column_names)
            raise OwnCodeFailed(
                f"`{self._predict.__name__}` must return the column `{INTO}`, and others only if they are called"
                f" `{INTO}_...`; it returned {named or 'none'}"
            )
        return {into + name.removeprefix(INTO): found[name] for name in found.column_names}


def _called(function: Callable[..., Any], count: int, place: Place, *arguments: Any, **given: Any) -> pa.Table:
    """Call a function, and return its table with `count` rows."""
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
            f"`{name}` must return a row for each row, in the same order: it returned {table.num_rows:,} for {count:,}"
        )
    return table
