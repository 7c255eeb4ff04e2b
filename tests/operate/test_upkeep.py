"""What the collector's command clears away beside the blobs, while runs go on."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from headrace.backends.processes import spawn
from headrace.backends.processes.orphans import note_mark
from headrace.backends.processes.spawn import Spawned
from headrace.inspect.endpoints.predictions import prediction_log
from headrace.inspect.views import read
from headrace.ledger.ledger import Ledger
from headrace.operate.upkeep.upkeep import Keep, _clear, collect
from headrace.project.state import open_ledger, open_store
from headrace.store.folder.folder import FolderStore
from tests.operate.test_erase import load, log
from tests.projects import Project as Folder
from tests.projects import check_error


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


def test_a_folder_of_unpacked_code_that_can_not_be_cleared_is_told_after_the_collection(tmp_path: Path) -> None:
    (tmp_path / "headrace.toml").write_text("")
    project, said = load(tmp_path), list[str]()
    with open_ledger(project):
        (open_store(project).local / "bundles" / ".lock").mkdir(parents=True)  # as if it were another user's
    assert collect(project, Keep(), dry_run=False, say=said.append).count == 0
    assert ["unpacked code in" in each and "can't be deleted" in each for each in said] == [True]


@pytest.mark.parametrize(("keep", "sealed"), [("forever", 0), ("36500d", 1)])
def test_gc_seals_the_log_only_if_some_predictions_are_kept_for_a_time(tmp_path: Path, keep: str, sealed: int) -> None:
    (tmp_path / "headrace.toml").write_text(f'[serve]\nkeep = "{keep}"\n')
    project = load(tmp_path)
    log(project, ["anna"])
    assert Folder(tmp_path).headrace("gc").code == 0
    with read(project) as views:
        assert len(views.prediction_parts("rents")) == sealed


def test_gc_collects_though_a_folder_of_the_log_can_not_be_read_and_the_other_writers_are_sealed(
    tmp_path: Path,
) -> None:
    (tmp_path / "headrace.toml").write_text('[serve]\nkeep = "36500d"\n')
    project = load(tmp_path)
    log(project, ["anna"])
    folder = prediction_log(project)._folder
    for name in ("000000000000", "ffffffffffff"):
        (folder / name / "writer.lock").mkdir(parents=True)  # as if it were another user's
        (folder / name / "000000001.closed").touch()
    done = Folder(tmp_path).headrace("gc")
    check_error(
        done, 5, f"the prediction log `{folder / '000000000000'}` can't be used", hint="check the folder's rights"
    )
    assert "deleted no blobs" in done.out
    with read(project) as views:
        assert len(views.prediction_parts("rents")) == 1


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
