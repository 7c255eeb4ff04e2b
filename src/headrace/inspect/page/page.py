"""One self-contained HTML page about a run. It needs no network and no other file,
and user data in it can't run code."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator

from headrace.inspect.gates import Held, Rule
from headrace.inspect.page.curves import curves
from headrace.inspect.page.document import document, section, time_of
from headrace.inspect.page.facts import Figure, Measured, RunFacts, TaskFacts, Text
from headrace.inspect.page.graph import graph
from headrace.inspect.page.tables import facts, measured_tables, state_badge, task_table
from headrace.inspect.page.timeline import timeline
from headrace.inspect.reports import Judged, Logged
from headrace.report import html_body
from headrace.report.markup import Child, Markup, join, tag, ticked
from headrace.report.measures import one_line, seconds_text, usd_text


def page(run: RunFacts) -> str:
    """Return the page as HTML text."""
    anchors = {task.name: f"task-{number}" for number, task in enumerate(run.tasks)}
    footer = [tag("p", ticked(each)) for each in run.omitted]
    return document(f"{run.pipeline} {run.run}: {run.state}", _header(run), _sections(run, anchors), footer)


def _header(run: RunFacts) -> Markup:
    maps = {task.parent for task in run.tasks}
    states = Counter(task.state for task in run.tasks if task.name not in maps)
    pairs: list[tuple[str, Child]] = [
        ("run", tag("code", run.run)),
        ("started", time_of(run.created)),
        ("took", seconds_text(run.seconds)),
        ("tasks", ", ".join(f"{count:,} {state}" for state, count in states.most_common()) or "none"),
    ]
    if run.usd:
        pairs.append(("cost", usd_text(run.usd)))
    return tag(
        "header",
        tag("p", run.project, class_="project"),
        tag("h1", run.pipeline, " ", state_badge(run.state)),
        tag("p", ticked(one_line(run.why)), class_="why") if run.why else None,
        (_held(each) for each in run.held),
        (tag("p", ticked(f"went on without pool `{pool}`: {why}"), class_="note") for pool, why in run.gone_pools),
        facts(pairs),
    )


def _held(held: Held) -> Markup:
    """Return a box about a gate whose value is false: what was skipped, and which rules do not hold.

    The state of the run does not show this, since such a run succeeds.
    """
    return tag(
        "div",
        tag(
            "p",
            tag("strong", ticked(f"`{held.gate}` says no")),
            ticked(held.effect),
        ),
        (_rule(each, held.gate) for each in held.rules),
        class_="failure",
    )


def _rule(rule: Rule, gate: str) -> Markup:
    return tag("p", tag("strong", ticked(rule.verdict(gate))), " ", ticked(rule.why))


def _sections(run: RunFacts, anchors: dict[str, str]) -> Iterator[Markup]:
    if failed := [task for task in run.tasks if task.state == "failed"]:
        yield section("What failed", _failures(failed, anchors))
    if run.tasks:
        yield section("Graph", tag("div", graph(run.tasks, anchors), class_="scroll graph"))
    if run.attempts:
        drawn = timeline(run.attempts, run.seconds, anchors, run.pauses)
        yield section("Timeline", tag("div", drawn, class_="scroll timeline"))
    if run.measured:
        yield section("Metrics", _metrics(run.measured))
    if run.reports:
        yield section("Reports", (_report(each) for each in run.reports))
    if run.curves:
        yield section("Curves", tag("div", (_curve(each) for each in run.curves), class_="figures"))
    if run.figures:
        yield section("Figures", tag("div", (_figure(each) for each in run.figures), class_="figures"))
    if run.texts:
        yield section("Texts", (_text(each) for each in run.texts))
    if run.tasks:
        yield section("Tasks", task_table(run.tasks, anchors))
    if run.params:
        yield section("Parameters", facts((name, tag("code", value)) for name, value in run.params))
    if run.environment:
        yield section("Environment", facts((name, tag("code", value)) for name, value in run.environment))


def _failures(tasks: list[TaskFacts], anchors: dict[str, str]) -> Iterator[Markup]:
    for task in tasks[:20]:
        name = tag("a", tag("code", task.name), href=f"#{anchors[task.name]}")
        yield tag(
            "div", tag("p", name, f" {task.line}" if task.line else None), tag("pre", task.reason), class_="failure"
        )
    if len(tasks) > 20:
        yield tag("p", f"and {len(tasks) - 20:,} more, in the table below", class_="note")


def _metrics(measured: tuple[Measured, ...]) -> Iterator[Markup]:
    stages: dict[str, list[Measured]] = {}
    for each in measured:
        stages.setdefault(each.stage, []).append(each)
    for stage, members in stages.items():
        yield tag("h3", stage)
        yield measured_tables(members)


def _report(judged: Judged) -> Markup:
    standing = {True: "passed", False: "not passed", None: ""}[judged.report.passed]
    of = join([" of ", ticked(judged.of)]) if judged.of else None
    title = [tag("code", judged.task), of, " ", ticked(judged.report.title), f": {standing}" if standing else None]
    return tag(
        "details",
        tag("summary", title),
        html_body(judged.report, level=3),
        open=judged.report.passed is False,
    )


def _curve(logged: Logged) -> Markup:
    title = f"{logged.task} {logged.name}"
    drawn = curves([(logged.task, logged.line)], title)
    return tag("figure", tag("figcaption", tag("code", logged.task), " ", logged.name), drawn)


def _figure(figure: Figure) -> Markup:
    source = f"data:{figure.media_type};base64,{base64.b64encode(figure.data).decode()}"
    return tag(
        "figure", tag("img", src=source, alt=f"The figure that {figure.task} made"), tag("figcaption", figure.task)
    )


def _text(text: Text) -> Markup:
    last = f", the last of {text.count:,}, at step {text.step:,}" if text.count > 1 else ""
    return tag(
        "details",
        tag("summary", tag("code", text.task), " ", text.name, last),
        tag("pre", text.text),
        open=text.text.count("\n") < 20,
    )
