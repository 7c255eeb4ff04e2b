"""Metrics of three classes or more, under counts of rows. Definitions are scikit-learn's, averages are over classes
(`macro`), AUC is one class against the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headrace.spec.report import Grid
from headrace.stages.evaluate.intervals import of_share
from headrace.stages.evaluate.part import NOISE, Metric, bins_of, divided
from headrace.stages.evaluate.ranking import Ranking
from headrace.stages.report.numbers import bracketed

METRICS = (
    Metric("accuracy", "higher"),
    Metric("balanced accuracy", "higher"),
    Metric("macro F1", "higher"),
    Metric("AUC", "higher"),
    Metric("log loss", "lower"),
    Metric("Brier score", "lower"),
    Metric("ECE", "lower"),
)
MAIN = "accuracy"
SHOWN = 60
_PROBABLE = ("log loss", "Brier score", "ECE")


class ManyPart:
    """Rows of k classes: `truth` and `decided` are arrays of n class numbers, `chances` is n by k scores, or None.

    Scores that are not `probable` rank rows, and tell neither log loss, Brier score nor calibration.

    ECE is of the class that was decided for: how often it is right, against its probability (Guo et al. 2017).
    """

    sizes: Mapping[str, float]
    all_of: Mapping[str, float]

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
        seen = np.bincount(truth, minlength=classes)
        fewest = len(seen[seen > 0]) * float(seen[seen > 0].min(initial=self.size))
        self.sizes = {"accuracy": self.size}
        self.all_of = {**self.sizes, "balanced accuracy": fewest, "macro F1": fewest, "AUC": fewest}
        self.rankings: list[Ranking] = []
        self.sums: Any = None
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
        """Hold probabilities against what came."""
        each = np.arange(self.size)
        given = np.clip(chances[each, truth], np.finfo(np.float64).eps, 1)
        squares = ((chances - np.eye(self.classes)[truth]) ** 2).sum(axis=1)
        self.sums = np.stack([-np.log(given), squares], axis=1)
        if self.whole:
            confidence = chances[each, decided]
            self.order = np.argsort(confidence, kind="stable")
            self.excess = (self.right - confidence)[self.order]
            self.bins = bins_of(confidence)

    def replicates(self, counts: Any, only: str = "") -> Mapping[str, Any]:  # noqa: ARG002  all cost the same
        """Give each metric for each resample, NaN where it is undefined."""
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
        if self.sums is not None:
            weights = counts.astype(np.float64)
            loss, squares = (weights @ self.sums).T
            found |= {"log loss": divided(loss, rows), "Brier score": divided(squares, rows)}
        if self.rankings:
            found["AUC"] = _mean(np.stack([each.auc(counts) for each in self.rankings], axis=1))
        if self.excess is not None:
            ordered = counts[:, self.order]
            over = np.stack([ordered[:, each] @ self.excess[each] for each in self.bins], axis=1)
            own = np.array([self.excess[each].sum() for each in self.bins])
            found["ECE"] = divided(np.abs(over).sum(axis=1), rows)
            found[f"{NOISE}ECE"] = divided(np.abs(over - own).sum(axis=1), rows)
        return found

    def _tally(self, row: Any) -> tuple[Any, Any, Any]:
        """Count of each class, for one resample, the rows that are found, that there are, and that are predicted so."""
        table = np.bincount(self.code, weights=row, minlength=self.classes**2).reshape(self.classes, self.classes)
        return table.diagonal().copy(), table.sum(axis=1), table.sum(axis=0)

    def why(self, name: str) -> str:
        """Say why a metric is undefined."""
        if not self.size:
            return "there are no rows"
        if name in (*_PROBABLE, "AUC") and self.chances is None:
            return "the model gives no scores, only decisions"
        if name in _PROBABLE and not self.probable:
            return "the scores are no probabilities"
        if name == "AUC" and self.whole:
            return "no class has both rows of it and rows of others, scored apart"
        return "it is not computed for this part"


def class_grid(part: ManyPart, drawn: Mapping[str, Any], names: Sequence[str], level: float, units: int) -> Grid:
    """Show how each class is found, those that are found least first. `drawn` are the replicates of the whole."""
    cells = np.bincount(part.code, minlength=part.classes**2).reshape(part.classes, part.classes)
    sizes = {"recall": cells.sum(axis=1), "precision": cells.sum(axis=0)}
    order = np.argsort([part.point.get(f"recall {place}", 2.0) for place in range(part.classes)], kind="stable")

    def told(name: str, place: int) -> str | None:
        value = part.point.get(f"{name} {place}")
        if value is None:
            return None
        low, high, _ = of_share(value, drawn[f"{name} {place}"], min(float(sizes[name][place]), units), level)
        return bracketed(value, low, high)

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
        note="Recall: of the rows of a class, the share that is predicted so. Precision: of those that are predicted"
        f" so, the share that is of the class. The lowest recall stands first.{left}",
    )


def _mean(values: Any) -> Any:
    """Average over the classes that are defined."""
    defined = np.isfinite(values)
    return divided(np.where(defined, values, 0).sum(axis=1), defined.sum(axis=1))
