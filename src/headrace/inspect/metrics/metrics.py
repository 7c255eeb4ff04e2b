"""The numbers of a run's tasks: from reports, from `hr.log`, and from dictionaries and records."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct

from headrace.codec.codecs import Codecs
from headrace.errors import HeadraceError, NotFoundError, listed
from headrace.inspect.metrics.directions import direction
from headrace.inspect.value_summary import numbers
from headrace.inspect.views import MetricView, Views, maps, read
from headrace.project.project import Project
from headrace.project.state import reading_store
from headrace.run.ports import TaskRow
from headrace.spec.artifact import Ref, decode_ref
from headrace.spec.intent import REPORT
from headrace.spec.report import Report
from headrace.store.store import Store

_DEPTH = 4
_ORDER = ("report", "logged", "output")
_MAX_NUMBERS = 500

Load = Callable[[Ref], object]


class Reading(Struct, frozen=True, kw_only=True):
    """A number of a task. `low` and `high` are the ends of its interval; `better` is the direction of improvement.

    For a number that was logged, `value` is the last logged value, at `step`, and `least` and `greatest` are the least
    and the greatest logged value. `why` says why there is no value. `also` are other names of the same number:
    `test/AUC` for a number that a report calls `AUC`.
    """

    task: str
    name: str
    value: float | None
    source: Literal["report", "logged", "output"]
    low: float | None = None
    high: float | None = None
    unit: str = ""
    better: str = ""
    why: str = ""
    step: int | None = None
    count: int = 1
    least: float | None = None
    greatest: float | None = None
    also: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All names of the number: `NAME` and `TASK.NAME` for its own name, then the same for its other names."""
        return tuple(word for name in (self.name, *self.also) for word in (name, f"{self.task}.{name}"))

    @property
    def best(self) -> float | None:
        """The best of the logged values, or None if it is unknown which direction is better."""
        return {"lower": self.least, "higher": self.greatest}.get(self.better)

    def is_called(self, name: str) -> bool:
        """Return whether the number has this name, `NAME` or `TASK.NAME`."""
        return name in self.names


def loader(store: Store) -> Load:
    """Return a function that loads an artifact, or returns None if it can't be read.
    It loads only formats that run no code."""
    codecs = Codecs()

    def load(ref: Ref) -> object:
        try:
            return codecs.load(ref, store)
        except HeadraceError:
            return None

    return load


def reports(ref: Ref | None, load: Load) -> Iterator[Report]:
    """Yield the reports in an artifact that can be read."""
    for each in report_refs(ref):
        report = load(each)
        if isinstance(report, Report):
            yield report


def report_refs(ref: Ref | None, depth: int = _DEPTH) -> Iterator[Ref]:
    """Yield the references of the reports in an artifact."""
    if ref is None:
        return
    if ref.type == REPORT:
        yield ref
    elif ref.parts and ref.names and depth:
        for part in ref.parts:
            yield from report_refs(part, depth - 1)


def readings(views: Views, run: str, load: Load) -> list[Reading]:
    """Return all numbers of a run, task by task: first the numbers in reports, then logged numbers, then the numbers in
    other outputs."""
    rows = views.rows(run)
    wide = maps(row.name for row in rows)
    logged: dict[str, list[Reading]] = {}
    for metric in views.metrics(run):
        logged.setdefault(metric.task, []).append(_of_log(metric))
    all_readings: list[Reading] = []
    for row in rows:
        if row.name not in wide:
            outputs = _of_output(row, load)
            its = {each.name: each for each in (*outputs, *logged.get(row.name, ()))}
            facts = {each.name: each for each in outputs if each.source == "report"}
            all_readings += sorted(_once(its, facts), key=lambda each: _ORDER.index(each.source))
    return all_readings


def _once(its: Mapping[str, Reading], told: Mapping[str, Reading]) -> Iterator[Reading]:
    """Yield each number of a task once: `its` are all numbers of the task by name, and `told` those of its reports.

    If a logged or returned number is the same number as one of a report, only the report's is yielded, with the other
    number's name in `also`.
    """
    also: dict[str, list[str]] = {name: [] for name in told}
    for name, each in its.items():
        fact = _fact_of(each, told)
        if fact is None:
            yield each
        elif name != fact:
            also[fact].append(name)
    for name, each in told.items():
        yield msgspec.structs.replace(each, also=tuple(also[name])) if also[name] else each


def _fact_of(reading: Reading, told: Mapping[str, Reading]) -> str | None:
    """Return the name of the report's number that is the same number as this one, such as `AUC` for `metrics.AUC` or
    `test/AUC`. Return None if the report has no such number."""
    if reading.name in told:
        return reading.name
    last = re.split(r"[./]", reading.name)[-1]
    fact = told.get(last)
    if fact is None or fact.value is None or reading.value is None:
        return None
    return last if math.isclose(fact.value, reading.value, rel_tol=1e-9) else None


def _of_log(metric: MetricView) -> Reading:
    return Reading(
        task=metric.task,
        name=metric.name,
        value=metric.last,
        source="logged",
        better=direction(metric.name),
        why="" if metric.last is not None else "the last value is not a number",
        step=metric.last_step,
        count=metric.count,
        least=metric.least,
        greatest=metric.greatest,
    )


def names_of(project: Project, runs: Iterable[str]) -> list[str]:
    """Return the names of the metrics of some runs."""
    load = loader(reading_store(project))
    with read(project) as views:
        found = [each for run in runs for each in readings(views, views.find(run).run, load)]
    return list(dict.fromkeys(name for each in found for name in (each.name, *each.also)))


def _of_output(row: TaskRow, load: Load) -> list[Reading]:
    if row.out is None:
        return []
    ref = decode_ref(row.out)
    by_name = {
        fact.name: Reading(
            task=row.name,
            name=fact.name,
            value=_plain(fact.value),
            source="report",
            low=_plain(fact.low),
            high=_plain(fact.high),
            unit=fact.unit,
            better=fact.better or direction(fact.name),
            why=fact.why,
        )
        for report in reports(ref, load)
        for fact in report.facts
    }
    others = numbers(_without_reports(ref), load)
    for name, (value, low, high) in list(_with_intervals(others).items())[:_MAX_NUMBERS]:
        other = Reading(
            task=row.name, name=name, value=value, low=low, high=high, source="output", better=direction(name)
        )
        by_name.setdefault(name, other)
    return list(by_name.values())


def _plain(value: Any) -> float | None:
    """Return a NumPy scalar as a Python number, and any other value unchanged."""
    found: float | None = value.item() if hasattr(value, "item") else value
    return found


def _with_intervals(found: Mapping[str, float]) -> dict[str, tuple[float, float | None, float | None]]:
    """Return each number as a tuple: its value and the two ends of its interval.

    The numbers `auc.value`, `auc.low` and `auc.high` become one number `auc` with an interval. For any other number,
    the ends are None.
    """
    ends = ("value", "low", "high")
    stems = {
        name.rpartition(".")[0]
        for name in found
        if name.endswith(".value") and all(f"{name.removesuffix('value')}{end}" in found for end in ends)
    }
    taken: dict[str, tuple[float, float | None, float | None]] = {}
    for name, value in found.items():
        stem, _, end = name.rpartition(".")
        if stem in stems and end in ends:
            taken[stem] = found[f"{stem}.value"], found[f"{stem}.low"], found[f"{stem}.high"]
        else:
            taken[name] = value, None, None
    return taken


def _without_reports(ref: Ref) -> Ref:
    """Return an output without its reports, whose numbers are read separately."""
    if not ref.parts or not ref.names:
        return ref
    kept = [(name, part) for name, part in zip(ref.names, ref.parts, strict=True) if part.type != REPORT]
    return msgspec.structs.replace(ref, names=tuple(name for name, _ in kept), parts=tuple(part for _, part in kept))


def chosen(found: Sequence[Reading], names: Sequence[str]) -> list[Reading]:
    """Return the readings with these names (`NAME` or `TASK.NAME`), or all readings if `names` is empty.

    Raises:
        NotFoundError: no reading has such a name; the hint lists similar names, or the names of some numbers. Numbers
            whose direction of improvement is known are listed first.
    """
    for name in names:
        if not any(each.is_called(name) for each in found):
            raise NotFoundError(f"there is no metric `{name}`", hint=_near(name, found))
    return [each for each in found if not names or any(map(each.is_called, names))]


def _near(name: str, found: Sequence[Reading]) -> str:
    known = list(dict.fromkeys(word for each in found for word in each.names))
    if not known:
        return "no task returned or logged a number: log some with `hr.log`, or return a report or a dictionary"
    near = [each for each in known if each.casefold() == name.casefold()]
    near = near or difflib.get_close_matches(name, known, 3, 0.5)
    if near:
        return f"did you mean {listed(near)}?"
    return f"there are {listed(dict.fromkeys(each.name for each in sorted(found, key=lambda each: not each.better)))}"
