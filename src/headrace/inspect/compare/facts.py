"""Runs side by side, as plain values: what they have in common is left out, but for their numbers."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from headrace.inspect.metrics.curves import Line
from headrace.report.numbers import decimals_of, decimals_of_value, number
from headrace.spec.report import Fact

Verdict = Literal["better", "worse", "same", ""]


class Side(Struct, frozen=True, kw_only=True):
    """A run: what it was, and what it took. `cpu_s` are the seconds of processors that its attempts used."""

    run: str
    pipeline: str
    state: str
    created: float
    seconds: float
    usd: float
    cpu_s: float
    bundle: str


class Setting(Struct, frozen=True, kw_only=True):
    """A parameter, or an input, that differs: of the pipeline, or of a task where one is named. None: not there.

    An input that `follows` comes from a task whose own parameters, code or inputs differ.
    """

    task: str
    name: str
    values: tuple[str | None, ...]
    follows: bool = False


class CodeChange(Struct, frozen=True, kw_only=True):
    """A part of a stage's code that differs: what stands for it in each run, and how each differs from the first."""

    stage: str
    kind: str
    name: str
    values: tuple[str | None, ...]
    diffs: tuple[tuple[str, ...], ...]


class Number(Struct, frozen=True, kw_only=True):
    """A metric in one run. `change` is its difference to the first run's; `verdict` is whether that is better.

    `change_low` and `change_high` are the interval of the difference, where both runs judged the same rows. `sure` says
    whether it excludes zero, or else whether both intervals exclude each other, an end that isn't known excluding
    nothing; None where there are none. Where the runs judged other rows (`is_apart`), there is no verdict: the
    difference may be that of the rows.
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
        """Write a number that belongs to this one, to as many digits as its interval leaves certain, two at least."""
        return number(value, decimals_of_value(_fact(value, self.low, self.high)))

    def end(self, value: float | None) -> str:
        """Write an end of its interval."""
        return number(value, decimals_of(_fact(value, self.low, self.high)))

    @property
    def change_text(self) -> str:
        """The difference, with its interval where it has one; else to as many places as the number, or to two digits
        where those places would show nothing of it."""
        change, low, high = self.change, self.change_low, self.change_high
        if change is None:
            return ""
        sign = "+" if change > 0 else ""
        if low is not None and high is not None:
            fact = _fact(change, low, high)
            ends = f"[{number(low, decimals_of(fact))}, {number(high, decimals_of(fact))}]"
            return f"{sign}{number(change, decimals_of_value(fact))} {ends}"
        places = decimals_of_value(_fact(self.value, self.low, self.high))
        if places is not None and not round(change, places):
            places = decimals_of_value(_fact(change, self.low, self.high))
        return f"{sign}{number(change, places)}"


def _fact(value: float | None, low: float | None, high: float | None) -> Fact:
    return Fact(name="", value=value, low=low, high=high, why="there is none" if value is None else "")


class Metric(Struct, frozen=True, kw_only=True):
    """A metric of a task in each run, None where the run has none. `of` says which model the task judged, where a run
    judged several."""

    task: str
    name: str
    source: str
    better: str
    unit: str
    numbers: tuple[Number | None, ...]
    of: str = ""

    @property
    def who(self) -> str:
        """The task, and what it judged."""
        return f"{self.task} of {self.of.replace('`', '')}" if self.of else self.task

    @property
    def differs(self) -> bool:
        """Whether any run's number is another than the first's."""
        return len({None if each is None else each.value for each in self.numbers}) > 1


class Curve(Struct, frozen=True, kw_only=True):
    """What a task logged under a name in each run, None where it logged nothing."""

    task: str
    name: str
    better: str
    lines: tuple[Line | None, ...]


class Took(Struct, frozen=True, kw_only=True):
    """A task in each run: its state (None where the run has no such task), its seconds and what they cost."""

    task: str
    states: tuple[str | None, ...]
    seconds: tuple[float, ...]
    usd: tuple[float, ...]


class Comparison(Struct, frozen=True, kw_only=True):
    """Runs side by side, the first being what the others are held against. Tasks are the same by their names.

    `notes` say in words what the runs don't share, and what couldn't be read.
    """

    runs: tuple[Side, ...]
    parameters: tuple[Setting, ...] = ()
    code: tuple[CodeChange, ...] = ()
    inputs: tuple[Setting, ...] = ()
    metrics: tuple[Metric, ...] = ()
    curves: tuple[Curve, ...] = ()
    tasks: tuple[Took, ...] = ()
    notes: tuple[str, ...] = ()
