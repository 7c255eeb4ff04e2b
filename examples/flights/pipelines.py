"""Will a flight from New York land late? The whole way from raw tables to a report and a scored month.

    headrace run flights --month 12

Called outside of a pipeline, each stage is its plain function.
"""

import lightgbm as lgb
import pyarrow as pa
from pyarrow import parquet

import headrace as hr
from delays.cleaning import clean_flights, clean_weather
from delays.features import build_features
from delays.learning import BASELINE, LANDED, OCTOBER, SEPTEMBER, best_of, fit_booster, score_month
from delays.sources import read, release
from headrace.stages import evaluate, ingest, prepare
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
def features(flights: pa.Table, weather: pa.Table, planes: pa.Table, airports: pa.Table) -> pa.Table:
    """What can be known of each flight some hours before it should leave."""
    return build_features(flights, weather, planes, airports)


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


@hr.pipeline
def flights(month: int = 12) -> None:
    """Learn, judge, and score a month."""
    if not 1 <= month <= 12:
        raise ValueError(f"there is no month {month}")
    edition = release()
    airports = load_airports(edition)
    weather = observations(load_weather(edition))
    known = ingest.check(departures(load_flights(edition), airports), hr.File("contract.toml"))
    table = features(known.table, weather, load_planes(edition), airports)
    cut = prepare.split(
        prepare.transform(table, sql=LANDED),
        by="time",
        time="scheduled_dep",
        until=(SEPTEMBER, OCTOBER),  # what is learned is always older than what it is judged on
        key=["scheduled_dep", "carrier", "flight", "origin"],
        target="late",
        leak="warn",
    )
    candidates = fit.map(cut.train, cut.valid, num_leaves=LEAVES)
    best = choose(candidates)
    report = evaluate.classification.with_options(resources=JUDGING)(
        best.model,
        prepare.transform(sql=BASELINE, known=cut.train, test=cut.test),
        target="late",
        baseline="carrier_hour",
        slices=["month", "origin", "carrier"],
        groups="day",
        gates="log loss < baseline and AUC >= 0.7 with 95% confidence",
    )
    score(best.model, table, month=month, when=report.passed)
