"""Gradient-boosted trees that give the probability of arriving late; what they are judged by; a month that they score.

Learned from January to August, stopped early on September. October to December are for evaluation alone.
"""

from typing import Any

import lightgbm as lgb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from delays.features import CATEGORIES, FEATURES
from headrace.stages.train import Boosted, lightgbm

TEST_MONTHS = range(10, 13)
SEPTEMBER, OCTOBER = "2013-09-01T04:00:00Z", "2013-10-01T04:00:00Z"  # midnight in New York

PARAMETERS: dict[str, Any] = {
    "objective": "binary",
    "metric": ["binary_logloss", "auc"],
    "learning_rate": 0.1,
    "min_data_in_leaf": 200,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "cat_smooth": 50.0,
    "seed": 2013,
}
MOST_ROUNDS, PATIENCE = 600, 40
LOSS = "valid/binary_logloss"

# Cancelled and diverted flights have no delay, so they are neither learned from nor judged. The day is that of New
# York: in UTC its evening would already be tomorrow.
LANDED = """
    select *, cast(timezone('America/New_York', scheduled_dep) as date) as day
    from data
    where status = 'landed'
    order by scheduled_dep, carrier, flight, origin
"""

# The baseline: the share of late flights of the same carrier and scheduled hour in what is learned from, with 50
# flights at the overall share mixed into each.
BASELINE = """
    with overall as (select avg(cast(late as double)) as share from known),
    flights as (select carrier, floor(minute_of_day / 60) as hour, cast(late as double) as late from known),
    rates as (
        select flights.carrier, hour, (sum(late) + 50 * any_value(share)) / (count(*) + 50) as rate
        from flights cross join overall
        group by all
    )
    select test.*, coalesce(rate, share) as carrier_hour
    from test
    cross join overall
    left join rates on rates.carrier = test.carrier and rates.hour = floor(test.minute_of_day / 60)
    order by scheduled_dep, test.carrier, flight, origin
"""


def of_months(table: pa.Table, months: range) -> pa.Table:
    """The flights scheduled to leave in these months, local time."""
    return table.filter(pc.is_in(table["month"], pa.array(months, table["month"].type)))


def fit_booster(train: pa.Table, valid: pa.Table, *, num_leaves: int) -> Boosted:
    """Learn on one table, stop when the log loss of the other no longer falls."""
    return lightgbm(
        {**PARAMETERS, "num_leaves": num_leaves},
        train,
        target="late",
        features=FEATURES,
        valid=valid,
        num_boost_round=MOST_ROUNDS,
        stopping_rounds=PATIENCE,
    )


def scrambled(train: pa.Table) -> pa.Table:
    """The flights with the labels in a random order."""
    order = np.random.default_rng(2013).permutation(train.num_rows)
    return train.set_column(train.schema.get_field_index("late"), "late", train["late"].take(order))


def best_of(candidates: list[Boosted]) -> Boosted:
    """The one with the lowest log loss on the validation month; of equals the first."""
    return min(candidates, key=lambda each: each.history[LOSS][each.rounds - 1].as_py())


def score_month(model: lgb.Booster, features: pa.Table, month: int) -> pa.Table:
    """The probability of each flight scheduled in a month, cancelled later or not; nothing of what became of it.

    `seen` says that the month was learned from or chosen by, so that its probabilities flatter the model.
    """
    flights = of_months(features, range(month, month + 1))
    columns = ["carrier", "flight", "tailnum", "origin", "dest", "scheduled_dep", "predicted_at"]
    scored = flights.select(columns).append_column("late_probability", [predict(model, flights)])
    return scored.append_column("seen", [pa.repeat(month not in TEST_MONTHS, flights.num_rows)])


def predict(model: lgb.Booster, table: pa.Table) -> np.ndarray:
    """The probability of arriving late, for each row. The model keeps its categories; others count as missing."""
    frame = table.select(FEATURES).to_pandas().astype(dict.fromkeys(CATEGORIES, "category"))
    return np.asarray(model.predict(frame), dtype=np.float64)
