"""Scores of probabilities with 95% intervals, from a bootstrap over whole days.

Flights of one day share its weather and its jams, so they are far from independent: intervals that draw single
flights come out several times too narrow. Here days are drawn, each with all its flights.
"""

from typing import TypedDict

import numpy as np

ROUNDS = 300
SEED = 2013
LEAST = 30  # of late and of other flights, for an area under a curve to mean something


class Interval(TypedDict):
    """A value and its 95% interval."""

    value: float
    low: float
    high: float


class Days:
    """How often each round draws the day of each flight."""

    def __init__(self, day: np.ndarray, rounds: int = ROUNDS, seed: int = SEED) -> None:
        self.names, self.codes = np.unique(day, return_inverse=True)
        chances = np.full(len(self.names), 1 / len(self.names))
        self.draws = np.random.default_rng(seed).multinomial(len(self.names), chances, size=rounds)

    def mean(self, values: np.ndarray) -> Interval:
        """The mean over flights."""
        counts, sums = np.bincount(self.codes), np.bincount(self.codes, weights=values)
        return _interval(values.mean(), (self.draws @ sums) / (self.draws @ counts))

    def ranked(self, late: np.ndarray, probability: np.ndarray) -> tuple[Interval, Interval] | None:
        """Area under the ROC curve, and average precision; None where there are too few flights of either kind."""
        if min(late.sum(), len(late) - late.sum()) < LEAST:
            return None
        ranking = Ranking(late, probability)
        rounds = np.array([ranking.scores(draw[self.codes]) for draw in self.draws])
        auc, precision = ranking.scores(np.ones(len(late)))
        return _interval(auc, rounds[:, 0]), _interval(precision, rounds[:, 1])


class Ranking:
    """Flights in the order of their probability, ties in one group, to be scored again under many weights."""

    def __init__(self, late: np.ndarray, probability: np.ndarray) -> None:
        self.order = np.argsort(-probability, kind="stable")
        ordered = probability[self.order]
        self.starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
        self.late = late[self.order].astype(np.float64)

    def scores(self, weights: np.ndarray) -> tuple[float, float]:
        """Area under the ROC curve, and average precision, as scikit-learn counts them."""
        weights = weights[self.order]
        late = np.add.reduceat(weights * self.late, self.starts)
        every = np.add.reduceat(weights, self.starts)
        caught, flagged = np.cumsum(late), np.cumsum(every)
        other, other_flagged = every - late, flagged - caught
        above = caught - late / 2
        auc = np.divide(np.sum(other * above), caught[-1] * other_flagged[-1])
        precision = np.divide(caught, flagged, out=np.zeros_like(caught), where=flagged > 0)
        return float(auc), float(np.sum(late * precision) / caught[-1])


def _interval(value: float, rounds: np.ndarray) -> Interval:
    low, high = np.nanpercentile(rounds, [2.5, 97.5])
    return {"value": float(value), "low": float(low), "high": float(high)}
