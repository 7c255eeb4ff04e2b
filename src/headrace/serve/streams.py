"""Reads the rows of a request from a stream of Arrow, and writes the answers as such a stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from headrace.errors import DataError, sentence
from headrace.models.streams import stream_of, table_in
from headrace.models.types import tells_time, tells_whom
from headrace.serve.asking import RowsRefused
from headrace.serve.predictions.redaction import NO_REDACTION, Redaction, only
from headrace.serve.records import Fault, RecordsRefused, why_untold
from headrace.spec.endpoint import key_text
from headrace.spec.noun import Noun
from headrace.spec.signature import Column

MOST_ROWS = 100_000
"""How many rows a request may have."""


class StreamPart(Noun, frozen=True):
    """Some rows of a stream, as two streams: `given` is logged, and `asked` is sent to a model."""

    count: int
    given: bytes
    asked: bytes


class Stream(NamedTuple):
    """The rows of a request: its body, and the table in it. `texts` are the columns that say whom and when the rows are
    about, as texts. `keys` is the column that says whom, or None if there is none."""

    body: bytes
    table: pa.Table
    texts: dict[str, list[str]]
    keys: Sequence[str] | None

    def part(
        self,
        places: Sequence[int] | None,
        takes: Sequence[Column],
        beside: Sequence[str],
        redaction: Redaction = NO_REDACTION,
    ) -> StreamPart:
        """Return the rows at the positions `places` (None: all rows). The model takes the columns `takes`. The columns
        `beside` say whom and when the rows are about, and the model doesn't take them: they aren't sent to the model,
        and are logged as texts, as they are for records. Other columns of the stream aren't logged, since no setting
        could name them. `redaction` says which columns are dropped from the log or hashed."""
        table = self.table if places is None else self.table.take(places)
        asked = self.body if places is None and not beside else stream_of(table.drop_columns(list(beside)))
        known = {*beside, *(column.name for column in takes)}
        if not beside and redaction.is_empty and known.issuperset(table.column_names):
            return StreamPart(count=table.num_rows, given=asked, asked=asked)
        for name in beside:
            texts = self.texts[name] if places is None else [self.texts[name][place] for place in places]
            table = table.set_column(table.column_names.index(name), name, pa.array(texts, pa.string()))
        given = stream_of(redaction.table(only(table, known), takes))
        return StreamPart(count=table.num_rows, given=given, asked=asked)


def read(body: bytes, key: str | None, time: str | None) -> Stream:
    """Return the rows in the body of a request. The columns `key` and `time` say whom and when the rows are about
    (None: no such column).

    Raises:
        RowsRefused: the body isn't a valid stream, has too many rows, or has none.
        RecordsRefused: a row has no valid key or time.
    """
    try:
        table = table_in(body)
    except DataError as error:
        raise RowsRefused(error.message, hint=error.hint) from error
    if not 0 < table.num_rows <= MOST_ROWS:
        raise RowsRefused(
            f"the stream has {table.num_rows:,} rows, and a request may have 1 to {MOST_ROWS:,}",
            hint="send them in several requests",
        )
    texts, faults = {}, list[Fault]()
    for name in filter(None, (key, time)):
        try:
            texts[name] = list(_texts_in(table, name, is_time=name == time))
        except _Untold as error:
            faults.append(Fault(what=error.args[0], field=name))
    if faults:
        raise RecordsRefused(faults)
    return Stream(body, table, texts, None if key is None else texts[key])


class _Untold(Exception):
    """A column doesn't have a valid key, or time, in each row."""


def _texts_in(table: pa.Table, name: str, *, is_time: bool) -> Iterator[str]:
    """Yield the values of a column as texts.

    Raises:
        _Untold: there is no such column, or a row has no valid value.
    """
    if table.column_names.count(name) != 1:
        raise _Untold("it is missing" if name not in table.column_names else "two columns have this name")
    column = table.column(name)
    if not (tells_time if is_time else tells_whom)(column.type):
        raise _Untold(f"`{column.type}`: Expected {'dates or times' if is_time else 'texts or numbers'}")
    try:
        values = column.to_pylist()
    except (ValueError, ArithmeticError, pa.ArrowException) as error:
        raise _Untold(f"a value can't be read: {sentence(error)}") from error
    for row, value in enumerate(values):
        if why := why_untold(value, is_time=is_time):
            raise _Untold(f"row {row:,}: {why}")
        yield key_text(value)


class AnswerPart(NamedTuple):
    """The answers of one variant, as a stream. They are for the request's rows at `places` (None: for all rows)."""

    stream: bytes
    places: Sequence[int] | None
    variant: str
    version: str


def joined(parts: Sequence[AnswerPart]) -> pa.Table:
    """Return the answers for all rows of a request, in the order of the rows. If several variants answered, the first
    columns `variant` and `version` say for each row which one did."""
    tables, are_several = [], len({(part.variant, part.version) for part in parts}) > 1
    for part in parts:
        table = table_in(part.stream)
        if are_several:
            for place, (name, text) in enumerate((("variant", part.variant), ("version", part.version))):
                table = table.add_column(place, name, pa.array([text] * table.num_rows, pa.string()))
        tables.append(table)
    if len(parts) == 1:
        return tables[0]
    places = np.concatenate([part.places for part in parts])
    return _one_below_the_other(tables).take(np.argsort(places))


def with_ids(answers: pa.Table, ids: Sequence[str] | None) -> bytes:
    """Return answers as a stream whose first column `id` has the ids of the predictions, or nulls if they have none."""
    column = pa.nulls(answers.num_rows, pa.string()) if ids is None else pa.array(ids, pa.string())
    return stream_of(answers.add_column(0, "id", column))


def _one_below_the_other(tables: Sequence[pa.Table]) -> pa.Table:
    """Return one table with the rows of all tables. A column that doesn't have the same type in all tables becomes
    text."""
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException:
        texts = [table.cast(pa.schema([(name, pa.string()) for name in table.column_names])) for table in tables]
        return pa.concat_tables(texts, promote_options="permissive")
