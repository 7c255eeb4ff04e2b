"""Will a flight from New York land late? The whole way from raw tables to a report, a scored month, and an endpoint.

    headrace run flights --month 12
    headrace serve delays

Called outside of a pipeline, each stage is its plain function.
"""

from typing import NamedTuple

import lightgbm as lgb
import numpy as np
import pyarrow as pa
from pyarrow import parquet

import headrace as hr
from delays.cleaning import clean_flights, clean_weather
from delays.features import RAW, describe, to_features, with_features
from delays.learning import BASELINE, LANDED, OCTOBER, SEPTEMBER, best_of, fit_booster, score_month, scrambled
from delays.sources import read, release
from headrace.stages import deploy, evaluate, ingest, prepare
from headrace.stages.train import Boosted

LEAVES = [15, 31]
FITTING = hr.Resources(cpu=1, memory_gib=2)  # so that candidates learn side by side, where there are cores
JUDGING = hr.Resources(cpu=1, memory_gib=2)


@hr.stage(kind="ingest")
def load_flights(edition: str) -> pa.Table:
    """All 336,776 flights that were to leave New York in 2013."""
    return read("flights", edition)


@hr.stage(kind="ingest")
def load_weather(edition: str) -> pa.Table:
    """Hourly observations at the three airports of New York."""
    return read("weather", edition)


@hr.stage(kind="ingest")
def load_planes(edition: str) -> pa.Table:
    """Planes by tail number."""
    return read("planes", edition)


@hr.stage(kind="ingest")
def load_airports(edition: str) -> pa.Table:
    """Airports of the United States: where they lie, and what time they keep."""
    return read("airports", edition)


@hr.stage(kind="prepare")
def departures(flights: pa.Table, airports: pa.Table) -> pa.Table:
    """Flights with times in UTC, what became of each, and the label."""
    return clean_flights(flights, airports)


@hr.stage(kind="prepare")
def observations(weather: pa.Table) -> pa.Table:
    """Weather with the time from which it was known."""
    return clean_weather(weather)


@hr.stage(kind="prepare", resources=hr.Resources(cpu=1, memory_gib=2))
def raw(flights: pa.Table, weather: pa.Table) -> pa.Table:
    """What a client can say of each flight some hours before it should leave."""
    return describe(flights, weather)


@hr.stage(kind="prepare")
def sample(raw: pa.Table) -> pa.Table:
    """Some of what clients can say, evenly over the year: the endpoint must answer for it as the model itself does."""
    return raw.select(RAW.names).take(np.linspace(0, raw.num_rows - 1, 20).astype(int))


@hr.stage(kind="prepare", resources=hr.Resources(cpu=1, memory_gib=2))
def features(raw: pa.Table, planes: pa.Table, airports: pa.Table) -> pa.Table:
    """What the model is asked about each flight. The endpoint makes the same of what clients say."""
    return with_features(raw, planes, airports)


@hr.stage(kind="prepare")
def scramble(table: pa.Table) -> pa.Table:
    """The same flights, each with the label of another one: what a wrong join makes of a table."""
    return scrambled(table)


@hr.stage(kind="train", resources=FITTING, retries=1, timeout="10m")
def fit(train: pa.Table, valid: pa.Table, *, num_leaves: int) -> Boosted:
    """One model of a given size."""
    return fit_booster(train, valid, num_leaves=num_leaves)


@hr.stage(kind="train")
def choose(candidates: list[Boosted]) -> Boosted:
    """The candidate that does best on September."""
    return best_of(candidates)


@hr.stage(kind="deploy")
def score(model: lgb.Booster, table: pa.Table, *, month: int) -> hr.File:
    """The probabilities of all flights scheduled in a month, as a Parquet file."""
    parquet.write_table(score_month(model, table, month), "predictions.parquet")
    return hr.File("predictions.parquet")


class Prepared(NamedTuple):
    """What both pipelines learn from, and what rows are prepared by."""

    raw: pa.Table
    table: pa.Table
    planes: pa.Table
    airports: pa.Table
    cut: prepare.Split


def prepared() -> Prepared:
    """Wire the stages from the raw tables to the split."""
    edition = release()
    airports, planes = load_airports(edition), load_planes(edition)
    weather = observations(load_weather(edition))
    known = ingest.check(departures(load_flights(edition), airports), hr.File("contract.toml"))
    described = raw(known.table, weather)
    table = features(described, planes, airports)
    cut = prepare.split(
        prepare.transform(table, sql=LANDED),
        by="time",
        time="scheduled_dep",
        until=(SEPTEMBER, OCTOBER),  # what is learned is always older than what it is judged on
        key=["scheduled_dep", "carrier", "flight", "origin"],
        target="late",
        leak="warn",
    )
    return Prepared(described, table, planes, airports, cut)


def judged(model: lgb.Booster, cut: prepare.Split) -> evaluate.Classification:
    """Wire the judgement of a model, with the gate."""
    return evaluate.classification.with_options(resources=JUDGING)(
        model,
        prepare.transform(sql=BASELINE, known=cut.train, test=cut.test),
        target="late",
        baseline="carrier_hour",
        slices=["month", "origin", "carrier"],
        groups="day",
        gates="log loss < baseline and AUC >= 0.7 with 95% confidence",
    )


@hr.pipeline
def flights(month: int = 12) -> None:
    """Learn, judge, score a month, and let the model answer."""
    if not 1 <= month <= 12:
        raise ValueError(f"there is no month {month}")
    known = prepared()
    candidates = fit.map(known.cut.train, known.cut.valid, num_leaves=LEAVES)
    best = choose(candidates)
    report = judged(best.model, known.cut)
    score(best.model, known.table, month=month, when=report.passed)
    deploy.endpoint(
        best.model,
        "delays",
        report=report.report,
        prepare=to_features,
        given={"planes": known.planes, "airports": known.airports},
        signature=RAW.empty_table(),
        sample=sample(known.raw),
        when=report.passed,
    )


@hr.pipeline
def worse() -> None:
    """Learn from scrambled labels, and let the model answer as a shadow, which needs no gate: to be rolled back."""
    known = prepared()
    fitted = fit(scramble(known.cut.train), known.cut.valid, num_leaves=LEAVES[0])
    report = judged(fitted.model, known.cut)
    deploy.endpoint(
        fitted.model,
        "delays",
        shadow=True,
        report=report.report,
        prepare=to_features,
        given={"planes": known.planes, "airports": known.airports},
        signature=RAW.empty_table(),
        note="learned from scrambled labels",
    )
