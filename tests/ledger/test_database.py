"""What goes wrong with the ledger's file, and what the user is told."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.errors import LedgerError, LedgerVersionError
from headrace.ledger.database import sqlite
from headrace.ledger.database.sqlite import connect
from tests.ledger.samples import after, connections, first, open_ledger


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ledger with one run."""
    with open_ledger(tmp_path) as ledger, ledger.open_run("flights") as run:
        run.commit(first())
        return Path(ledger.address)


@pytest.fixture
def raw(path: Path) -> Iterator[sqlite3.Connection]:
    db = sqlite3.connect(path, isolation_level=None)
    yield db
    db.close()


def test_a_ledger_of_a_newer_version_is_left_alone(path: Path, raw: sqlite3.Connection) -> None:
    raw.execute("pragma user_version=99")
    with pytest.raises(LedgerVersionError, match=r"written by a newer Headrace \(its version is 99") as caught:
        connect(path)
    assert "upgrade" in (caught.value.hint or "")


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "theirs.db")
    db.execute("create table theirs (a)")
    db.close()
    with pytest.raises(LedgerError, match="another program"):
        connect(tmp_path / "theirs.db")


@pytest.mark.parametrize("keep", [0, 100, 5000])
def test_a_file_that_is_no_database_is_told_from_a_ledger(path: Path, keep: int) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:keep] + os.urandom(4096 * 3))
    before = connections()
    with pytest.raises(LedgerError, match="damaged") as caught, open_ledger(path.parent) as ledger:
        ledger.take("whatever")
    assert "backup" in (caught.value.hint or "")
    assert connections() <= before


def test_a_folder_in_the_ledgers_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").mkdir()
    with pytest.raises(LedgerError, match="can't be opened"):
        connect(tmp_path / "ledger.db")


def test_a_file_in_the_folders_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(LedgerError, match="can't be opened") as caught:
        connect(tmp_path / "state" / "ledger.db")
    assert "folder" in (caught.value.hint or "")


def test_a_folder_that_cannot_be_written_to_is_read_and_tells_who_would_write() -> None:
    code = """
        import os, sys
        from pathlib import Path
        from headrace.errors import LedgerError
        from headrace.ledger.views.views import Views
        from tests.ledger.samples import *
        folder = Path(sys.argv[1])
        with open_ledger(folder) as ledger, ledger.open_run("flights") as run:
            run.commit(first())
        (folder / "ledger.db").chmod(0o444)
        folder.chmod(0o555)
        if os.geteuid() == 0:
            os.setuid(65534)  # nothing is read-only to root
        print(len(Views(folder / "ledger.db").runs().runs))
        try:
            open_ledger(folder).open_run("flights")
        except LedgerError as error:
            print(error.message, error.hint)
    """
    with tempfile.TemporaryDirectory() as folder:
        child = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code), folder], stdout=subprocess.PIPE, text=True, check=True
        )
        Path(folder).chmod(0o700)
    one, told = child.stdout.splitlines()
    assert one == "1"
    assert "can't be written to make the file and its folder writable" in told


def test_a_ledger_that_stays_locked_is_an_error(
    path: Path, raw: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "TIMEOUT_S", 0.05)
    with open_ledger(path.parent) as ledger, ledger.open_run("flights") as run:
        raw.execute("begin immediate")
        with pytest.raises(LedgerError, match="locked by another process"):
            run.commit(first())
        raw.execute("rollback")
        run.commit(first())


def test_a_full_disk_is_an_error_that_stores_nothing(path: Path) -> None:
    db = connect(path)
    db.execute("pragma max_page_count=1")  # SQLite's own word for a disk without room
    with pytest.raises(LedgerError, match="disk is full") as caught, db.troubles():
        db.execute("insert into cursors (name, version, value) values ('name', 1, zeroblob(1000000))")
    db.close()
    assert "free some space" in (caught.value.hint or "")


def test_a_disk_that_takes_no_more_is_an_error_and_the_ledger_stays_whole(path: Path) -> None:
    code = """
        import resource, sys
        from pathlib import Path
        from headrace.errors import LedgerError
        from tests.ledger.samples import *
        with open_ledger(Path(sys.argv[1])) as ledger, ledger.open_run("flights") as run:
            run.commit(first())
            resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
            try:
                run.commit(after(run, b"x" * 1_000_000))
            except LedgerError as error:
                print(error.message, error.hint)
            resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
            run.commit(after(run, b"small"))
            print(list(run.events()))
    """
    child = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(path.parent)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert "the disk gave an error" in child.stdout
    assert "[b'opened', b'small']" in child.stdout
    db = connect(path)
    assert db.execute("pragma integrity_check").fetchone() == ("ok",)
    db.close()


def test_an_empty_file_becomes_a_ledger(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").touch()
    with open_ledger(tmp_path) as ledger, ledger.open_run("flights") as run:
        run.commit(first())


def test_processes_that_make_one_ledger_at_once_all_succeed(tmp_path: Path) -> None:
    code = """
        import sys
        from pathlib import Path
        from tests.ledger.samples import *
        sys.stdin.readline()
        with open_ledger(Path(sys.argv[1])) as ledger, ledger.open_run("flights") as run:
            run.commit(first())
    """
    children = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "state")], stdin=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.close()
    assert [child.wait() for child in children] == [0, 0, 0, 0]


def test_what_is_committed_waits_for_the_disk(path: Path) -> None:
    db = connect(path)
    assert db.execute("pragma synchronous").fetchone() == (2,), "FULL"
    assert db.execute("pragma journal_mode").fetchone() == ("wal",)
    db.close()


def test_an_error_inside_a_commit_leaves_no_transaction_open(path: Path) -> None:
    with open_ledger(path.parent) as ledger, ledger.open_run("flights") as run, pytest.raises(AttributeError):
        run.commit(first(tasks=[None]))
    with open_ledger(path.parent) as ledger, ledger.open_run("flights") as run:
        run.commit(first())
        run.commit(after(run, b"more"))
