"""`ingest.feedback`: the stage that records what really came of predictions."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from headrace.define.attempt import attempt
from headrace.define.ports import current
from headrace.define.stage import ready
from headrace.errors import DataError, UsageError, listed, near
from headrace.models.labels import table_of, texts_of
from headrace.models.types import FAMILIES, plain_type
from headrace.spec.endpoint import MOST_LABEL_CHARACTERS, PREDICTION_ID, SOURCE, sole
from headrace.spec.intent import Tell, is_name
from headrace.spec.noun import Noun

SHOWN = 3
_HINT = "a label is a number, a text or a boolean"


class Recorded(Noun, frozen=True):
    """Labels that were recorded: of which endpoint, from which source, and how many. `without_label` is the number of
    rows that had no label, and were left out."""

    endpoint: str
    source: str
    labels: int
    without_label: int


def _check(given: Mapping[str, Any]) -> None:
    for what in ("endpoint", "source"):
        if isinstance(name := given.get(what), str) and not is_name(name):
            raise UsageError(f"no {what} can be called `{name:.80}`", hint="use letters, digits and `_ . / -`")
    if isinstance(endpoint := given.get("endpoint"), str):
        sole(endpoint, 1)  # it refuses names that can't be in a URL


@ready("ingest.feedback", version=1, on=("pyarrow",), kind="ingest", cache=False, portable=True, check=_check)
def feedback(table: pa.Table, endpoint: str, *, id: str = "id", label: str = "label", source: str = SOURCE) -> Recorded:
    """Record what really came of predictions of an endpoint: the column `id` has the ids of the predictions, and the
    column `label` what came of them.

    All labels are kept. The last one that was recorded for a prediction counts, so a label may come late, again, or
    corrected. The labels of a task are recorded once, together with its success, however often it is tried. Rows
    without a label are left out. Outside of a run, nothing is recorded.

    Args:
        table: the labels, one in a row.
        endpoint: the endpoint that made the predictions.
        id: the column with the ids of the predictions, as the endpoint returned them.
        label: the column with the labels: numbers, texts or booleans.
        source: where the labels come from. `headrace withdraw` can withdraw all labels of a source.

    Raises:
        UsageError: the endpoint or the source can't have this name, or the table lacks a column.
        DataError: an id isn't that of a prediction, or a label can't be one.
    """
    _check({"endpoint": endpoint, "source": source})
    for name in (id, label):
        if name not in table.column_names:
            raise UsageError(
                f"the table has no column `{name}`", hint=near(name, table.column_names, "its columns are")
            )
    labels = _labels(table.column(label), label)
    has_label = pc.is_valid(labels)
    ids = _ids(table.column(id).filter(has_label), id)
    labels = labels.filter(has_label)
    if current() is not None and len(labels):
        here, at = attempt(), time.time()
        recorded = table_of(ids, texts_of(labels), source=source, at=at)
        here.intend(Tell(endpoint, here.artifact(recorded), len(labels), at))
    return Recorded(endpoint=endpoint, source=source, labels=len(labels), without_label=table.num_rows - len(labels))


def _labels(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """Return a column of labels in a plain type, with null where there is no label."""
    kind = plain_type(column.type)
    if pa.types.is_null(kind):
        return column.cast(pa.string())
    if not any(FAMILIES[family](kind) for family in ("number", "text", "boolean")):
        raise DataError(f"column `{name}` is `{column.type}`", hint=_HINT)
    column = column.cast(pa.float64() if pa.types.is_decimal(kind) else kind)
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
        _refuse(column, pc.is_inf(column), name, "a label is a finite number")
    elif pa.types.is_string(kind):
        is_long = pc.greater(pc.utf8_length(column), MOST_LABEL_CHARACTERS)
        _refuse(column, is_long, name, f"a label has {MOST_LABEL_CHARACTERS:,} characters at most")
    return column


def _ids(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    kind = plain_type(column.type)
    if not FAMILIES["text"](kind) and not pa.types.is_null(kind):
        raise DataError(f"column `{name}` is `{column.type}`", hint="ids of predictions are texts")
    ids = column.cast(pa.string())
    is_id = pc.fill_null(pc.match_substring_regex(ids, f"^{PREDICTION_ID}$"), False)
    _refuse(ids, pc.invert(is_id), name, "give the ids that the endpoint has returned")
    return ids


def _refuse(column: pa.ChunkedArray, is_wrong: pa.ChunkedArray, name: str, hint: str) -> None:
    wrong = column.filter(is_wrong)
    if len(wrong):
        shown = listed([f"{value!r:.60}" for value in wrong.slice(0, SHOWN).to_pylist()], SHOWN)
        raise DataError(f"{len(wrong):,} values of `{name}` can't be taken, such as {shown}", hint=hint)
