"""Will a flight from New York land late? The whole way from raw tables to a report and a scored month.

    headrace run flights --month 12

Called outside of a pipeline, each stage is its plain function.
"""

from pathlib import Path
from typing import NamedTuple

import lightgbm as lgb
import pyarrow as pa
from matplotlib.figure import Figure
from pyarrow import parquet

import headrace as hr
from delays.cleaning import clean_flights, clean_weather
from delays.evaluation import Evaluation, Metrics, beats_baselines, evaluate_model
from delays.features import build_features
from delays.figures import as_svg, draw_calibration, draw_days, draw_learning, draw_ranking, draw_slices
from delays.learning import Candidate, Split, best_of, fit_booster, score_month, split_by_month
from delays.page import report_page
from delays.sources import read, release

LEAVES = [15, 31, 63]
FITTING = hr.Resources(cpu=1, memory_gib=2)  # so that candidates learn side by side, where there are cores


class Figures(NamedTuple):
    """The figures of the report."""

    ranking: Figure
    calibration: Figure
    days: Figure
    slices: Figure
    learning: Figure


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


@hr.stage(kind="ingest")
def load_airlines(edition: str) -> pa.Table:
    """The names of the carriers."""
    return read("airlines", edition)


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


@hr.stage(kind="prepare")
def split(table: pa.Table) -> Split:
    """January to August to learn from, September to stop and choose by, October to December to judge by."""
    return split_by_month(table)


@hr.stage(kind="train", resources=FITTING, retries=1, timeout="10m")
def fit(train: pa.Table, valid: pa.Table, *, num_leaves: int) -> Candidate:
    """One model of a given size."""
    return fit_booster(train, valid, num_leaves=num_leaves, threads=int(FITTING.cpu))


@hr.stage(kind="train")
def choose(candidates: list[Candidate]) -> Candidate:
    """The candidate that does best on September."""
    return best_of(candidates)


@hr.stage(kind="evaluate")
def evaluate(model: lgb.Booster, train: pa.Table, test: pa.Table) -> Evaluation:
    """Scores with intervals, baselines, calibration and slices, on months that the model has not seen."""
    return evaluate_model(model, train, test, threads=1)


@hr.stage(kind="evaluate")
def good_enough(metrics: Metrics) -> bool:
    """The gate before scoring: surely better than both baselines."""
    return beats_baselines(metrics)


@hr.stage(kind="evaluate")
def draw(found: Evaluation, candidates: list[Candidate], best: Candidate) -> Figures:
    """The figures of the report."""
    return Figures(
        ranking=draw_ranking(found.predictions),
        calibration=draw_calibration(found.metrics, found.predictions),
        days=draw_days(found.predictions),
        slices=draw_slices(found.slices, found.metrics),
        learning=draw_learning(candidates, best),
    )


@hr.stage(kind="evaluate")
def report(
    found: Evaluation, candidates: list[Candidate], best: Candidate, figures: Figures, airlines: pa.Table
) -> hr.File:
    """The report: one HTML file that needs nothing else."""
    drawn = {name: as_svg(figure) for name, figure in figures._asdict().items()}
    names = dict(zip(airlines["carrier"].to_pylist(), airlines["name"].to_pylist(), strict=True))
    Path("report.html").write_text(report_page(found.metrics, found.slices, candidates, best, drawn, names))
    return hr.File("report.html")


@hr.stage(kind="deploy")
def score(model: lgb.Booster, table: pa.Table, *, month: int) -> hr.File:
    """The probabilities of all flights scheduled in a month, as a Parquet file."""
    parquet.write_table(score_month(model, table, month, threads=1), "predictions.parquet")
    return hr.File("predictions.parquet")


@hr.pipeline
def flights(month: int = 12) -> None:
    """Learn, judge, report, and score a month."""
    if not 1 <= month <= 12:
        raise ValueError(f"there is no month {month}")
    edition = release()
    airports = load_airports(edition)
    weather = observations(load_weather(edition))
    table = features(departures(load_flights(edition), airports), weather, load_planes(edition), airports)
    cut = split(table)
    candidates = fit.map(cut.train, cut.valid, num_leaves=LEAVES)
    best = choose(candidates)
    found = evaluate(best.model, cut.train, cut.test)
    figures = draw(found, candidates, best)
    report(found, candidates, best, figures, load_airlines(edition))
    score(best.model, table, month=month, when=good_enough(found.metrics))
