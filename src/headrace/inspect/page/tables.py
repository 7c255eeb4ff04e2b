"""The tables of a page: facts, tasks, numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

from headrace.inspect.page.facts import Measured, TaskFacts
from headrace.inspect.views import TASK_NUMBERS, TaskNumber
from headrace.report.markup import Child, Markup, tag, ticked
from headrace.report.measures import one_line
from headrace.report.numbers import bracketed

MAX_ROWS = 2000
MAX_COLUMNS = 12
FEW = 4
"""If there are at most this many tasks and more than `MAX_COLUMNS // 2` numbers, the table of numbers has a column for
each task, instead of a row."""


def facts(pairs: Iterable[tuple[str, Child]]) -> Markup:
    """Return names and values as a list of definitions."""
    return tag("dl", (tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs), class_="facts")


def state_badge(state: str) -> Markup:
    """Return a state as a coloured word."""
    return tag("span", state, class_=f"state {state}")


HEADS = {"time": "run"}
"""Headings that are different on a page and on a terminal: `run` instead of `time`, because `load` and `save` are
beside that column."""


def task_table(tasks: Sequence[TaskFacts], anchors: Mapping[str, str]) -> Markup:
    """Return all tasks in a table that can be sorted by any column. If there are too many elements to show all of them,
    elements that did not succeed are preferred."""
    shown = _most_telling(tasks)
    numbers = [each for each in TASK_NUMBERS if not each.is_rare or any(map(each.text, tasks))]
    names = [HEADS.get(each.head, each.head) for each in numbers]
    heads = ["task", "kind", "state", "reason", *names, "pool", "output"]
    rows = (_task_row(task, anchors, numbers) for task in shown)
    left = len(tasks) - len(shown)
    note = tag("p", f"{left:,} more elements of maps, all well, are left out here.", class_="note") if left else None
    return tag("div", table(heads, rows, names, sortable=True), note)


def _most_telling(tasks: Sequence[TaskFacts]) -> list[TaskFacts]:
    """Choose as many tasks as fit into the table: first all tasks that are not elements, then elements that did not
    succeed, then the other elements. Return the chosen tasks.

    In the result, the elements of a map come after the map.
    """
    ranked = sorted(
        range(len(tasks)),
        key=lambda place: (tasks[place].parent is not None, tasks[place].state in ("succeeded", "reused"), place),
    )
    places = {task.name: place for place, task in enumerate(tasks)}
    kept = sorted(ranked[:MAX_ROWS], key=lambda place: (places.get(tasks[place].parent or "", place), place))
    return [tasks[place] for place in kept]


def _task_row(task: TaskFacts, anchors: Mapping[str, str], numbers: Sequence[TaskNumber]) -> Markup:
    return tag(
        "tr",
        tag("th", tag("code", task.name), scope="row"),
        tag("td", task.kind),
        tag("td", state_badge(task.state)),
        tag("td", ticked(one_line(task.reason)), class_="reason"),
        (_number(number.value(task), number.text(task)) for number in numbers),
        tag("td", task.pool or "", title=task.pool_reason),
        tag("td", (tag("span", output, class_="output") for output in task.outputs)),
        id=anchors.get(task.name),
        class_="element" if task.parent is not None else None,
    )


def measured_tables(measured: Sequence[Measured]) -> Markup:
    """Return the numbers of a stage's tasks as tables. If there are several tasks, each is a row, or a column if there
    are many numbers. The numbers of a single task are put into as few rows as possible."""
    if len(measured) == 1:
        return tag("div", _single(measured[0].values), class_="tables")
    values_by_task = {each.task: _bracketed(each.values) for each in measured}
    names = list(dict.fromkeys(name for values in values_by_task.values() for name in values))
    if len(names) <= (MAX_COLUMNS if len(measured) > FEW else MAX_COLUMNS // 2):
        rows = ((task, [values.get(name) for name in names]) for task, values in values_by_task.items())
        return _numbers_table(["task", *names], rows, sortable=True)
    rows = ((name, [values.get(name) for values in values_by_task.values()]) for name in names)
    return _numbers_table(["", *values_by_task], rows)


def _bracketed(values: Mapping[str, float]) -> dict[str, float | tuple[float, str]]:
    """Return the numbers, with each value and the ends of its interval joined to one entry.

    `auc.value`, `auc.low` and `auc.high` become the entry `auc`: a tuple of the value, and its interval as a text. If
    both ends are equal, as for a count, the entry is only the value. Other numbers stay as they are.
    """
    entries: dict[str, float | tuple[float, str]] = {}
    for name, value in values.items():
        stem, _, leaf = name.rpartition(".")
        ends = [values.get(f"{stem}.{end}") for end in ("value", "low", "high")]
        whole = [each for each in ends if each is not None]
        if leaf not in ("value", "low", "high") or len(whole) < len(ends):
            entries[name] = value
        elif leaf == "value":
            entries[stem] = value if whole[1] == whole[2] else (value, bracketed(*whole))
    return entries


def _single(values: Mapping[str, float]) -> Iterator[Markup]:
    """Yield up to two tables: one for names with the same endings (`auc.low`, `auc.high`, `brier.low`, ...), and one
    for all other names."""
    groups: dict[str, dict[str, float]] = {}
    for name, value in values.items():
        stem, _, leaf = name.rpartition(".")
        groups.setdefault(stem, {})[leaf] = value
    likes = Counter(tuple(leaves) for leaves in groups.values() if len(leaves) > 1)
    leaves, count = likes.most_common(1)[0] if likes else ((), 0)
    alike = {stem: group for stem, group in groups.items() if count > 1 and tuple(group) == leaves}
    rest = {name: value for name, value in values.items() if name.rpartition(".")[0] not in alike}
    if alike:
        yield _numbers_table(["", *leaves], ((stem, list(group.values())) for stem, group in alike.items()))
    if rest:
        yield _numbers_table(["number", "value"], ((name, [value]) for name, value in rest.items()))


def _numbers_table(
    heads: Sequence[str],
    rows: Iterable[tuple[str, Sequence[float | tuple[float, str] | None]]],
    *,
    sortable: bool = False,
) -> Markup:
    body = (tag("tr", tag("th", name, scope="row"), (_value(value) for value in values)) for name, values in rows)
    return table(heads, body, heads[1:], sortable=sortable, narrow=True)


def table(
    heads: Sequence[str],
    rows: Iterable[Markup],
    numbers: Container[str],
    *,
    sortable: bool = False,
    narrow: bool = False,
) -> Markup:
    """Return a table. Headings in `numbers` are aligned to the right, like their columns."""
    head = (
        tag(
            "th",
            tag("button", name, type="button") if sortable and name else name,
            scope="col",
            class_="number" if name in numbers else None,
        )
        for name in heads
    )
    body = tag("table", tag("thead", tag("tr", head)), tag("tbody", rows), class_="sortable" if sortable else None)
    return tag("div", body, class_="scroll narrow" if narrow else "scroll", tabindex=0)


def _number(value: float, text: str) -> Markup:
    return tag("td", text, class_="number", data_sort=f"{value!r}")


def _value(value: float | tuple[float, str] | None) -> Markup:
    if value is None:
        return tag("td")
    if isinstance(value, tuple):
        return _number(*value)
    text = f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"
    return _number(value, text)
