"""The lease of a run: a file's lock."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from headrace.errors import LeaseHeld, LedgerError
from headrace.ledger.database import lease_files
from headrace.ledger.database.lease_files import FileLeases

HOLD = """
    import sys
    from pathlib import Path
    from headrace.ledger.database.lease_files import FileLeases
    held = FileLeases(Path(sys.argv[1])).acquire("run", "a test")
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def other(tmp_path: Path) -> subprocess.Popen[str]:
    """Another process that holds the lease until its input closes."""
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLD), str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    return child


def test_a_lease_held_by_another_process_names_it(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    with other:
        with pytest.raises(LeaseHeld, match=f"process {other.pid} on `{os.uname().nodename}`"):
            FileLeases(tmp_path).acquire("run")
        found = FileLeases(tmp_path).holder("run")
        assert found is not None
        assert (found.pid, found.name) == (other.pid, "a test")


def test_the_lease_of_a_killed_process_is_free_at_once(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    with other:
        other.kill()
        other.wait()
        assert FileLeases(tmp_path).holder("run") is None
        FileLeases(tmp_path).acquire("run").release()


def test_a_child_that_executes_a_program_does_not_inherit_the_lease(tmp_path: Path) -> None:
    held = FileLeases(tmp_path).acquire("run")
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE):
        held.release()
        assert FileLeases(tmp_path).holder("run") is None
        FileLeases(tmp_path).acquire("run").release()


def test_a_released_lease_leaves_no_file(tmp_path: Path) -> None:
    held = FileLeases(tmp_path).acquire("run")
    held.release()
    held.release()
    assert list(tmp_path.iterdir()) == []


def test_looking_who_holds_a_lease_makes_nothing(tmp_path: Path) -> None:
    assert FileLeases(tmp_path / "leases").holder("run") is None
    assert list(tmp_path.iterdir()) == []


def test_a_lease_is_taken_past_somebody_who_only_looks(tmp_path: Path) -> None:
    code = """
        import sys
        from pathlib import Path
        from headrace.ledger.database.lease_files import FileLeases
        print("looks", flush=True)
        while True:
            FileLeases(Path(sys.argv[1])).holder("run")
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as looker:
        assert looker.stdout is not None
        looker.stdout.readline()
        for _ in range(200):
            FileLeases(tmp_path).acquire("run").release()
        looker.kill()


def test_two_processes_never_hold_one_lease_though_its_file_comes_and_goes(tmp_path: Path) -> None:
    code = """
        import os, sys
        from pathlib import Path
        from headrace.errors import LeaseHeld
        from headrace.ledger.database.lease_files import FileLeases
        mark, got = Path(sys.argv[1]) / "mark", 0
        while got < 100:
            try:
                held = FileLeases(Path(sys.argv[1])).acquire("run", is_patient=False)
            except LeaseHeld:
                continue
            os.close(os.open(mark, os.O_CREAT | os.O_EXCL))  # fails if another is within
            os.unlink(mark)
            held.release()
            got += 1
    """
    children = [subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]) for _ in range(3)]
    assert [child.wait() for child in children] == [0, 0, 0]


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "leases").write_text("")
    with pytest.raises(LedgerError, match=r"run\.lock` can't be taken"):
        FileLeases(tmp_path / "leases").acquire("run")


def test_the_clock_frees_nobodys_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = FileLeases(tmp_path).acquire("run")
    monkeypatch.setattr(lease_files.time, "time", lambda: 9e12)
    with pytest.raises(LeaseHeld):
        FileLeases(tmp_path).acquire("run")
    held.release()
