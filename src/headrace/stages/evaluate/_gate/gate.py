"""Gates: they decide whether a rule holds for what was measured.

If a rule has a confidence, the *whole* two-sided interval must satisfy the comparison. With 95%, the chance that a rule
passes although it is false is 2.5%. If the whole interval violates the comparison, the rule fails. If the bound lies
inside the interval, the data don't decide whether the rule holds. Such a rule doesn't pass either.

Any part of an `or` may hold by chance. So each of the k parts of an `or` gets 1/k of that chance of 2.5% (Bonferroni;
Dunn 1961). All parts of an `and` must hold, so an `and` needs no correction (Berger 1982).
"""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from msgspec.structs import replace

from headrace.define.log import log
from headrace.define.stage import ready
from headrace.errors import UsageError
from headrace.report.numbers import decimals_of, told_from, with_unit
from headrace.spec.report import Fact, Report, Verdict
from headrace.stages.evaluate._gate.promises import COUNTED, check_percentages
from headrace.stages.evaluate.metrics.catalogue import Catalogue, catalogue_of
from headrace.watch.rules import Comparison, Either, Every, Rule, comparisons, parse

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
}

LEAST = 0.5
"""The confidence that is used if a rule compares only the value. No report has intervals of a lower confidence."""

ROUNDING = 1e-12
"""Two numbers count as equal if they differ by less than this share of their size, since sums of floats have rounding
errors."""

MOST_TIMES = 1000
"""The verdict on an undecided rule says how many rows would decide the rule, if that is fewer than `MOST_TIMES` times
the present number of rows."""

HOLDS = {True: "holds", False: "fails", None: "undecided"}


class Judgement(NamedTuple):
    """The result of judging a rule.

    `holds` says whether the rule holds. It is None if the data don't decide this. `verdicts` has a verdict for each
    comparison.
    """

    holds: bool | None
    verdicts: tuple[Verdict, ...]

    @property
    def passed(self) -> bool:
        """Whether the rule is known to hold."""
        return self.holds is True


def _check_rule(given: Mapping[str, object]) -> None:
    if isinstance(rule := given.get("rule"), str):
        check_percentages(parse(rule))


@ready("evaluate.gate", version=3, kind="evaluate", name="gate", check=_check_rule)
def gate(report: Report, rule: str) -> bool:
    """Return True if a rule is known to hold for a report. Pass the result as `when=` of another task.

    Args:
        report: the report of an evaluation.
        rule: a rule such as `"AUC >= 0.7 and worst-slice gap <= 0.1 with 95% confidence"`.

    False means that the rule fails, or that the data don't decide whether it holds. `headrace show` and the task's log
    say which of these is the case, and why.

    Raises:
        UsageError: the rule can't be read, or asks for a number that the report doesn't hold.
    """
    found = judge(parse(rule), catalogue_of(report))
    said = told(found.verdicts)
    log("gate", "\n".join(said))
    sys.stderr.write("".join(f"{line}\n" for line in said))
    return found.passed


def told(verdicts: Iterable[Verdict]) -> list[str]:
    """Return the verdicts as lines for a log."""
    return [f"{HOLDS[each.holds]}: {each.rule}: {each.why}" for each in verdicts]


def judge(rule: Rule, catalogue: Catalogue) -> Judgement:
    """Return whether a rule holds for the numbers of a catalogue, with a verdict for each comparison.

    Raises:
        UsageError: the rule asks for a number that the catalogue doesn't have.
    """
    parts = parts_of(rule)
    verdicts = {str(each): _compare(each, catalogue, parts[str(each)]) for each in comparisons(rule)}
    holds = _holds(rule, verdicts)
    found = tuple(verdicts.values())
    if _has_choice(rule):
        words = {
            True: "Enough of its parts hold.",
            False: "Too few of its parts hold.",
            None: "The parts that are known don't decide.",
        }
        found = (Verdict(rule=str(rule), holds=holds, why=words[holds]), *found)
    return Judgement(holds, found)


def _has_choice(rule: Rule) -> bool:
    """Return whether a rule may hold even if one of its comparisons doesn't."""
    return isinstance(rule, Either) or (isinstance(rule, Every) and any(map(_has_choice, rule.rules)))


def parts_of(rule: Rule, parts: int = 1) -> dict[str, int]:
    """Return, for each comparison, how many alternatives share the allowed chance of a wrong verdict.

    The alternatives are the parts of each `or` around the comparison. If one `or` is inside another, their numbers of
    parts are multiplied. A part without a confidence isn't counted. A comparison that occurs several times gets the
    largest number.

    >>> parts_of(parse("A > 1 with 95% confidence and (B > 1 or C > 1 and (D > 1 or E > 1)) with 95% confidence"))
    {...'A > 1 with 95% confidence': 1, 'B > 1 with 95% confidence': 2, ...'D > 1 with 95% confidence': 4, ...}
    """
    if isinstance(rule, Comparison):
        return {str(rule): parts}
    if isinstance(rule, Either):
        parts *= max(1, sum(any(each.confidence is not None for each in comparisons(part)) for part in rule.rules))
    found: dict[str, int] = {}
    for part in rule.rules:
        for name, count in parts_of(part, parts).items():
            found[name] = max(count, found.get(name, 1))
    return found


def asked_of(comparison: Comparison) -> str:
    """Return the name of the number that a comparison is about."""
    return f"{comparison.metric} less {comparison.against}" if comparison.against else comparison.metric


def _holds(rule: Rule, verdicts: dict[str, Verdict]) -> bool | None:
    """Return whether a rule holds. Return None if the known comparisons don't decide this (three-valued logic,
    Kleene)."""
    match rule:
        case Comparison():
            return verdicts[str(rule)].holds
        case Every(rules=rules):
            found = [_holds(each, verdicts) for each in rules]
            return False if False in found else None if None in found else True
        case Either(rules=rules):
            found = [_holds(each, verdicts) for each in rules]
            return True if True in found else None if None in found else False


def _compare(comparison: Comparison, catalogue: Catalogue, parts: int) -> Verdict:
    if comparison.against and asked_of(comparison) not in catalogue:
        why = f"the report doesn't have {catalogue.name(comparison.metric)} less {comparison.against}"
        has = (
            "the differences of the main metric, if they are defined, and of those that the evaluation's `gates=` names"
        )
        return Verdict(rule=str(comparison), holds=None, why=f"{why}: it has {has}")
    name = catalogue.name(asked_of(comparison))
    level = None if comparison.confidence is None else 1 - (1 - comparison.confidence) / parts
    called = name if comparison.against else comparison.metric  # as written in the rule
    called = f"the number of {called}" if name in COUNTED else called
    fact = _on(comparison.bound, catalogue.fact(name, LEAST if level is None else level, parts))
    if comparison.is_percentage and fact.unit:
        raise UsageError(
            f"the gate `{comparison}` was written with a percentage, and the unit of `{name}` is `{fact.unit}`",
            hint="write the number itself, in this unit",
        )
    words = catalogue.words(name)
    behind = f" {words}" if words else ""
    if fact.value is None:
        return Verdict(rule=str(comparison), holds=None, why=f"{called} is undefined: {fact.why}.{behind}")
    holds = OPERATORS[comparison.operator]
    bound, decimals = f"{comparison.bound:.12g}", decimals_of(fact)
    shown = with_unit(told_from(fact.value, comparison.bound, decimals), fact.unit)
    asked = f"{comparison.operator} {bound}"
    is_certain = name in COUNTED and fact.low == fact.high == fact.value
    if fact.why and (fact.low is not None or fact.high is not None):
        of_those = f"{called} is {shown} among those who were judged"
        return _partly(comparison, fact, of_those, behind, sure=level is not None)
    if level is None or is_certain:
        met: bool | None = holds(fact.value, comparison.bound)
        return Verdict(
            rule=str(comparison),
            holds=met,
            why=f"{called} is {shown}, which {'is' if met else 'is not'} {asked}.{behind}",
        )
    if fact.low is None or fact.high is None:
        return Verdict(
            rule=str(comparison),
            holds=None,
            why=f"{called} is {shown}, and has no interval: {fact.why or 'none'}.{behind}",
        )
    low, high = holds(fact.low, comparison.bound), holds(fact.high, comparison.bound)
    met = True if low and high else False if not low and not high else None
    said = {
        True: f"all of that is {asked}",
        False: f"none of that is {asked}",
        None: f"part of that is {asked} and part is not, so these rows can't decide it{_rows_needed(fact, comparison)}",
    }[met]
    ends = " and ".join(told_from(each, comparison.bound, decimals) for each in (fact.low, fact.high))
    shared = f" ({parts} alternatives share the chance of error)" if parts > 1 else ""
    sure = f"{catalogue.sure(level) * 100:.5g}% confidence{shared}"
    why = f"{called} is {shown}, with {sure} between {ends}; {said}.{behind}"
    return Verdict(rule=str(comparison), holds=met, why=why)


def _partly(comparison: Comparison, fact: Fact, called: str, behind: str, *, sure: bool) -> Verdict:
    """Return the verdict on a number that leaves out some people, because their groups are too small to be judged.

    If lower is better, these people may raise the number. If higher is better, they may lower it. `called` begins the
    verdict's reason, and `behind` ends it. `sure` is True if the comparison has a confidence.
    """
    holds = OPERATORS[comparison.operator]
    value = fact.value or 0.0
    near = (fact.low if fact.better == "lower" else fact.high) if sure else value
    far = (fact.high if fact.better == "lower" else fact.low) or (0.0 if fact.better == "higher" else math.inf)
    first, last = holds(value if near is None else near, comparison.bound), holds(far, comparison.bound)
    met = first if first is last else None
    why = {
        True: f"{called}, and whatever the others add, that is {comparison.operator} {comparison.bound:.12g}",
        False: f"{called}, which is not {comparison.operator} {comparison.bound:.12g}, whatever the others add",
        None: f"{called}, and the others may make it {'more' if fact.better == 'lower' else 'less'}",
    }[met]
    return Verdict(rule=str(comparison), holds=met, why=f"{why}. {fact.why}.{behind}")


def _rows_needed(fact: Fact, comparison: Comparison) -> str:
    """Return words on how many more rows might decide the rule. The result is empty if more rows wouldn't help.

    An interval narrows with the square root of the number of rows. More rows don't help if the value itself is on the
    wrong side of the bound. The result is also empty if at least `MOST_TIMES` times the present number of rows would be
    needed.
    """
    assert fact.value is not None
    room = abs(fact.value - comparison.bound)
    end = fact.low if comparison.operator in (">", ">=") else fact.high
    if not room or end is None or not OPERATORS[comparison.operator](fact.value, comparison.bound):
        return ""
    times = (abs(fact.value - end) / room) ** 2
    return f"; about {times:,.0f} times as many might" if 1.5 <= times < MOST_TIMES else ""


def _on(bound: float, fact: Fact) -> Fact:
    """Return the fact with rounding errors removed: each number that differs from the bound only by a rounding error is
    set to the bound.

    For example, 0.4 - 0.3 isn't exactly 0.1 in floats.
    """

    def put(value: float | None) -> float | None:
        nothing = ROUNDING if bound == 0 else 0.0  # a share of 0 is 0, so 0 needs an absolute tolerance
        near = value is not None and math.isclose(value, bound, rel_tol=ROUNDING, abs_tol=nothing)
        return bound if near else value

    return replace(fact, value=put(fact.value), low=put(fact.low), high=put(fact.high))
