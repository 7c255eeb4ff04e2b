"""Copies out what a task has logged: a curve as CSV, a text, or a figure as SVG."""

from __future__ import annotations

from pathlib import Path

from headrace.errors import NotFoundError, listed
from headrace.inspect.get.get import write
from headrace.inspect.get.output_file import form_of, written
from headrace.inspect.views import SeriesView, ShownView, Views, read
from headrace.project.project import Project
from headrace.project.state import reading_store


def get_logged(project: Project, run: str, task: str, name: str, step: int | None, to: Path | None) -> Path:
    """Write what a task has logged under a name to a file, and return the file's path.

    Of texts and figures, the last one is written, or the one at `step`. Of numbers, all points are written as CSV.

    Raises:
        NotFoundError: there is no such run or task, or it has logged nothing under that name.
    """
    with read(project) as views:
        task = views.task(run, task).name
        shown = (*views.figures(run, task, name), *views.texts(run, task, name))
        series = views.series(run, task, name)
        if not shown and not series:
            raise _nothing(views, run, task, name)
    if not shown:
        return _write_csv(series[0], to, name)
    steps = [each.step for each in shown]
    if step is not None and step not in steps:
        raise NotFoundError(
            f"`{task}` logged no `{name}` at step {step}", hint=f"the steps with a value are {listed(steps, 8)}"
        )
    chosen: ShownView = next(each for each in reversed(shown) if step in (None, each.step))
    return write(chosen.out, reading_store(project), to, _file_name(name))


def _nothing(views: Views, run: str, task: str, name: str) -> NotFoundError:
    metrics = [each for each in views.metrics(run, kind=None) if each.task == task]
    lost = next((each for each in metrics if each.name == name), None)
    if lost is not None:
        return NotFoundError(
            f"`{task}` was reused from run `{lost.run}`; what it logged there as `{name}` was deleted with that run",
            hint="`headrace show` still has the last and the best value of numbers; the rest may be in a backup",
        )
    names = list(dict.fromkeys(each.name for each in metrics))
    hint = f"it has logged {listed(names)}" if names else "it has logged nothing; `hr.log(name, value)` logs a value"
    return NotFoundError(f"`{task}` has logged no `{name}`", hint=hint)


def _write_csv(series: SeriesView, to: Path | None, name: str) -> Path:
    rows = zip(series.steps, series.values, series.at, strict=True)
    text = "".join(["step,value,at\n", *(f"{step},{value!r},{at:.3f}\n" for step, value, at in rows)])
    form_of(to, (".csv",), "a curve")
    with written(to, f"{_file_name(name)}.csv") as (path, aside):
        aside.write_text(text, encoding="utf-8")
    return path


def _file_name(name: str) -> str:
    return name.replace("/", "-")
