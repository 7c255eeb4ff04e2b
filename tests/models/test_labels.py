"""Each prediction has at most one label: the last one that was recorded and isn't withdrawn."""

from __future__ import annotations

import json
import random
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.models.labels import (
    LABELS,
    MADE,
    Tally,
    in_order,
    joined,
    key_texts,
    made_for,
    moments,
    resolved,
    table_by_key,
    table_of,
    tallies,
    text_of,
    texts_of,
)

IDS = ["a", "b", "c", "d"]
SOURCES = ["billing", "people", "x"]


class Row(NamedTuple):
    """A label as the slow model has it."""

    writer: str
    segment: int
    at: int
    source: str
    id: str
    label: Any


ROWS = st.lists(
    st.builds(
        Row,
        writer=st.sampled_from(["w1", "w2"]),
        segment=st.integers(1, 2),
        at=st.integers(0, 5),
        source=st.sampled_from(SOURCES),
        id=st.sampled_from([*IDS, "unknown", "nobody"]),
        label=st.sampled_from([0, 1, 1.0, 2.5]),
    ),
    max_size=12,
)
WITHDRAWN = st.dictionaries(st.sampled_from([*SOURCES, "other"]), st.integers(-1, 6).map(float), max_size=3)


def parts(rows: list[Row]) -> dict[tuple[str, int], pa.Table]:
    """Return rows as the tables of segments, in any order."""
    found: dict[tuple[str, int], list[pa.Table]] = {}
    for row in rows:
        table = table_of([row.id], [text_of(row.label)], source=row.source, at=row.at)
        found.setdefault((row.writer, row.segment), []).append(table)
    order = sorted(found)
    random.Random(len(rows)).shuffle(order)
    return {key: pa.concat_tables(found[key]) for key in order}


def slow(rows: list[Row], withdrawn: dict[str, float]) -> tuple[dict[str, Row], dict[str, dict[str, int]]]:
    """Return the label of each known prediction, and what became of the labels of each source."""
    sources = {row.source: dict.fromkeys(Tally._fields, 0) for row in rows}
    ordered = sorted(enumerate(rows), key=lambda each: (each[1].at, each[1].writer, each[1].segment, each[0]))
    labels: dict[str, Row] = {}
    for _, row in ordered:
        state = sources[row.source]
        if row.at <= withdrawn.get(row.source, -1e9):
            state["withdrawn"] += 1
        elif row.id not in IDS:
            state["unknown"] += 1
        else:
            if (before := labels.get(row.id)) is not None:
                sources[before.source]["counting"] -= 1
                sources[before.source]["repeated" if before.label == row.label else "corrected"] += 1
            state["counting"] += 1
            labels[row.id] = row
    return labels, sources


@given(ROWS, WITHDRAWN)
def test_each_prediction_has_the_last_of_its_labels_that_is_not_withdrawn(
    rows: list[Row], withdrawn: dict[str, float]
) -> None:
    predictions = pa.table({"id": IDS})
    table = in_order(parts(rows))
    expected, states = slow(rows, withdrawn)
    found = joined(predictions, table, withdrawn).to_pylist()
    for each in found:
        row = expected.get(each["id"])
        if row is None:
            assert (each["label"], each["label_source"], each["labelled_at"]) == (None, None, None)
        else:
            at = datetime.fromtimestamp(row.at, UTC)
            assert (each["label"], each["label_source"], each["labelled_at"]) == (row.label, row.source, at)
    assert [each["id"] for each in found] == IDS
    ids = pa.chunked_array([IDS, IDS[:2]])  # an id may be there twice
    tallied = tallies(ids, table, withdrawn)
    assert {source: tally._asdict() for source, tally in tallied.items()} == states
    assert sum(tally.recorded for tally in tallied.values()) == len(rows)


@given(ROWS, WITHDRAWN, st.integers(0, 12))
def test_a_label_that_is_sent_again_changes_no_label(rows: list[Row], withdrawn: dict[str, float], which: int) -> None:
    predictions = pa.table({"id": IDS})
    ordered = [row._replace(at=number, writer="w1", segment=1) for number, row in enumerate(rows)]
    again = [*ordered[: which + 1], *ordered[which : which + 1], *ordered[which + 1 :]]
    once, twice = (joined(predictions, in_order(parts(each)), withdrawn) for each in (ordered, again))
    assert once.equals(twice)


@pytest.mark.parametrize(
    ("labels", "kind", "values"),
    [
        ([1, 2], pa.int64(), [1, 2]),
        ([1.0, 2.0], pa.int64(), [1, 2]),
        ([1, 2.5], pa.float64(), [1.0, 2.5]),
        ([2**64, 1], pa.float64(), [2.0**64, 1.0]),
        ([2**60 + 1, 0.5], pa.float64(), [float(2**60), 0.5]),
        ([True, False], pa.bool_(), [True, False]),
        (["late", "1"], pa.string(), ["late", "1"]),
        (["late", 1], pa.string(), ['"late"', "1"]),
        (["1", 1], pa.string(), ['"1"', "1"]),
        (["late", True], pa.string(), ['"late"', "true"]),
        ([True, 0], pa.int64(), [1, 0]),
        ([True, 2.5], pa.float64(), [1.0, 2.5]),
        ([False, 2**64], pa.float64(), [0.0, 2.0**64]),
    ],
    ids=str,
)
def test_the_column_of_labels_has_the_type_that_holds_all_of_them(
    labels: list[Any], kind: pa.DataType, values: list[Any]
) -> None:
    table = table_of(IDS[:2], [text_of(each) for each in labels], source="x", at=1.0)
    column = joined(pa.table({"id": [*IDS[:2], "more"]}), table, {}).column("label")
    assert column.type == kind
    assert column.to_pylist() == [*values, None]


def test_predictions_without_any_label_have_the_columns_too() -> None:
    found = joined(pa.table({"id": IDS}), LABELS.empty_table(), {})
    assert found.column("label").to_pylist() == [None] * 4
    empty = joined(pa.table({"id": pa.array([], pa.string())}), table_of(["a"], ["1"], source="x", at=1.0), {})
    assert empty.column_names == ["id", "label", "label_source", "labelled_at"]
    assert tallies(pa.chunked_array([], pa.string()), LABELS.empty_table(), {}) == {}


def test_a_text_that_is_no_label_spoils_no_other() -> None:
    """An archive may bring anything."""
    table = table_of(["a", "b"], ["1", "[broken"], source="x", at=1.0)
    assert joined(pa.table({"id": IDS}), table, {}).column("label").to_pylist() == ["1", "[broken", None, None]


@given(st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), max_size=6))
def test_columns_of_labels_are_written_as_single_ones(values: list[float | None]) -> None:
    texts = texts_of(pa.chunked_array([values], pa.float64())).to_pylist()
    assert [None if each is None else json.loads(each) for each in texts] == values


KEYS = ["a", "b", "c"]
TIMES = st.integers(0, 6)
PREDICTIONS = st.lists(st.tuples(st.sampled_from(KEYS), TIMES, st.integers(0, 3)), max_size=8)
NAMED = st.lists(st.tuples(st.sampled_from([*KEYS, "d"]), TIMES, st.sampled_from([0, 1, 3])), max_size=6)


def test_a_label_whose_key_is_a_decimal_as_text_belongs_to_the_prediction_of_this_number() -> None:
    times = pa.array([1, 1, 1], pa.int64()).cast(MADE.field("time").type)
    made = pa.table([["p17", "p8", "p8.0"], times, ["17", "8", "8.0"], times], schema=MADE)
    labels = table_by_key(["17.00", "8.0", "9.00"], times, ["1"] * 3, within_s=0, source="x", at=1.0)
    assert resolved(labels, made).column("id").to_pylist() == ["p17", "p8.0", None]


@given(PREDICTIONS, NAMED, st.lists(st.sampled_from(IDS), max_size=3))
def test_a_label_by_key_belongs_to_the_latest_prediction_that_is_not_after_it_and_near_enough(
    predictions: list[tuple[str, int, int]], named: list[tuple[str, int, int]], by_id: list[str]
) -> None:
    made = pa.table(
        [
            pa.array([f"p{number}" for number in range(len(predictions))], pa.string()),
            pa.array([at for _, _, at in predictions], pa.int64()),
            pa.array([key for key, _, _ in predictions], pa.string()),
            pa.array([time for _, time, _ in predictions], pa.int64()),
        ],
        MADE.names,
    ).cast(MADE)
    tables = [table_of(by_id, ["1"] * len(by_id), source="x", at=1.0)]
    for key, time, within in named:
        times = pa.array([time], pa.int64()).cast(MADE.field("time").type)
        tables.append(table_by_key([key], times, ["1"], within_s=within / 1e6, source="x", at=1.0))
    expected: list[str | None] = [*by_id]
    for key, time, within in named:
        near = [
            (its, at, f"p{number}")
            for number, (whom, its, at) in enumerate(predictions)
            if whom == key and its <= time <= its + within
        ]
        expected.append(max(near)[2] if near else None)
    assert resolved(pa.concat_tables(tables), made).column("id").to_pylist() == expected


@pytest.mark.parametrize(
    ("column", "texts"),
    [
        (pa.array([17, None]), ["17", None]),
        (pa.array([17.0, 0.5, 1e-7, float("inf")]), ["17", "0.5", "0.0000001", "inf"]),
        (pa.array([Decimal(17), Decimal("17.5"), Decimal("-0.05")], pa.decimal128(9, 2)), ["17", "17.5", "-0.05"]),
        (pa.array(["a", "b"]).dictionary_encode(), ["a", "b"]),
        (pa.array([date(2026, 1, 31)]), ["2026-01-31"]),
        (pa.array([True]), ["True"]),
        (pa.array([[1]]), [None]),
    ],
    ids=str,
)
def test_a_key_is_a_text(column: pa.Array, texts: list[str | None]) -> None:
    assert key_texts(pa.chunked_array([column])).to_pylist() == texts


NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("column", "times"),
    [
        (pa.array(["2026-01-31T12:00:00", "2026-01-31T13:00:00+01:00", "soon", None]), [NOON, NOON, None, None]),
        (pa.array([date(2026, 1, 31)]), [NOON.replace(hour=0)]),
        (pa.array([NOON.replace(tzinfo=None)], pa.timestamp("ns")), [NOON]),
        (pa.array([NOON], pa.timestamp("s", "Europe/Paris")), [NOON]),
        (pa.array([1 << 62]).cast(pa.timestamp("us")), [None]),
        (pa.array([1]), [None]),
    ],
    ids=str,
)
def test_a_time_is_in_utc(column: pa.Array, times: list[datetime | None]) -> None:
    assert moments(pa.chunked_array([column])).to_pylist() == times


def test_rows_that_do_not_say_whom_they_are_about_get_no_label_by_key() -> None:
    rows = pa.array([{"who": "a", "day": "2026-01-31"}, {"who": None, "day": "2026-01-31"}, None, {"who": "a"}])
    columns = {"id": IDS, "at": pa.array([NOON] * 4, pa.timestamp("us", "UTC")), "variant": ["production"] * 4}
    table = pa.table({**columns, "input": rows})
    assert made_for(table, "who", "day").column("id").to_pylist() == ["a"]
    assert made_for(table, "day", "more").num_rows == 0
    assert made_for(pa.table({**columns, "input": ["text"] * 4}), "who", "day").num_rows == 0
