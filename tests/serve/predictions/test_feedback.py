"""Labels that clients send are taken as they are, or refused with all that is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.serve.predictions.feedback import MOST_LABELS, LabelsRefused, feedback_in
from headrace.serve.records import MOST_FAULTS

ID = "0a1b2c3d4e5f-7-120-00000000000000ff"


def body(*labels: Any, **more: Any) -> bytes:
    return json.dumps({"labels": [*labels], **more}).encode()


@given(
    st.lists(st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(-1e300, 1e300) | st.text(), min_size=1)
)
def test_labels_are_taken_with_their_types(labels: list[Any]) -> None:
    found = feedback_in(body(*({"id": ID, "label": each} for each in labels)), "delays", at=5.0)
    assert [(identity, type(label), label) for identity, label in found.labels] == [
        (ID, type(each), each) for each in labels
    ]
    assert (found.endpoint, found.source, found.at) == ("delays", "feedback", 5.0)


def test_a_whole_number_of_more_than_64_bits_is_rounded() -> None:
    ((_, label),) = feedback_in(body({"id": ID, "label": 10**30}), "delays", at=5.0).labels
    assert label == 1e30
    assert isinstance(label, float)


def test_the_source_is_the_one_that_the_client_names() -> None:
    assert feedback_in(body({"id": ID, "label": 1}, source="billing/2026"), "delays", at=5.0).source == "billing/2026"


@pytest.mark.parametrize(
    ("wrong", "faults"),
    [
        (b"", [(None, None, "the body is no JSON")]),
        (b"[]", [(None, None, "the body must be an object")]),
        (b'{"labels": {}}', [(None, None, "the body must be an object")]),
        (b'{"labels": [{"id": "x", "label": NaN}]}', [(None, None, "the body is no JSON")]),
        (b'{"labels": [{"id": "x", "label": 1e999}]}', [(None, None, "the body is no JSON")]),
        (b'{"labels": [{"id": "\xff"}]}', [(None, None, "the body is no JSON")]),
        (b'{"labels": ' + b"[" * 100_000, [(None, None, "the body is no JSON")]),
        (body(), [(None, None, "there are 0 labels")]),
        (body({"id": ID, "label": 1}, more=1), [(None, None, "`more` is no field")]),
        (body({"id": ID, "label": 1}, source="a b"), [(None, "source", "it is no name")]),
        (body({"id": ID, "label": 1}, source=""), [(None, "source", "it is no name")]),
        (body({"id": ID, "label": 1}, source=None), [(None, "source", "it is no name")]),
        (body({"id": ID, "label": 1}, source="x" * 201), [(None, "source", "it is no name")]),
        (body(3), [(0, None, "it is no object")]),
        (body({"label": 1}), [(0, "id", "it is missing")]),
        (body({"id": 7, "label": 1}), [(0, "id", "it is no text")]),
        (body({"id": "mine", "label": 1}), [(0, "id", "`mine` is no id of a prediction")]),
        (body({"id": f"{ID}\n", "label": 1}), [(0, "id", "is no id of a prediction")]),
        (body({"id": ID}), [(0, "label", "it is missing")]),
        (body({"id": ID, "label": None}), [(0, "label", "it is null; a label is a number, a text")]),
        (body({"id": ID, "label": [1]}), [(0, "label", "it is a list or an object; a label is")]),
        (body({"id": ID, "label": 10**400}), [(0, "label", "too large")]),
        (body({"id": ID, "label": "x" * 1_001}), [(0, "label", "it has 1,001 characters")]),
        (body({"id": ID, "label": 1, "more": 1}), [(0, "more", "no such field")]),
        (
            body({"id": ID, "label": 1}, {"id": "x", "label": None}, {"label": 1}),
            [(1, "id", "is no id"), (1, "label", "it is null"), (2, "id", "it is missing")],
        ),
    ],
    ids=str,
)
def test_what_is_wrong_is_told(wrong: bytes, faults: list[tuple[int | None, str | None, str]]) -> None:
    with pytest.raises(LabelsRefused) as caught:
        feedback_in(wrong, "delays", at=5.0)
    found = [(each.record, each.field) for each in caught.value.faults]
    assert found == [(record, field) for record, field, _ in faults]
    for fault, (_, _, words) in zip(caught.value.faults, faults, strict=True):
        assert words in fault.what


def test_a_request_has_a_limit_and_a_refusal_too() -> None:
    label = {"id": ID, "label": 1}
    assert len(feedback_in(body(*[label] * MOST_LABELS), "delays", at=5.0).labels) == MOST_LABELS
    with pytest.raises(LabelsRefused) as caught:
        feedback_in(body(*[label] * (MOST_LABELS + 1)), "delays", at=5.0)
    assert [each.what for each in caught.value.faults] == ["there are 10,001 labels; one request may have 1 to 10,000"]
    with pytest.raises(LabelsRefused) as caught:
        feedback_in(body(*[{}] * MOST_LABELS, **{f"f{number}": 1 for number in range(10_000)}), "delays", at=5.0)
    assert len(caught.value.faults) == MOST_FAULTS
