"""Who is at work? A model that treats groups of people unlike is refused; a repaired one passes, at a price.

headrace run employment
"""

from pathlib import Path

import pyarrow as pa

import headrace as hr
from headrace.spec.report import Report
from headrace.stages import evaluate, registry, train
from screening.letter import decision, passing_as_many
from screening.people import FEATURES, Parts, by_year, read, release, tidy
from screening.repair import LEARNING, MODELS, ROUNDS, Council, learn_council, votes

RULE = (
    "AUC >= 0.7 and precision >= 0.83 and TPR difference by race <= 0.1 and TPR difference by sex <= 0.05"
    " and selection rate ratio by race >= 0.8 with 95% confidence"
)
LEAST = 200  # people, for a group to be compared


@hr.stage(kind="ingest")
def load(edition: str) -> pa.Table:
    """277,677 answers of four years."""
    return read(edition)


@hr.stage(kind="prepare")
def people(raw: pa.Table, *, share: float) -> pa.Table:
    """Those of working age."""
    return tidy(raw, share)


@hr.stage(kind="prepare")
def split(table: pa.Table) -> Parts:
    """2015 to learn from, 2016 to choose the threshold by, 2017 and 2018 to judge by."""
    return by_year(table)


@hr.stage(kind="train", resources=hr.Resources(cpu=1, memory_gib=2), timeout="20m")
def repair(train: pa.Table, *, models: int) -> Council:
    """Models that vote, learned so that they pass people alike."""
    return learn_council(train, models)


@hr.stage(kind="evaluate")
def alike(first: pa.Table, second: pa.Table) -> pa.Table:
    """The first model's predictions, were it to pass as many people as the second, so that costs can be compared."""
    return passing_as_many(first, second)


@hr.stage(kind="evaluate")
def letter(first: Report, first_groups: pa.Table, second: Report, second_groups: pa.Table, price: Report) -> hr.File:
    """The decision as one page."""
    page = decision(first, first_groups, second, second_groups, price, RULE)
    Path("decision.html").write_text(page, encoding="utf-8")
    return hr.File("decision.html")


@hr.pipeline
def employment(share: float = 1.0, models: int = MODELS) -> None:
    """Learn, judge, repair, judge again; register what may be used."""
    cut = split(people(load(release()), share=share))
    first = train.lightgbm(
        {"objective": "binary", **LEARNING}, cut.train, target="employed", features=FEATURES, num_boost_round=ROUNDS
    )
    judged = evaluate.classification(
        first.model,
        cut.test,
        target="employed",
        valid=cut.valid,
        train=cut.train,
        key=["id"],
        threshold="valid:precision=0.85",
        sensitive=["sex", "race"],
        slices=["age"],
        gates=RULE,
        min_group=LEAST,
    )
    council = repair(cut.train, models=models)
    again = evaluate.classification(
        council,
        cut.test,
        target="employed",
        features=FEATURES,
        predict=votes,
        probabilities=False,
        threshold=0.5,
        train=cut.train,
        key=["id"],
        sensitive=["sex", "race"],
        slices=["age"],
        gates=RULE,
        min_group=LEAST,
    )
    price = evaluate.paired(
        alike(judged.predictions, again.predictions), again.predictions, target="employed", probabilities=False
    )
    letter(judged.report, judged.bias, again.report, again.bias, price.report)
    registry.model("employment", first.model, report=judged.report, when=judged.passed)
    registry.model.with_options(approval="risk-team", within="3d")(  # the rule is for machines; a person decides
        "employment", council, report=again.report, aliases=["production"], when=again.passed
    )
