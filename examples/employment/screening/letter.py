"""The decision as one page that needs no statistics: what was asked, what each model did, what doing right costs."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.report import document, html_body
from headrace.spec.report import Fact, Report, Verdict

PRICES = {
    "accuracy": "people judged rightly",
    "precision": "of those who are passed, people at work",
    "recall": "of those at work, people who are passed",
    "FPR": "of those not at work, people who are passed",
}
ASKED = (
    "A model is to tell who is at work, from answers to a survey; who is passed is spared from proving it. It may"
    " be used only if this is known to hold. Of two people of whom one is at work, it mostly knows which (at least"
    " 70 times in 100). Of those who are passed, at least 83 in 100 are at work. Of people at work, the shares"
    " that are passed are no more than 10 in 100 apart between any two races, and 5 between women and men. No race"
    " is passed less than 0.8 times as often as another."
)
PRICE = (
    "The numbers are the price of the repair: how many people in 100 more (below 0: fewer) than with the first model,"
    " were that to pass just as many."
)
LIMITS = (
    "Races of fewer than 200 people are in no comparison: so few can't tell how they are treated.",
    "The rule is about those who say that they are at work. It can't see what kept others from it.",
)
RATES = {"recall": ("tpr", "Of people at work"), "selection rate": ("selection_rate", "Of all people")}


def decision(
    first: Report, first_groups: pa.Table, second: Report, second_groups: pa.Table, price: Report, rule: str
) -> str:
    """One page: the summary, then the reports whole."""
    costs = {fact.name.removesuffix(" less first"): fact for fact in price.facts}
    summary = Report(
        title="May this model be used?",
        about=f"{ASKED} The rule as it was asked: `{rule}`.",
        passed=second.passed,
        verdicts=(
            Verdict(rule="the first model", holds=first.passed, why=" ".join(_reasons(first, first_groups))),
            Verdict(rule="the repaired model", holds=second.passed, why=" ".join(_reasons(second, second_groups))),
        ),
        facts=tuple(_in_a_hundred(words, costs[name]) for name, words in PRICES.items()),
        limits=(PRICE, *LIMITS),
    )
    bodies = [html_body(each, level=level) for each, level in ((summary, 1), (first, 2), (second, 2), (price, 2))]
    return document(summary.title, bodies)


def passing_as_many(first: pa.Table, second: pa.Table) -> pa.Table:
    """Predictions of the first model that pass its best-scored people, as many as the second passes."""
    count = sum(second["predicted"].to_pylist())
    best = np.argsort(-first["score"].to_numpy(), kind="stable")[:count]
    passed = np.zeros(first.num_rows, bool)
    passed[best] = True
    place = first.column_names.index("predicted")
    return first.set_column(place, "predicted", pa.array(passed.astype(np.int64)))


def _reasons(report: Report, groups: pa.Table) -> Iterator[str]:
    """What the model does to the two races that it treats most unlike, and how that stands to the rule."""
    facts = {fact.name: fact for fact in report.facts}
    for rate, (column, of) in RATES.items():
        rows = [each for each in groups.to_pylist() if each["by"] == "race" and each[column] is not None]
        low, high = min(rows, key=lambda each: each[column]), max(rows, key=lambda each: each[column])
        yield f"{of} it passes {_share(high, column)} and {_share(low, column)}."
        if rate == "recall":
            ends = f"{_ends(facts['recall difference by race'], 100)} in 100 apart"
            said = _allowed(report, "TPR", "at most 10")
        else:
            ends = f"{_ends(facts['selection rate ratio by race'], 1)} to one"
            said = _allowed(report, "selection", "at least 0.8")
        yield f"With 95% confidence that is {ends}; {said}."


def _allowed(report: Report, begins: str, words: str) -> str:
    holds = next(each.holds for each in report.verdicts if each.rule.startswith(begins) and "race" in each.rule)
    told = {True: "which is within it", False: "which breaks it", None: "and so it isn't known to hold"}
    return f"the rule allows {words}, {told[holds]}"


def _share(row: dict[str, Any], column: str) -> str:
    return f"{row[column] * 100:.0f} in 100 whose race is {row['group']}"


def _ends(fact: Fact, times: float) -> str:
    assert fact.low is not None
    assert fact.high is not None
    digits = 1 if times == 100 else 2
    return f"{fact.low * times:.{digits}f} to {fact.high * times:.{digits}f}"


def _in_a_hundred(words: str, fact: Fact) -> Fact:
    assert fact.value is not None
    assert fact.low is not None
    assert fact.high is not None
    return Fact(name=words, value=100 * fact.value, low=100 * fact.low, high=100 * fact.high, unit="in 100")
