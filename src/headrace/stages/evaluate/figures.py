"""The figures of an evaluation's report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os.path import commonprefix
from typing import Any

import numpy as np

from headrace.report.chart import LETTER, SIZE, Axis, Chart, drawing
from headrace.report.drawing import COLOURS, INK
from headrace.spec.report import Drawing

POINTS = 300
SHOWN = 2000
"""The most points that are drawn in a scatter plot."""
MOST_CLASSES = 20
"""The most classes that a confusion table shows: a larger table can't be read."""


def ranking(positive: Any, scores: Mapping[str, Any]) -> list[Drawing]:
    """Return the ROC curves and the precision-recall curves of several models, as two drawings."""
    from sklearn.metrics import roc_curve  # noqa: PLC0415  the import takes a second, which the tracer saves

    lines = [
        (name, COLOURS[place % len(COLOURS)], bool(np.ptp(score) == 0))
        for place, (name, score) in enumerate(scores.items())
    ]
    roc = Chart(Axis("false positive rate"), Axis("true positive rate", high=1.01), lines=lines)
    recalled = Chart(Axis("recall"), Axis("precision", high=1.01), lines=lines)
    for (_, colour, constant), score in zip(lines, scores.values(), strict=True):
        false, true, _ = roc_curve(positive, score)
        # The curve of a constant score lies on the dashed line, so the curve is dashed too.
        roc.line(*_thinned(false, true), colour, dashed=constant)
        recalled.line(*_thinned(*found(positive, score)), colour, dashed=constant)
    roc.dashed((0, 1), (0, 1))
    recalled.dashed((0, 1), [float(np.mean(positive))] * 2)
    return [
        drawing(
            "ROC curve",
            "The share of positive rows that is found, for each share of negative rows that is predicted positive.",
            roc.drawn(),
        ),
        drawing(
            "Precision and recall",
            "The share of right rows among those predicted positive, for each share of positive rows that is found."
            " A constant score stays at the share of positive rows (dashed).",
            recalled.drawn(),
        ),
    ]


def found(positive: Any, score: Any) -> tuple[Any, Any]:
    """Return the precision-recall curve of a score: its recalls and its precisions, the highest recall first.

    scikit-learn adds a last point to this curve, at which no row is predicted positive: its recall is 0 and its
    precision is 1. Here, this point gets the precision of the rows with the highest score. So the curve of a constant
    score is flat, at the share of positive rows.
    """
    from sklearn.metrics import precision_recall_curve  # noqa: PLC0415  the import takes a second, as above

    precision, recall, _ = precision_recall_curve(positive, score)
    precision[-1] = precision[-2]
    return recall, precision


def calibration(predicted: Any, came: Any, low: Any, high: Any, score: Any, of: str) -> Drawing:
    """Return a drawing that shows, for each bin of rows, the mean predicted probability (`predicted`) and the share of
    positive rows (`came`) with its interval (`low` to `high`).

    A histogram of the probabilities (`score`) is below. `of` describes a positive row, such as `is late`.
    """
    counts, edges = np.histogram(score, bins=40, range=(0, 1))
    top = Chart(Axis(""), Axis(f"share that {of}"), bottom=236)
    below = Chart(Axis("predicted probability"), _most("rows", counts), top=248, bottom=304)
    top.left = below.left = max(top.left, below.left)
    top.dashed((0, 1), (0, 1))
    for x, start, end in zip(predicted, low, high, strict=True):
        top.line((x, x), (start, end), COLOURS[0], width=1.4)
    top.dots(predicted, came)
    below.bars(edges.tolist(), counts.tolist())
    return drawing(
        "Calibration",
        "Rows in ten bins by their predicted probability: its mean, and the share of positive rows with its interval."
        " On the dashed line the two are equal.",
        [*top.drawn(below=False), *below.drawn()],
        height=346,
    )


def forest(names: Sequence[str], values: Any, low: Any, high: Any, overall: float, metric: str) -> Drawing:
    """Return a drawing of a metric of each slice with its interval, beside the metric of all rows."""
    places = np.arange(len(names))[::-1]
    ends = _room(min(*low, *values, overall), max(*high, *values, overall))
    slices = [(float(place), name) for place, name in zip(places, _short(names, 40), strict=True)]
    height = 16 * len(names) + 62
    chart = Chart(
        Axis(f"{metric} (dashed: all rows)", *ends),
        Axis("", -0.8, len(names) - 0.2, slices),
        bottom=height - 42,
        width=450,
    )
    chart.dashed((overall, overall), (-0.8, len(names) - 0.2))
    for place, start, end in zip(places, low, high, strict=True):
        chart.line((start, end), (place, place), COLOURS[0], width=1.4)
    chart.dots(values, places)
    caption = f"{metric} of each slice, with its interval."
    return drawing(f"{metric} by slice", caption, chart.drawn(), width=450, height=height)


def confusion(truth: Any, decided: Any, classes: Sequence[str]) -> Drawing:
    """Return a drawing of how often each class was predicted as each class.

    If there are many classes, those that are confused most are shown, and the others are shown together as one class.
    """
    own, names = np.arange(len(classes)), list(classes)
    caption = "Of the rows of each class, the share that is predicted as each class."
    if len(classes) > MOST_CLASSES:
        wrong = truth != decided
        confused = sum(np.bincount(each[wrong], minlength=len(classes)) for each in (truth, decided))
        shown = np.sort(np.argsort(-confused, kind="stable")[: MOST_CLASSES - 1])
        own = np.full(len(classes), len(shown))
        own[shown] = np.arange(len(shown))
        rest = len(classes) - len(shown)
        names = [*(classes[place] for place in shown), f"{rest:,} others"]
        caption += (
            f" The {len(shown)} of {len(classes):,} classes that are confused most are shown, and the others as one."
        )
    count, cell = len(names), 34
    table = np.bincount(own[truth] * count + own[decided], minlength=count**2).reshape(count, count)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    names = _short(names, 24)
    room = max(map(len, names)) * SIZE * LETTER
    width, height = room + 30 + cell * count + 12, 8 + cell * count + room + 34
    down = [(count - place - 0.5, name) for place, name in enumerate(names)]
    chart = Chart(Axis("", 0, count, []), Axis("true", 0, count, down), bottom=8 + cell * count, width=width)
    for row, column in np.argwhere(table):
        share, up = float(shares[row, column]), count - row
        chart.block(column, column + 1, up - 1, up, COLOURS[0], opacity=share)
        chart.text(column + 0.5, up - 0.5, f"{share:.0%}", "white" if share > 0.5 else INK)
    for place, name in enumerate(names):
        chart.below(place + 0.5, name)
    chart.below(count / 2, "predicted", upright=True, down=room + 22)
    return drawing("Confusion", caption, chart.drawn(grid=False), width=width, height=height)


def residuals(truth: Any, predicted: Any, seed: int) -> list[Drawing]:
    """Return two drawings: predictions against true values, and a histogram of the errors."""
    shown = np.random.default_rng(seed).permutation(len(truth))[:SHOWN]
    low, high = _room(float(min(truth.min(), predicted.min())), float(max(truth.max(), predicted.max())))
    error = predicted - truth
    both = Chart(Axis("predicted", low, high), Axis("true", low, high))
    both.dashed((low, high), (low, high))
    both.dots(predicted[shown], truth[shown], radius=1.1, opacity=0.35)
    ends = _room(float(error.min()), float(error.max()))
    counts, edges = np.histogram(error, bins=60, range=ends)
    errors = Chart(Axis("error (predicted minus true)", *ends), _most("rows", counts))
    errors.bars(edges.tolist(), counts.tolist())
    if ends[0] < 0 < ends[1]:
        errors.dashed((0, 0), (0, errors.y.high))
    words = f"{len(shown):,} of {len(truth):,} rows. On the dashed line they agree."
    return [
        drawing("Predicted and true", words, both.drawn()),
        drawing("Errors", "How often errors of each size are made.", errors.drawn()),
    ]


def _most(label: str, counts: Any) -> Axis:
    """Return an axis for counts that has room for the highest count."""
    return Axis(label, 0, max(1.0, float(counts.max()) * 1.05))


def _room(low: float, high: float) -> tuple[float, float]:
    """Return the ends of an axis: a little beyond the values, and far enough apart to be different floats."""
    room = max(0.03 * (high - low), 1e-9 * max(abs(low), abs(high)))
    return (low - room, high + room) if high + room > low - room else (low - 0.5, high + 0.5)


def _thinned(x: Any, y: Any) -> tuple[Any, Any]:
    keep = np.unique(np.linspace(0, len(x) - 1, POINTS).round().astype(int))
    return x[keep], y[keep]


def _short(names: Sequence[str], most: int) -> list[str]:
    """Return the names shortened: the middle is cut out, or the beginning if only the ends of the names differ.

    >>> _short(["a name that is much too long, 1", "short"], 16)
    ['a name t… long, 1', 'short']
    >>> _short(["the same begin, one and more", "the same begin, two and more"], 12)
    ['…n, one and…', '…n, two and…']
    """
    end = most // 2
    found = [each if len(each) <= most else f"{each[: most - end]}…{each[-end:]}" for each in names]
    twice = {each for each in found if found.count(each) > 1}
    same = commonprefix([name for name, each in zip(names, found, strict=True) if each in twice])  # noqa: RUF071  of letters
    start = max(0, len(same) - 3)
    return [
        f"…{name[start : start + most - 2]}…" if each in twice else each
        for name, each in zip(names, found, strict=True)
    ]
