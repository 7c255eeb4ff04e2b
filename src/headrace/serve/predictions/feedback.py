"""Feedback: labels that clients send. They say what really came of predictions."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from headrace.errors import UsageError
from headrace.serve.records import MOST_FAULTS, SHOWN, Fault
from headrace.spec.endpoint import LARGEST_LABEL, MOST_LABEL_CHARACTERS, PREDICTION_ID, SOURCE, Label
from headrace.spec.intent import NAME, is_name
from headrace.spec.noun import UNREADABLE, Noun

MOST_LABELS = 10_000
"""How many labels a request may have."""


class Feedback(Noun, frozen=True):
    """The labels of one request, as they are logged, each with the id of its prediction. They came from `source`, at
    the time `at` in Unix seconds."""

    endpoint: str
    source: str
    at: float
    labels: tuple[tuple[str, Label], ...]


class LabelsRefused(UsageError):
    """Labels are refused. `faults` lists what is wrong, at most `MOST_FAULTS` entries."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__(
            "the labels can't be recorded", hint="correct the labels that `faults` names, and send all labels again"
        )
        self.faults = tuple(faults)


_Label = bool | int | float | Annotated[str, Meta(max_length=MOST_LABEL_CHARACTERS)]


class Entry(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A label in the body of a request."""

    id: Annotated[str, Meta(pattern=f"^{PREDICTION_ID}$", description="The id of the prediction.")]
    label: _Label


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a request."""

    labels: Annotated[list[Entry], Meta(min_length=1, max_length=MOST_LABELS)]
    source: Annotated[str, Meta(pattern=f"^{NAME}$", description="Where the labels come from.")] = SOURCE


_decode = msgspec.json.Decoder(Body).decode
_is_id = re.compile(PREDICTION_ID).fullmatch


def feedback_in(body: bytes, endpoint: str, *, at: float) -> Feedback:
    """Return the labels of a request's body: `{"labels": [{"id": ..., "label": ...}], "source": ...}`.

    This doesn't check whether the endpoint has predictions with these ids. That is checked when labels are joined with
    predictions.

    Raises:
        LabelsRefused: the body has another form, or an id can't be that of a prediction.
    """
    try:
        found = _decode(body)
    except UNREADABLE as error:
        raise LabelsRefused(list(_faults(body)) or [Fault(what=str(error))]) from None
    if not is_name(found.source) or not all(_is_id(each.id) for each in found.labels):
        raise LabelsRefused(list(_faults(body)))
    try:
        labels = tuple([(each.id, _kept(each.label)) for each in found.labels])
    except OverflowError:
        raise LabelsRefused(list(_faults(body))) from None
    return Feedback(endpoint=endpoint, source=found.source, at=at, labels=labels)


def _kept(label: Label) -> Label:
    """Return a label as it is stored. A whole number that is too large for 64 bits becomes a float, and so is rounded.

    Raises:
        OverflowError: the number is too large for a float.
    """
    return float(label) if isinstance(label, int) and abs(label) > LARGEST_LABEL else label


def _faults(body: bytes) -> Iterator[Fault]:
    """Yield what is wrong with a body that was refused, at most `MOST_FAULTS` faults."""
    try:
        found = msgspec.json.decode(body)
    except UNREADABLE as error:
        yield Fault(what=f"the body is no JSON: {error}")
        return
    if not isinstance(found, dict) or not isinstance(found.get("labels"), list):
        yield Fault(what='the body must be an object with a list of objects: {"labels": [{"id": ..., "label": ...}]}')
        return
    every = [*_faults_of_body(found)]
    for number, entry in enumerate(found["labels"][:MOST_LABELS]):
        if len(every) >= MOST_FAULTS:
            break
        every += _faults_of(number, entry)
    yield from every[:MOST_FAULTS]


def _faults_of_body(found: dict[str, Any]) -> Iterator[Fault]:
    for name in list(found)[:MOST_FAULTS]:
        if name not in ("labels", "source"):
            yield Fault(what=f"`{name:.{SHOWN}}` is no field of the body")
    source = found.get("source", SOURCE)
    if not isinstance(source, str) or not is_name(source):
        yield Fault(what="it is no name: use letters, digits and `_ . / -`, 200 at most", field="source")
    if not 0 < len(found["labels"]) <= MOST_LABELS:
        yield Fault(what=f"there are {len(found['labels']):,} labels; one request may have 1 to {MOST_LABELS:,}")


def _faults_of(number: int, entry: Any) -> Iterator[Fault]:
    if not isinstance(entry, dict):
        yield Fault(what="it is no object", record=number)
        return
    identity = entry.get("id")
    if not isinstance(identity, str):
        yield Fault(what="it is no text" if "id" in entry else "it is missing", record=number, field="id")
    elif not _is_id(identity):
        yield Fault(what=f"`{identity:.{SHOWN}}` is no id of a prediction", record=number, field="id")
    if "label" not in entry:
        yield Fault(what="it is missing", record=number, field="label")
    elif why := _why_no_label(entry["label"]):
        yield Fault(what=why, record=number, field="label")
    for name in list(entry)[:MOST_FAULTS]:
        if name not in ("id", "label"):
            yield Fault(what="a label has no such field", record=number, field=name[:SHOWN])


def _why_no_label(value: Any) -> str:
    """Return why a value of JSON can't be a label, or an empty text if it can."""
    match value:
        case str() if len(value) > MOST_LABEL_CHARACTERS:
            return f"it has {len(value):,} characters, and a label has {MOST_LABEL_CHARACTERS:,} at most"
        case bool() | float() | str():
            return ""
        case int():
            return "" if abs(value) < sys.float_info.max else "it is too large for a number"
        case _:
            return (
                f"it is {'null' if value is None else 'a list or an object'}; a label is a number, a text or a boolean"
            )
