"""Each prediction has at most one label: the last one that was recorded and isn't withdrawn."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.models.labels import LABELS, Tally, in_order, joined, table_of, tallies, text_of, texts_of

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
        ([True, 1], pa.string(), ["true", "1"]),
    ],
    ids=str,
)
def test_labels_of_one_type_are_a_column_of_this_type(labels: list[Any], kind: pa.DataType, values: list[Any]) -> None:
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
