"""One self-contained HTML page about a run: no network, no file beside it, nothing that user data could act through."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from headrace.app.markup import Child, Markup, tag, ticked
from headrace.app.measures import seconds_text, usd_text
from headrace.app.page_facts import Figure, Measured, RunFacts, TaskFacts
from headrace.app.page_graph import graph
from headrace.app.page_tables import facts, measured_tables, state_badge, task_table
from headrace.app.page_timeline import timeline

FOLDER = Path(__file__).parent


def page(run: RunFacts) -> str:
    """Give the page as text."""
    style = (FOLDER / "page.css").read_text(encoding="utf-8")
    script = (FOLDER / "page.js").read_text(encoding="utf-8")
    anchors = {task.name: f"task-{number}" for number, task in enumerate(run.tasks)}
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        _policy(script),
        tag("title", f"{run.pipeline} {run.run}: {run.state}"),
        tag("style", Markup(style)),
    )
    body = tag(
        "body",
        _header(run),
        tag("main", _sections(run, anchors)),
        _footer(run),
        tag("script", Markup(script)),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _policy(script: str) -> Markup:
    """Allow our own script and style, pictures that are in the page, and nothing else."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return tag(
        "meta",
        http_equiv="Content-Security-Policy",
        content=f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'",
    )


def _header(run: RunFacts) -> Markup:
    maps = {task.parent for task in run.tasks}
    states = Counter(task.state for task in run.tasks if task.name not in maps)
    pairs: list[tuple[str, Child]] = [
        ("run", tag("code", run.run)),
        ("started", _time(run.created)),
        ("took", seconds_text(run.seconds)),
        ("tasks", ", ".join(f"{count:,} {state}" for state, count in states.most_common()) or "none"),
    ]
    if run.usd:
        pairs.append(("cost", usd_text(run.usd)))
    return tag(
        "header",
        tag("p", run.project, class_="project"),
        tag("h1", run.pipeline, " ", state_badge(run.state)),
        tag("p", ticked(run.why), class_="why") if run.why else None,
        facts(pairs),
    )


def _sections(run: RunFacts, anchors: dict[str, str]) -> Iterator[Markup]:
    if failed := [task for task in run.tasks if task.state == "failed"]:
        yield _section("What failed", _failures(failed, anchors))
    if run.tasks:
        yield _section("Graph", tag("div", graph(run.tasks, anchors), class_="scroll graph"))
    if run.attempts:
        yield _section("Timeline", tag("div", timeline(run.attempts, run.seconds, anchors), class_="scroll timeline"))
    if run.measured:
        yield _section("Metrics", _metrics(run.measured))
    if run.figures:
        yield _section("Figures", tag("div", (_figure(each) for each in run.figures), class_="figures"))
    if run.tasks:
        yield _section("Tasks", task_table(run.tasks, anchors))
    if run.params:
        yield _section("Parameters", facts((name, tag("code", value)) for name, value in run.params))
    if run.environment:
        yield _section("Environment", facts((name, tag("code", value)) for name, value in run.environment))


def _section(title: str, content: Child) -> Markup:
    return tag("section", tag("h2", title), content)


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


def _figure(figure: Figure) -> Markup:
    source = f"data:{figure.media_type};base64,{base64.b64encode(figure.data).decode()}"
    return tag(
        "figure", tag("img", src=source, alt=f"The figure that {figure.task} made"), tag("figcaption", figure.task)
    )


def _footer(run: RunFacts) -> Markup:
    return tag("footer", (tag("p", ticked(each)) for each in run.omitted), tag("p", "Made by Headrace."))


def _time(at: float) -> Markup:
    when = datetime.fromtimestamp(at, UTC)
    return tag("time", f"{when:%Y-%m-%d %H:%M:%S} UTC", datetime=when.isoformat(timespec="seconds"))
