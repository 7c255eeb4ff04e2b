"""Metrics of three or more classes, on resampled rows.

Definitions are scikit-learn's. Averages are over classes (`macro`). AUC is averaged too: for each class, the AUC of
this class against all others.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from headrace.report.numbers import bracketed
from headrace.spec.report import Grid
from headrace.stages.evaluate.metrics.part import NOISE, Metric, bins_of, divided, found
from headrace.watch.intervals import Ratio, share, two_sided
from headrace.watch.ranking import Ranking

METRICS = (
    Metric("accuracy", "higher", 0, 1),
    Metric("balanced accuracy", "higher", 0, 1),
    Metric("macro F1", "higher", 0, 1),
    Metric("AUC", "higher", 0, 1),
    Metric("log loss", "lower", 0),
    Metric("Brier score", "lower", 0, 2),
    Metric("ECE", "lower", 0, 1),
)
OF_CLASS = (Metric("recall", "higher", 0, 1), Metric("precision", "higher", 0, 1))
"""The metrics of a single class. In a part, the number of the class follows the metric's name."""
MAIN = "accuracy"
SHOWN = 60
_PROBABLE = ("log loss", "Brier score", "ECE")


class ManyPart:
    """Rows of k classes, with their metrics.

    `truth` and `decided` are arrays of n class numbers. `chances` is an array of n by k scores, or None if there are no
    scores. Scores that aren't `probable` only rank rows, so log loss, Brier score and ECE are then undefined. ECE
    compares the probability of the predicted class with how often the prediction is right (Guo et al. 2017).
    """

    sizes: Mapping[str, float]

    def __init__(
        self,
        truth: Any,
        chances: Any | None,
        decided: Any,
        classes: int,
        *,
        rows: Any = None,
        probable: bool = True,
        whole: bool = False,
    ) -> None:
        self.rows = rows
        self.size = len(truth)
        self.classes = classes
        self.code = truth.astype(np.intp) * classes + decided
        self.right = truth == decided
        self.chances, self.probable, self.whole = chances, probable and chances is not None, whole
        self.truth, self.decided = truth, decided
        self.sizes = {"accuracy": self.size}
        self.rankings: list[Ranking] = []
        self.losses: Any = None
        self.excess: Any = None
        if chances is not None and self.size:
            if whole:
                self.rankings = [Ranking(truth == place, chances[:, place]) for place in range(classes)]
            if self.probable:
                self._compare(truth, chances, decided)
        once = np.ones((1, self.size), np.uint8)
        point = {name: float(values[0]) for name, values in self.replicates(once).items()} if self.size else {}
        self.point: Mapping[str, float] = {name: value for name, value in point.items() if np.isfinite(value)}

    def _compare(self, truth: Any, chances: Any, decided: Any) -> None:
        """Compute each row's losses, and for ECE the difference between 1 (right) or 0 (wrong) and the probability of
        the predicted class."""
        each = np.arange(self.size)
        given = np.clip(chances[each, truth], np.finfo(np.float64).eps, 1)
        squares = ((chances - np.eye(self.classes)[truth]) ** 2).sum(axis=1)
        self.losses = np.stack([-np.log(given), squares], axis=1)
        if self.whole:
            confidence = chances[each, decided]
            self.order = np.argsort(confidence, kind="stable")
            self.excess = (self.right - confidence)[self.order]
            self.bins = bins_of(confidence)

    def sums(self, name: str) -> Ratio | None:
        """Return a metric as a ratio of sums over rows. Return None for ECE, which has no such form."""
        every = np.ones(self.size, bool)
        word, _, place = name.rpartition(" ")
        if name == "accuracy":
            return share(self.right, every)
        if word in ("recall", "precision"):
            own, other = (self.truth, self.decided) if word == "recall" else (self.decided, self.truth)
            return share(other == int(place), own == int(place))
        if name in ("log loss", "Brier score") and self.losses is not None:
            might = partial(_losses, self.chances, squared=name != "log loss")
            ends = might()
            own = self.losses[:, int(name != "log loss")]
            return Ratio(own, every.astype(np.float64), float(ends.min()), float(ends.max()), might)
        if name in ("balanced accuracy", "macro F1"):
            return self._averaged(name)
        if name == "AUC" and self.rankings:
            told = [(place, each) for place, each in enumerate(self.rankings) if 0 < len(each.places) < self.size]
            ranked = [two_sided(each.placements(), self.truth == place) for place, each in told if not each.constant]
            moved = np.mean([each.linear().above for each in ranked], axis=0)
            return Ratio(moved, every.astype(np.float64))
        return None

    def _averaged(self, name: str) -> Ratio:
        """Return a mean over classes as a ratio of sums over rows. The value of each row says how far the row moves the
        mean.

        A row moves the mean through its true class and through its predicted class.
        """
        actual, chosen = (np.bincount(each, minlength=self.classes) for each in (self.truth, self.decided))
        caught = np.bincount(self.truth, weights=self.right, minlength=self.classes)
        if name == "macro F1":
            below = actual + chosen
            share_of, per = divided(2 * caught, below), divided(self.size, below)
            moved = 2 * self.right * per[self.truth]
            moved = moved - (share_of * per)[self.truth] - (share_of * per)[self.decided]
        else:
            below = actual
            share_of, per = divided(caught, actual), divided(self.size, actual)
            moved = (self.right - share_of[self.truth]) * per[self.truth]
        there = below > 0
        value, count = float(share_of[there].mean()), int(np.count_nonzero(there))
        lowest, highest = -float((share_of * per)[there].max()), float(((1 - share_of) * per)[there].max())
        return Ratio(value + moved / count, np.ones(self.size), value + lowest / count, value + highest / count)

    def replicates(self, counts: Any, only: Collection[str] = ()) -> Mapping[str, Any]:
        """Return each metric for each resample, NaN where it is undefined.

        AUC is slow, because it takes one pass over the rows for each class. If `only` isn't empty, AUC is left out
        unless it is in `only`.
        """
        caught, actual, chosen = (np.stack(each) for each in zip(*map(self._tally, counts), strict=True))
        rows = actual.sum(axis=1)
        found = {
            "accuracy": divided(caught.sum(axis=1), rows),
            "balanced accuracy": _mean(divided(caught, actual)),
            "macro F1": _mean(divided(2 * caught, actual + chosen)),
        }
        if self.whole:
            recall, precision = divided(caught, actual), divided(caught, chosen)
            found |= {f"recall {place}": recall[:, place] for place in range(self.classes)}
            found |= {f"precision {place}": precision[:, place] for place in range(self.classes)}
        if self.losses is not None:
            weights = counts.astype(np.float64)
            loss, squares = (weights @ self.losses).T
            found |= {"log loss": divided(loss, rows), "Brier score": divided(squares, rows)}
        if self.rankings and (not only or "AUC" in only):
            found["AUC"] = _mean(np.stack([each.auc(counts) for each in self.rankings], axis=1))
        if self.excess is not None:
            ordered = counts[:, self.order]
            over = np.stack([ordered[:, each] @ self.excess[each] for each in self.bins], axis=1)
            own = np.array([self.excess[each].sum() for each in self.bins])
            found["ECE"] = divided(np.abs(over).sum(axis=1), rows)
            found[f"{NOISE}ECE"] = divided(np.abs(over - own).sum(axis=1), rows)
        return found

    def _tally(self, row: Any) -> tuple[Any, Any, Any]:
        """Return, for one resample, the number of right rows, true rows and predicted rows of each class."""
        table = np.bincount(self.code, weights=row, minlength=self.classes**2).reshape(self.classes, self.classes)
        return table.diagonal().copy(), table.sum(axis=1), table.sum(axis=0)

    def why(self, name: str) -> str:
        """Return the reason why a metric is undefined."""
        if not self.size:
            return "there are no rows"
        if name in (*_PROBABLE, "AUC") and self.chances is None:
            return "the model gives no scores, only decisions"
        if name in _PROBABLE and not self.probable:
            return "the scores are no probabilities"
        if name == "AUC" and self.whole:
            return "no class has rows of its own and rows of others with different scores"
        if name.startswith("recall "):
            return "there are no rows of the class"
        if name.startswith("precision "):
            return "no row is predicted to be of the class"
        return "it is not computed for this part"


def _losses(chances: Any, *, squared: bool) -> Any:
    """Return the loss that each row would have in each class, as an array of rows by classes."""
    if not squared:
        return -np.log(np.clip(chances, np.finfo(np.float64).eps, 1))
    return (chances**2).sum(axis=1)[:, None] + 1 - 2 * chances


def class_grid(part: ManyPart, names: Sequence[str], level: float, groups: Any) -> Grid:
    """Return a grid with the recall and precision of each class, the lowest recall first."""
    cells = np.bincount(part.code, minlength=part.classes**2).reshape(part.classes, part.classes)
    sizes = {"recall": cells.sum(axis=1), "precision": cells.sum(axis=0)}
    order = np.argsort([part.point.get(f"recall {place}", 2.0) for place in range(part.classes)], kind="stable")

    def told(name: str, place: int) -> str | None:
        fact = found(part, {}, Metric(f"{name} {place}", "higher", 0, 1), groups).fact(level)
        return None if fact.value is None else bracketed(fact.value, fact.low, fact.high)

    left = f" The first {SHOWN} of {part.classes} are shown." if part.classes > SHOWN else ""
    return Grid(
        title="By class",
        columns=("class", "rows", "recall", "predicted", "precision"),
        rows=tuple(
            (
                names[place],
                int(sizes["recall"][place]),
                told("recall", place),
                int(sizes["precision"][place]),
                told("precision", place),
            )
            for place in order.tolist()[:SHOWN]
        ),
        note="Recall: of the rows of a class, the share that is predicted as this class. Precision: of the rows"
        f" predicted as a class, the share that is of this class. The lowest recall stands first.{left}",
    )


def _mean(values: Any) -> Any:
    """Return the mean over the classes whose value is defined."""
    defined = np.isfinite(values)
    return divided(np.where(defined, values, 0).sum(axis=1), defined.sum(axis=1))
