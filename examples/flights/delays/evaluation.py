"""How good the probabilities are on months that the model has not seen, beside two baselines.

Landed flights only: cancelled and diverted ones have no delay, so the probability reads "late, if it lands there".
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import lightgbm as lgb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from delays.intervals import Days, Interval
from delays.learning import labels, predict

MODEL, CARRIER_HOUR, CONSTANT = "model", "carrier and hour", "constant rate"
BASELINES = [CARRIER_HOUR, CONSTANT]
SMOOTHING = 50  # flights at the overall rate, mixed into each rate of a carrier and hour
BINS = 20
ALARM_SHARES = [0.05, 0.1, 0.2, 0.3]
SLICES = ["month", "origin", "carrier"]


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """What evaluation found; all rates and probabilities from 0 to 1.

    `scores[predictor][score]` is an interval, with `auc`, `average_precision` (both absent for the constant),
    `log_loss` and `brier`. `gains[baseline]` is how much lower the model's log loss is.
    """

    flights: int
    days: int
    statuses: dict[str, int]
    late_rate: Interval
    predicted_rate: float
    scores: dict[str, dict[str, Interval]]
    gains: dict[str, Interval]
    calibration: list[dict[str, float]]
    alarms: list[dict[str, float]]


class Evaluation(NamedTuple):
    """The metrics, the same for each slice, and each flight's probabilities by predictor."""

    metrics: Metrics
    slices: pa.Table
    predictions: pa.Table


def evaluate_model(model: lgb.Booster, train: pa.Table, test: pa.Table, *, threads: int) -> Evaluation:
    """Judge a model on the landed flights of `test`; the baselines are learned from `train`."""
    landed = test.filter(pc.equal(test["status"], "landed"))
    late = labels(landed)
    predicted = {
        MODEL: predict(model, landed, threads=threads),
        CARRIER_HOUR: carrier_hour_rate(train, landed),
        CONSTANT: np.full(len(late), labels(train).mean()),
    }
    # The day in New York: in UTC its evening would already be tomorrow.
    local = pc.local_timestamp(pc.cast(landed["scheduled_dep"], pa.timestamp("s", "America/New_York")))
    day = pc.cast(local, pa.date32()).to_numpy()
    days = Days(day)
    metrics = Metrics(
        flights=len(late),
        days=len(days.names),
        statuses={each["values"]: each["counts"] for each in pc.value_counts(test["status"]).to_pylist()},
        late_rate=days.mean(late),
        predicted_rate=float(predicted[MODEL].mean()),
        scores={name: _scores(late, each, days) for name, each in predicted.items()},
        gains={
            name: days.mean(log_loss(late, predicted[name]) - log_loss(late, predicted[MODEL])) for name in BASELINES
        },
        calibration=_calibration(late, predicted[MODEL], day),
        alarms=_alarms(late, predicted[MODEL]),
    )
    columns = landed.select(["month", "carrier", "flight", "origin", "dest", "scheduled_dep", "late"])
    for name, each in {"day": day, **predicted}.items():
        columns = columns.append_column(name, pa.array(each))
    slices = pa.Table.from_pylist(list(_slices(columns)))
    return Evaluation(metrics=metrics, slices=slices, predictions=columns)


def beats_baselines(metrics: Metrics) -> bool:
    """The gate: lower log loss than either baseline, the whole interval of the difference above zero."""
    return all(gain["low"] > 0 for gain in metrics.gains.values())


def carrier_hour_rate(train: pa.Table, flights: pa.Table) -> np.ndarray:
    """The share of late flights of the same carrier and scheduled hour, drawn towards the overall share where few."""
    known = _carrier_and_hour(train).assign(late=labels(train))
    overall = known["late"].mean()
    groups = known.groupby(["carrier", "hour"])["late"].agg(["sum", "count"])
    rate = (groups["sum"] + SMOOTHING * overall) / (groups["count"] + SMOOTHING)
    asked = _carrier_and_hour(flights).join(rate.rename("rate"), on=["carrier", "hour"])
    return asked["rate"].fillna(overall).to_numpy()


def log_loss(late: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """The log loss of each flight, in nats."""
    return -np.log(np.where(late == 1, probability, 1 - probability))


def _carrier_and_hour(table: pa.Table) -> pd.DataFrame:
    frame = table.select(["carrier", "minute_of_day"]).to_pandas()
    return pd.DataFrame({"carrier": frame["carrier"], "hour": (frame["minute_of_day"] // 60).astype(int)})


def _scores(late: np.ndarray, probability: np.ndarray, days: Days) -> dict[str, Interval]:
    found = {
        "log_loss": days.mean(log_loss(late, probability)),
        "brier": days.mean((late - probability) ** 2),
    }
    ranked = days.ranked(late, probability) if np.ptp(probability) > 0 else None
    if ranked is not None:
        found["auc"], found["average_precision"] = ranked
    return found


def _calibration(late: np.ndarray, probability: np.ndarray, day: np.ndarray) -> list[dict[str, float]]:
    """Flights in bins of equal count by probability: what was predicted, and what came, with its interval."""
    bins = []
    for rows in np.array_split(np.argsort(probability, kind="stable"), BINS):
        came = Days(day[rows]).mean(late[rows])
        bins.append(
            {
                "flights": len(rows),
                "predicted": float(probability[rows].mean()),
                "late": came["value"],
                "low": came["low"],
                "high": came["high"],
            }
        )
    return bins


def _alarms(late: np.ndarray, probability: np.ndarray) -> list[dict[str, float]]:
    """What warning about the likeliest share of flights would have been worth."""
    order = np.argsort(-probability, kind="stable")
    found = []
    for share in ALARM_SHARES:
        warned = order[: round(share * len(order))]
        found.append(
            {
                "share": share,
                "above": float(probability[warned[-1]]),
                "precision": float(late[warned].mean()),
                "recall": float(late[warned].sum() / late.sum()),
            }
        )
    return found


def _slices(predictions: pa.Table) -> Iterator[dict[str, Any]]:
    frame = predictions.to_pandas()
    frame["late"] = frame["late"].astype("int8")
    for by in SLICES:
        groups = frame.groupby(by, sort=True)
        for name, rows in sorted(groups, key=lambda each: -len(each[1])) if by == "carrier" else groups:
            late, probability = rows["late"].to_numpy(), rows[MODEL].to_numpy()
            days = Days(rows["day"].to_numpy())
            gap = days.mean(late - probability)
            gain = days.mean(log_loss(late, rows[CARRIER_HOUR].to_numpy()) - log_loss(late, probability))
            ranked = days.ranked(late, probability)
            auc = ranked[0] if ranked else None
            yield {
                "by": by,
                "name": str(name),
                "flights": len(rows),
                "late": int(late.sum()),
                "late_rate": float(late.mean()),
                "predicted_rate": float(probability.mean()),
                **_columns("gap", gap),
                **_columns("gain", gain),
                **_columns("auc", auc),
            }


def _columns(name: str, interval: Interval | None) -> dict[str, float | None]:
    ends = ["value", "low", "high"]
    return {f"{name}_{end}": interval[end] if interval else None for end in ends}  # type: ignore[literal-required]
