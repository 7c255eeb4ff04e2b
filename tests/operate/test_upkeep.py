"""What the collector's command clears away beside the blobs, while runs go on."""

from __future__ import annotations

import shutil
from pathlib import Path

from headrace.ledger.ledger import Ledger
from headrace.operate.upkeep.upkeep import _clear
from headrace.store.folder.folder import FolderStore


def test_a_folder_that_its_run_removes_meanwhile_is_no_trouble(tmp_path: Path) -> None:
    scratch = tmp_path / "store" / "scratch"
    for name in ("one", "other"):
        (scratch / name).mkdir(parents=True)

    class Meanwhile(Ledger):
        """A ledger beside which both runs come to their end when it is asked about one of them."""

        def is_over(self, run_id: str) -> bool:
            shutil.rmtree(scratch)
            return super().is_over(run_id)

    with Meanwhile(tmp_path / "ledger.db") as ledger:
        _clear(ledger, FolderStore(tmp_path / "store"), frozenset())
    assert not scratch.exists()
