"""Runs side by side, as plain values. What is equal in all runs is left out, except numbers."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from headrace.inspect.metrics.curves import Line
from headrace.report.numbers import decimals_of, decimals_of_value, number, told_from
from headrace.spec.report import Fact

Verdict = Literal["better", "worse", "same", ""]


class Side(Struct, frozen=True, kw_only=True):
    """A run with its time and cost. `cpu_s` is the cpu time of the run's attempts, in seconds."""

    run: str
    pipeline: str
    state: str
    created: float
    seconds: float
    usd: float
    cpu_s: float
    bundle: str


class Setting(Struct, frozen=True, kw_only=True):
    """A parameter or an input that differs between runs. It belongs to `task`, or to the pipeline if `task` is empty.

    If a run lacks the parameter or input, the run's value is None. If `follows` is True, the input comes from a task
    whose own parameters, code or inputs differ.
    """

    task: str
    name: str
    values: tuple[str | None, ...]
    follows: bool = False


class CodeChange(Struct, frozen=True, kw_only=True):
    """A part of a stage's code that differs between the runs: its text or digest in each run, and how its lines differ
    from those in the first run."""

    stage: str
    kind: str
    name: str
    values: tuple[str | None, ...]
    diffs: tuple[tuple[str, ...], ...]


class Number(Struct, frozen=True, kw_only=True):
    """A metric in one run. `change` is the difference from the metric in the first run; `verdict` says whether this
    run's metric is better.

    `change_low` and `change_high` are the interval of the difference, if both runs judged the same rows. `sure` is True
    if that interval excludes zero. Without that interval, `sure` is True if the intervals of the two runs do not
    overlap; an unknown end counts as infinite. `sure` is None if there are no intervals. If the runs judged different
    rows, `is_apart` is True and there is no verdict, since the difference may come from the rows.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    best: float | None = None
    step: int | None = None
    why: str = ""
    change: float | None = None
    change_low: float | None = None
    change_high: float | None = None
    verdict: Verdict = ""
    sure: bool | None = None
    is_apart: bool = False

    def text(self, value: float | None) -> str:
        """Return `value` as text, with as many digits as this number's interval leaves certain, but at least two."""
        return number(value, decimals_of_value(_fact(value, self.low, self.high)))

    def end(self, value: float | None) -> str:
        """Return `value`, which is an end of the interval, as text."""
        return number(value, decimals_of(_fact(value, self.low, self.high)))

    @property
    def change_text(self) -> str:
        """The difference as text, with its interval if it has one.

        Without an interval, the text has as many decimals as the number, or two digits if those decimals would show
        only zeros.
        """
        change, low, high = self.change, self.change_low, self.change_high
        if change is None:
            return ""
        sign = "+" if change > 0 else ""
        if low is not None and high is not None:
            fact = _fact(change, low, high)
            ends = [told_from(end, 0.0, decimals_of(fact)) for end in (low, high)]  # on which side of "no change"
            return f"{sign}{number(change, decimals_of_value(fact))} [{', '.join(ends)}]"
        places = decimals_of_value(_fact(self.value, self.low, self.high))
        if places is not None and not round(change, places):
            places = decimals_of_value(_fact(change, self.low, self.high))
        return f"{sign}{number(change, places)}"


def _fact(value: float | None, low: float | None, high: float | None) -> Fact:
    return Fact(name="", value=value, low=low, high=high, why="there is none" if value is None else "")


class Metric(Struct, frozen=True, kw_only=True):
    """A metric of a task: its number in each run, or None for a run that lacks the metric. `of` names the model that
    the task judged, if a run judged several."""

    task: str
    name: str
    source: str
    better: str
    unit: str
    numbers: tuple[Number | None, ...]
    of: str = ""

    @property
    def who(self) -> str:
        """The task's name, with the model that it judged."""
        return f"{self.task} of {self.of.replace('`', '')}" if self.of else self.task

    @property
    def differs(self) -> bool:
        """Whether the number differs between any two runs."""
        return len({None if each is None else each.value for each in self.numbers}) > 1


class Curve(Struct, frozen=True, kw_only=True):
    """The curve that a task logged under a name, for each run, or None for a run in which the task logged nothing."""

    task: str
    name: str
    better: str
    lines: tuple[Line | None, ...]


class Took(Struct, frozen=True, kw_only=True):
    """A task in each run: its state (None if the run has no such task), its seconds and its cost."""

    task: str
    states: tuple[str | None, ...]
    seconds: tuple[float, ...]
    usd: tuple[float, ...]


class Comparison(Struct, frozen=True, kw_only=True):
    """Runs side by side. Every other run is compared with the first run, and tasks of the same name are compared with
    each other.

    `notes` are sentences about what the runs do not share, and about what could not be read.
    """

    runs: tuple[Side, ...]
    parameters: tuple[Setting, ...] = ()
    code: tuple[CodeChange, ...] = ()
    inputs: tuple[Setting, ...] = ()
    metrics: tuple[Metric, ...] = ()
    curves: tuple[Curve, ...] = ()
    tasks: tuple[Took, ...] = ()
    notes: tuple[str, ...] = ()
