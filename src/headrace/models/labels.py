"""Labels: what really came of predictions, as tables; and which label each prediction has.

Everything here is a pure function of tables. Labels are kept as they were recorded. A label that comes later for the
same prediction *supersedes* the earlier one, and labels of a source may be *withdrawn*: both still are in the tables,
but no longer count.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from headrace.spec.endpoint import LARGEST_LABEL, Label
from headrace.spec.noun import UNREADABLE

LABELS = pa.schema(
    [("id", pa.string()), ("label", pa.string()), ("source", pa.string()), ("at", pa.timestamp("us", "UTC"))]
)
"""The columns of a table of labels: the id of the prediction, the label as JSON, where the label came from, and when it
was recorded."""
JOINED = {"label": "label", "label_source": "source", "labelled_at": "at"}
"""The columns that predictions get, with the columns of labels that they are made of."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Label).decode


class Tally(NamedTuple):
    """What became of the labels of one source. Each label is counted once: it is the label of its prediction
    (`counting`); the next label of its prediction says the same (`repeated`) or something else (`corrected`); the
    endpoint has no prediction of its id (`unknown`); or it was withdrawn (`withdrawn`)."""

    counting: int = 0
    repeated: int = 0
    corrected: int = 0
    unknown: int = 0
    withdrawn: int = 0

    @property
    def recorded(self) -> int:
        """How many labels the source has sent."""
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
    """Return labels as a table. Each is given as JSON (`text_of`), with the id of its prediction. They came from one
    source at one time (Unix seconds)."""
    time = pa.scalar(round(at * 1e6), LABELS.field("at").type)
    columns = [pa.array(ids, pa.string()), pa.array(texts, pa.string())]
    return pa.table([*columns, *(pa.repeat(each, len(ids)) for each in (source, time))], schema=LABELS)


def texts_of(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return labels of one type as JSON. Nulls stay nulls."""
    distinct = column.unique().drop_null()
    return pa.array(map(text_of, distinct.to_pylist()), pa.string()).take(pc.index_in(column, value_set=distinct))


def in_order(parts: Mapping[tuple[str, int], pa.Table]) -> pa.Table:
    """Return the labels of all parts, each of a writer and a segment, in the order in which they were recorded. Labels
    with the same time are in the order of their writers, segments and rows, so the order never depends on which parts
    the ledger has first."""
    if not parts:
        return LABELS.empty_table()
    table = pa.concat_tables([parts[each] for each in sorted(parts)])
    order = pa.table({"at": table.column("at"), "place": _places(len(table))})
    return table.take(pc.sort_indices(order, [("at", "ascending"), ("place", "ascending")]))


def joined(predictions: pa.Table, labels: pa.Table, withdrawn: Mapping[str, float]) -> pa.Table:
    """Return predictions with the columns of `JOINED`: for each the label that counts, or nulls.

    That is the last of its labels, in the order of `labels`, that isn't withdrawn. `withdrawn` says of a source until
    when (Unix seconds) what it had sent was withdrawn. If all labels are numbers, or texts, or booleans, the column
    `label` has that type. Otherwise it has texts in JSON.
    """
    last = _last(labels.filter(pc.invert(_is_withdrawn(labels, withdrawn))))
    found = last.take(pc.index_in(predictions.column("id"), value_set=last.column("id").combine_chunks()))
    for name, column in JOINED.items():
        values = found.column(column)
        predictions = predictions.append_column(name, _typed(values) if name == "label" else values)
    return predictions


def tallies(ids: pa.ChunkedArray, labels: pa.Table, withdrawn: Mapping[str, float]) -> dict[str, Tally]:
    """Return, for each source, what became of its labels. `ids` are those of the endpoint's predictions; `labels` and
    `withdrawn` mean the same as for `joined`."""
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
    """Return of each value whether the next one equals it; False for the last."""
    if not len(values):
        return pa.array([], pa.bool_())
    column = values.combine_chunks()
    return pa.concat_arrays([pc.equal(column.slice(0, len(column) - 1), column.slice(1)), pa.array([False])])


def _typed(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return labels in JSON as a column of their type, or as they are if they are of several types."""
    distinct = texts.unique().drop_null()
    try:
        values: Sequence[Label] = [_decode(each) for each in distinct.to_pylist()]
    except UNREADABLE:  # an archive may bring anything
        return texts
    kind = _KINDS.get(frozenset(map(type, values)))
    if kind is None:
        return texts
    column = pa.array(map(float, values) if kind == pa.float64() else values, kind)
    return column.take(pc.index_in(texts, value_set=distinct))


_KINDS: dict[frozenset[type], pa.DataType] = {
    frozenset({bool}): pa.bool_(),
    frozenset({int}): pa.int64(),
    frozenset({float}): pa.float64(),
    frozenset({int, float}): pa.float64(),
    frozenset({str}): pa.string(),
}
