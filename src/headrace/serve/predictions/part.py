"""Makes the parts of an endpoint's prediction log: tables for the store, with the predictions or the labels of one
segment."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import pyarrow as pa

from headrace.errors import DataError
from headrace.models import labels
from headrace.models.fitting import column_of
from headrace.models.predicted import FIXED, merged
from headrace.models.streams import table_in
from headrace.serve.predictions.prediction import Answered, PredictionId
from headrace.serve.predictions.redaction import is_hashed
from headrace.serve.predictions.segment import Contents, Logged
from headrace.spec.noun import UNREADABLE

UNREAD = "(unread)"
"""The field of `input` or `output` that has the rows of a request as bytes, if they couldn't be read. It is set in the
request's first row only."""

_FREE_BYTES = 1 << 24
_GROWTH = 16
"""In memory, rows may take this many times as many bytes as in the log, and `_FREE_BYTES` more."""
_ARRAY_BYTES = 128
"""How many bytes the smallest array takes."""
_TOGETHER = 500
"""The most requests in JSON that are read together. One by one, reading a request would take longer than answering it
did."""

_decode_records = msgspec.json.Decoder(list[dict[str, Any]]).decode


def parts(contents: Contents, takes: Mapping[str, pa.Schema]) -> dict[str, pa.Table]:
    """Return the predictions of a segment as one table for each endpoint, in the order in which they were logged.

    `takes` has, by version of a model, the columns that this version takes. Values of rows in JSON get the types of
    these columns.
    """
    logged: dict[str, list[Logged]] = defaultdict(list)
    for each in contents.logged:
        logged[each.answered.endpoint].append(each)
    return {endpoint: _table(contents, its, takes) for endpoint, its in logged.items()}


def label_parts(contents: Contents) -> dict[str, pa.Table]:
    """Return the labels of a segment as one table for each endpoint (`models.labels.LABELS`), in the order in which
    they were logged."""
    tables: dict[str, list[pa.Table]] = defaultdict(list)
    for each in contents.feedback:
        ids, texts = [identity for identity, _ in each.labels], [labels.text_of(label) for _, label in each.labels]
        tables[each.endpoint].append(labels.table_of(ids, texts, source=each.source, at=each.at))
    return {endpoint: pa.concat_tables(its).combine_chunks() for endpoint, its in tables.items()}


def _table(contents: Contents, logged: Sequence[Logged], takes: Mapping[str, pa.Schema]) -> pa.Table:
    fixed: dict[str, list[Any]] = {name: [] for name in FIXED.names}
    given, answers = _Rows(logged), _Rows(logged)
    for offset, each in logged:
        fixed["id"] += PredictionId(contents.writer, contents.number, offset, each.salt).texts(each.count)
        fixed["at"] += [round(each.at * 1e6)] * each.count
        for name in ("variant", "version", "latency_s"):
            fixed[name] += [getattr(each, name)] * each.count
        for name in ("trace", "why"):
            fixed[name] += [getattr(each, name) or None] * each.count
        fixed["name"] += each.names or [None] * each.count
        given.add(each, each.given, takes.get(each.version))
        answers.add(each, each.answers, None)
    table = pa.table(fixed, schema=FIXED)
    return table.append_column("input", given.joined()).append_column("output", answers.joined())


class _Rows:
    """Collects the rows of several requests, or the answers to them. Clients and models made them, so they may contain
    anything.

    Some rows are stored as bytes, in the field `UNREAD`: rows that can't be read, and rows that would take far more
    memory than their bytes do. Rows of the second kind are compressed, or have many fields that no other row has.
    """

    def __init__(self, logged: Sequence[Logged]) -> None:
        size = sum(len(each.given) + len(each.answers or b"") for _, each in logged)
        self._most_bytes = _FREE_BYTES + _GROWTH * size
        self._count = sum(each.count for _, each in logged)
        self._requests = len(logged)
        self._unpacked = 0
        self._widths: dict[str, float] = {}
        self._arrays: list[pa.Array] = []
        self._waiting: list[tuple[Answered, bytes]] = []
        self._types: pa.Schema | None = None

    def add(self, answered: Answered, data: bytes | None, types: pa.Schema | None) -> None:
        """Add the rows of a request, or its answers: `data` is their bytes, or None if there are no answers. `types`
        are the types of the fields, if they are known."""
        is_json = data is not None and answered.form == "json"
        if not is_json or types is not self._types or len(self._waiting) == _TOGETHER:
            self._add_waiting()
        if data is None:
            self._arrays.append(pa.nulls(answered.count))
        elif is_json:
            self._types = types
            self._waiting.append((answered, data))
        else:
            self._add_alone(answered, data, types)

    def _add_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        try:
            self._arrays.append(self._of_requests(waiting, self._types))
        except (DataError, pa.ArrowException, ValueError, TypeError, OverflowError, *UNREADABLE):
            for answered, data in waiting:
                self._add_alone(answered, data, self._types)

    def _add_alone(self, answered: Answered, data: bytes, types: pa.Schema | None) -> None:
        try:
            array = self._of_stream(data) if answered.form == "arrow" else self._of_records(data, types)
            if len(array) != answered.count:
                raise DataError(f"{len(array):,} rows instead of {answered.count:,}")
        except (DataError, *UNREADABLE):
            unread = pa.array([data] + [None] * (answered.count - 1), pa.binary())
            array = pa.StructArray.from_arrays([unread], [UNREAD])
        self._arrays.append(array)

    def joined(self) -> pa.ChunkedArray:
        """Return all rows as one column of structs, which have the fields of all rows."""
        self._add_waiting()
        return merged([pa.table({"rows": each}) for each in self._arrays], ["rows"]).column("rows")

    def _of_requests(self, waiting: Sequence[tuple[Answered, bytes]], types: pa.Schema | None) -> pa.Array:
        """Return the rows of several requests as one array, if all rows have the same fields.

        Raises:
            DataError: the rows have different fields, are too few or too many, or would take too much memory.
            ArrowException, ValueError, TypeError, OverflowError, msgspec.DecodeError: some rows can't be read.
        """
        rows: list[dict[str, Any]] = []
        for answered, data in waiting:
            rows += (more := _decode_records(data))
            if len(more) != answered.count:
                raise DataError(f"{len(more):,} rows instead of {answered.count:,}")
        names = rows[0].keys() if rows else ()
        if not names or any(row.keys() != names for row in rows):
            raise DataError("the rows have different fields")
        kinds = _kinds(types, rows)
        values = {name: [row.get(name) for row in rows] for name in dict.fromkeys([*kinds, *names])}
        free = [name for name in names if name not in kinds]
        if any(_is_deep(value) for name in free for value in values[name]):
            raise DataError("each record may have fields of its own")
        self._take_fields(dict.fromkeys(free, 8.0))
        return _structs(pa.table({name: column_of(each, kinds.get(name)) for name, each in values.items()}))

    def _of_stream(self, data: bytes) -> pa.Array:
        table = table_in(data, self._most_bytes - self._unpacked)
        self._take_fields({path: width for field in table.schema for path, width in _widths(field)})
        self._unpacked += table.nbytes
        return _structs(table)

    def _of_records(self, data: bytes, types: pa.Schema | None) -> pa.Array:
        rows = _decode_records(data)
        kinds = _kinds(types, rows)
        names = dict.fromkeys([*kinds, *(name for row in rows for name in row)])
        self._take_fields({name: 8.0 for name in names if name not in kinds})
        if not names:
            return pa.array([{}] * len(rows), pa.struct([]))
        return _structs(pa.table({name: _column([row.get(name) for row in rows], kinds.get(name)) for name in names}))

    def _take_fields(self, widths: Mapping[str, float]) -> None:
        """Record the fields of a request. `widths` says how many bytes a row takes for each field, even a row without
        the field.

        Raises:
            DataError: with these fields, all rows together would take too much memory.
        """
        if widths.items() <= self._widths.items():
            return
        both = {**self._widths, **widths}
        if sum(both.values()) * self._count + _ARRAY_BYTES * len(both) * self._requests > self._most_bytes:
            raise DataError(f"{len(both):,} fields for {self._count:,} rows")
        self._widths = both


def _widths(field: pa.Field, path: str = "") -> Iterator[tuple[str, float]]:
    """Yield the paths of a field and of all fields inside it, each with the number of bytes that a null takes in this
    field.

    Raises:
        DataError: a struct has two fields of one name.
    """
    kind, path = field.type, f"{path}/{field.name}"
    if pa.types.is_struct(kind):
        if len({each.name for each in kind}) < kind.num_fields:
            raise DataError(f"two fields of `{path}` have the same name")
        for each in kind:
            yield from _widths(each, path)
    elif pa.types.is_fixed_size_list(kind):
        yield path, kind.list_size * sum(width for _, width in _widths(kind.value_field, path))
    elif pa.types.is_null(kind):
        yield path, 0.0
    elif pa.types.is_primitive(kind) or pa.types.is_decimal(kind) or pa.types.is_fixed_size_binary(kind):
        yield path, kind.bit_width / 8
    else:
        yield path, 16.0


def _kinds(types: pa.Schema | None, rows: Sequence[Mapping[str, Any]]) -> dict[str, pa.DataType]:
    """Return the types of those fields that a row has: columns that were dropped are in no row. Columns that were
    hashed are texts, whatever their type was."""
    found = {}
    for field in types or ():
        name = field.name
        if any(name in row for row in rows):
            first = next((row[name] for row in rows if row.get(name) is not None), None)
            found[name] = pa.string() if is_hashed(first) else field.type
    return found


def _column(values: Sequence[Any], kind: pa.DataType | None) -> pa.Array:
    """Return values as a column of the type `kind`, or of a type that fits them if `kind` is None. If a value doesn't
    fit (rows that were refused are logged too), the column has all values as JSON text, so that the predictions can be
    sealed in any case."""
    try:
        if kind is None and any(map(_is_deep, values)):
            raise TypeError("each record may have fields of its own")
        return column_of(values, kind)
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        return pa.array(
            [None if value is None else msgspec.json.encode(value).decode() for value in values], pa.string()
        )


def _is_deep(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(isinstance(each, dict | list) for each in value))


def _structs(table: pa.Table) -> pa.Array:
    if len(set(table.column_names)) < table.num_columns:
        raise DataError("two columns have the same name")
    if UNREAD in table.column_names:
        raise DataError(f"a column can't have the name `{UNREAD}`: it is reserved for rows that can't be read")
    if not table.num_columns or not table.num_rows:
        return pa.array([{}] * table.num_rows, pa.struct([]))
    return table.combine_chunks().to_struct_array().combine_chunks()
