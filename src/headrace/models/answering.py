"""The answers of a registered model to rows as clients send them. The rows are prepared by the model's preparation,
cast to the types of its signature, and then given to the model. Model processes and the commands that predict share
this code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from headrace.errors import DataError, HeadraceError, UsageError, sentence
from headrace.models.fitting import fitted, unseen
from headrace.models.model import Model
from headrace.models.own_code import Prepare
from headrace.models.scores import INTO
from headrace.models.types import kind_named
from headrace.spec.noun import Noun
from headrace.spec.signature import Column, Signature, signature_in

ROWS_AT_ONCE = 1 << 16
"""How many rows a model is asked about at a time."""
ROW = -2
"""The index of the column with the row numbers in a preparation's quarantine. The name of this column varies."""
RULES = -1
"""The index of the column with the rules that each row broke."""


class Prepared(Protocol):
    """Rows after the preparation: `table` has the accepted rows, and `quarantine` has the refused rows."""

    @property
    def table(self) -> pa.Table: ...
    @property
    def quarantine(self) -> pa.Table: ...


class Preparation(Protocol):
    """The rules of `prepare.clean`, with the values that they learned from a table. `columns` has the types of this
    table's columns, by name."""

    @property
    def columns(self) -> Mapping[str, str]: ...
    def apply(self, table: pa.Table, *, without: Sequence[str] = ()) -> Prepared: ...


def lacking(preparation: Any, signature: bytes | None) -> list[str]:
    """Return the columns that a model takes, as its encoded signature says, but that its preparation doesn't return. If
    there are such columns, the model can't answer for any row. The list is empty if there are none, or if this isn't
    known."""
    found = signature_in(signature)
    if found is None or not isinstance(getattr(preparation, "columns", None), Mapping):
        return []
    fields = [(name, kind_named(kind) or pa.null()) for name, kind in preparation.columns.items()]
    try:
        given = preparation.apply(pa.schema(fields).empty_table()).table.column_names
    except HeadraceError:
        return []
    return [column.name for column in found.takes if column.name not in given]


class Answers(Noun, frozen=True):
    """A model's answers: `table` has a row for each row that the preparation accepted. `places` has the positions of
    the accepted rows among all rows, or is None if all were accepted. `unseen` has, for each column of categories, the
    number of rows with a value that the model didn't learn from. `broken` has, for each rule of the preparation that
    refused rows, the number of these rows, the greatest first."""

    table: pa.Table
    places: Any
    unseen: dict[str, int]
    broken: dict[str, int]

    def beside(self, count: int) -> pa.Table:
        """Return a table with an answer for each of all `count` rows, in their order. The answer for a refused row is
        nulls."""
        if self.places is None:
            return self.table
        order = np.full(count, -1)
        order[self.places] = np.arange(len(self.places))
        return self.table.take(pa.array(order, mask=order < 0))


class Answering:
    """A model with its preparation and its signature, each of which may be None. If `prepare` is given, it is called
    with the rows first, and its result is used in place of the rows."""

    def __init__(
        self,
        model: Model,
        preparation: Preparation | None,
        signature: Signature | None,
        prepare: Prepare | None = None,
    ) -> None:
        self._model = model
        self._prepare = prepare
        self._preparation = preparation
        self._signature = signature
        self._fits: pa.Schema | None = None

    def takes(self, there: Sequence[str]) -> list[str] | None:
        """Return the columns that the model takes, or None if they aren't known. `there` are the columns of a table."""
        if self._signature is not None:
            return [each.name for each in self._signature.takes]
        return self._model.takes(there)

    def answers(
        self, rows: pa.Table, into: str = INTO, progress: Callable[[int, int], None] = lambda *_: None
    ) -> Answers:
        """Return the answers for rows, in columns whose names begin with `into`. `progress` is called with two numbers:
        of the rows that are done, and of all rows.

        Raises:
            UsageError: the rows don't fit the preparation or the model.
            OwnCodeFailed: a function of the project failed.
        """
        if self._prepare is not None:
            if not rows.num_rows:
                return Answers(table=self._no_answers(into), places=None, unseen={}, broken={})
            rows = self._prepare(rows)
        prepared, places, broken = self._prepared(rows)
        table, strange = self._asked(prepared, into, progress)
        return Answers(table=table, places=places, unseen=strange, broken=broken)

    def _prepared(self, table: pa.Table) -> tuple[pa.Table, Any, dict[str, int]]:
        if self._preparation is None or not table.num_columns:
            return table, None, {}
        absent = [name for name in self._preparation.columns if name not in table.column_names]
        try:
            prepared = self._preparation.apply(table, without=absent)  # the target, say; the model misses what it takes
        except DataError as error:
            raise UsageError(error.message, hint=error.hint) from error
        quarantine = prepared.quarantine.columns
        refused = np.asarray(quarantine[ROW].to_numpy(), np.int64)
        if not len(refused):
            return prepared.table, None, {}
        broken = Counter(rule for rules in quarantine[RULES].to_pylist() for rule in dict.fromkeys(rules))
        return prepared.table, np.setdiff1d(np.arange(table.num_rows), refused), dict(broken.most_common())

    def _asked(
        self, rows: pa.Table, into: str, progress: Callable[[int, int], None]
    ) -> tuple[pa.Table, dict[str, int]]:
        strange: dict[str, int] = {}
        if not rows.num_columns:  # JSON without rows
            return self._no_answers(into), strange
        if self._signature is None:
            columns = self._model.takes(rows.column_names) or rows.column_names
        else:
            rows, columns = self._fitted(rows, self._signature.takes), [each.name for each in self._signature.takes]
            strange = unseen(rows, self._signature.takes)
        if not rows.num_rows:
            return self._no_answers(into), strange
        parts = []
        try:
            for start in range(0, rows.num_rows, ROWS_AT_ONCE):
                parts.append(pa.table(self._model.answers(rows.slice(start, ROWS_AT_ONCE), columns, into)))
                progress(min(start + ROWS_AT_ONCE, rows.num_rows), rows.num_rows)
            return parts[0] if len(parts) == 1 else pa.concat_tables(parts), strange
        except pa.ArrowException as error:
            raise UsageError(
                f"the model's answers can't be the columns of a table: {sentence(error)}",
                hint="let the model give a class or a number for each row",
            ) from error

    def _fitted(self, rows: pa.Table, takes: Sequence[Column]) -> pa.Table:
        """Return the rows in the types that the model takes. The last schema that needed no cast is remembered, since a
        few rows are answered in less time than their types are compared."""
        if rows.schema == self._fits:
            return rows
        cast = fitted(rows, takes)
        if cast is rows:
            self._fits = rows.schema
        return cast

    def _no_answers(self, into: str) -> pa.Table:
        """Return a table without rows that has the columns of the model's answers. The model itself isn't called,
        because a library may refuse to predict for no rows."""
        gives = self._signature.gives if self._signature else ()
        kinds = {into + each.name.removeprefix(INTO): kind_named(each.type) or pa.null() for each in gives}
        return pa.schema(kinds or {into: pa.null()}).empty_table()
