"""Compares runs: parameters, code, inputs, metrics, curves, time and cost."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TypeVar

import msgspec
from msgspec import Struct

from headrace.codec.codecs import Codecs
from headrace.errors import UsageError, listed
from headrace.inspect.argument_code import code_given, together
from headrace.inspect.compare.facts import (
    CodeChange,
    Comparison,
    Curve,
    Metric,
    Number,
    Setting,
    Side,
    Took,
    Verdict,
)
from headrace.inspect.compare.paired import Pairing, pair
from headrace.inspect.metrics import curves as tracked
from headrace.inspect.metrics.curves import Line
from headrace.inspect.metrics.metrics import Load, Reading, chosen, loader, readings
from headrace.inspect.run_record import Material, material
from headrace.inspect.stage_code import changed_lines, lines_of
from headrace.inspect.value_text import holds_code, told_apart, value_text
from headrace.inspect.views import Views, judged, maps
from headrace.plan.keys import told
from headrace.project.pipelines import pipelines_in
from headrace.project.project import Project
from headrace.project.state import reading_store
from headrace.spec.code import Code, Part
from headrace.spec.graph import Const, constants, outs
from headrace.store.store import Store

NAMED = 8
Key = TypeVar("Key", bound=Hashable)
Lines = Mapping[tuple[str, str], Line]


class Compared(Struct, frozen=True, kw_only=True):
    """All that is known about one of the runs."""

    material: Material
    readings: Sequence[Reading]
    curves: Lines = {}


def compare(
    project: Project, views: Views, names: Sequence[str], metrics: Sequence[str] = (), *, paired: bool | None = None
) -> Comparison:
    """Return a comparison of runs, with the named metrics or with all if none is named.

    Metrics of predictions for the same rows are compared row by row. If `paired` is True, this is done for any number
    of rows; if None, only up to `AUTO_ROWS` rows; if False, never.

    Raises:
        NotFoundError: there is no such run, or none of the runs has a metric of that name.
        UsageError: fewer than two runs are named, or a run is named twice.
    """
    ids = [views.find(name).run for name in names]
    if len(ids) < 2:
        raise UsageError("there is only one run to compare", hint="name two or more: `headrace compare RUN RUN`")
    for run in ids:
        if ids.count(run) > 1:
            raise UsageError(f"run `{run}` is named twice", hint="name each run once")
    store = reading_store(project)
    load = loader(store)
    compared = [
        Compared(material=material(views, run), readings=readings(views, run, load), curves=tracked.lines(views, run))
        for run in ids
    ]
    kept = {(each.task, each.name) for each in chosen([each for one in compared for each in one.readings], metrics)}
    whole = _told_of(put_together(compared, kept, store), views, ids)
    return _paired(whole, [each.material for each in compared], partial(Codecs().load, blobs=store), paired)


def _told_of(found: Comparison, views: Views, runs: Sequence[str]) -> Comparison:
    """Return the comparison with the name of the judged model added to each metric, if a run judged several models. If
    the runs judged different models, all of them are named."""
    tasks = dict.fromkeys(metric.task for metric in found.metrics)
    subjects = [judged(views, run, tasks) for run in runs]
    of = {task: " / ".join(dict.fromkeys(each[task] for each in subjects if task in each)) for task in tasks}
    metrics = tuple(msgspec.structs.replace(metric, of=of[metric.task]) for metric in found.metrics)
    return msgspec.structs.replace(found, metrics=metrics)


def _paired(found: Comparison, runs: Sequence[Material], load: Load, asked: bool | None) -> Comparison:
    """Return the comparison. If a run judged the same rows as the first run, the differences between the metrics of
    these two runs get intervals."""
    tasks = dict.fromkeys(metric.task for metric in found.metrics if metric.source == "report")
    pairings = {
        (task, place): pair(runs[0], run, task, load, asked=asked)
        for task in tasks
        for place, run in enumerate(runs)
        if place
    }
    notes = dict.fromkeys(each.why for each in pairings.values() if each.why)
    metrics = tuple(
        msgspec.structs.replace(
            metric,
            numbers=tuple(
                _held(each, metric, pairings.get((metric.task, place), Pairing()))
                for place, each in enumerate(metric.numbers)
            ),
        )
        for metric in found.metrics
    )
    return msgspec.structs.replace(found, metrics=metrics, notes=(*found.notes, *notes))


def _held(number: Number | None, metric: Metric, pairing: Pairing) -> Number | None:
    """Return a number with the interval, if `pairing` has one, of its difference from the first run's number. If the
    runs judged different rows, the number gets no verdict, unless the two numbers are equal."""
    if number is None or number.change is None:
        return number
    if pairing.is_apart and metric.source == "report":
        return msgspec.structs.replace(number, verdict="same" if number.change == 0 else "", is_apart=True)
    gap = pairing.gaps.get(metric.name)
    if gap is None:
        return number
    sure = gap.low > 0 or gap.high < 0
    return msgspec.structs.replace(number, change_low=gap.low, change_high=gap.high, sure=sure)


def put_together(found: Sequence[Compared], kept: set[tuple[str, str]], store: Store) -> Comparison:
    """Return the comparison of runs that were read. `kept` are the metrics to show, as pairs of task and name."""
    runs = [each.material for each in found]
    parameters, inputs = _settings(runs, store)
    code = tuple(_code(runs, store))
    return Comparison(
        runs=tuple(_side(run) for run in runs),
        parameters=tuple(parameters),
        code=code,
        inputs=tuple(_marked(inputs, runs, parameters, code)),
        metrics=tuple(_metrics([one.readings for one in found], kept)),
        curves=tuple(_curves(found, kept)),
        tasks=tuple(_tasks(runs)),
        notes=tuple(_notes(runs)),
    )


def _side(run: Material) -> Side:
    view = run.view
    return Side(
        run=view.run,
        pipeline=view.pipeline,
        state=view.state,
        created=view.created,
        seconds=view.seconds,
        usd=view.usd,
        cpu_s=run.cpu_s,
        bundle="" if run.story.bundle is None else run.story.bundle.digest,
    )


def _settings(runs: Sequence[Material], store: Store) -> tuple[list[Setting], list[Setting]]:
    """Return the parameters that differ (values from the pipeline), and the inputs that differ (outputs of other
    tasks)."""
    changes = _differing(_parameters(runs, store))
    parameters = [Setting(task="", name=name, values=told_apart(values)) for name, values in changes]
    inputs: list[Setting] = []
    load = loader(store)
    for task in _shared([run.rows for run in runs]):
        row_values = [_arguments(run, task, load) for run in runs]
        there = [values is not None for values in row_values]
        if sum(there) < 2:
            continue
        for name in _union(values or {} for values in row_values):
            cells = [(values or {}).get(name) for values in row_values]
            told_ = {cell[0] for cell, is_there in zip(cells, there, strict=True) if is_there and cell is not None}
            lacking = any(cell is None for cell, is_there in zip(cells, there, strict=True) if is_there)
            if len(told_) < 2 and not (lacking and told_):
                continue
            into = parameters if any(cell is not None and cell[2] for cell in cells) else inputs
            into.append(Setting(task=task, name=name, values=told_apart([cell and cell[1] for cell in cells])))
    return parameters, inputs


def _marked(
    inputs: Sequence[Setting], runs: Sequence[Material], parameters: Sequence[Setting], code: Sequence[CodeChange]
) -> Iterator[Setting]:
    """Yield the inputs. `follows` is set to True for an input that differs because the parameters, code or inputs of
    the task that made it differ."""
    stages = {change.stage for change in code}
    moved = {each.task for each in (*parameters, *inputs)}
    rows = [row for run in runs for row in run.rows.values()]
    changed = {
        name
        for row in rows
        if row.name in moved or row.stage in stages
        for name in (row.name, row.parent)  # a change of an element is a change of its map
    }
    for each in inputs:
        nodes = [node for run in runs if (node := run.node(each.task)) is not None]
        makers = {out.task for node in nodes for name, arg in node.args if name == each.name for out in outs(arg)}
        yield msgspec.structs.replace(each, follows=not makers.isdisjoint(changed))


def _parameters(runs: Sequence[Material], store: Store) -> list[dict[str, str]]:
    """Return the parameters of the runs.

    If a run was not given a parameter that another run of its pipeline was given,
    the default in the run's code is used.
    """
    params_by_run = [{name: str(value) for name, value in run.view.params.items()} for run in runs]
    for run, params in zip(runs, params_by_run, strict=True):
        same = [other for other, its in zip(params_by_run, runs, strict=True) if its.view.pipeline == run.view.pipeline]
        lacking = [name for name in _union(same) if name not in params]
        defaults = _defaults(run, store) if lacking else {}
        params.update((name, defaults.get(name, "its default")) for name in lacking)
    return params_by_run


def _defaults(run: Material, store: Store) -> Mapping[str, str]:
    """Return the defaults of a pipeline's parameters in the code that the run recorded."""
    files = run.files(store)
    paths = () if run.story.opened is None else run.story.opened.files
    pipelines = (each for path in paths if path in files for each in pipelines_in(files[path], path))
    return next((each.defaults for each in pipelines if each.name == run.view.pipeline), {})


def _arguments(run: Material, task: str, load: Load) -> dict[str, tuple[str, str, bool]] | None:
    """Return the arguments of a task by parameter: identity, short text, and whether the pipeline passed a value."""
    row, node = run.rows.get(task), run.node(task)
    if row is None or row.inputs is None:
        return None
    args = {} if node is None else dict(node.args)
    arguments = {}
    for name, identity in told(row.inputs).items():
        arg = args.get(name)
        ref = run.element(task, name, arg.ref) if isinstance(arg, Const) else None
        text = None if ref is None else value_text(ref, load if ref.codec == "skops" else None)
        arguments[name] = (identity, text or identity.rpartition(":")[2][:12], text is not None)
    return arguments


def _code(runs: Sequence[Material], store: Store) -> Iterator[CodeChange]:
    """Yield the parts of the code that differ, stage by stage. A part that several stages share is yielded only with
    the first of these stages."""
    stages = _code_by_stage(runs)
    files: dict[int, Mapping[str, bytes]] = {}
    seen: set[tuple[str, str, tuple[str | None, ...]]] = set()

    def lines(place: int, part: Part | None) -> list[str]:
        if part is None or part.where is None:
            return []
        if place not in files:
            files[place] = runs[place].files(store)
        return lines_of(files[place], part)

    for name in _shared(stages):
        there = [each.get(name) for each in stages]
        digests = {code.digest for code in there if code is not None}
        if len(digests) < 2:
            continue
        parts = [{} if each is None else {(part.kind, part.name): part for part in each.parts} for each in there]
        for kind, part_name in _union(parts):
            cells = [each.get((kind, part_name)) for each in parts]
            present = [cell for cell, code in zip(cells, there, strict=True) if code is not None]
            values = tuple(None if cell is None else cell.text or cell.digest[:12] for cell in cells)
            if len({None if cell is None else cell.digest for cell in present}) < 2:
                continue
            if (kind, part_name, values) in seen:
                continue
            seen.add((kind, part_name, values))
            first = lines(0, cells[0])
            yield CodeChange(
                stage=name,
                kind="package" if kind == "distribution" else kind,
                name=part_name,
                values=values,
                diffs=tuple(
                    tuple(changed_lines(first, lines(place, cell))) if place and there[place] is not None else ()
                    for place, cell in enumerate(cells)
                ),
            )


def _code_by_stage(runs: Sequence[Material]) -> list[dict[str, Code]]:
    """Return the code of stages by name, each joined with the code of functions that its tasks get as arguments.

    If the trace of one run lacks the code of these functions, as in runs of an earlier Headrace, this code is left out
    for all runs.
    """
    given = [_given_by_stage(run) for run in runs]
    unknown = {stage for each in given for stage, codes in each.items() if None in codes}
    by_run: list[dict[str, Code]] = []
    for run, codes in zip(runs, given, strict=True):
        own: dict[str, Code] = {}
        for stage in run.story.stages.values():
            own.setdefault(stage.name, stage.code)
        for name in codes.keys() - unknown:
            own[name] = together([own[name], *(code for code in codes[name] if code is not None)])
        by_run.append(own)
    return by_run


def _given_by_stage(run: Material) -> dict[str, list[Code | None]]:
    found: dict[str, list[Code | None]] = {}
    for node in run.story.nodes.values():
        for name, arg in node.args:
            if any(map(holds_code, constants(arg))):
                found.setdefault(run.story.stages[node.stage].name, []).append(code_given(node, name, run.story.codes))
    return found


def _metrics(found: Sequence[Sequence[Reading]], kept: set[tuple[str, str]]) -> Iterator[Metric]:
    tables = [{(each.task, each.name): each for each in one} for one in found]
    for task, name in _union(tables):
        if (task, name) not in kept:
            continue
        cells = [table.get((task, name)) for table in tables]
        there = [cell for cell in cells if cell is not None]
        better = next((cell.better for cell in there if cell.better), "")
        unit = next((cell.unit for cell in there if cell.unit), "")
        if unit == "rows" and len({table[task, "rows"].value for table in tables if (task, "rows") in table}) > 1:
            better = ""  # more rows may be a smaller share, so no direction is better
        yield Metric(
            task=task,
            name=name,
            source=there[0].source,
            better=better,
            unit=unit,
            numbers=tuple(_number(cell, cells[0] if place else None, better) for place, cell in enumerate(cells)),
        )


def _number(cell: Reading | None, first: Reading | None, better: str) -> Number | None:
    """Return a run's number. If the first run has the number too, compare the two."""
    if cell is None:
        return None
    number = Number(value=cell.value, low=cell.low, high=cell.high, best=cell.best, step=cell.step, why=cell.why)
    if first is None or first.value is None or cell.value is None:
        return number
    change = cell.value - first.value
    return msgspec.structs.replace(number, change=change, verdict=_verdict(change, better), sure=_sure(cell, first))


def _verdict(change: float, better: str) -> Verdict:
    if change == 0:
        return "same"
    if not better or change != change:  # `change` may be NaN
        return ""
    return "better" if (change > 0) == (better == "higher") else "worse"


def _sure(cell: Reading, first: Reading) -> bool | None:
    """Return whether two intervals do not overlap. This test is stricter than the test whether the interval of the
    difference excludes zero.

    An unknown end counts as infinite. Return None if no end is known.
    """
    if cell.low is cell.high is first.low is first.high is None:
        return None
    cell_low, first_low = (-math.inf if each.low is None else each.low for each in (cell, first))
    cell_high, first_high = (math.inf if each.high is None else each.high for each in (cell, first))
    return cell_low > first_high or cell_high < first_low


def _curves(found: Sequence[Compared], kept: set[tuple[str, str]]) -> Iterator[Curve]:
    better = {(each.task, each.name): each.better for one in found for each in one.readings}
    for task, name in _union(one.curves for one in found):
        lines = tuple(one.curves.get((task, name)) for one in found)
        if (task, name) in kept and any(line is not None and line.is_curve for line in lines):
            yield Curve(task=task, name=name, better=better.get((task, name), ""), lines=lines)


def _tasks(runs: Sequence[Material]) -> Iterator[Took]:
    wide = set().union(*(maps(run.rows) for run in runs))
    for name in _union(run.rows for run in runs):
        if name in wide:
            continue
        rows = [run.rows.get(name) for run in runs]
        yield Took(
            task=name,
            states=tuple(None if row is None else row.state for row in rows),
            seconds=tuple(0.0 if row is None else row.seconds for row in rows),
            usd=tuple(0.0 if row is None else row.usd for row in rows),
        )


def _notes(runs: Sequence[Material]) -> Iterator[str]:
    """Yield notes about what the runs do not share."""
    if len({run.view.pipeline for run in runs}) > 1:
        shared = set.intersection(*(set(run.rows) for run in runs))
        what = "tasks of the same name stand beside each other" if shared else "no task has the same name in all"
        yield f"the runs are of different pipelines: {what}"
    for run in runs:
        others = set().union(*(other.rows for other in runs if other is not run))
        own = [name for name in run.rows if name not in others]
        if own:
            yield f"only in `{run.view.run}`: {listed(own, NAMED)}"
        if run.view.state in ("running", "waiting", "queued"):
            yield f"run `{run.view.run}` is {run.view.state}: its numbers are those so far"


def _differing(tables: Sequence[Mapping[str, str]]) -> Iterator[tuple[str, tuple[str | None, ...]]]:
    for name in _union(tables):
        values = tuple(table.get(name) for table in tables)
        if len(set(values)) > 1:
            yield name, values


def _shared(tables: Sequence[Mapping[Key, object]]) -> list[Key]:
    """Return the keys that at least two of the tables have, in order."""
    return [key for key in _union(tables) if sum(key in table for table in tables) > 1]


def _union(tables: Iterable[Iterable[Key]]) -> list[Key]:
    return list(dict.fromkeys(key for table in tables for key in table))
