"""How a judgement is closed: the gates are asked, and facts, tables and figures become a report and its page."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from headrace.codec.classes import is_a
from headrace.codec.values import File
from headrace.define.log import log, warn
from headrace.define.version import Version
from headrace.report.page import html
from headrace.spec.report import Drawing, Fact, Grid, Report
from headrace.stages.evaluate._gate.gate import asked_of, judge, told
from headrace.stages.evaluate._gate.promises import CHOSE, LOST, SEEN
from headrace.stages.evaluate._gate.rules import Comparison, Every, comparisons, parse
from headrace.stages.evaluate.claims import Cases
from headrace.stages.evaluate.findings import Findings
from headrace.stages.evaluate.known import Known, plain
from headrace.stages.evaluate.leaks import Leak, Overlap
from headrace.stages.scratch import scratch

PAGE = "evaluation.html"
NAMED = 8
"""So many of the columns are named that rows were compared by."""


class Closed(NamedTuple):
    """What every evaluation gives out."""

    passed: bool
    metrics: dict[str, float]
    report: Report
    page: File


class Closing:
    """Gathers what a report is made of. `gates` is read at once, so that a bad one is told before the work is done."""

    def __init__(self, gates: str | None, level: float) -> None:
        self.gates = gates
        self.rule = parse(gates) if gates else None
        self.level = level
        self.grids: list[Grid] = []
        self.drawings: list[Drawing] = []
        self.limits: list[str] = []
        self._names: list[str] = []

    def offer(self, known: Known, name: str, fact: Callable[[float], Fact], words: Callable[[], str] = str) -> None:
        """Let gates ask for a number, which is in the report only if they do."""
        known.add(name, fact, words)

    def measure(self, known: Known, name: str, fact: Callable[[float], Fact], words: Callable[[], str] = str) -> None:
        """Put a number in the report, and let gates ask for it."""
        known.add(name, fact, words)
        self._names.append(name)

    def count(self, known: Known, cases: Cases, leak: Leak | None, overlap: Overlap | None = None) -> None:
        """Count the rows, those without a target, those that were trained on, and those that chose how long."""
        self.measure(known, "rows", counted("rows", cases.rows))
        lost = cases.given - cases.rows
        tell = self.measure if lost else self.offer
        tell(known, LOST, counted(LOST, lost))
        if lost:
            self.limits.append(f"{lost:,} of {cases.given:,} rows have no `{cases.target}` and were left out.")
        if leak is not None:
            self.measure(known, SEEN, counted(SEEN, len(leak.rows), better="lower"), partial(_by_heart, leak))
        if overlap is not None:
            self.measure(
                known, CHOSE, counted(CHOSE, overlap.judged, better="lower"), partial(_chose, overlap, cases.rows)
            )
        else:
            self.offer(known, CHOSE, lambda _: Fact(name=CHOSE, value=None, why="the model doesn't tell which chose"))
        self._leak, self._overlap = leak, overlap
        self._rows = cases.rows
        self._places = cases.places

    def report(self, found: Findings, title: str, about: str, default: str) -> Closed:
        """Ask the gates (`default` if none is told), make the report and its page, and log the metrics."""
        known = found.known
        if self.gates is None and default:
            self.rule = parse(default)
        self._ask_of_leak()
        judged = judge(self.rule, known) if self.rule is not None else None
        about_all = [asked_of(each) for each in comparisons(self.rule)] if self.rule is not None else []
        asked = [known.name(each) for each in about_all if each in known]
        facts = {fact.name: fact for fact in found.facts()}
        for name in [*self._names, *asked]:
            if name not in facts:
                facts[name] = known.fact(name, self.level)
        limits = [*self.limits, *self._seen()]
        report = Report(
            title=title,
            about=f"{self._warning()}{about}",
            passed=None if judged is None else judged.passed,
            facts=tuple(facts.values()),
            verdicts=() if judged is None else judged.verdicts,
            grids=(*self._leaked(), *self.grids),
            drawings=tuple(self.drawings),
            limits=tuple(limits),
            confidence=self.level,
        )
        page = scratch() / PAGE
        page.write_text(html(report), encoding="utf-8")
        metrics = {name: fact.value for name, fact in facts.items() if fact.value is not None}
        for name, value in metrics.items():
            log(f"test/{name}", value)
        if judged is not None:
            said = told(judged.verdicts)
            log("test/gates", "\n".join(said))
            sys.stderr.write("".join(f"{line}\n" for line in said))
        return Closed(judged is None or judged.passed, metrics, report, File(page))

    def _ask_of_leak(self) -> None:
        """Warn of rows that the model knows, and have none of them be a rule, unless the gates say what may be of them
        or ask nothing.

        Without a key, rows that are alike in all columns may be others: one in a hundred is then taken for chance, and
        nothing is said where rows are alike anyway.
        """
        leak, overlap, chance = self._leak, self._overlap, self._rows // 100
        if leak is not None and leak.tells:
            if len(leak.rows):
                warn(f"{self._trained_on()} {_by_heart(leak)}")
            self._demand(SEEN, 0 if leak.is_by_key else chance)
        if overlap is not None:
            if overlap.judged > chance:
                warn(_chose(overlap, self._rows))
            self._demand(CHOSE, chance)

    def _demand(self, name: str, most: int) -> None:
        """Have it be a rule that a count is at most this, unless the gates say what it may be, or ask nothing."""
        asked = [plain(each.metric) for each in comparisons(self.rule)] if self.rule is not None else []
        if self.gates != "" and name not in asked:
            unseen = Comparison(metric=name, operator="<=", bound=most)
            rules = self.rule.rules if isinstance(self.rule, Every) else () if self.rule is None else (self.rule,)
            self.rule = Every(rules=(*rules, unseen)) if rules else unseen

    def _trained_on(self) -> str:
        assert self._leak is not None
        count = len(self._leak.rows)
        sure = "was" if count == 1 else "were"
        # rows that are equal needn't be the same ones, where no key tells
        told = sure if self._leak.is_by_key else "may have been"
        return f"{count:,} of the {self._rows:,} rows judged {told} trained on."

    def _leaked(self) -> list[Grid]:
        leak = self._leak
        if leak is None or not len(leak.rows) or not leak.tells:
            return []
        return [leak._replace(rows=self._places[leak.rows]).grid()]

    def _warning(self) -> str:
        """Say at the head of the report what takes the worth from all that follows."""
        chose = self._overlap is not None and self._overlap.judged > self._rows // 100
        told = f"{_chose(self._overlap, self._rows)} " if chose and self._overlap is not None else ""
        if self._leak is None or not len(self._leak.rows) or not self._leak.tells:
            return told
        flatter = "flatter" if self._leak.is_by_key else "may flatter"
        return f"{self._trained_on()} The numbers {flatter} the model. {told}"

    def _seen(self) -> list[str]:
        if self._leak is None:
            return ["Whether rows judged were trained on was not looked at: that takes the training rows (`train=`)."]
        if not len(self._leak.rows):
            return []
        return [f"{self._trained_on()} {_by_heart(self._leak)}" if self._leak.tells else _by_heart(self._leak)]


def _by_heart(leak: Leak) -> str:
    """Say what it means that rows stand in the training data too."""
    count = len(leak.rows)
    if not count:
        return ""
    by = ", ".join(f"`{each}`" for each in leak.by[:NAMED])
    by += f" and {len(leak.by) - NAMED} more columns" if len(leak.by) > NAMED else ""
    if not leak.tells:
        return (
            f"{count:,} of the rows judged have an equal in `train` (by {by}), which tells nothing, since only"
            f" {leak.different:.0%} of the rows are different at all. Whether they are the same takes a `key`."
        )
    if count == 1:
        return f"It stands in `train` too (by {by}), so the model may know it by heart, and the numbers flatter it."
    return f"They stand in `train` too (by {by}), so the model may know them by heart, and the numbers flatter it."


def _chose(overlap: Overlap, rows: int) -> str:
    """Say what it means that rows may have chosen how long the model learned."""
    if not overlap.judged:
        return ""
    count = f"{overlap.judged:,}" if overlap.is_counted else f"About {overlap.judged:,}"
    return (
        f"{count} of the {rows:,} rows judged may have been among the {overlap.rows:,} that chose how long the model"
        " learned (`valid` of its training), so the numbers flatter it."
    )


def counted(name: str, count: int, better: str = "") -> Callable[[float], Fact]:
    """Give a count, which is certain at any confidence."""
    return lambda _: Fact(name=name, value=count, low=count, high=count, better=better)


def unwrapped(given: Any) -> Any:
    """Take the model out of what a training stage or `registry.find` gave out; None where no version is registered."""
    model = given.value if isinstance(given, Version) else given
    return getattr(model, "model", model) if isinstance(model, tuple) else model


def model_name(model: Any, scores: str | Mapping[Any, str] | None) -> str:
    """Say what is judged."""
    if scores is not None:
        return f"Scores in `{scores}`" if isinstance(scores, str) else "Scores by class"
    if is_a(model, "lightgbm.basic.Booster"):
        return "LightGBM"
    steps = getattr(model, "steps", None)
    return type(steps[-1][1] if steps else model).__name__
