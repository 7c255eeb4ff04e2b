"""HTML, without scripts, and text for notebooks: runs, plans, reports, tables, and the progress of a run."""

from __future__ import annotations

import importlib
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from headrace.inspect.value_text import cut
from headrace.inspect.views import maps
from headrace.inspect.warnings import Warned
from headrace.ledger.views.rows import RunView, TaskView
from headrace.operate.plan import notes, sums
from headrace.operate.progress.observer import RunRow, TaskRow
from headrace.operate.progress.stage_counts import Stage, StageCounts, ended_text
from headrace.report.as_text import columns
from headrace.report.marks import DECISIONS, MARKS
from headrace.report.markup import Child, Markup, join, tag, ticked
from headrace.report.measures import amount_text, count_text, one_line, seconds_text, usd_text
from headrace.report.page import STYLE, html_body
from headrace.spec.plan import Plan
from headrace.spec.report import Report

if TYPE_CHECKING:
    import pyarrow as pa

    from headrace.inspect.gates import Held

ROWS = 200
"""At most this many tasks are listed, and at most this many warnings."""
TABLE_ROWS = 10
TABLE_COLUMNS = 20
SPARE = ("time", "cost", "pool")
EVERY_S = 0.5
"""How often the shown progress of a run is updated, in seconds."""
EXTRA_STYLE = """
.headrace { max-width: none; margin: 0; padding: 0.8rem 1rem; border-radius: 10px; font-size: 14px;
  --succeeded: var(--passed); --failed: var(--refused); --reused: var(--link); --cancelled: var(--unsure); }
.headrace p { margin: 0 0 0.5rem; } .headrace progress { width: 8rem; vertical-align: middle; }
.headrace .succeeded { --state: var(--passed); } .headrace .reused { --state: var(--link); }
.headrace .failed { --state: var(--refused); } .headrace .cancelled { --state: var(--unsure); }
.headrace .warning { color: var(--unsure); } .headrace .refusal { color: var(--refused); }
.headrace .running, .headrace .waiting, .headrace .queued, .headrace .skipped { --state: var(--soft); }
"""


def run_html(run: RunView, warnings: Sequence[Warned] = (), gates: Sequence[Held] = ()) -> str:
    """Return HTML for a run: its state, time and cost, a table of its tasks, the tasks' warnings, and the gates that
    said no, with the rules that don't hold."""
    tasks = run.tasks or ()
    cost = [f", {usd_text(run.usd)}"] if run.usd else []
    head = tag(
        "p", tag("strong", run.pipeline), f" run {run.run} ", _state(run.state), f" {seconds_text(run.seconds)}", cost
    )
    shown = _most_telling(tasks)
    left = len(tasks) - len(shown)
    return _fragment(
        head,
        tag("p", ticked(run.why)) if run.why else None,
        _table(["task", "kind", "state", "reason", "time", "cost", "pool"], map(_task, shown)) if tasks else None,
        tag("p", f"{left:,} more tasks, all well", class_="note") if left else None,
        [tag("p", ticked(str(each)), class_="warning") for each in warnings[:ROWS]],
        tag("p", _more_warnings(run, warnings), class_="note") if len(warnings) > ROWS else None,
        [_gate(each) for each in gates],
    )


def run_text(run: RunView, warnings: Sequence[Warned] = (), gates: Sequence[Held] = ()) -> str:
    """Return a run as lines of text: how it ended, a table of its tasks, the tasks' warnings, and the gates that said
    no, with the rules that don't hold."""
    tasks = run.tasks or ()
    shown = _most_telling(tasks)
    heads = ("", "task", "kind", "state", "time", "why")
    rows = [
        (MARKS[task.state], task.name, task.kind, task.state, _seconds(task), one_line(task.reason)) for task in shown
    ]
    left = len(tasks) - len(shown)
    more = [f"  {left:,} more tasks, all well"] if left else []
    why = [f"  {one_line(run.why)}"] if run.why else []
    mapped = maps(task.name for task in tasks)  # a map's elements are counted, and not the map itself
    ended = ended_text(run, Counter(task.state for task in tasks if task.name not in mapped))
    told = [f"  {each}" for each in warnings[:ROWS]]
    if len(warnings) > ROWS:
        told.append(f"  {_more_warnings(run, warnings)}")
    for gate in gates:
        told.append(f"  {gate.sentence}")
        for rule in gate.rules:
            told += [f"    {rule.verdict(gate.gate)}", f"      {rule.why}"]
    return "\n".join([ended, *why, *(columns(heads, rows) if rows else ()), *more, *told])


def runs_text(runs: Sequence[RunView]) -> str:
    """Return runs as a table in lines of text. The first line has the names of the columns."""
    heads = ("run", "pipeline", "state", "time")
    return "\n".join(columns(heads, [(run.run, run.pipeline, run.state, seconds_text(run.seconds)) for run in runs]))


def plan_text(plan: Plan) -> str:
    """Return a plan as lines of text: a table of its tasks, and the expected time and cost."""
    heads = ("", "task", "kind", "decision", "time", "why")
    rows = [
        (
            DECISIONS[task.decision],
            task.name,
            task.kind,
            task.decision.replace("_", " "),
            amount_text(task.expected_s, seconds_text),
            one_line(task.reason),
        )
        for task in plan.tasks[:ROWS]
    ]
    left = len(plan.tasks) - ROWS
    more = [f"  {left:,} more tasks"] if left > 0 else []
    told = [f"note: {note}" for note in notes(plan)]
    return "\n".join([f"plan of {plan.pipeline}", *columns(heads, rows), *more, *sums(plan), *told])


def runs_html(runs: Sequence[RunView]) -> str:
    """Return HTML for runs: a table with a row for each run."""
    rows = (
        [run.run, run.pipeline, _state(run.state), seconds_text(run.seconds), usd_text(run.usd or None)] for run in runs
    )
    return _fragment(_table(["run", "pipeline", "state", "time", "cost"], rows))


def plan_html(plan: Plan) -> str:
    """Return HTML for a plan: a table of its tasks, with the decision, the reason, time and cost of each."""
    rows = (
        [
            tag("code", task.name),
            task.kind,
            f"{DECISIONS[task.decision]} {task.decision.replace('_', ' ')}",
            ticked(one_line(task.reason)),
            amount_text(task.expected_s, seconds_text),
            amount_text(task.expected_usd, usd_text) if task.expected_usd not in (None, 0, (0, 0)) else "",
            task.pool or "",
        ]
        for task in plan.tasks[:ROWS]
    )
    left = len(plan.tasks) - ROWS
    return _fragment(
        tag(
            "p",
            tag("strong", plan.pipeline),
            " plan: ",
            ticked("; ".join(sums(plan)) or "its time and cost aren't known yet"),
        ),
        _table(["task", "kind", "decision", "why", "time", "cost", "pool"], rows),
        tag("p", f"{left:,} more tasks", class_="note") if left > 0 else None,
        [tag("p", ticked(f"note: {note}"), class_="note") for note in notes(plan)],
    )


def report_html(report: Report) -> str:
    """Return HTML for a report, with the same content as the report's own page."""
    return _fragment(html_body(report, level=3))


def table_html(table: pa.Table) -> str:
    """Return HTML for the first rows and columns of an Arrow table, with its size and the types of its columns."""
    names = table.column_names[:TABLE_COLUMNS]
    first = table.select(list(range(len(names)))).slice(0, TABLE_ROWS)
    columns = [[_cell(value) for value in column.to_pylist()] for column in first.columns]
    heads = [join([field.name, tag("br"), tag("span", str(field.type), class_="why")]) for field in first.schema]
    size = f"{count_text(table.num_rows, 'row')}, {count_text(table.num_columns, 'column')}"
    more = table.num_columns - len(names)
    note = f"{size}; {more:,} columns aren't shown" if more else size
    return _fragment(_table(heads, zip(*columns, strict=True)), tag("p", note, class_="note"))


def cell() -> int | None:
    """Return the number of the notebook cell that is running; None outside a notebook."""
    return getattr(shell(), "execution_count", None) if is_notebook() else None


def is_notebook() -> bool:
    """Return whether this process is a notebook's kernel."""
    running = shell()
    return running is not None and getattr(running, "kernel", None) is not None


def register() -> None:
    """If IPython runs, register the functions with which it shows reports, plans and Arrow tables as HTML. The classes
    of these objects don't make HTML themselves."""
    running = shell()
    if running is None:
        return
    html = running.display_formatter.formatters["text/html"]
    for module, name, shown in (
        ("headrace.spec.report", "Report", report_html),
        ("headrace.spec.plan", "Plan", plan_html),
        ("pyarrow.lib", "Table", table_html),
    ):
        if (module, name) not in html.deferred_printers:
            html.for_type_by_name(module, name, shown)


class NotebookObserver:
    """An observer that shows a run's progress below the notebook cell: a row for each stage, with its state, progress
    and time."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        show: Any = importlib.import_module("IPython.display")  # it is installed where notebooks run
        self._html = show.HTML
        self._monotonic = monotonic
        self._began = monotonic()
        self._lock = threading.Lock()
        self._counts = StageCounts(monotonic)
        self._run_id = ""
        self._notes: list[str] = []
        self._left = threading.Event()
        self._shown = show.display(show.HTML(self.html()), display_id=True)
        self._drawer = threading.Thread(target=self._draw, name="headrace-notebook", daemon=True)
        self._drawer.start()

    def opened(self, run_id: str) -> None:
        self._run_id = run_id

    def tasks(self, rows: Sequence[TaskRow]) -> None:
        with self._lock:
            self._counts.absorb(rows)

    def note(self, text: str) -> None:
        with self._lock:
            self._notes.append(text)

    def closed(self, _row: RunRow) -> None:
        self.leave()

    def leave(self) -> None:
        """Stop updating, and show the last state of the run below the cell."""
        if not self._left.is_set():
            self._left.set()
            self._drawer.join()
            self._shown.update(self._html(self.html()))

    def become(self, html: str) -> None:
        """Replace the progress below the cell by this HTML, which shows the run as it ended."""
        self._shown.update(self._html(html))

    def html(self) -> str:
        """Return HTML for the progress at this moment."""
        with self._lock:
            now = self._monotonic()
            stages = [_stage(stage, now) for stage in self._counts]
            notes = [tag("p", ticked(note), class_="note") for note in self._notes[-3:]]
        head = tag("p", "run ", tag("strong", self._run_id or "begins"), f" {seconds_text(now - self._began)}")
        if self._left.is_set() and not self._run_id:  # the pipeline was refused, and the error tells why
            return _fragment(notes) if notes else ""
        return _fragment(head, _table(["stage", "", "tasks", "", "time"], stages) if stages else None, notes)

    def _draw(self) -> None:
        while not self._left.wait(EVERY_S):
            self._shown.update(self._html(self.html()))


def shell() -> Any:
    """Return IPython's shell, or None if this process has none."""
    module = sys.modules.get("IPython")
    return None if module is None else module.get_ipython()


@cache
def _style() -> Markup:
    """Return the style sheet of reports, changed so that it applies only to elements inside `.headrace`."""
    text = STYLE.read_text(encoding="utf-8").replace(":root {", "& {").replace("body {", "& {")
    return tag("style", Markup(f".headrace {{\n{text}\n}}\n{EXTRA_STYLE}"))


def _fragment(*children: Child) -> str:
    return tag("div", _style(), children, class_="headrace")


def _table(heads: Sequence[Child], rows: Iterable[Sequence[Child]]) -> Markup:
    """Return an HTML table. Columns named in `SPARE` are left out if they are empty."""
    lines = list(rows)
    kept = [place for place, name in enumerate(heads) if name not in SPARE or any(line[place] for line in lines)]
    heads, rows = [heads[place] for place in kept], ([line[place] for place in kept] for line in lines)
    head = tag("thead", tag("tr", (tag("th", name, scope="col") for name in heads)))
    body = tag("tbody", (tag("tr", (tag("td", cell) for cell in row)) for row in rows))
    return tag("div", tag("table", head, body), class_="scroll")


def _more_warnings(run: RunView, warnings: Sequence[Warned]) -> str:
    return f"{len(warnings) - ROWS:,} more warnings: headrace show {run.run}"


def _gate(gate: Held) -> list[Child]:
    rules = [
        tag("p", tag("strong", ticked(rule.verdict(gate.gate))), " ", ticked(rule.why), class_="refusal")
        for rule in gate.rules
    ]
    return [tag("p", tag("strong", ticked(gate.sentence))), *rules]


def _seconds(task: TaskView) -> str:
    return seconds_text(task.seconds) if task.attempts else ""


def _state(state: str) -> Markup:
    return tag("span", f"{MARKS[state]} {state}", class_=f"state {state}")


def _task(task: TaskView) -> list[Child]:
    return [
        tag("code", task.name),
        task.kind,
        _state(task.state),
        ticked(one_line(task.reason)),
        _seconds(task),
        usd_text(task.usd) if task.usd else "",
        task.pool or "",
    ]


def _most_telling(tasks: Sequence[TaskView]) -> list[TaskView]:
    """Return at most `ROWS` tasks, in their order. Tasks that didn't succeed are preferred."""
    ranked = sorted(range(len(tasks)), key=lambda place: tasks[place].state in ("succeeded", "reused"))
    return [tasks[place] for place in sorted(ranked[:ROWS])]


def _stage(stage: Stage, now: float) -> list[Child]:
    bar = tag("progress", max=max(1, stage.total), value=stage.done)
    mark = tag("span", f"{MARKS[stage.state]} {stage.name}", class_=f"state {stage.state}")
    return [mark, bar, f"{stage.done}/{stage.total}", stage.counts, stage.took(now)]


def _cell(value: object) -> Child:
    return tag("span", "null", class_="why") if value is None else cut(str(value))
