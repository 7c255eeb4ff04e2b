"""Resuming a run, in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.ledger.database.sqlite import os_user
from headrace.operate import session
from headrace.operate.progress.observer import NoObserver
from headrace.project.project import load
from headrace.project.state import open_ledger, views
from tests.projects import lent

FLOW = """\
import headrace as hr

@hr.stage
def load() -> int:
    raise RuntimeError("not yet")

@hr.pipeline
def flow() -> None:
    load()
"""


def test_a_cancel_that_comes_while_a_run_is_taken_over_is_obeyed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Cancelling(NoObserver):
        """Cancels the run as soon as it is taken, seconds before its driver begins."""

        def opened(self, run_id: str) -> None:
            assert session.cancel(project, run_id) == f"run {run_id} was told to end"

    with lent(tmp_path) as shell:
        shell.write("pipelines.py", FLOW)
        assert shell.headrace("run", "flow").code == 1
        monkeypatch.chdir(tmp_path)
        project = load()
        ended = session.resume(project, "latest", observer=Cancelling())
        assert (ended.state, ended.why) == ("cancelled", f"cancelled by {os_user()}")


def test_a_cancel_that_was_meant_for_a_dead_driver_is_dropped_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[str] = []

    class Noting(NoObserver):
        def note(self, text: str) -> None:
            notes.append(text)

    with lent(tmp_path) as shell:
        shell.write("pipelines.py", FLOW)
        assert shell.headrace("run", "flow").code == 1
        monkeypatch.chdir(tmp_path)
        project = load()
        with views(project) as found, open_ledger(project) as ledger:
            ledger.signal(found.find("latest").run, "cancel", by="ann")
        ended = session.resume(project, "latest", observer=Noting())
        assert ended.state == "failed"
        assert notes == ["`headrace cancel` by ann has no effect: it was meant for an earlier driver of this run"]
