"""Labels (the true outcomes of predictions) as tables, and functions that find the label of each prediction.

All functions are pure. Labels are stored as they were recorded. A later label for the same prediction *supersedes* the
earlier label, and the labels of a source may be *withdrawn*. Superseded and withdrawn labels stay in the tables, but
aren't used.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from headrace.models.types import plain_type, tells_time, tells_whom
from headrace.spec.endpoint import LARGEST_LABEL, SHADOW, Label, key_text, moment, number_text
from headrace.spec.noun import UNREADABLE

_TIME = pa.timestamp("us", "UTC")
LABELS = pa.schema(
    [
        ("id", pa.string()),
        ("label", pa.string()),
        ("source", pa.string()),
        ("at", _TIME),
        ("key", pa.string()),
        ("time", _TIME),
        ("within", pa.duration("us")),
    ]
)
"""The columns of a table of labels: the id of the prediction, the label as JSON, where the label came from, and when it
was recorded. If the id isn't known, it is null. In this case, `key` and `time` say whom and when the label is about,
and `within` says how much earlier the time of the prediction may be. If the id is known, `key`, `time` and `within` are
null."""
MADE = pa.schema([("id", pa.string()), ("at", _TIME), ("key", pa.string()), ("time", _TIME)])
"""The columns of a table of predictions: the id, when the prediction was asked for (`at`), and whom and when the
prediction is about (`key`, `time`)."""
JOINED = {"label": "label", "label_source": "source", "labelled_at": "at"}
"""Name of a column that `joined` adds to predictions -> name of the column of labels with its values."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Label).decode


class Tally(NamedTuple):
    """How many labels of one source are in each state. A label is in exactly one state. `counting`: it is the last
    label of its prediction. `repeated`: the next label of the same prediction has the same value. `corrected`: the next
    label of the same prediction has another value. `unknown`: the endpoint has no such prediction. `withdrawn`: the
    label was withdrawn."""

    counting: int = 0
    repeated: int = 0
    corrected: int = 0
    unknown: int = 0
    withdrawn: int = 0

    @property
    def recorded(self) -> int:
        """The number of all labels of the source."""
        return sum(self)


def text_of(label: Label) -> str:
    """Return a label as JSON. Equal numbers have equal texts. A whole number of more than 64 bits is rounded.

    >>> text_of(1.0), text_of(1), text_of(True), text_of("late")
    ('1', '1', 'true', '"late"')
    """
    if isinstance(label, float) and label.is_integer() and math.fabs(label) < 1 << 53:
        label = int(label)
    elif isinstance(label, int) and abs(label) > LARGEST_LABEL:
        label = float(label)
    return _encode(label).decode()


def table_of(ids: Sequence[str], texts: Sequence[str], *, source: str, at: float) -> pa.Table:
    """Return labels as a table with the columns `LABELS`. `texts` has the labels as JSON (see `text_of`), and `ids` has
    the ids of their predictions. All labels came from `source`, and were recorded at the time `at` (Unix seconds)."""
    return _filled({"id": ids, "label": texts}, source, at)


def table_by_key(
    keys: Sequence[str], times: Sequence[Any], texts: Sequence[str], *, within_s: float, source: str, at: float
) -> pa.Table:
    """Return labels of predictions whose ids aren't known, as a table with the columns `LABELS`. `keys` and `times` say
    whom and when each label is about, and `texts` has the labels as JSON. `within_s` is how many seconds earlier the
    time of the prediction may be. All labels came from `source`, and were recorded at the time `at` (Unix seconds)."""
    within = pa.scalar(round(within_s * 1e6), LABELS.field("within").type)
    return _filled({"key": keys, "time": times, "label": texts, "within": pa.repeat(within, len(texts))}, source, at)


def _filled(columns: dict[str, Any], source: str, at: float) -> pa.Table:
    count = len(columns["label"])
    columns |= {
        "source": pa.repeat(source, count),
        "at": pa.repeat(pa.scalar(round(at * 1e6), _TIME), count),
    }
    return pa.table([columns.get(name, pa.nulls(count, kind)) for name, kind in _types(LABELS)], schema=LABELS)


def _types(schema: pa.Schema) -> list[tuple[str, pa.DataType]]:
    return [(field.name, field.type) for field in schema]


def texts_of(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column of labels as texts in JSON. Nulls stay nulls."""
    distinct = column.unique().drop_null()
    return pa.array(map(text_of, distinct.to_pylist()), pa.string()).take(pc.index_in(column, value_set=distinct))


def in_order(parts: Mapping[tuple[str, int], pa.Table]) -> pa.Table:
    """Return the labels of all parts as one table, in the order in which the labels were recorded. The key of a part is
    its writer and its segment. Labels with the same time are in the order of writers, segments and rows, so the result
    doesn't depend on the order of the parts."""
    if not parts:
        return LABELS.empty_table()
    table = pa.concat_tables([parts[each] for each in sorted(parts)])
    order = pa.table({"at": table.column("at"), "place": _places(len(table))})
    return table.take(pc.sort_indices(order, [("at", "ascending"), ("place", "ascending")]))


def made_for(predictions: pa.Table, key: str, time: str) -> pa.Table:
    """Return a table with the columns `MADE`, which says whom and when each prediction is about. `key` and `time` are
    the names of the columns that say so in the row of a prediction. Predictions whose rows lack these values are left
    out, and so are the predictions of a shadow, because they are never returned to a client."""
    predictions = predictions.filter(pc.not_equal(predictions.column("variant"), SHADOW))
    rows = predictions.column("input")
    columns = [predictions.column("id"), predictions.column("at"), key_texts(_field(rows, key))]
    table = pa.table([*columns, moments(_field(rows, time))], schema=MADE)
    return table.filter(pc.and_(pc.is_valid(table.column("key")), pc.is_valid(table.column("time"))))


def resolved(labels: pa.Table, made: pa.Table) -> pa.Table:
    """Return the labels with the ids of their predictions.

    A label with an id keeps it. A label with a `key` and a `time` belongs to a prediction with the same key, and its id
    is null if there is no such prediction. The prediction's time may not be after the label's time, and may be at most
    `within` before it. Of several such predictions, the one with the latest time is chosen. Of several with this time,
    the one that was asked for last is chosen. If no prediction has the key of a label, and the key writes a number with
    a decimal point, such as `17.00`, the number counts: `17`.
    """
    labels = _with_numbers(labels, made)
    is_named = pc.is_valid(labels.column("key"))
    named = labels.filter(is_named)
    made = made.filter(pc.is_in(made.column("key"), value_set=named.column("key").combine_chunks()))
    made = made.sort_by([("time", "ascending"), ("at", "ascending"), ("id", "ascending")])
    times, ids = defaultdict[str, list[int]](list), defaultdict[str, list[str]](list)
    for key, time, identity in zip(*_values(made, "key", "time", "id"), strict=True):
        times[key].append(time)
        ids[key].append(identity)
    found: list[str | None] = []
    for key, time, within in zip(*_values(named, "key", "time", "within"), strict=True):
        place = bisect_right(times.get(key, ()), time) - 1
        found.append(ids[key][place] if place >= 0 and time - times[key][place] <= within else None)
    column = pc.replace_with_mask(labels.column("id"), is_named.combine_chunks(), pa.array(found, pa.string()))
    return labels.set_column(0, LABELS.field("id"), column)


def _with_numbers(labels: pa.Table, made: pa.Table) -> pa.Table:
    """Return labels in which keys that no prediction has, and that write numbers with a decimal point, are the keys of
    these numbers."""
    known, keys = made.column("key").unique(), labels.column("key")
    distinct = keys.unique().drop_null()
    changed = pc.if_else(pc.is_in(distinct, value_set=known), distinct, pa.array(map(_number, distinct), pa.string()))
    return labels.set_column(
        labels.column_names.index("key"), LABELS.field("key"), changed.take(pc.index_in(keys, value_set=distinct))
    )


def _number(key: pa.Scalar) -> str:
    return number_text(key.as_py())


def key_texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column that says whom rows are about, as texts (see `spec.endpoint.key_text`). A value that can't be
    converted becomes null."""
    return _each(column, key_text, pa.string()) if tells_whom(column.type) else pa.nulls(len(column), pa.string())


def moments(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column with the times that rows are about, as times in UTC (see `spec.endpoint.moment`). A value that
    can't be converted becomes null."""
    return _each(column, moment, _TIME) if tells_time(column.type) else pa.nulls(len(column), _TIME)


def _each(column: pa.ChunkedArray, make: Callable[[Any], Any], kind: pa.DataType) -> pa.ChunkedArray:
    """Return the values converted by `make`, as a column of the type `kind`. A value that `make` can't convert becomes
    null."""
    plain = plain_type(column.type)
    if pa.types.is_timestamp(plain):
        plain = pa.timestamp("us", plain.tz)  # Python's times are no finer
    column = column.cast(plain, safe=False)
    distinct = column.unique().drop_null()
    values = []
    for each in distinct:
        try:
            values.append(make(each.as_py()))
        except (ValueError, ArithmeticError):  # no time, or one that Python doesn't have
            values.append(None)
    return pa.array(values, kind).take(pc.index_in(column, value_set=distinct))


def _field(rows: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    place = rows.type.get_field_index(name) if pa.types.is_struct(rows.type) else -1
    return pa.chunked_array([pa.nulls(len(rows))]) if place < 0 else pc.struct_field(rows, [place])


def _values(table: pa.Table, *names: str) -> list[list[Any]]:
    """Return columns as lists. Times and durations become whole numbers of microseconds."""
    columns = [table.column(name) for name in names]
    return [(each if pa.types.is_string(each.type) else each.cast(pa.int64())).to_pylist() for each in columns]


def joined(predictions: pa.Table, labels: pa.Table, withdrawn: Mapping[str, float]) -> pa.Table:
    """Return predictions with three more columns (`JOINED`): the label of each prediction, its source and its time.
    They are null for a prediction without a label.

    If a prediction has several labels, the last one in `labels` that isn't withdrawn is used. `withdrawn` has a time
    (Unix seconds) for some sources: all labels of the source up to this time are withdrawn.

    If all labels are booleans, all numbers or all texts, the column `label` has that type. If some are booleans and
    some numbers, it has numbers: 1 is true, and 0 is false. If some are texts and some aren't, it has texts in JSON.
    """
    last = _last(labels.filter(pc.invert(_is_withdrawn(labels, withdrawn))))
    found = last.take(pc.index_in(predictions.column("id"), value_set=last.column("id").combine_chunks()))
    for name, column in JOINED.items():
        values = found.column(column)
        predictions = predictions.append_column(name, _typed(values) if name == "label" else values)
    return predictions


def tallies(ids: pa.ChunkedArray, labels: pa.Table, withdrawn: Mapping[str, float]) -> dict[str, Tally]:
    """Return, for each source, how many of its labels are in each state. `ids` are the ids of the endpoint's
    predictions; `labels` and `withdrawn` mean the same as for `joined`."""
    is_withdrawn = _is_withdrawn(labels, withdrawn)
    states = {"withdrawn": labels.filter(is_withdrawn)}
    standing = labels.filter(pc.invert(is_withdrawn))
    is_known = pc.is_in(standing.column("id"), value_set=ids.combine_chunks())
    states["unknown"] = standing.filter(pc.invert(is_known))
    known = standing.filter(is_known).append_column("place", _places(pc.sum(is_known).as_py() or 0))
    known = known.sort_by([("id", "ascending"), ("place", "ascending")])
    has_next, says_same = _same_as_next(known.column("id")), _same_as_next(known.column("label"))
    states["counting"] = known.filter(pc.invert(has_next))
    states["repeated"] = known.filter(pc.and_(has_next, says_same))
    states["corrected"] = known.filter(pc.and_(has_next, pc.invert(says_same)))
    found: dict[str, dict[str, int]] = {source: {} for source in sorted(labels.column("source").unique().to_pylist())}
    for state, table in states.items():
        for each in table.column("source").value_counts().to_pylist():
            found[each["values"]][state] = each["counts"]
    return {source: Tally(**counts) for source, counts in found.items()}


def _is_withdrawn(labels: pa.Table, withdrawn: Mapping[str, float]) -> pa.ChunkedArray:
    found: pa.ChunkedArray = pa.chunked_array([pa.array([False] * len(labels), pa.bool_())])
    for source, until in withdrawn.items():
        is_before = pc.less_equal(labels.column("at"), pa.scalar(round(until * 1e6), LABELS.field("at").type))
        found = pc.or_(found, pc.and_(pc.equal(labels.column("source"), source), is_before))
    return found


def _last(labels: pa.Table) -> pa.Table:
    """Return the last label of each prediction."""
    numbered = labels.append_column("place", _places(len(labels)))
    return labels.take(numbered.group_by("id").aggregate([("place", "max")]).column("place_max"))


def _places(count: int) -> pa.Array:
    return pa.array(range(count), pa.int64())


def _same_as_next(values: pa.ChunkedArray) -> pa.Array:
    """Return, for each value, whether the next value equals it; False for the last value."""
    if not len(values):
        return pa.array([], pa.bool_())
    column = values.combine_chunks()
    return pa.concat_arrays([pc.equal(column.slice(0, len(column) - 1), column.slice(1)), pa.array([False])])


def _typed(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return labels in JSON as a column of the type that holds all of them (see `joined`)."""
    distinct = texts.unique().drop_null()
    try:
        values: Sequence[Label] = [_decode(each) for each in distinct.to_pylist()]
    except UNREADABLE:  # an archive may bring anything
        return texts
    kind = _KINDS.get(frozenset(map(type, values)))
    if kind is None:
        return texts
    number = _NUMBERS.get(kind)
    column = pa.array(map(number, values) if number else values, kind)
    return column.take(pc.index_in(texts, value_set=distinct))


_KINDS: dict[frozenset[type], pa.DataType] = {
    frozenset({bool}): pa.bool_(),
    frozenset({str}): pa.string(),
    **{frozenset({int, *others}): pa.int64() for others in ([], [bool])},
    **{frozenset({float, *others}): pa.float64() for others in ([], [int], [bool], [int, bool])},
}
"""The types of labels -> the type of their column. Other labels are texts and something else: their column has texts in
JSON, in which the text "1" and the number 1 differ."""
_NUMBERS: dict[pa.DataType, type[int | float]] = {pa.int64(): int, pa.float64(): float}
