"""Progress as lines: what is told, and how often."""

from __future__ import annotations

from io import StringIO

import pytest
from msgspec.structs import replace
from rich.console import Console

from headrace.cli.terminal.progress_lines import PlainObserver
from headrace.operate.progress.live_table import LiveObserver
from headrace.operate.progress.observer import TaskRow
from headrace.operate.progress.stage_counts import StageCounts
from headrace.spec.policy import NOT_ASKED
from tests.cli.conftest import Shell


def row(name: str, state: str, *, parent: str | None = None, seconds: float = 0.0, reason: str = "") -> TaskRow:
    return TaskRow(
        ordinal=0,
        name=name,
        stage=name.partition("[")[0],
        kind="stage",
        state=state,  # type: ignore[arg-type]
        reason=reason,
        parent=parent,
        seconds=seconds,
    )


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_each_task_is_told_once_it_begins_and_once_it_ends(capsys: pytest.CaptureFixture[str]) -> None:
    observer = PlainObserver()
    observer.opened("r1")
    observer.tasks([row("a", "waiting"), row("b", "waiting")])
    observer.tasks([row("a", "running")])
    observer.tasks([row("a", "succeeded", seconds=3.25)])
    observer.tasks([row("b", "skipped", reason="`c` failed")])
    assert capsys.readouterr().err.splitlines() == [
        "run r1",
        "running   a",
        "succeeded a  3.2 s",
        "skipped   b  `c` failed",
    ]


def test_a_stage_that_is_called_twice_is_told_to_run_each_time_and_a_map_only_by_its_elements(
    capsys: pytest.CaptureFixture[str],
) -> None:
    observer = PlainObserver()
    observer.tasks([row("one", "waiting"), row("one[1]", "waiting"), row("one[2]", "waiting")])
    observer.tasks([row("one", "running")])
    observer.tasks([row("one", "succeeded", seconds=1.0), row("one[1]", "running")])
    observer.tasks([row("one[2]", "running"), row("one[2][n=1]", "running", parent="one[2]")])
    assert capsys.readouterr().err.splitlines() == [
        "running   one",
        "succeeded one  1.0 s",
        "running   one[1]",
        "running   one[2][n=1]",
    ]


def test_around_one_error_stand_the_error_once_and_what_was_skipped_in_one_line(project: Shell) -> None:
    project.write(
        "failing.py",
        """
        import headrace as hr

        @hr.stage
        def wrong(n: int) -> object:
            return lambda: n

        @hr.stage
        def after(given: object) -> int:
            return 1

        @hr.pipeline
        def failing(n: int = 1) -> None:
            after(after(after(wrong(n))))
        """,
    )
    done = project("run", "failing.py:failing")
    lines = done.err.splitlines()
    assert [line for line in lines if line.startswith("skipped")] == [
        "skipped   after, after[1], after[2]  `wrong` failed"
    ]
    for text in ("it means nothing in another process", "return what the function returns"):
        assert len([line for line in lines if text in line]) == 1
    assert "task `wrong` failed" in lines
    shown = project("resume", "latest").err  # which tells it anew
    assert shown.count("it means nothing in another process") == 1


def test_what_only_leaves_out_is_listed_neither_by_a_run_nor_by_a_plan(project: Shell) -> None:
    plan = project("plan", "good", "--only", "one")
    assert (plan.code, "fit" in plan.out, "one" in plan.out) == (0, False, True)
    run = project("run", "good", "--only", "one")
    assert (run.code, "fit" in run.err, "succeeded one" in run.err) == (0, False, True)


def test_a_table_in_place_has_no_line_for_what_only_leaves_out() -> None:
    counts = StageCounts()
    counts.absorb([row("sql", "waiting"), row("fit", "waiting")])
    counts.absorb([row("sql", "running"), row("fit", "skipped", reason=NOT_ASKED)])
    assert [stage.name for stage in counts] == ["sql"]


def test_what_a_task_waits_for_once_it_has_begun_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    observer = PlainObserver()
    observer.tasks([row("a", "waiting", reason="`b` is not done")])
    observer.tasks([row("a", "running")])
    for free in (0, 1):
        observer.tasks([row("a", "waiting", reason=f"it needs 2 CPU, and the cluster has {free} CPU of 8 CPU free")])
    observer.tasks([row("a", "running")])
    assert capsys.readouterr().err.splitlines() == [
        "running   a",
        "waiting   a  it needs 2 CPU, and the cluster has 0 CPU of 8 CPU free",
        "running   a",
    ]


def test_a_wide_map_is_told_of_every_two_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    observer = PlainObserver(clock)
    names = [f"fit[#{number}]" for number in range(100)]
    observer.tasks([row("fit", "running"), *(row(name, "waiting", parent="fit") for name in names)])
    capsys.readouterr()
    for number, name in enumerate(names):
        clock.now += 0.1
        state = "failed" if number == 50 else "succeeded"
        observer.tasks([row(name, state, parent="fit", reason="ValueError: no")])
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) <= 9
    assert "failed    fit[#50]  ValueError: no" in lines
    assert lines[-1] == "failed    fit 100/100: 99 succeeded, 1 failed"


def test_names_cannot_move_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    PlainObserver().tasks([row("a\x1b[2J\r", "running")])
    assert capsys.readouterr().err == "running   a\\x1b[2J\\r\n"


def test_a_map_counts_by_its_elements() -> None:
    counts = StageCounts()
    counts.absorb([row("fit", "running")])
    assert (counts["fit"].total, counts["fit"].state) == (1, "running")
    counts.absorb([row("fit[#0]", "succeeded", parent="fit"), row("fit[#1]", "waiting", parent="fit")])
    counts.absorb([row("fit", "running")])
    stage = counts["fit"]
    assert (stage.total, stage.done, stage.state) == (2, 1, "running")
    counts.absorb([row("fit[#1]", "failed", parent="fit"), row("fit", "failed")])
    assert (stage.done, stage.state) == (2, "failed")


def test_what_had_succeeded_before_a_run_is_resumed_is_told_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    observer = PlainObserver()
    fit, part = row("fit", "succeeded", seconds=90.0), row("fit[#0]", "succeeded", parent="fit", seconds=90.0)
    again, never = row("again[#0]", "succeeded", parent="again"), row("never", "succeeded")
    observer.tasks([fit, replace(part, started=9.0), row("again", "running"), replace(again, started=9.0), never])
    observer.tasks([row("b", "running"), row("again[#1]", "running", parent="again")])
    observer.tasks([replace(row("b", "succeeded"), started=99.0), row("again[#1]", "succeeded", parent="again")])
    observer.tasks([row("again", "succeeded")])
    lines = [line.split("  ")[0] for line in capsys.readouterr().err.splitlines() if "running" not in line]
    assert lines == [
        "had succeeded fit",
        "had succeeded fit[#0]",
        "had succeeded again[#0]",
        "succeeded never",
        "succeeded b",
        "succeeded again[#1]",
        "succeeded again",
    ]


@pytest.mark.parametrize("columns", [20, 40, 80])
def test_a_stage_has_one_line_in_a_terminal_however_narrow(columns: int) -> None:
    observer = LiveObserver()
    observer.tasks([row("slow", "running"), row("after_something_long", "waiting"), row("third", "succeeded")])
    console = Console(width=columns, height=20, record=True, file=StringIO())
    console.print(observer)
    lines = console.export_text().splitlines()
    assert len(lines) == 4
    assert all(len(line) <= columns for line in lines)
    if columns > 20:
        assert lines[1].split()[-5:-2] == ["0/1", "1", "running"]
