"""The stage behind `deploy.batch` that asks a model about all rows, part by part."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from headrace.codec.builtin.arrow import batch_rows
from headrace.codec.joined import Joined, Streamed
from headrace.codec.later import Later, table_of
from headrace.define.attempt import attempt
from headrace.define.log import log, warn
from headrace.define.stage import ready
from headrace.define.version import Version
from headrace.errors import DataError, UsageError
from headrace.models.answering import ROWS_AT_ONCE, Answering
from headrace.models.frames import check_columns
from headrace.models.model import model_of
from headrace.spec.artifact import Ref
from headrace.spec.intent import LogBatch
from headrace.spec.signature import signature_in
from headrace.stages.tables.columns import metadata, rows_have
from headrace.stages.tables.parts import Keeper

PART_ROWS = 1 << 18
"""A part has at least this many rows if `part_rows` isn't given."""
MOST_PARTS = 256
"""A table has at most this many parts if `part_rows` isn't given. The number is limited because each checkpoint names
all parts so far."""


@ready("deploy.batch", version=1, on=("numpy", "pandas", "pyarrow"), kind="deploy", name="batch")
def score(
    model: Any,
    rows: Any,
    *,
    preparation: Any = None,
    keep: tuple[str, ...] = (),
    into: str = "predicted",
    endpoint: str = "",
    part_rows: int | None = None,
) -> pa.Table:
    """Return a table with the columns `keep` of all rows, and the model's answers for these rows. The parameters mean
    the same as for `deploy.batch`.

    Raises:
        UsageError: the rows lack a column or have another type than the model takes, or the model can't predict.
        DataError: the model's answers for some rows have other columns or types than its earlier answers.
    """
    here = attempt()
    ref, given = _ref(model, here.ref("model")), _ref(rows, here.ref("rows"))
    rows = _registered(rows) if isinstance(rows, Version) else rows
    size = part_rows or max(PART_ROWS, -(-_count(rows) // MOST_PARTS))
    begun = here.checkpoint()
    work = _Work(_answering(model, preparation, ref), keep, into, size, begun if isinstance(begun, dict) else {})
    table = _stored(work.parts(rows))
    for name, count in work.unseen.items():
        warn(f"{rows_have(count)} a `{name}` that the model didn't learn from")
    if ref is not None and given is not None:
        out, ended = here.artifact(table), time.time()
        here.intend(LogBatch(endpoint, ref.identity, given, out, len(table), work.refused, work.began, ended))
    return table


class _Work:
    """Asks a model about the rows for which earlier attempts saved no answers, and saves a checkpoint after each part.

    A checkpoint has the parts so far, the number of their rows that the preparation refused, and the time when the
    first attempt began. It also has, for each column of categories, the number of rows with a value that the model
    didn't learn from.
    """

    def __init__(
        self, asked: Answering, keep: Sequence[str], into: str, size: int, checkpoint: Mapping[str, Any]
    ) -> None:
        self._asked = asked
        self._keep = keep
        self._into = into
        self._size = size
        self._before: list[Later] = checkpoint.get("parts", [])
        self._tallies = [_Tally(checkpoint.get("refused", 0), checkpoint.get("unseen", {}))]
        """The first tally is for all parts of earlier attempts. Then there is a tally for each part of this attempt."""
        self._asked_rows = 0
        self.began: float = checkpoint.get("began", time.time())

    @property
    def refused(self) -> int:
        """How many rows the preparation refused."""
        return sum(each.refused for each in self._tallies)

    @property
    def unseen(self) -> Mapping[str, int]:
        """For each column of categories, how many rows have a value that the model didn't learn from."""
        return sum((each.unseen for each in self._tallies), Counter[str]())

    def parts(self, rows: Any) -> list[Any]:
        """Return the answers for all rows as a list of parts. If there is a store, the parts are already stored."""
        done = sum(part.num_rows for part in self._before)
        slices = _slices(_batches(rows), done, self._size)
        answers = self._typed(map(self._answers, slices), table_of(self._before[-1]).schema if done else None)
        first = next(answers, None)
        if first is None:
            return self._before or [self._answers(_schema(rows).empty_table())]
        with Keeper(first.schema, _keep) as keeper:
            kept = 0
            for piece, ends in _pieces(first, answers, self._size):
                keeper.add(piece, ends)
                if len(keeper.tables) > kept:
                    kept = len(keeper.tables)
                    self._checkpoint(keeper.tables[:kept])
        return [*self._before, *keeper.tables]

    def _answers(self, rows: pa.Table) -> pa.Table:
        """Return a table with the columns to keep and the answers for `rows`. All of `rows` belong to the same part."""
        check_columns(rows, self._keep)
        found = self._asked.answers(rows, self._into)
        answers = found.beside(len(rows))
        if self._asked_rows % self._size == 0:
            self._tallies.append(_Tally(0, {}))
        self._tallies[-1].add(len(rows) - (len(rows) if found.places is None else len(found.places)), found.unseen)
        self._asked_rows += len(rows)
        made = rows.select(self._keep)
        for name in answers.column_names:
            if name in self._keep:
                raise UsageError(
                    f"column `{name}` of the rows is kept, and the model's answers have that name",
                    hint="give the answers another name by `into=`",
                )
            made = made.append_column(name, answers[name])
        return made.replace_schema_metadata(metadata(made.schema, rows.schema))

    def _typed(self, answers: Iterable[pa.Table], schema: pa.Schema | None) -> Iterator[pa.Table]:
        """Yield the answers in the types of `schema`. If `schema` is None, the types are taken from the first answers
        whose columns all have a type: if the preparation refused all rows, the answers have the type null."""
        waiting: list[pa.Table] = []
        for table in answers:
            waiting.append(table)
            if schema is None:
                own = [field.type for field in table.schema if field.name not in self._keep]
                if any(map(pa.types.is_null, own)):
                    continue
                schema = table.schema
            yield from (_as(each, schema) for each in waiting)
            waiting = []
        if waiting:
            yield from (_as(each, waiting[-1].schema) for each in waiting)

    def _checkpoint(self, tables: Sequence[pa.Table]) -> None:
        """Save the parts so far for the next attempt."""
        parts = [*self._before, *map(Later.of, tables)]
        tallies = self._tallies[: len(tables) + 1]  # the model may have been asked about rows of the next part already
        unseen = sum((each.unseen for each in tallies), Counter[str]())
        refused = sum(each.refused for each in tallies)
        attempt().keep({"parts": parts, "refused": refused, "unseen": dict(unseen), "began": self.began})
        log("rows", sum(part.num_rows for part in parts))


class _Tally:
    """The number of refused rows, and for each column, the number of rows with a value that the model didn't learn
    from."""

    def __init__(self, refused: int, unseen: Mapping[str, int]) -> None:
        self.refused = refused
        self.unseen = Counter(unseen)

    def add(self, refused: int, unseen: Mapping[str, int]) -> None:
        """Add the counts of more rows."""
        self.refused += refused
        self.unseen.update(unseen)


def _ref(value: Any, ref: Ref | None) -> Ref | None:
    """Return the artifact of a model or of rows. `value` is an argument of the stage, and `ref` is its artifact. If
    `value` is a registered version or the several outputs of a stage, return the part of `ref` that is the model or the
    rows."""
    name = "value" if isinstance(value, Version) else "model" if isinstance(value, tuple) else ""
    if ref is None or ref.parts is None or name not in (ref.names or ()):
        return ref
    return ref.parts[(ref.names or ()).index(name)]


def _registered(version: Version) -> Any:
    if version.value is None:
        raise UsageError(f"there is no version of the {version.kind} `{version.name}`", hint="register one first")
    return version.value


def _answering(model: Any, preparation: Any, ref: Ref | None) -> Answering:
    """Return an `Answering` for a model, its preparation, and the signature of its artifact `ref`.

    Raises:
        UsageError: the model can't predict, or `preparation` isn't a preparation.
    """
    if isinstance(model, Version):
        preparation = model.preparation if preparation is None else preparation
        model = _registered(model)
    elif isinstance(model, tuple) and hasattr(model, "model"):
        model = model.model
    if not hasattr(model, "predict"):
        raise UsageError(
            f"`model` is a `{type(model).__name__}`, which has no `predict`",
            hint="give the model itself; if it is an adapter of `train.finetune`, use `train.predict`",
        )
    if isinstance(preparation, tuple) and hasattr(preparation, "preparation"):
        preparation = preparation.preparation
    if preparation is not None and not hasattr(preparation, "apply"):
        raise UsageError(
            f"`preparation` is a `{type(preparation).__name__}`",
            hint="give what `prepare.clean` made: `preparation=cleaned.preparation`",
        )
    return Answering(model_of(model), preparation, signature_in(ref.signature if ref is not None else None))


def _count(rows: Any) -> int:
    return rows.num_rows if isinstance(rows, pa.Table) else 0


def _schema(rows: Any) -> pa.Schema:
    return rows.schema if isinstance(rows, pa.Table | pa.RecordBatchReader) else pa.schema([])


def _batches(rows: Any) -> Iterator[pa.RecordBatch]:
    """Return the rows as record batches.

    Raises:
        UsageError: `rows` is neither a table nor a stream of record batches.
    """
    if isinstance(rows, pa.Table):
        return iter(rows.to_batches(max_chunksize=ROWS_AT_ONCE))
    if isinstance(rows, Iterator | pa.RecordBatchReader):
        return iter(rows)
    raise UsageError(
        f"`rows` is a `{type(rows).__name__}`",
        hint="give a `pyarrow.Table`, such as the output of a stage of `ingest`; or a stream of record batches",
    )


def _slices(batches: Iterable[pa.RecordBatch], done: int, size: int) -> Iterator[pa.Table]:
    """Yield the rows after the first `done` rows, as tables that are small enough to ask a model about. All rows of a
    table belong to the same part. A part has `size` rows, and the first `done` rows are whole parts."""
    pending: list[pa.RecordBatch] = []
    at = count = 0
    for given in batches:
        batch = given.slice(min(done, given.num_rows))
        done -= given.num_rows - batch.num_rows
        while batch.num_rows:
            room = min(ROWS_AT_ONCE, size - at % size)
            piece = batch.slice(0, room - count)
            pending.append(piece)
            batch = batch.slice(piece.num_rows)
            count += piece.num_rows
            if count == room:
                yield pa.Table.from_batches(pending)
                at += count
                pending, count = [], 0
    if pending:
        yield pa.Table.from_batches(pending)


def _pieces(first: pa.Table, others: Iterable[pa.Table], size: int) -> Iterator[tuple[pa.Table, bool]]:
    """Yield the answers as tables, each with True if it is the last table of a part, and with False if not. A table has
    as many rows as a batch of a stored table, or fewer at the end of a part. A part has `size` rows. The very last
    table may come with False."""
    at_once = batch_rows(first.schema)
    pending: list[pa.Table] = []
    count = inner = 0
    for table in _both(first, others):
        left = table
        while left.num_rows:
            piece = left.slice(0, at_once - inner)
            left = left.slice(piece.num_rows)
            pending.append(piece)
            inner += piece.num_rows
            count += piece.num_rows
            if inner == at_once or count == size:
                yield pa.concat_tables(pending), count == size
                pending, inner, count = [], 0, count % size
    if pending:
        yield pa.concat_tables(pending), True


def _both(first: pa.Table, others: Iterable[pa.Table]) -> Iterator[pa.Table]:
    yield first
    yield from others


def _as(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return answers in the columns and types of a schema. If a column is missing, as in answers for refused rows, all
    its values are null.

    Raises:
        DataError: a column of the answers isn't in the schema, or can't be cast to its type there.
    """
    if table.schema.equals(schema):
        return table
    strange = [name for name in table.column_names if name not in schema.names]
    columns = []
    for field in schema:
        if field.name not in table.column_names or pa.types.is_null(table.schema.field(field.name).type):
            columns.append(pa.nulls(len(table), field.type))
            continue
        column = table.column(field.name)
        try:
            columns.append(column.cast(field.type))
        except pa.ArrowException:
            strange.append(field.name)
    if strange:
        raise DataError(
            f"the model's answers for some rows have another column or type than those before: `{strange[0]}`",
            hint="let the model give values of the same type for all rows",
        )
    return pa.Table.from_arrays(columns, schema=schema)


def _keep(part: Any) -> pa.Table:
    """Store a part, and return it as a table."""
    stored = attempt().stored(part)
    return pa.concat_tables(stored.pieces) if isinstance(stored, Streamed) else stored


def _stored(parts: Sequence[Any]) -> pa.Table:
    """Return parts as one table. If there is a store, the table is stored."""
    if len(parts) == 1:
        return attempt().stored(table_of(parts[0]))
    joined: Any = attempt().stored(Joined(parts))
    return joined.table if isinstance(joined, Joined) else joined
