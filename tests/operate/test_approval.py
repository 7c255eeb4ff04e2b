"""What `approve` and `reject` decide about, and what `show` says of it, from events that are stored in a ledger."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest
from msgspec.structs import replace

from headrace.cli.commands import approve as approve_command
from headrace.cli.commands import show
from headrace.errors import RefusedError
from headrace.inspect.run_record import next_state
from headrace.ledger.ledger import Ledger
from headrace.ledger.views.tracking import TrackingViews
from headrace.operate.approval import Decided, decide
from headrace.operate.progress.observer import NoObserver
from headrace.project.project import Project, load
from headrace.project.state import ledger_address, open_ledger, views
from headrace.run.events import Approved, Event, Rejected, Submitted, decode_event, encode_event
from headrace.run.machine.machine import Machine
from headrace.run.ports import Batch, Decision, RunRow
from headrace.run.projection import run_row
from headrace.testing.graphs import Sketch
from tests.run.bed import Bed, gives

E = TypeVar("E")
LIMIT_S = 3600.0


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    (tmp_path / "headrace.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    return load()


def asking(project: Project, ago: dict[str, float], *, limited: bool = True) -> dict[str, Submitted]:
    """Store a run whose tasks have been waiting for an approval for so many seconds. If `limited`, they must be
    approved within an hour. Return what the tasks asked."""
    sketch = Sketch()
    for name in ago:
        sketch.declare(name, approval="risk-team", within_s=LIMIT_S if limited else None)
        sketch.node(name)
    bed = Bed(gives, sketch)
    bed.driver().drive()
    events = [
        replace(each, at=time.time() - ago[each.task]) if isinstance(each, Submitted) else each
        for each in map(decode_event, bed.run.events())
    ]
    with open_ledger(project) as ledger, ledger.open_run("run") as run:
        run.commit(Batch(first=0, bodies=[encode_event(each) for each in events], run=row_of(events)))
    return {each.task: each for each in events if isinstance(each, Submitted)}


def row_of(events: list[Event]) -> RunRow:
    machine = Machine()
    for event in events:
        machine.step(event)
    return run_row(machine, time.time())


def signal(project: Project, kind: str, asked: Submitted, *, by: str = "ann", ago: float = 0.0) -> None:
    """Put a decision that somebody made some seconds ago into the run's inbox."""
    body = msgspec.json.encode(Decision(task=asked.task, key=asked.key, why="so")).decode()
    with views(project) as found, Ledger(ledger_address(project), clock=lambda: time.time() - ago) as ledger:
        ledger.signal(found.find().run, kind, by=by, body=body)


def approve(project: Project, task: str | None = None) -> Decided:
    return decide(project, "latest", task, "approve", "fine", later=True, observer=NoObserver())


def shown(capsys: pytest.CaptureFixture[str]) -> str:
    show.command(["latest"], standalone_mode=False)
    return " ".join(capsys.readouterr().out.split())


def test_tasks_for_which_it_is_too_late_are_left_out_and_told(project: Project) -> None:
    asking(project, {"a": 2 * LIMIT_S, "b": 0.0})
    decided = approve(project)
    assert decided.tasks == ("b",)
    assert decided.late.startswith(f"it is too late to approve `a` of run {decided.run}: the time was over at ")
    with views(project) as found:
        assert [each.task for each in found.decisions()] == ["b"]


@pytest.mark.parametrize("more", [[], ["--json"]], ids=["text", "json"])
def test_whoever_decides_is_told_which_tasks_were_too_late_and_what_others_decided_first(
    project: Project, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    asked = asking(project, {"a": 2 * LIMIT_S, "b": 0.0, "c": 0.0})
    signal(project, "reject", asked["c"])
    approve_command.command(["latest", "--why", "fine", "--later", *more], standalone_mode=False)
    said = capsys.readouterr().err
    assert "it is too late to approve `a` of run" in said
    assert "`c` was rejected by ann: so; this was decided first, so it counts" in said


def test_a_decision_is_refused_if_it_is_too_late_for_all_that_are_meant(project: Project) -> None:
    asking(project, {"a": 2 * LIMIT_S, "b": 2 * LIMIT_S, "c": 0.0})
    with pytest.raises(RefusedError, match="too late to approve `a` of run") as refused:
        approve(project, "a")
    assert refused.value.hint is not None
    assert refused.value.hint.endswith("` refuses the task")
    approve(project)
    with pytest.raises(RefusedError, match="too late to approve `a`, `b` of run") as refused:
        approve(project)
    assert refused.value.hint is not None
    assert refused.value.hint.endswith("` refuses the tasks")


def test_show_says_of_each_task_only_what_the_next_driver_does(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = asking(project, {"a": 2 * LIMIT_S, "b": 2 * LIMIT_S, "c": 0.0})
    signal(project, "approve", asked["a"], ago=1.5 * LIMIT_S)  # in time
    signal(project, "reject", asked["a"], by="bob")  # the first counts
    signal(project, "approve", asked["b"])  # too late
    said = shown(capsys)
    assert "`a` was approved by ann: so; `headrace resume" in said
    assert "bob" not in said
    assert "`a` was to be approved until" not in said
    assert "`b` was approved" not in said
    assert said.count("`b` was to be approved until") == 1
    assert "`c`" not in said


@pytest.mark.parametrize("limited", [False, True])
def test_views_know_without_a_replay_whether_a_run_has_tasks_that_wait_only_for_some_time(
    project: Project, limited: bool
) -> None:
    asking(project, {"a": 0.0}, limited=limited)
    with views(project) as found:
        assert found.limits_approvals() == limited


def test_a_decision_that_a_driver_reads_while_somebody_looks_is_seen_by_him(project: Project) -> None:
    asked = asking(project, {"a": 0.0})["a"]
    signal(project, "approve", asked)

    class Interrupted(TrackingViews):
        """Views of a ledger in which a driver reads the inbox after the first look at the decisions or events."""

        looked = False

        def decisions(self, name: str | None = None) -> list[Approved | Rejected]:
            return self._then(super().decisions(name))

        def events(self, run: str | None = None) -> Iterator[Event]:
            return iter(self._then([*super().events(run)]))

        def _then(self, found: list[E]) -> list[E]:
            if not self.looked:
                self.looked = True
                self._obey()
            return found

        def _obey(self) -> None:
            with open_ledger(project) as ledger, ledger.take(self.find().run) as run:
                event = Approved(asked.task, asked.key, "ann", "so", time.time())
                signals = [each.id for each in run.inbox()]
                run.commit(Batch(first=run.next_seq, bodies=[encode_event(event)], absorbed=signals))

    with Interrupted(ledger_address(project)) as found:
        state = next_state(found, found.find().run)
    assert not state.machine.phases.asking
    assert not state.decided
