"""One self-contained HTML page with runs side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from headrace.inspect.compare.facts import CodeChange, Comparison, Curve, Metric, Number, Setting, Side, Took
from headrace.inspect.page.curves import curves, legend
from headrace.inspect.page.document import document, section, time_of
from headrace.inspect.page.tables import state_badge, table
from headrace.report.markup import Child, Markup, join, tag, ticked
from headrace.report.measures import count_text, seconds_text, usd_text
from headrace.report.numbers import with_unit

MAX_METRICS = 2000
MAX_CURVES = 60
MAX_TASKS = 500
MARKS = {"better": "▲ better", "worse": "▼ worse", "same": "same", "": ""}


def page(found: Comparison, project: str) -> str:
    """Return the page as HTML text."""
    names = [run.run for run in found.runs]
    pipelines = list(dict.fromkeys(run.pipeline for run in found.runs))
    header = tag(
        "header",
        tag("p", project, class_="project"),
        tag("h1", f"{len(names)} runs of " if len(pipelines) == 1 else "Runs of ", " and ".join(pipelines)),
        (tag("p", ticked(note), class_="note") for note in found.notes),
    )
    return document(f"{', '.join(pipelines)}: {', '.join(names)}", header, _sections(found, names))


def _sections(found: Comparison, names: Sequence[str]) -> Iterator[Markup]:
    yield section("Runs", _runs(found.runs))
    if found.metrics:
        yield section("Metrics", _metrics(found.metrics[:MAX_METRICS], names, len(found.metrics)))
    if found.curves:
        drawn = (_curve(each, names) for each in found.curves[:MAX_CURVES])
        yield section("Curves", [legend(names), tag("div", drawn, class_="figures")])
    if found.parameters:
        yield section("Parameters that differ", _settings(found.parameters, names))
    if found.code:
        yield section("Code that differs", _code(found.code, names))
    if found.inputs:
        yield section("Inputs that differ", _inputs(found.inputs, names))
    if found.tasks:
        yield section("Time and cost", _tasks(found.tasks[:MAX_TASKS], names, len(found.tasks)))


def _runs(runs: Sequence[Side]) -> Markup:
    priced = any(run.usd for run in runs)
    heads = ["run", "pipeline", "state", "started", "took", "processors", *["cost"] * priced, "code"]
    return table(heads, (tag("tr", _run(run, priced=priced)) for run in runs), {"took", "processors", "cost"})


def _run(run: Side, *, priced: bool) -> Iterator[Markup]:
    yield tag("th", tag("code", run.run), scope="row")
    yield tag("td", run.pipeline)
    yield tag("td", state_badge(run.state))
    yield tag("td", time_of(run.created))
    yield tag("td", seconds_text(run.seconds), class_="number")
    yield tag("td", seconds_text(run.cpu_s), class_="number")
    if priced:
        yield tag("td", usd_text(run.usd), class_="number")
    yield tag("td", tag("code", run.bundle[:12]))


def _metrics(metrics: Sequence[Metric], names: Sequence[str], count: int) -> Iterator[Markup]:
    rows = (tag("tr", _metric(metric)) for metric in metrics)
    yield table(["task", "metric", "reads", *names], rows, set(names), sortable=True)
    yield tag(
        "p",
        f"Differences are relative to {names[0]}. Of logged numbers, the last value is shown, and the best if it "
        "differs. Brackets after a difference are its own interval, from the same resamples of the rows that both runs "
        "judged. A difference is clear if its interval excludes zero. Without one, it is clear if the intervals of the "
        "two runs do not overlap. If two evaluations judged different rows, no number in their reports is called "
        "better or worse: the difference may come from the rows. Numbers that other tasks logged may be from "
        "different rows too, which Headrace can't know.",
        class_="note",
    )
    if count > len(metrics):
        yield tag("p", f"{count - len(metrics):,} more metrics are left out here.", class_="note")


def _metric(metric: Metric) -> Iterator[Markup]:
    of = join([" of ", ticked(metric.of)]) if metric.of else None
    yield tag("th", tag("code", metric.task), of, scope="row")
    yield tag("td", metric.name)
    yield tag("td", f"{metric.better} is better" if metric.better else "", class_="soft")
    yield from (_number(each, metric.unit) for each in metric.numbers)


def _number(found: Number | None, unit: str) -> Markup:
    if found is None:
        return tag("td", class_="number", data_sort="")
    lines: list[Child] = [tag("span", _value(found, unit), class_="value")]
    if found.value is None:
        lines.append(tag("span", ticked(found.why), class_="soft because"))
    if found.low is not None and found.high is not None and found.low != found.high:
        lines.append(tag("span", f"{found.end(found.low)} to {found.end(found.high)}", class_="soft"))
    if found.best is not None and found.best != found.value:
        lines.append(tag("span", f"best {found.text(found.best)}", class_="soft"))
    if found.change is not None and found.verdict != "same":
        lines.append(tag("span", _change(found), class_=f"change {found.verdict}"))
    elif found.verdict == "same":
        lines.append(tag("span", "same", class_="soft"))
    return tag("td", lines, class_="number", data_sort="" if found.value is None else repr(found.value))


def _value(found: Number, unit: str) -> str:
    if found.value is None:
        return "undefined"
    return with_unit(found.text(found.value), unit)


def _change(found: Number) -> str:
    if found.is_apart:
        ends = {True: ": the intervals exclude each other", False: ": within the intervals", None: ""}[found.sure]
        return f"{found.change_text} on other rows{ends}"
    doubt = "within the intervals" if found.change_low is None else "may be chance"
    sure = {True: ", clear", False: f", {doubt}", None: ""}[found.sure]
    return f"{found.change_text} {MARKS[found.verdict]}".rstrip() + sure


def _curve(curve: Curve, names: Sequence[str]) -> Markup:
    return tag(
        "figure",
        tag("figcaption", tag("code", curve.task), " ", curve.name),
        curves(list(zip(names, curve.lines, strict=True)), f"{curve.task} {curve.name}"),
    )


def _settings(settings: Sequence[Setting], names: Sequence[str]) -> Markup:
    rows = (
        tag(
            "tr",
            tag("th", tag("code", each.task), scope="row"),
            tag("td", each.name),
            (
                tag("td", tag("code", value) if value is not None else tag("span", "not there", class_="soft"))
                for value in each.values
            ),
        )
        for each in settings
    )
    return table(["task" if any(each.task for each in settings) else "", "name", *names], rows, ())


def _inputs(inputs: Sequence[Setting], names: Sequence[str]) -> Iterator[Markup]:
    first = [each for each in inputs if not each.follows]
    following = [each for each in inputs if each.follows]
    if first:
        yield _settings(first, names)
    if following:
        summary = tag("summary", count_text(len(following), "input"), " that differ because of the differences above")
        yield tag("details", summary, _settings(following, names))


def _code(changes: Sequence[CodeChange], names: Sequence[str]) -> Iterator[Markup]:
    rows = (
        tag(
            "tr",
            tag("th", tag("code", each.stage), scope="row"),
            tag("td", each.kind),
            tag("td", tag("code", each.name)),
            (
                tag("td", tag("code", value) if value is not None else tag("span", "not there", class_="soft"))
                for value in each.values
            ),
        )
        for each in changes
    )
    yield table(["stage", "part", "name", *names], rows, ())
    for each in changes:
        for name, diff in zip(names, each.diffs, strict=True):
            if diff:
                yield tag(
                    "details",
                    tag("summary", tag("code", each.name), f": how {name} differs from {names[0]}"),
                    tag("pre", (_diff_line(line) for line in diff), class_="diff"),
                )


def _diff_line(line: str) -> Markup:
    kinds = {"+": "added", "-": "gone", "@": "soft"}
    return tag("span", f"{line}\n", class_=kinds.get(line[:1]))


def _tasks(tasks: Sequence[Took], names: Sequence[str], count: int) -> Iterator[Markup]:
    priced = any(usd for task in tasks for usd in task.usd)
    rows = (tag("tr", tag("th", tag("code", task.task), scope="row"), _took(task, priced=priced)) for task in tasks)
    yield table(["task", *names], rows, set(names), sortable=True)
    if count > len(tasks):
        yield tag("p", f"{count - len(tasks):,} more tasks are left out here.", class_="note")


def _took(task: Took, *, priced: bool) -> Iterator[Markup]:
    for state, seconds, usd in zip(task.states, task.seconds, task.usd, strict=True):
        if state is None:
            yield tag("td", tag("span", "not there", class_="soft"), class_="number", data_sort="")
            continue
        ran = state in ("succeeded", "failed") or (state == "reused" and seconds > 0)
        text = seconds_text(seconds) + (f", {usd_text(usd)}" if priced and usd else "") if ran else state
        yield tag("td", text, class_="number", data_sort=repr(seconds))
