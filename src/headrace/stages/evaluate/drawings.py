"""The figures of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headrace.spec.report import Drawing
from headrace.stages.report.drawing import COLOURS, INK, MUTED, canvas

POINTS = 300
DASHED: Any = {"color": MUTED, "linewidth": 0.9, "linestyle": (0, (4, 3))}


def ranking(positive: Any, scores: Mapping[str, Any]) -> list[Drawing]:
    """Draw the ROC and the precision-recall curves of several models."""
    from sklearn.metrics import roc_curve  # noqa: PLC0415  a second, not for the tracer

    with canvas(5.2, 4.2) as drawn:
        for name, score in scores.items():
            false, true, _ = roc_curve(positive, score)
            drawn.axes.plot(*_thinned(false, true), label=name, **_line(score))
        drawn.axes.plot([0, 1], [0, 1], **DASHED)
        drawn.axes.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(0, 1), ylim=(0, 1.01))
        drawn.axes.legend(loc="lower right", frameon=False)
        roc = drawn.drawing(
            "ROC curve",
            "How many of the positive rows are found, for each share of the negative rows that is taken along.",
        )
    with canvas(5.2, 4.2) as drawn:
        for name, score in scores.items():
            drawn.axes.plot(*_thinned(*found(positive, score)), label=name, **_line(score))
        drawn.axes.axhline(float(np.mean(positive)), **DASHED)
        drawn.axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.01))
        drawn.axes.legend(loc="lower left", frameon=False)
        recalled = drawn.drawing(
            "Precision and recall",
            "How many of the rows that are predicted positive are so, for each share of them that is found."
            " Who can't tell rows apart stays at the share of positive rows (dashed).",
        )
    return [roc, recalled]


def _line(score: Any) -> dict[str, Any]:
    """Give the style of a model's curve: one that tells no rows apart lies on the dashed line, and is dashed too."""
    return {"linewidth": 1.9, "linestyle": DASHED["linestyle"] if np.ptp(score) == 0 else "-"}


def found(positive: Any, score: Any) -> tuple[Any, Any]:
    """Give the recalls and precisions of a score, the highest recall first.

    scikit-learn ends a curve at recall 0 with a precision of 1, where nothing is predicted at all. Here it goes on as
    it was at the highest score: the curve of a constant is flat, at the share of positive rows.
    """
    from sklearn.metrics import precision_recall_curve  # noqa: PLC0415  a second, not for the tracer

    precision, recall, _ = precision_recall_curve(positive, score)
    precision[-1] = precision[-2]
    return recall, precision


def calibration(predicted: Any, came: Any, low: Any, high: Any, score: Any, of: str) -> Drawing:
    """Draw what was predicted against what came, by bins, above how often each probability was given."""
    with canvas(5.2, 4.8) as drawn:
        drawn.figure.clear()
        top, bottom = drawn.figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [4, 1]})
        top.plot([0, 1], [0, 1], **DASHED)
        top.errorbar(predicted, came, yerr=[came - low, high - came], fmt="o", color=COLOURS[0], markersize=4.5)
        top.set(ylabel=f"share that {of}", xlim=(0, 1), ylim=(0, 1))
        bottom.hist(score, bins=40, range=(0, 1), color=COLOURS[0], alpha=0.75)
        bottom.set(xlabel="predicted probability", ylabel="rows")
        return drawn.drawing(
            "Calibration",
            "Rows in ten bins by their probability: what was predicted, and the share that came with its interval."
            " On the dashed line they agree.",
        )


def forest(names: Sequence[str], values: Any, low: Any, high: Any, overall: float, metric: str) -> Drawing:
    """Draw a metric of each slice with its interval, beside that of all rows."""
    with canvas(6.0, 0.22 * len(names) + 0.9) as drawn:
        places = np.arange(len(names))[::-1]
        drawn.axes.hlines(places, low, high, color=COLOURS[0], linewidth=1.4)
        drawn.axes.plot(values, places, "o", color=COLOURS[0], markersize=4.5)
        drawn.axes.axvline(overall, **DASHED)
        drawn.axes.set_yticks(places, [_short(each) for each in names], color=INK)
        drawn.axes.set(xlabel=f"{metric} (dashed: all rows)", ylim=(-0.8, len(names) - 0.2))
        drawn.axes.grid(visible=False, axis="y")
        drawn.axes.tick_params(axis="y", length=0)
        return drawn.drawing(f"{metric} by slice", f"{metric} of each slice, with its interval.")


def confusion(table: Any, classes: Sequence[str]) -> Drawing:
    """Draw how often each class was taken for each."""
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    size = 1.4 + 0.42 * len(classes)
    with canvas(size + 0.8, size) as drawn:
        drawn.axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for row, column in np.ndindex(shares.shape):
            colour = "white" if shares[row, column] > 0.5 else INK
            drawn.axes.text(
                column, row, f"{shares[row, column]:.0%}", ha="center", va="center", color=colour, fontsize=8
            )
        drawn.axes.set_xticks(range(len(classes)), [_short(each, 12) for each in classes], rotation=45, ha="right")
        drawn.axes.set_yticks(range(len(classes)), [_short(each, 12) for each in classes])
        drawn.axes.set(xlabel="predicted", ylabel="true")
        drawn.axes.grid(visible=False)
        return drawn.drawing("Confusion", "Of the rows of each class, the share taken for each.")


def residuals(truth: Any, predicted: Any, seed: int) -> list[Drawing]:
    """Draw predictions against what was true, and the errors."""
    shown = np.random.default_rng(seed).permutation(len(truth))[:2000]
    ends = float(min(truth.min(), predicted.min())), float(max(truth.max(), predicted.max()))
    error = predicted - truth
    with canvas(5.2, 4.2) as drawn:
        drawn.axes.plot(ends, ends, **DASHED)
        drawn.axes.plot(predicted[shown], truth[shown], "o", color=COLOURS[0], markersize=2, alpha=0.35)
        drawn.axes.set(xlabel="predicted", ylabel="true")
        words = f"{len(shown):,} of {len(truth):,} rows. On the dashed line they agree."
        first = drawn.drawing("Predicted and true", words)
    with canvas(5.2, 4.2) as drawn:
        drawn.axes.hist(error, bins=60, range=_range(error), color=COLOURS[0], alpha=0.75)
        drawn.axes.axvline(0, **DASHED)
        drawn.axes.set(xlabel="error (predicted less true)", ylabel="rows")
        return [first, drawn.drawing("Errors", "How often errors of each size are made.")]


def _range(values: Any) -> tuple[float, float]:
    """Give the ends of a histogram: those of the values, but so far apart that its bins are told apart as numbers."""
    low, high = float(values.min()), float(values.max())
    room = 1e-9 * max(abs(low), abs(high))
    return (low, high) if high - low > room else (low - room or -0.5, high + room or 0.5)


def _thinned(x: Any, y: Any) -> tuple[Any, Any]:
    keep = np.unique(np.linspace(0, len(x) - 1, POINTS).round().astype(int))
    return x[keep], y[keep]


def _short(name: str, most: int = 34) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
