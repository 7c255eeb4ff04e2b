"""What `headrace get` finds."""

from __future__ import annotations

from pathlib import Path

from headrace.inspect.get.get import find
from headrace.inspect.views import Views
from headrace.ledger.ledger import Ledger
from headrace.run.ports import TaskRow
from tests.ledger.samples import blob, first, open_ledger, task_row


def test_the_latest_run_stays_the_same_though_another_begins_meanwhile(tmp_path: Path) -> None:
    class Busy(Views):
        """Another run begins whenever a task is looked up."""

        def task(self, run: str | None, task: str) -> TaskRow:
            found = super().task(run, task)
            begin(ledger, "later")
            return found

    def begin(ledger: Ledger, text: str) -> None:
        with ledger.open_run("flights") as run:
            run.commit(first(tasks=[task_row("fit", out=blob(text))]))

    with open_ledger(tmp_path) as ledger:
        begin(ledger, "earlier")
        with Busy(ledger.address) as views:
            assert find(views, "latest", "fit").digest == blob("earlier").digest
