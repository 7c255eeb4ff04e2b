"""`ingest.feedback`: the stage that records the true outcomes of predictions."""

from __future__ import annotations

import time as clock
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from headrace.define.attempt import attempt
from headrace.define.ports import current
from headrace.define.stage import ready
from headrace.errors import DataError, UsageError, listed, near
from headrace.models.labels import key_texts, moments, table_by_key, table_of, texts_of
from headrace.models.types import FAMILIES, plain_type, tells_time, tells_whom
from headrace.spec.duration import seconds
from headrace.spec.endpoint import MOST_LABEL_CHARACTERS, PREDICTION_ID, SOURCE, sole
from headrace.spec.intent import Tell, is_name
from headrace.spec.noun import Noun

SHOWN = 3
_HINT = "a label is a number, a text or a boolean"


class Recorded(Noun, frozen=True):
    """The result of `ingest.feedback`: the endpoint, the source of the labels, and the number of recorded labels.
    `without_label` is the number of rows that were left out because they have no label."""

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
    if not {"id", "key", "time", "within"} <= given.keys():  # a task makes one of them
        return
    identity, key, time, within = (given[name] for name in ("id", "key", "time", "within"))
    if (key is None) != (time is None) or (key is not None and identity is not None):
        raise UsageError(
            "`ingest.feedback` needs to know which predictions the labels are about",
            hint="give `id=`, the column with the ids of the predictions; or `key=` and `time=`, without `id=`",
        )
    if within is not None and key is None:
        raise UsageError("`within` needs `key` and `time`", hint="give `key=` and `time=` too, or leave `within` out")
    if within is not None:
        seconds(within, name="within")


@ready("ingest.feedback", version=1, on=("pyarrow",), kind="ingest", cache=False, portable=True, check=_check)
def feedback(
    table: pa.Table,
    endpoint: str,
    *,
    id: str | None = None,
    key: str | None = None,
    time: str | None = None,
    within: str | float | None = None,
    label: str = "label",
    source: str = SOURCE,
) -> Recorded:
    """Record the labels of an endpoint's predictions. A label says what really came of a prediction.

    Each row of the table is a label, and says which prediction the label belongs to. Either the column `id` has the id
    of the prediction, or the columns `key` and `time` say whom and when the label is about.

    All labels are kept. If a prediction has several labels, the one that was recorded last is used, so a label may be
    repeated or corrected later. The labels are recorded in the transaction that records the task's success, so they are
    recorded only once, even if the task needs several attempts. Rows without a label are left out. Outside of a run,
    nothing is recorded.

    Args:
        table: the labels, one in each row.
        endpoint: the endpoint that made the predictions.
        id: the column with the ids of the predictions, as the endpoint returned them. None: the column `id`, if `key`
            isn't given.
        key: the column that says whom a label is about, if the ids aren't known. The endpoint must have a key too.
        time: the column with the date or time that a label is about. Texts of dates or times are accepted. A time
            without a zone is in UTC. Without `within`, the label belongs to the prediction with the same key and the
            same time. With `within`, the label belongs to the latest prediction with the same key that isn't later than
            the label's time. If several predictions have the same key and time, the label belongs to the one whose
            request came last.
        within: how much earlier than the label's time the prediction's time may be, such as `"2d"`. None: the times
            must be equal.
        label: the column with the labels: numbers, texts or booleans.
        source: where the labels come from. `headrace withdraw` can withdraw all labels of a source.

    Raises:
        UsageError: the name of the endpoint or of the source isn't allowed, the table lacks a column, or the arguments
            don't say which predictions the labels are about.
        DataError: a value of `id` isn't an id of a prediction, a value of `key` or `time` is missing or can't be read,
            or a label isn't a finite number, a boolean or a text of at most 1,000 characters.
    """
    _check({"endpoint": endpoint, "source": source, "id": id, "key": key, "time": time, "within": within})
    at = clock.time()
    labels = _labels(_column(table, label), label)
    has_label = pc.is_valid(labels)
    rows, texts = table.filter(has_label), texts_of(labels.filter(has_label))
    if key is not None and time is not None:
        keys = _told(rows, key, tells_whom, key_texts, "texts, numbers, dates or booleans")
        times = _told(rows, time, tells_time, moments, "dates or times")
        within_s = 0.0 if within is None else seconds(within, name="within")
        recorded = table_by_key(keys, times, texts, within_s=within_s, source=source, at=at)
    else:
        recorded = table_of(_ids(rows, "id" if id is None else id), texts, source=source, at=at)
    if current() is not None and len(texts):
        here = attempt()
        here.intend(Tell(endpoint, here.artifact(recorded), len(texts), at))
    return Recorded(endpoint=endpoint, source=source, labels=len(texts), without_label=table.num_rows - len(texts))


def _column(table: pa.Table, name: str) -> pa.ChunkedArray:
    if name not in table.column_names:
        raise UsageError(f"the table has no column `{name}`", hint=near(name, table.column_names, "its columns are"))
    return table.column(name)


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


def _ids(table: pa.Table, name: str) -> pa.ChunkedArray:
    """Return the column with the ids of predictions."""
    column = _column(table, name)
    kind = plain_type(column.type)
    if not FAMILIES["text"](kind) and not pa.types.is_null(kind):
        raise DataError(f"column `{name}` is `{column.type}`", hint="ids of predictions are texts")
    ids = column.cast(pa.string())
    is_id = pc.fill_null(pc.match_substring_regex(ids, f"^{PREDICTION_ID}$"), False)
    _refuse(ids, pc.invert(is_id), name, "give the ids that the endpoint has returned")
    return ids


def _told(
    table: pa.Table,
    name: str,
    tells: Callable[[pa.DataType], bool],
    texts: Callable[[pa.ChunkedArray], pa.ChunkedArray],
    kinds: str,
) -> pa.ChunkedArray:
    """Return the column `name`, which says whom or when the labels are about, converted by `texts`. `tells` returns
    whether a type is allowed, and `kinds` are the allowed types in words."""
    column = _column(table, name)
    if not tells(column.type) and not pa.types.is_null(column.type):
        raise DataError(f"column `{name}` is `{column.type}`", hint=f"it must have {kinds}")
    found = texts(column)
    _refuse(column, pc.is_null(found), name, f"each label needs one of {kinds}")
    return found


def _refuse(column: pa.ChunkedArray, is_wrong: pa.ChunkedArray, name: str, hint: str) -> None:
    wrong = column.filter(is_wrong)
    if len(wrong):
        shown = listed([f"{value!r:.60}" for value in wrong.slice(0, SHOWN).to_pylist()], SHOWN)
        raise DataError(f"{len(wrong):,} values of `{name}` can't be used, such as {shown}", hint=hint)
