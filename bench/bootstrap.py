"""1,000 bootstrap resamples of 1,000,000 rows: AUC and log loss.

The floor is NumPy doing the same on scores that are sorted already: rows drawn with replacement and counted, log loss
as a product of counts and losses, AUC by a running sum of counts. A round is some resamples of each side, since 1,000
of the floor take half a minute; the time is given for 1,000. The peer is scikit-learn's `roc_auc_score` and `log_loss`,
called on rows drawn with replacement, as most people do it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bench.table import Row, amount
from bench.turns import in_turns

ROWS, RESAMPLES, SOME = 1_000_000, 1000, 20
TIMES = 3


def rows(folder: Path, rounds: int) -> Iterator[Row]:  # noqa: ARG001  it keeps nothing
    """Measure ours, NumPy and scikit-learn in turns."""
    from headrace.stages.evaluate.metrics.binary import BinaryPart  # noqa: PLC0415  an optional library's
    from headrace.stages.evaluate.metrics.part import resample  # noqa: PLC0415
    from headrace.watch.resamples import Resamples  # noqa: PLC0415

    random = np.random.default_rng(1)
    truth = random.random(ROWS) < 0.25
    score = np.sort(np.clip(truth * 0.2 + random.random(ROWS) * 0.7, 1e-3, 1 - 1e-3))
    part = BinaryPart(truth, score, None)
    loss = np.where(truth, -np.log(score), -np.log1p(-score))

    def ours() -> float:
        start = time.perf_counter()
        resample({"all": part}, Resamples(ROWS, count=SOME, seed=1))
        return time.perf_counter() - start

    def floor() -> float:
        start = time.perf_counter()
        for _ in range(SOME):
            _numpy(random, truth, loss)
        return time.perf_counter() - start

    def peer() -> float:
        start = time.perf_counter()
        _scikit_learn(random, truth, score)
        return time.perf_counter() - start

    turns = in_turns(rounds, {"ours": ours, "floor": floor, "peer": peer})
    whole = RESAMPLES / SOME
    base = median(turns["floor"]) * whole
    yield Row(
        what="bootstrap, AUC and log loss",
        measured=median(turns["ours"]) * whole,
        floor=base,
        bar=TIMES * base,
        bar_is=f"{TIMES} x the floor",
        floor_is="NumPy on presorted scores: draw, count, running sum, product",
        note=f"scikit-learn on rows drawn takes {amount(median(turns['peer']) * RESAMPLES, 's')}",
    )


def _numpy(random: np.random.Generator, truth: Any, loss: Any) -> tuple[float, float]:
    counts = np.bincount(random.integers(0, ROWS, ROWS), minlength=ROWS)
    negative = counts * ~truth
    before = np.cumsum(negative)
    positive = counts * truth
    return float(counts @ loss) / ROWS, float(positive @ before) / float(positive.sum() * negative.sum())


def _scikit_learn(random: np.random.Generator, truth: Any, score: Any) -> tuple[float, float]:
    from sklearn.metrics import log_loss, roc_auc_score  # noqa: PLC0415  an optional library's

    drawn = random.integers(0, ROWS, ROWS)
    return float(log_loss(truth[drawn], score[drawn])), float(roc_auc_score(truth[drawn], score[drawn]))
