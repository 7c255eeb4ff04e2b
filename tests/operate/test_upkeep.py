"""What the collector's command clears away beside the blobs, while runs go on."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from headrace.backends.processes import spawn
from headrace.backends.processes.orphans import note_mark
from headrace.backends.processes.spawn import Spawned
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


def test_a_stopped_process_of_a_run_that_never_began_is_ended_and_one_of_a_run_that_lives_is_not(
    tmp_path: Path,
) -> None:
    def begin(run: str) -> subprocess.Popen[bytes]:
        """Begin a process as a zygote of a run's driver that was then killed, long ago, and stop it."""
        mark = os.urandom(8).hex()
        process = subprocess.Popen(["sleep", "3600"], env={**os.environ, spawn.MARK: mark}, start_new_session=True)
        process.send_signal(signal.SIGSTOP)
        notes = tmp_path / "store" / "workers" / run / "local"
        with socket.socket() as control:
            note_mark(notes, Spawned(process.pid, control, -1, mark))
        os.utime(notes.parent, (time.time() - 7200,) * 2)
        return process

    with Ledger(tmp_path / "ledger.db") as ledger, ledger.open_run("flow", holder="me") as lease:
        left, lives = begin("20261130-flow-0000"), begin(lease.run)
        try:
            _clear(ledger, FolderStore(tmp_path / "store"), frozenset())
            assert left.wait(timeout=10) == -signal.SIGKILL
            assert lives.poll() is None
            assert [path.name for path in (tmp_path / "store" / "workers").iterdir()] == [lease.run]
        finally:
            for process in (left, lives):
                process.kill()
                process.wait()
