"""Gradient-boosted trees that give the probability of arriving late, and how the best of several is chosen.

Learned from January to August, stopped early on September. October to December are for evaluation alone.
"""

from typing import Any, NamedTuple

import lightgbm as lgb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from delays.features import CATEGORIES, FEATURES

TRAIN_MONTHS, VALID_MONTHS, TEST_MONTHS = range(1, 9), range(9, 10), range(10, 13)

PARAMETERS: dict[str, Any] = {
    "objective": "binary",
    "metric": ["binary_logloss", "auc"],
    "first_metric_only": True,
    "learning_rate": 0.1,
    "min_data_in_leaf": 200,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "cat_smooth": 50.0,
    "seed": 2013,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}
MOST_ROUNDS, PATIENCE = 600, 40


class Split(NamedTuple):
    """The year cut by time. `train` and `valid` hold landed flights only, `test` every scheduled one."""

    train: pa.Table
    valid: pa.Table
    test: pa.Table


class Candidate(NamedTuple):
    """A model cut to its best round, and how it got there: one entry a round in `valid_log_loss`."""

    model: lgb.Booster
    num_leaves: int
    rounds: int
    valid_log_loss: list[float]
    valid_auc: float

    @property
    def loss(self) -> float:
        return self.valid_log_loss[self.rounds - 1]


def split_by_month(features: pa.Table) -> Split:
    """Cut at the turns of months, never at random: what is learned is always older than what it is judged on."""
    landed = features.filter(pc.equal(features["status"], "landed"))
    train, valid = of_months(landed, TRAIN_MONTHS), of_months(landed, VALID_MONTHS)
    return Split(train=train, valid=valid, test=of_months(features, TEST_MONTHS))


def of_months(table: pa.Table, months: range) -> pa.Table:
    """The flights scheduled to leave in these months, local time."""
    return table.filter(pc.is_in(table["month"], pa.array(months, table["month"].type)))


def fit_booster(train: pa.Table, valid: pa.Table, *, num_leaves: int, threads: int) -> Candidate:
    """Learn on one table, stop when the log loss of the other no longer falls."""
    parameters = PARAMETERS | {"num_leaves": num_leaves, "num_threads": threads}
    learned = lgb.Dataset(matrix(train), labels(train))
    held = lgb.Dataset(matrix(valid), labels(valid), reference=learned)
    curves: dict[str, dict[str, list[float]]] = {}
    stop = lgb.early_stopping(PATIENCE, first_metric_only=True, verbose=False)
    booster = lgb.train(
        parameters,
        learned,
        MOST_ROUNDS,
        valid_sets=[held],
        valid_names=["valid"],
        callbacks=[stop, lgb.record_evaluation(curves)],
    )
    best = booster.best_iteration
    losses = [round(loss, 6) for loss in curves["valid"]["binary_logloss"]]
    # Through its text form, so that what is used here is what a reader of the saved model gets.
    model = lgb.Booster(model_str=booster.model_to_string(num_iteration=best))
    return Candidate(model, num_leaves, best, losses, curves["valid"]["auc"][best - 1])


def best_of(candidates: list[Candidate]) -> Candidate:
    """The one with the lowest log loss on the validation month; of equals the smaller."""
    return min(candidates, key=lambda each: (each.loss, each.num_leaves))


def predict(model: lgb.Booster, table: pa.Table, *, threads: int) -> np.ndarray:
    """The probability of arriving late, for each row."""
    return np.asarray(model.predict(matrix(table), num_threads=threads), dtype=np.float64)


def score_month(model: lgb.Booster, features: pa.Table, month: int, *, threads: int) -> pa.Table:
    """The probability of each flight scheduled in a month, cancelled later or not; nothing of what became of it.

    `seen` says that the month was learned from or chosen by, so that its probabilities flatter the model.
    """
    flights = of_months(features, range(month, month + 1))
    columns = ["carrier", "flight", "tailnum", "origin", "dest", "scheduled_dep", "predicted_at"]
    scored = flights.select(columns).append_column("late_probability", [predict(model, flights, threads=threads)])
    return scored.append_column("seen", [pa.repeat(month not in TEST_MONTHS, flights.num_rows)])


def labels(table: pa.Table) -> np.ndarray:
    """1 for late, 0 for not. Asked only of landed flights: others have no label."""
    return table["late"].combine_chunks().cast(pa.int8()).to_numpy(zero_copy_only=False)


def matrix(table: pa.Table) -> pd.DataFrame:
    """The features as LightGBM wants them. It keeps the categories that it learned by; others count as missing."""
    frame = table.select(FEATURES).to_pandas()
    return frame.astype(dict.fromkeys(CATEGORIES, "category"))
