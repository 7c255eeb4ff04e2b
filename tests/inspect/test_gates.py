"""What a run's gates said, and at what price that is known."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from headrace.inspect.gates import Refusal, held
from headrace.inspect.passed import may_have_failed_gates
from headrace.inspect.views import Views
from headrace.ledger.ledger import Ledger
from headrace.run.events import Traced, encode_event
from headrace.run.ports import TaskRow
from headrace.run.story import Story
from headrace.spec.artifact import Ref, gather
from headrace.spec.graph import Node
from headrace.spec.intent import REPORT
from tests.ledger.samples import blob, digest, first, open_ledger, task_row

ELEMENTS = 60


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(tmp_path) as ledger:
        yield ledger


class Counting(Views):
    """Views that count how often all rows and all events of a run are read."""

    reads = 0

    def rows(self, run: str | None = None, *, kind: str | None = None) -> list[TaskRow]:
        self.reads += kind is None
        return super().rows(run, kind=kind)

    def story(self, run: str | None = None) -> Story:
        self.reads += 1
        return super().story(run)


def verdict(*, passed: bool) -> Ref:
    """The output of an evaluation."""
    text = b"true" if passed else b"false"
    told = Ref(digest=digest(text.decode()), size=len(text), codec="json", type="builtins.bool", inline=text)
    return gather([told, replace(blob("report"), type=REPORT)], type="t.Found", names=("passed", "report"))


def sweep(ledger: Ledger, *, passed: bool) -> str:
    """Store a run in which a map of evaluations gave the same verdict for each element. Return the run's id."""
    rows = [task_row("judge", kind="evaluate", out=blob("all"))] + [
        task_row(f"judge[#{n}]", ordinal=n + 1, kind="evaluate", parent="judge", out=verdict(passed=passed))
        for n in range(ELEMENTS)
    ]
    traced = encode_event(Traced((), (Node(name="judge", stage="pipelines:judge", args=()),)))
    with ledger.open_run("flow") as run:
        run.commit(first([traced], tasks=rows))
        return run.run


def test_a_runs_rows_and_events_are_read_once_for_all_its_gates(ledger: Ledger) -> None:
    run = sweep(ledger, passed=False)
    with Counting(ledger.address) as views:
        found = held(views, run, lambda _: None)
        assert views.reads == 2
    assert [each.gate for each in found] == [f"judge[#{n}]" for n in range(ELEMENTS)]


def test_whether_gates_may_have_said_no_is_known_without_events_and_other_rows(ledger: Ledger) -> None:
    passed, failed = sweep(ledger, passed=True), sweep(ledger, passed=False)
    with Counting(ledger.address) as views:
        assert not may_have_failed_gates(views, passed)
        assert may_have_failed_gates(views, failed)
        assert views.reads == 0


def test_whether_a_run_has_gates_that_failed_is_known_without_codecs_and_stages() -> None:
    heavy = "['numpy', 'pyarrow', 'headrace.inspect.gates', 'headrace.stages.evaluate.findings']"
    program = f"import sys, headrace.cli.terminal.summary\nprint([each for each in {heavy} if each in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_refusal_says_which_tasks_were_skipped_or_that_none_waited() -> None:
    assert Refusal(gate="gate", tasks=()).sentence == "`gate` says no; no task waited for it"
    assert Refusal(gate="gate", tasks=("a", "b")).sentence == "`gate` says no: `a`, `b` skipped"
