"""What a page tells of a run that is not over."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.inspect.page.gather import run_facts
from headrace.project.project import load
from headrace.project.state import open_ledger, views
from headrace.run.events import Launched, Opened, Taken, encode_event
from headrace.spec.bundle import Bundle
from tests.ledger.samples import first, task_row


def test_a_run_whose_driver_is_gone_took_until_that_was_last_heard_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pipelines.py").write_text("")
    (tmp_path / "headrace.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    project = load(environment={})
    events = (
        Opened("flights", (), Bundle(digest="b", size=0, nonce="n"), 100.0),
        Taken(1, "ada", 100.0),
        Launched("fit", 1, "key", (1,), "here", "no earlier result", b"", at=107.0),
    )
    with open_ledger(project) as ledger, views(project) as found:
        with ledger.open_run("flights") as run:
            run.commit(first([encode_event(each) for each in events], tasks=[task_row("fit", "running")]))
            held = run_facts(project, found, run.run, now=200.0)
        gone = run_facts(project, found, run.run, now=200.0)
    assert (held.seconds, [each.seconds for each in held.attempts]) == (100.0, [93.0])
    assert (gone.seconds, gone.attempts) == (7.0, ())
