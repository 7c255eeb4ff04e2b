"""Upkeep killed at random instants: nothing is lost, nothing half done counts, and the command can be given again.

`make faults ROUNDS=50 SEED=1` kills more than `make test` does; a round is repeated by its seed and number.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import tarfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.test_ledger import rows
from tests.projects import Done, Project, finish, lent

SEED = int(os.environ.get("SEED", "1"))
ROUNDS = int(os.environ.get("ROUNDS", "10"))
TABLES = ("runs", "events", "tasks", "results", "blobs")
OLD = Path(__file__).parents[1] / "ledger" / "ledger_1.tar.xz"

PIPELINES = """\
import headrace as hr

@hr.stage
def numbers(n: int) -> list[int]:
    return list(range(n, n + 12))

@hr.stage
def each(n: int) -> bytes:
    return bytes([n % 256]) * 200_000

@hr.stage
def total(data: list[bytes]) -> int:
    return sum(len(each) for each in data)

@hr.pipeline
def flow(n: int) -> None:
    total(each.map(numbers(n)))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project with three runs, an export and a backup of them."""
    with lent(tmp_path_factory.mktemp("upkeep") / "project") as project:
        project.write("pipelines.py", PIPELINES)
        for n in ("0", "100", "200"):
            assert project.headrace("run", "flow", "--n", n).code == 0
        assert project.headrace("ledger", "export", "whole.headrace").code == 0
        assert project.headrace("backup", "whole").code == 0
        yield project


class Round:
    """One round: copies of the state to do harm to."""

    def __init__(self, made: Project, number: int, what: str, folder: Path) -> None:
        self.rng = random.Random(f"{SEED}-{number}-{what}")
        self.made = made
        self.folder = folder
        self.project = Project(made.root, {"HEADRACE_HOME": str(folder / "state")}, made.mark)

    def copy(self) -> None:
        """Have a copy of the project's state."""
        shutil.copytree(self.made.home, self.folder / "state")

    def kill(self, *words: str, usual_s: float = 1.0) -> Done:
        """Return a command and kill it, at a random instant of the time that it takes."""
        pause_s = self.rng.uniform(0.05, usual_s)
        print(f"SEED={SEED} {' '.join(words)} killed after {pause_s:.3f} s")
        process = self.project.start(*words)
        time.sleep(pause_s)  # the instant is the point
        process.kill()
        done = finish(process)
        assert "Traceback" not in done.err, done
        return done

    def give(self, *words: str) -> Done:
        done = self.project.headrace(*words)
        assert done.code == 0, done
        return done

    def check_whole(self, runs: int = 3) -> None:
        """Check that ledger and store agree to the last byte and hold so many runs."""
        checked = self.project.headrace("fsck", "--deep", "--json")
        assert checked.code == 0, checked
        assert (checked.json["problems"], checked.json["runs"]) == ([], runs)

    def check_equal(self) -> None:
        """Check that nothing differs from what it was made of."""
        self.check_whole()
        for table in TABLES:
            assert rows(self.folder / "state", table) == rows(self.made.home, table), table


@pytest.fixture
def kills(request: pytest.FixtureRequest, made: Project, tmp_path: Path) -> Iterator[Round]:
    now = Round(made, request.node.callspec.params["number"], request.node.originalname, tmp_path)
    yield now
    shutil.rmtree(tmp_path, ignore_errors=True)  # pytest keeps the folders of tests


NUMBERS = pytest.mark.parametrize("number", range(max(1, ROUNDS // 3)))


@NUMBERS
def test_an_export_that_is_killed_leaves_no_file_or_a_whole_one(kills: Round, number: int) -> None:
    kills.copy()
    file = kills.folder / "laptop.headrace"
    kills.kill("ledger", "export", str(file))
    if not file.exists():
        kills.give("ledger", "export", str(file))
    assert [path.name for path in kills.folder.iterdir() if path.name.endswith(".part")] == []
    shutil.rmtree(kills.folder / "state")
    kills.give("ledger", "import", str(file))
    kills.check_equal()


@NUMBERS
def test_an_import_that_is_killed_brings_whole_runs_only_and_goes_on(kills: Round, number: int) -> None:
    for _ in range(kills.rng.choice([1, 2, 3])):
        kills.kill("ledger", "import", "whole.headrace")
    checked = kills.project.headrace("fsck", "--deep", "--json")
    assert checked.code == 0, checked
    kills.give("ledger", "import", "whole.headrace")
    kills.check_equal()


@NUMBERS
def test_a_backup_that_is_killed_leaves_the_earlier_ones_whole(kills: Round, number: int) -> None:
    kills.copy()
    place = str(kills.folder / "kept")
    shutil.copytree(kills.made.root / "whole", place)
    kills.give("run", "flow", "--n", "50")
    for _ in range(kills.rng.choice([1, 2])):
        kills.kill("backup", place, "--keep", "1", usual_s=1.5)
    listed = kills.give("restore", place, "--list", "--json").json["snapshots"]
    assert listed, "one is always there"
    kills.project.environment["HEADRACE_HOME"] = str(kills.folder / "early")
    kills.give("restore", place)
    kills.check_whole(listed[-1]["runs"])
    kills.project.environment["HEADRACE_HOME"] = str(kills.folder / "state")
    kills.give("backup", place, "--keep", "1")
    kills.project.environment["HEADRACE_HOME"] = str(kills.folder / "late")
    kills.give("restore", place)
    kills.check_whole(4)


@NUMBERS
def test_a_restore_that_is_killed_goes_on_where_it_was(kills: Round, number: int) -> None:
    for _ in range(kills.rng.choice([1, 2, 3])):
        kills.kill("restore", "whole", "--merge")
    kills.give("restore", "whole", "--merge")
    kills.check_equal()


@NUMBERS
def test_a_collector_that_is_killed_loses_nothing_that_is_named(kills: Round, number: int) -> None:
    kills.copy()
    for _ in range(kills.rng.choice([1, 2, 3])):
        kills.kill("gc", "--keep-runs", "1")
        assert kills.project.headrace("fsck", "--deep").code == 0
    kills.give("gc", "--keep-runs", "1")
    kills.check_whole(1)
    again = kills.give("run", "flow", "--n", "200", "--json").json
    assert {task["state"] for task in again["tasks"]} == {"reused"}


@NUMBERS
def test_a_migration_that_is_killed_happened_or_did_not(kills: Round, number: int) -> None:
    with tarfile.open(OLD) as archive:
        archive.extractall(kills.folder, filter="data")
    kills.project = Project(kills.folder / "project", {}, kills.made.mark)
    before = _counts(kills.project.home)
    kills.kill("ledger", "migrate", usual_s=1.5)
    kills.give("ledger", "migrate")
    assert _counts(kills.project.home) == before
    assert kills.project.headrace("fsck", "--deep").code == 0


def _counts(home: Path) -> list[int]:
    with closing(sqlite3.connect(home / "ledger.db")) as db:
        return [db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in (*TABLES, "inbox", "cursors")]
