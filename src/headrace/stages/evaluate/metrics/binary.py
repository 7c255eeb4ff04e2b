"""Metrics of two classes, on resampled rows.

All metrics except those of ranking follow from sums over rows. One matrix product computes such sums for many
resamples. Definitions are scikit-learn's. ECE is the expected calibration error (Naeini et al. 2015) over bins of equal
count.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from copy import copy
from typing import Any, Self

import numpy as np

from headrace.stages.evaluate.metrics.part import NOISE, Metric, bins_of, divided
from headrace.watch.intervals import Ratio, share, two_sided
from headrace.watch.ranking import Ranking

METRICS = (
    Metric("AUC", "higher", 0, 1),
    Metric("average precision", "higher", 0, 1),
    Metric("log loss", "lower", 0),
    Metric("Brier score", "lower", 0, 1),
    Metric("ECE", "lower", 0, 1),
    Metric("accuracy", "higher", 0, 1),
    Metric("balanced accuracy", "higher", 0, 1),
    Metric("F1", "higher", 0, 1),
    Metric("precision", "higher", 0, 1),
    Metric("recall", "higher", 0, 1),
    Metric("FPR", "lower", 0, 1),
    Metric("selection rate", "", 0, 1),
    Metric("base rate", "", 0, 1),
)
MAIN = "AUC"
_RANKED = ("AUC", "average precision")
_PROBABLE = ("log loss", "Brier score", "ECE")
_DECIDED = ("accuracy", "balanced accuracy", "F1", "precision", "recall", "FPR", "selection rate")


class BinaryPart:
    """Rows of two classes, with their metrics.

    `positive` and `decided` are arrays of n booleans, `score` is an array of n numbers. Metrics of decisions are
    undefined where `decided` is None. Metrics of probabilities are undefined where the scores aren't `probable`. AUC is
    computed only if `ranked`, ECE only if `whole`, and average precision only if both.
    """

    def __init__(
        self,
        positive: Any,
        score: Any,
        decided: Any | None,
        *,
        rows: Any = None,
        probable: bool = True,
        ranked: bool = True,
        whole: bool = False,
    ) -> None:
        self.rows = rows
        self.size = len(positive)
        self.probable, self.is_decided, self.whole = probable, decided is not None, whole
        sides = np.zeros(self.size, bool) if decided is None else decided
        truth = positive.astype(np.float64)
        chance = np.clip(score, 0, 1) if probable else np.zeros(self.size)
        self.truth, self.sides, self.chance = positive.astype(bool), sides.astype(bool), chance
        columns = [np.ones(self.size), truth, sides, truth * sides, _loss(truth, chance), (truth - chance) ** 2, chance]
        sums = np.stack(columns, axis=1).astype(np.float64)
        self.ranking = Ranking(positive, score) if ranked and self.size else None
        self.bins = bins_of(score) if whole and self.size else [slice(None)]
        self.order = np.argsort(score, kind="stable") if len(self.bins) > 1 else None
        if self.order is not None and np.array_equal(self.order, np.arange(self.size)):
            self.order = None
        if self.order is not None:
            sums = sums[self.order]
        self.blocks = [(each, sums[each].astype(np.float32)) for each in self.bins]
        binned = np.stack([sums[each].sum(axis=0) for each in self.bins])[None]
        self.excess = binned[0, :, 1] - binned[0, :, 6]
        once = np.ones((1, self.size), np.uint8)
        every = self._metrics(binned) | self._ranked(once, _RANKED)
        point = {name: float(values[0]) for name, values in every.items()}
        self.totals = binned.sum(axis=1)[0]
        self.binned = binned[0]
        self.point: Mapping[str, float] = {name: value for name, value in point.items() if np.isfinite(value)}

    @property
    def sizes(self) -> Mapping[str, float]:
        """For each metric that is a share, the number of rows of which it is a share: for recall, the positive rows.

        For AUC and balanced accuracy, it is the number of rows of the rarer class. For F1, it is the number of positive
        rows.
        """
        rows, positive, chosen = self.totals[0], self.totals[1], self.totals[2]
        return {
            "selection rate": rows,
            "base rate": rows,
            "accuracy": rows,
            "recall": positive,
            "FPR": rows - positive,
            "precision": chosen,
            "F1": positive,
            "AUC": min(positive, rows - positive),
            "balanced accuracy": min(positive, rows - positive),
        }

    def sums(self, name: str) -> Ratio | None:
        """Return a metric as a ratio of sums over rows. Return None for metrics that have no such form, such as ECE."""
        yes, said, every = self.truth, self.sides, np.ones(self.size, bool)
        shares = {
            "accuracy": (yes == said, every),
            "precision": (yes, said),
            "recall": (said, yes),
            "FPR": (said, ~yes),
            "selection rate": (said, every),
            "base rate": (yes, every),
        }
        if name in shares:
            ratio = share(*shares[name])
            return ratio._replace(might=lambda: np.array([[0.0, 1.0]])) if name == "base rate" else ratio
        if name == "F1":
            return Ratio(2.0 * (yes & said), yes.astype(np.float64) + said, 0.0, 1.0)
        if name == "balanced accuracy":
            return self._balanced()
        if name in ("log loss", "Brier score"):
            return self._losses(_loss if name == "log loss" else _square)
        if name == "AUC" and self.ranking is not None:
            return two_sided(self.ranking.placements(), yes)
        if name == "average precision" and self.ranking is not None:
            moved, worst, best = self.ranking.precisions()
            low, high = (float(each) for each in (moved.min(), moved.max()))
            value, base = self.point[name], float(yes.mean())
            low, high = min(base, value + (low + worst) / 2), max(1.0, value + (high + best) / 2 - value)
            return Ratio(moved, yes.astype(np.float64), low, high)
        if name.startswith("bin "):
            ordered, own = np.arange(self.size) if self.order is None else self.order, np.zeros(self.size, bool)
            own[ordered[self.bins[int(name[4:])]]] = True
            return share(yes, own)
        return None

    def _balanced(self) -> Ratio:
        """Return the balanced accuracy as a ratio of sums over rows.

        The value of a row is the mean of two numbers: 1 if the row is right and 0 if it is wrong, and the share of
        right rows in the other class.
        """
        yes, right = self.truth, self.truth == self.sides
        recall, passed = float(right[yes].mean()), float(right[~yes].mean())
        other = passed if 2 * np.count_nonzero(yes) <= self.size else recall
        placed = np.where(yes, right + passed, right + recall) / 2
        return two_sided(placed, yes, (other / 2, (1 + other) / 2))

    def _losses(self, loss: Callable[[Any, Any], Any]) -> Ratio:
        """Return the mean of a loss as a ratio of sums over rows.

        The interval allows for one more row. This row may have any of the predicted probabilities, and may be of either
        class.
        """
        chance = self.chance

        def might() -> Any:
            return np.stack([loss(each, chance) for each in (0.0, 1.0)], axis=1)

        ends = might()
        return Ratio(loss(self.truth, chance), np.ones(self.size), float(ends.min()), float(ends.max()), might)

    @property
    def cells(self) -> Any:
        """The numbers of true positive, false negative, false positive and true negative rows, in this order."""
        rows, positive, chosen, caught = self.totals[:4]
        return np.array([caught, positive - caught, chosen - caught, rows - positive - chosen + caught])

    def placed(self, units: Any, *, shared: bool) -> Self:
        """Return this part for resamples of units: row n counts as often in a resample as the unit `units[n]`.

        If `shared`, several rows may have the same unit, such as a day. The rows of a unit are then summed only once
        for all resamples.
        """
        made = copy(self)
        made.ranking = None if self.ranking is None else self.ranking.placed(units, shared=shared)
        ordered = units if self.order is None else units[self.order]
        if not shared:
            made.order = ordered
            return made
        count = int(units.max(initial=0)) + 1
        made.order = np.arange(count)
        made.blocks = [(slice(None), _by_unit(sums, ordered[each], count)) for each, sums in self.blocks]
        return made

    def replicates(self, counts: Any, only: Collection[str] = ()) -> Mapping[str, Any]:
        """Return each metric for each resample, NaN where it is undefined.

        If `only` isn't empty, metrics that aren't in `only` may be left out to save time.
        """
        ranked = [each for each in only if each in _RANKED and self.ranking is not None]
        if only and len(ranked) == len(only):
            return self._ranked(counts, only)
        weights = (counts if self.order is None else counts[:, self.order]).astype(self.blocks[0][1].dtype)
        binned = np.stack([weights[:, each] @ sums for each, sums in self.blocks], axis=1)
        return self._metrics(binned.astype(np.float64)) | self._ranked(counts, only or _RANKED)

    def _ranked(self, counts: Any, names: Collection[str]) -> dict[str, Any]:
        """Return the ranking metrics among `names`. Each of these metrics takes one pass over the rows for each
        resample."""
        found = {}
        if self.ranking is not None and "AUC" in names:
            found["AUC"] = self.ranking.auc(counts)
        if self.ranking is not None and self.whole and "average precision" in names:
            found["average precision"] = self.ranking.average_precision(counts)
        return found

    def _metrics(self, binned: Any) -> dict[str, Any]:
        rows, positive, chosen, caught, loss, squares, _ = np.moveaxis(binned.sum(axis=1), -1, 0)
        negative = rows - positive
        found = {"base rate": divided(positive, rows)}
        if self.probable:
            found |= {"log loss": divided(loss, rows), "Brier score": divided(squares, rows)}
            if self.whole:
                over = binned[..., 1] - binned[..., 6]
                found["ECE"] = divided(np.abs(over).sum(axis=1), rows)
                found[f"{NOISE}ECE"] = divided(np.abs(over - self.excess).sum(axis=1), rows)
        if self.is_decided:
            false = chosen - caught
            recall, passed = divided(caught, positive), divided(negative - false, negative)
            found |= {
                "accuracy": divided(caught + negative - false, rows),
                "balanced accuracy": (recall + passed) / 2,
                "F1": divided(2 * caught, chosen + positive),
                "precision": divided(caught, chosen),
                "recall": recall,
                "FPR": divided(false, negative),
                "selection rate": divided(chosen, rows),
            }
        return found

    def why(self, name: str) -> str:
        """Return the reason why a metric is undefined."""
        rows, positive = self.totals[0], self.totals[1]
        if not rows:
            return "there are no rows"
        if name in _PROBABLE and not self.probable:
            return "the scores are no probabilities"
        if name in _DECIDED and not self.is_decided:
            return "no threshold turns the scores into decisions"
        if name in ("AUC", "balanced accuracy") and positive in (0, rows):
            return f"all {rows:,.0f} rows are of one class"
        if name in ("average precision", "recall", "F1") and not positive:
            return f"none of the {rows:,.0f} rows is positive"
        if name in ("AUC", "average precision"):
            return "all scores are equal, so they rank nothing"
        if name == "FPR":
            return f"all {rows:,.0f} rows are positive"
        return "no row is predicted positive" if name == "precision" else "it is not computed for this part"


def _by_unit(sums: Any, units: Any, count: int) -> Any:
    """Return, for each unit from 0 to `count` - 1, the sum of its rows in `sums`. Row n belongs to unit `units[n]`."""
    columns = sums.astype(np.float64).T
    return np.stack([np.bincount(units, weights=each, minlength=count) for each in columns], axis=1)


def _square(truth: Any, chance: Any) -> Any:
    """Return each row's contribution to the Brier score."""
    return (truth - chance) ** 2


def _loss(truth: Any, chance: Any) -> Any:
    """Return each row's log loss in nats. As in scikit-learn, probabilities differ from 0 and 1 by at least epsilon."""
    least = np.finfo(np.float64).eps
    kept = np.clip(chance, least, 1 - least)
    return -(truth * np.log(kept) + (1 - truth) * np.log1p(-kept))
