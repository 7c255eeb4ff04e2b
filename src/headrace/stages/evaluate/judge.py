"""The judge of an evaluation: it draws resamples, measures, counts, checks the gates, and writes the report."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import pyarrow as pa

from headrace.codec.classes import is_a
from headrace.codec.values import File
from headrace.define.log import log, warn
from headrace.define.version import Version
from headrace.models.model import Model
from headrace.report.page import html
from headrace.spec.report import Drawing, Fact, Grid, Report
from headrace.stages.evaluate._gate.gate import asked_of, judge, told
from headrace.stages.evaluate._gate.promises import CHOSE, LOST, SEEN
from headrace.stages.evaluate.claims import Cases, cases
from headrace.stages.evaluate.findings import Findings
from headrace.stages.evaluate.leaks import DISTINCT, Leak, Overlap, leaks, overlap
from headrace.stages.evaluate.metrics.catalogue import plain
from headrace.stages.evaluate.metrics.part import Metric, Part
from headrace.stages.evaluate.options import EvaluationOptions
from headrace.stages.evaluate.slices import codes
from headrace.stages.evaluate.slices import slices as slices_of
from headrace.stages.scratch import scratch
from headrace.stages.tables.columns import listed
from headrace.watch.resamples import Resamples
from headrace.watch.rules import Comparison, Every, comparisons, parse

PAGE = "evaluation.html"
NAMED = 8
"""If rows were compared by more columns than this, a message names only this many of them."""


class Judged(NamedTuple):
    """The results that every evaluation has."""

    passed: bool
    metrics: dict[str, float]
    slices: pa.Table
    report: Report
    page: File


class Judge:
    """The judge of the rows of one evaluation.

    The gates are read when the judge is made, so that a bad gate is refused before the work is done. `people` are the
    columns of groups of people, if the evaluation compares such groups.
    """

    def __init__(self, call: EvaluationOptions, people: str | Sequence[str] = ()) -> None:
        self._call = call
        self.rule = parse(call.gates) if call.gates else None
        self.level, self.least = call.confidence, call.least
        self.model, self.baseline, self.previous = map(unwrapped, (call.model, call.baseline, call.previous))
        self.slices, self.people, self.key = listed(call.slices), listed(people), listed(call.key)
        self._groups = [] if call.groups is None else [call.groups]
        self._names: list[str] = []

    def cases(self, target: str | None, features: Sequence[str] | None, said: Iterable[Any] = ()) -> Cases:
        """Return the rows that have a target.

        `said` are the values of those options that may name columns of predictions. By default, the columns that they
        name aren't features.
        """
        texts = [each for each in (*said, self.baseline, self.previous) if isinstance(each, str)]
        apart = [*texts, *self._groups, *self.slices, *self.people, *self.key]
        return cases(self.model, self._call.table, target, features, apart)

    def take(self, rows: Cases) -> None:
        """Set the rows to judge, in their order, and prepare their resamples."""
        groups = codes(rows.table, self._groups[0]) if self._groups else None
        self._rows = rows
        self.drawn = Resamples(rows.rows, count=self._call.resamples, seed=self._call.seed, groups=groups)

    def findings(
        self,
        metrics: Sequence[Metric],
        main: str,
        wholes: Mapping[str, Part],
        part: Callable[[Any], Part],
        more: Mapping[str, Part],
    ) -> Findings:
        """Return the findings on all rows, on the slices and on the parts in `more`, from one set of resamples.

        `part` is a function that takes row numbers, and returns these rows as a part, with predictions and metrics.
        """
        cuts = slices_of(self._rows.table, self.slices)
        found = Findings(
            metrics,
            main,
            wholes,
            cuts,
            [part(each.rows) for each in cuts],
            self.drawn,
            level=self.level,
            least=self.least,
            more=more,
        )
        self._catalogue = found.catalogue
        return found

    def offer(self, name: str, fact: Callable[[float], Fact], words: Callable[[], str] = str) -> None:
        """Add a number that gates may ask for. The report shows the number only if a gate asks for it."""
        self._catalogue.add(name, fact, words)

    def measure(self, name: str, fact: Callable[[float], Fact], words: Callable[[], str] = str) -> None:
        """Add a number to the report, and to the numbers that gates may ask for."""
        self._catalogue.add(name, fact, words)
        self._names.append(name)

    def count(self, model: Model | None = None) -> None:
        """Count the judged rows, the rows without a target, and the judged rows that the model has seen.

        A model has seen a row if it was trained on the row, or if the row was used to choose how long to train.
        """
        rows, train = self._rows, self._call.train
        valid = getattr(self._call, "valid", None)
        chose = None if model is None else overlap(model, rows.table, rows.features, valid=valid, key=self.key)
        leak = None if train is None else leaks(rows.table, train, self.key or None)
        self.measure("rows", counted("rows", rows.rows))
        lost = rows.given - rows.rows
        tell = self.measure if lost else self.offer
        tell(LOST, counted(LOST, lost))
        if leak is not None:
            self.measure(SEEN, counted(SEEN, len(leak.rows), better="lower"), partial(_by_heart, leak))
        if chose is not None:
            self.measure(CHOSE, counted(CHOSE, chose.judged, better="lower"), partial(_chose, chose, rows.rows))
        else:
            self.offer(CHOSE, lambda _: Fact(name=CHOSE, value=None, why="the model doesn't say which rows these are"))
        self._leak, self._overlap = leak, chose

    def report(
        self,
        found: Findings,
        title: str,
        about: str,
        default: str,
        *,
        grids: Iterable[Grid],
        more: Iterable[Grid],
        drawings: Iterable[Drawing],
        limits: Iterable[str],
    ) -> Judged:
        """Check the gates, write the report and its page, and log the metrics.

        `default` is the gate that applies if the user gave none. In the report, `grids` come before the grids of the
        slices, and `more` come after the grids of the slices.
        """
        catalogue, sliced = self._catalogue, found.table()
        if self._call.gates is None and default:
            self.rule = parse(default)
        self._ask_of_leak()
        judged = judge(self.rule, catalogue) if self.rule is not None else None
        about_all = [asked_of(each) for each in comparisons(self.rule)] if self.rule is not None else []
        asked = [catalogue.name(each) for each in about_all if each in catalogue]
        facts = {fact.name: fact for fact in found.facts()}
        for name in [*self._names, *asked]:
            if name not in facts:
                facts[name] = catalogue.fact(name, self.level)
        beside = [found.beside()] if len(found.wholes) > 1 else []
        report = Report(
            title=title,
            about=f"{self._warning()}{about}",
            passed=None if judged is None else judged.passed,
            facts=tuple(facts.values()),
            verdicts=() if judged is None else judged.verdicts,
            grids=(*self._leaked(), *beside, *grids, *found.grids(sliced), *more),
            drawings=(*drawings, *found.forest(sliced)),
            limits=(*limits, *self._seen()),
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
        return Judged(judged is None or judged.passed, metrics, sliced, report, File(page))

    def predictions(self, said: Mapping[str, Any]) -> pa.Table:
        """Return a table with a row for each judged row.

        A row of the table has the number of the judged row, its target, the columns by which it was grouped, and the
        predictions in `said`.
        """
        table, target = self._rows.table, self._rows.target
        columns: dict[str, Any] = {"row": pa.array(self._rows.places, pa.int64()), target: table[target]}
        extra = [each for each in (*self.slices, *self.people, *self._groups) if each not in columns]
        return pa.table(columns | {name: table[name] for name in extra} | dict(said))

    def _ask_of_leak(self) -> None:
        """Warn if the model has seen judged rows, and add rules against such rows to the gates.

        No rule is added if the gates are empty, or already have a rule on the number of these rows. Equal rows may be
        different cases if they weren't compared by the columns of the option `key`. Then a rule allows as many equal
        rows as chance explains, and at least 1% of the judged rows. If most rows of the judged table or of the training
        table are equal to other rows of the same table anyway, there is no warning of rows that chance explains.
        """
        leak, chose, few = self._leak, self._overlap, self._rows.rows // 100
        if leak is not None:
            if leak.is_told and len(leak.rows):
                warn(f"{self._trained_on()} {_by_heart(leak)}" if leak.tells else _by_heart(leak))
            self._demand(SEEN, 0 if leak.is_by_key else max(few, leak.chance))
        if chose is not None:
            if self._is_chosen:
                warn(_chose(chose, self._rows.rows))
            self._demand(CHOSE, 0 if chose.key else max(few, chose.chance))

    @property
    def _is_chosen(self) -> bool:
        """Whether so many judged rows were used to choose how long to train that the user is warned."""
        chose = self._overlap
        return chose is not None and chose.tells and (bool(chose.key) or chose.judged > self._rows.rows // 100)

    def _demand(self, name: str, most: int) -> None:
        """Add the rule that the count `name` is at most `most`. Add no rule if the gates are empty, or already have a
        rule on this count."""
        asked = [plain(each.metric) for each in comparisons(self.rule)] if self.rule is not None else []
        if self._call.gates != "" and name not in asked:
            unseen = Comparison(metric=name, operator="<=", bound=most)
            rules = self.rule.rules if isinstance(self.rule, Every) else () if self.rule is None else (self.rule,)
            self.rule = Every(rules=(*rules, unseen)) if rules else unseen

    def _trained_on(self) -> str:
        assert self._leak is not None
        count = len(self._leak.rows)
        sure = "was" if count == 1 else "were"
        # without a key, equal rows may be different cases
        told = sure if self._leak.is_by_key else "may have been"
        return f"{count:,} of the {self._rows.rows:,} rows judged {told} trained on."

    def _leaked(self) -> list[Grid]:
        leak = self._leak
        if leak is None or not len(leak.rows) or not leak.tells:
            return []
        return [leak._replace(rows=self._rows.places[leak.rows]).grid()]

    def _warning(self) -> str:
        """Return the warning at the head of the report: the model has seen judged rows. The warning is empty if the
        model has seen none."""
        told = f"{_chose(self._overlap, self._rows.rows)} " if self._is_chosen and self._overlap is not None else ""
        if self._leak is None or not len(self._leak.rows) or not self._leak.tells:
            return told
        flatter = "flatter" if self._leak.is_by_key else "may flatter"
        return f"{self._trained_on()} The numbers {flatter} the model. {told}"

    def _seen(self) -> list[str]:
        if self._leak is None:
            return ["Nobody checked whether the model was trained on judged rows: give the training rows (`train=`)."]
        if not len(self._leak.rows):
            return []
        return [f"{self._trained_on()} {_by_heart(self._leak)}" if self._leak.tells else _by_heart(self._leak)]


def _by_heart(leak: Leak) -> str:
    """Return a sentence that says how the numbers are affected because judged rows are in the training data too."""
    count = len(leak.rows)
    if not count:
        return ""
    by = ", ".join(f"`{each}`" for each in leak.by[:NAMED])
    by += f" and {len(leak.by) - NAMED} more columns" if len(leak.by) > NAMED else ""
    if not leak.tells:
        equal = f"{count:,} of the rows judged {'has' if count == 1 else 'have'} an equal row in `train` (by {by})."
        why = f"chance explains up to {leak.chance:,}"
        if leak.different < DISTINCT:
            why = f"only {leak.different:.0%} of the rows are distinct"
        return f"{equal} This proves nothing, since {why}. A `key` would show whether they are the same."
    if not leak.is_by_key:
        beyond = f"Chance explains up to {leak.chance:,} equal rows. " if leak.chance else ""
        one = count == 1
        return (
            f"{'It is' if one else 'They are'} in `train` too (by {by}). {beyond}The model may know"
            f" {'it' if one else 'them'} by heart, and the numbers flatter it then. A `key` would show whether"
            " the rows are the same."
        )
    if count == 1:
        return f"It is in `train` too (by {by}), so the model may know it by heart, and the numbers flatter it."
    return f"They are in `train` too (by {by}), so the model may know them by heart, and the numbers flatter it."


def _chose(overlap: Overlap, rows: int) -> str:
    """Return a sentence that says how the numbers are affected if judged rows were used to choose how long to train."""
    if not overlap.judged:
        return ""
    count = f"{overlap.judged:,}" if overlap.is_counted else f"About {overlap.judged:,}"
    chose = f"the {overlap.rows:,} that chose how long the model learned (`valid` of its training)"
    if overlap.key:
        by = ", ".join(f"`{each}`" for each in overlap.key)
        return f"{count} of the {rows:,} rows judged were among {chose}, by {by}, so the numbers flatter it."
    if not overlap.tells:
        equal = f"{'equals a row' if count == '1' else 'equal rows'} among {chose}"
        return (
            f"{count} of the {rows:,} rows judged {equal}. This proves nothing, since chance explains up to"
            f" {overlap.chance:,}. A `key`, and these rows as `valid`, would show whether they are the same."
        )
    return f"{count} of the {rows:,} rows judged may have been among {chose}, so the numbers flatter it."


def counted(name: str, count: int, better: str = "") -> Callable[[float], Fact]:
    """Return a function that returns a count as a fact. A count is certain at any confidence."""
    return lambda _: Fact(name=name, value=count, low=count, high=count, better=better)


def unwrapped(given: Any) -> Any:
    """Return the model from the output of a training stage or of `registry.find`. Return None if no version is
    registered."""
    model = given.value if isinstance(given, Version) else given
    return getattr(model, "model", model) if isinstance(model, tuple) else model


def model_name(model: Any, scores: str | Mapping[Any, str] | None) -> str:
    """Return the name of the judged model, or of the columns that hold its scores."""
    if scores is not None:
        return f"Scores in `{scores}`" if isinstance(scores, str) else "Scores by class"
    if is_a(model, "lightgbm.basic.Booster"):
        return "LightGBM"
    steps = getattr(model, "steps", None)
    return type(steps[-1][1] if steps else model).__name__
