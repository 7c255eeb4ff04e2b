"""Gates: whether a rule holds of what was measured.

With a confidence, the *whole* two-sided interval must satisfy the comparison: with 95%, the chance that a rule is said
to hold though it doesn't is 2.5%. If the whole interval violates it, it fails; if the bound lies inside, the data don't
tell, and what isn't known to hold doesn't pass.
"""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from msgspec.structs import replace

from headrace.define.log import log
from headrace.define.ready import ready
from headrace.spec.report import Fact, Report, Verdict
from headrace.stages.evaluate.known import Known, known_of
from headrace.stages.evaluate.promises import COUNTED
from headrace.stages.evaluate.rules import Comparison, Either, Every, Rule, comparisons, parse
from headrace.stages.report.numbers import decimals_of, told_from, with_unit

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
}

LEAST = 0.5
"""The confidence asked for where only the value is looked at: any report's intervals are of this one or a higher."""

ROUNDING = 1e-12
"""Numbers that differ by a smaller share are the same: what was measured comes of sums and differences of floats."""

HOLDS = {True: "holds", False: "fails", None: "undecided"}


class Judgement(NamedTuple):
    """Whether a rule holds (None: the data don't tell), and a verdict for each of its comparisons."""

    holds: bool | None
    verdicts: tuple[Verdict, ...]

    @property
    def passed(self) -> bool:
        """Whether it is known to hold."""
        return self.holds is True


def _check_rule(given: Mapping[str, object]) -> None:
    if isinstance(rule := given.get("rule"), str):
        parse(rule)


@ready("evaluate.gate", version=2, kind="evaluate", name="gate", check=_check_rule)
def gate(report: Report, rule: str) -> bool:
    """Say whether a rule holds of a report, for `when=`.

    Args:
        report: what an evaluation found.
        rule: such as `"AUC >= 0.7 and worst-slice gap <= 0.1 with 95% confidence"`.


    Gives True if the rule is known to hold. False may mean that it fails or that the data don't tell: `headrace show`,
    and the task's log, say which, and why.

    Raises:
        UsageError: the rule can't be read, or asks for what the report doesn't hold.
    """
    found = judge(parse(rule), known_of(report))
    said = told(found.verdicts)
    log("gate", "\n".join(said))
    sys.stderr.write("".join(f"{line}\n" for line in said))
    return found.passed


def told(verdicts: Iterable[Verdict]) -> list[str]:
    """Give verdicts in lines of a log."""
    return [f"{HOLDS[each.holds]}: {each.rule}: {each.why}" for each in verdicts]


def judge(rule: Rule, known: Known) -> Judgement:
    """Judge a rule.

    Raises:
        UsageError: it asks for a number that isn't known.
    """
    verdicts = {str(each): _compare(each, known) for each in comparisons(rule)}
    holds = _holds(rule, verdicts)
    found = tuple(verdicts.values())
    if _has_choice(rule):
        words = {
            True: "Enough of its parts hold.",
            False: "Too few of its parts hold.",
            None: "What is known of its parts doesn't decide.",
        }
        found = (Verdict(rule=str(rule), holds=holds, why=words[holds]), *found)
    return Judgement(holds, found)


def _has_choice(rule: Rule) -> bool:
    """Tell whether a rule may hold though one of its comparisons doesn't."""
    return isinstance(rule, Either) or (isinstance(rule, Every) and any(map(_has_choice, rule.rules)))


def asked_of(comparison: Comparison) -> str:
    """Name the number that a comparison is about."""
    return f"{comparison.metric} less {comparison.against}" if comparison.against else comparison.metric


def _holds(rule: Rule, verdicts: dict[str, Verdict]) -> bool | None:
    """Combine with three values (Kleene): what isn't known stays so unless the rest decides."""
    match rule:
        case Comparison():
            return verdicts[str(rule)].holds
        case Every(rules=rules):
            found = [_holds(each, verdicts) for each in rules]
            return False if False in found else None if None in found else True
        case Either(rules=rules):
            found = [_holds(each, verdicts) for each in rules]
            return True if True in found else None if None in found else False


def _compare(comparison: Comparison, known: Known) -> Verdict:
    if comparison.against and asked_of(comparison) not in known:
        metric = known.name(comparison.metric)
        why = f"the report doesn't say how far {metric} is from that of the {comparison.against} model"
        return Verdict(rule=str(comparison), holds=None, why=f"{why}: ask it in `gates=` of the evaluation")
    name = known.name(asked_of(comparison))
    level = comparison.confidence
    called = name if comparison.against else comparison.metric  # as the rule has it
    called = f"the number of {called}" if name in COUNTED else called
    fact = _on(comparison.bound, known.fact(name, LEAST if level is None else level))
    words = known.words(name)
    behind = f" {words}" if words else ""
    if fact.value is None:
        return Verdict(rule=str(comparison), holds=None, why=f"{called} is undefined: {fact.why}.{behind}")
    holds = OPERATORS[comparison.operator]
    bound, decimals = f"{comparison.bound:.12g}", decimals_of(fact)
    shown = with_unit(told_from(fact.value, comparison.bound, decimals), fact.unit)
    asked = f"{comparison.operator} {bound}"
    is_certain = name in COUNTED and fact.low == fact.high == fact.value
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
        None: f"part of that is {asked} and part is not, so these rows don't tell",
    }[met]
    ends = " and ".join(told_from(each, comparison.bound, decimals) for each in (fact.low, fact.high))
    why = f"{called} is {shown}, with {known.sure(level) * 100:g}% confidence between {ends}; {said}.{behind}"
    return Verdict(rule=str(comparison), holds=met, why=why)


def _on(bound: float, fact: Fact) -> Fact:
    """Put numbers on a bound that they miss by rounding alone: 0.4 less 0.3 is a little more than 0.1 in floats."""

    def put(value: float | None) -> float | None:
        nothing = ROUNDING if bound == 0 else 0.0  # of which there are no shares
        near = value is not None and math.isclose(value, bound, rel_tol=ROUNDING, abs_tol=nothing)
        return bound if near else value

    return replace(fact, value=put(fact.value), low=put(fact.low), high=put(fact.high))
