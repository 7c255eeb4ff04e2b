"""The stage `evaluate.paired`: it compares two models that were judged on the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from headrace.define.stage import ready
from headrace.errors import UsageError
from headrace.models.frames import check_column
from headrace.models.scores import is_probable
from headrace.spec.report import Report
from headrace.stages.evaluate.claims import Cases, in_order, labels, sums_to_one
from headrace.stages.evaluate.columns import column
from headrace.stages.evaluate.findings import MODEL, Findings
from headrace.stages.evaluate.metrics import binary, multiclass, numeric
from headrace.stages.evaluate.metrics.binary import BinaryPart
from headrace.stages.evaluate.metrics.multiclass import ManyPart
from headrace.stages.evaluate.metrics.numeric import NumericPart
from headrace.stages.evaluate.metrics.part import Metric, Part
from headrace.stages.evaluate.options import PairedCall
from headrace.stages.evaluate.slices import codes
from headrace.stages.options import refuse, takes
from headrace.stages.tables.columns import rows_at
from headrace.watch.resamples import Resamples

FIRST = "first"
ROW, SCORE, SCORE_OF, PREDICTED = "row", "score", "score of ", "predicted"


class Paired(NamedTuple):
    """The difference between two models: the second minus the first.

    `differences` is a table with a row for each metric. Its columns are `metric`, `first`, `second`, `difference`,
    `low`, `high` and `better` (which says whether a higher or a lower value is an improvement). `report` shows the
    table.
    """

    differences: pa.Table
    report: Report


@ready(
    "evaluate.paired",
    version=8,
    on=("numpy", "pandas"),
    kind="evaluate",
    name="paired",
    check=partial(refuse, PairedCall),
)
@takes(PairedCall)
def paired(call: PairedCall) -> Paired:
    """Compare two models by their `predictions`, as `classification` or `regression` returned them.

    For each metric, both models' values come from the rows on which both were judged, and are compared row by row. So
    the interval of the difference is much narrower than the two models' own intervals suggest.

    Raises:
        UsageError: the tables have no row in common, a row's target isn't the same in both tables, a column is missing,
            or one class was judged against the rest and `positive` isn't given.
    """
    target, level = call.target, call.confidence
    one, other = _both(call.first, call.second, target)
    metrics, parts = _parts(one, other, target, call.positive, probabilities=call.probabilities)
    groups = None if call.groups is None else codes(one, call.groups)
    drawn = Resamples(one.num_rows, count=call.resamples, seed=call.seed, groups=groups)
    main = metrics[0].name
    found = Findings(metrics, main, {MODEL: parts[1], FIRST: parts[0]}, [], [], drawn, level=level, least=2, more={})
    facts = [found.catalogue.fact(f"{each.name} less {FIRST}", level) for each in metrics]
    rows = [
        {
            "metric": each.name,
            "first": parts[0].point.get(each.name),
            "second": parts[1].point.get(each.name),
            "difference": fact.value,
            "low": fact.low,
            "high": fact.high,
            "better": each.better,
        }
        for each, fact in zip(metrics, facts, strict=True)
    ]
    report = Report(
        title=f"Two models of {target}, compared",
        about=f"On the {one.num_rows:,} rows that both were judged on: the second minus the first.",
        facts=tuple(facts),
        limits=tuple(drawn.limits(call.groups)),
        confidence=level,
    )
    return Paired(pa.Table.from_pylist(rows, schema=SCHEMA), report)


SCHEMA = pa.schema(
    [
        ("metric", pa.string()),
        *[(name, pa.float64()) for name in ("first", "second", "difference", "low", "high")],
        ("better", pa.string()),
    ]
)


def _both(first: pa.Table, second: pa.Table, target: str) -> tuple[pa.Table, pa.Table]:
    """Return both tables, each with only those rows whose number (column `row`) is in both, sorted by this number."""
    for table in (first, second):
        for name in (ROW, target, PREDICTED):
            check_column(table, name)
    _, mine, theirs = np.intersect1d(column(first, ROW), column(second, ROW), return_indices=True)
    if not len(mine):
        raise UsageError("the two models were judged on no row in common", hint="judge both on one table")
    one, other = rows_at(first, mine), rows_at(second, theirs)
    if not _is_same(one[target], other[target]):
        counts = f"{first.num_rows:,} and {second.num_rows:,} rows"
        raise UsageError(
            f"the two tables ({counts}) differ in `{target}` in rows with the same number: the rows or the"
            " targets aren't the same",
            hint="judge both on one table",
        )
    return one, other


def _is_same(mine: pa.ChunkedArray, theirs: pa.ChunkedArray) -> bool:
    try:
        return bool(mine.equals(theirs.cast(mine.type)))
    except pa.ArrowException:  # the values of one table don't fit the type of the other
        return False


def _parts(
    one: pa.Table, other: pa.Table, target: str, positive: Any, *, probabilities: bool
) -> tuple[Sequence[Metric], tuple[Part, Part]]:
    if all(_are_numbers(each) for each in (one, other)):
        truth = column(one, target).astype(np.float64)
        numbers = [NumericPart(truth, column(each, PREDICTED).astype(np.float64), whole=True) for each in (one, other)]
        return numeric.METRICS, (numbers[0], numbers[1])
    said = _values(one, target)
    names = [str(each) for each in in_order(set(said.tolist()))]
    decided = {*_words(one, PREDICTED), *_words(other, PREDICTED)}
    words = np.array(_words(one, target))
    if len(names) > 2 and positive is None:
        if SCORE in one.column_names or not decided.isdisjoint(f"not {each}" for each in names):
            raise UsageError(
                f"one class of `{target}` was judged against the rest, but the call doesn't say which class",
                hint="give `positive=`, as `classification` was given it",
            )
        many = _many(one, other, words, [*names, *sorted(decided - set(names))], probabilities=probabilities)
        return _told(multiclass.METRICS, many), many
    if len(names) == 1:  # all rows are of one class: the predicted classes show what the other class is
        names = sorted({*names, *decided})
    sought = names[-1] if positive is None else str(positive)
    first, second = (_binary(each, words == sought, sought, probabilities=probabilities) for each in (one, other))
    return [each for each in _told(binary.METRICS, (first, second)) if each.name != "base rate"], (first, second)


def _are_numbers(table: pa.Table) -> bool:
    """Return whether the table holds predictions of a regression: these are floats, and there are no score columns."""
    is_scored = any(name == SCORE or name.startswith(SCORE_OF) for name in table.column_names)
    return pa.types.is_floating(table[PREDICTED].type) and not is_scored


def _values(table: pa.Table, name: str) -> Any:
    return labels(Cases(table, None, name, [], table.num_rows))


def _words(table: pa.Table, name: str) -> list[str]:
    """Return the classes in a column as texts, so that tables whose columns have different types can be compared."""
    return [str(each) for each in _values(table, name)]


def _told(metrics: Sequence[Metric], parts: Sequence[Part]) -> list[Metric]:
    """Return the metrics that at least one of the parts has."""
    return [each for each in metrics if any(each.name in part.point for part in parts)]


def _many(
    one: pa.Table, other: pa.Table, words: Any, names: Sequence[str], *, probabilities: bool
) -> tuple[ManyPart, ManyPart]:
    """Return two parts of the same rows: one with the metrics of the predictions in `one`, and one with the metrics of
    those in `other`. Metrics of scores are included if both models have a score for each class."""
    scored = [each.removeprefix(SCORE_OF) for each in one.column_names if each.startswith(SCORE_OF)]
    has_scores = {*names} <= {*scored} and {f"{SCORE_OF}{each}" for each in scored} <= {*other.column_names}
    place = {name: number for number, name in enumerate(scored if has_scores else names)}
    truth = np.array([place[each] for each in words])

    def part(table: pa.Table) -> ManyPart:
        decided = np.array([place[each] for each in _words(table, PREDICTED)])
        chances = np.stack([column(table, f"{SCORE_OF}{each}") for each in scored], axis=1) if has_scores else None
        probable = probabilities and chances is not None and is_probable(chances) and sums_to_one(chances)
        return ManyPart(truth, chances, decided, len(place), probable=probable, whole=True)

    return part(one), part(other)


def _binary(table: pa.Table, positive: Any, sought: str, *, probabilities: bool) -> BinaryPart:
    scored = SCORE in table.column_names
    score = column(table, SCORE).astype(np.float64) if scored else np.zeros(len(positive))
    decided = np.array([each == sought for each in _words(table, PREDICTED)])
    probable = probabilities and scored and is_probable(score)
    return BinaryPart(positive, score, decided, probable=probable, ranked=scored, whole=True)
