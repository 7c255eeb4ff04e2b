"""`headrace ledger export` and `import`: the real command, from one state folder to another."""

from __future__ import annotations

import io
import os
import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.cli.conftest import Beginnings
from tests.faults.test_disks import fill, mount, unmount
from tests.projects import Project, check_error, check_json_error, finish, lent, wait_for

PIPELINES = """\
import time
from pathlib import Path
import headrace as hr

@hr.stage
def small(n: int) -> int:
    print("small is here, with", n)
    return n + 1

@hr.stage
def big(n: int) -> bytes:
    return bytes([n]) * 300_000

@hr.stage
def waits(folder: str, data: bytes) -> int:
    print("waits here")
    Path(folder, "begun").touch()
    while not Path(folder, "end").exists():
        time.sleep(0.01)
    return len(data)

@hr.stage
def length(data: bytes) -> int:
    return len(data)

@hr.pipeline
def flow(n: int = 1) -> None:
    length(big(small(n)))

@hr.pipeline
def slow(folder: str, n: int = 1) -> None:
    waits(folder, big(small(n)))
"""
EXPORTED = ("run flow", "ledger export laptop.headrace")
TWICE = ("run flow --n 1", "run flow --n 2")


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with lent(tmp_path / "project") as project:
        project.write("pipelines.py", PIPELINES)
        yield project


@pytest.fixture
def other(project: Project) -> Project:
    """The same project with its state elsewhere, as on another machine."""
    return Project(project.root, {"HEADRACE_HOME": str(project.root.parent / "other")}, project.mark)


def export(project: Project, name: str = "laptop.headrace", *words: str, code: int = 0) -> dict[str, Any]:
    done = project.headrace("ledger", "export", name, *words, "--json")
    assert done.code == code, done
    found: dict[str, Any] = done.json
    return found


def bring(project: Project, name: str = "laptop.headrace", *words: str, code: int = 0) -> dict[str, Any]:
    done = project.headrace("ledger", "import", name, *words, "--json")
    assert done.code == code, done
    found: dict[str, Any] = done.json
    return found


def rows(home: str | Path, table: str, columns: str = "*") -> list[tuple[Any, ...]]:
    """Read a table of a state folder, each run by its id."""
    with closing(sqlite3.connect(Path(home) / "ledger.db")) as db:
        key = "number" if table == "runs" else "run"
        found = db.execute(f"SELECT r.id, t.* FROM {table} t JOIN runs r ON r.number = t.{key}")
        names = [each[0] for each in found.description]
        kept = [place for place, name in enumerate(names) if name not in ("number", "run")]
        return sorted((tuple(row[place] for place in kept) for row in found), key=repr)


def test_a_project_moves_without_loss_and_its_results_are_reused(
    project: Project, begun: Beginnings, other: Project
) -> None:
    begun(project.root, *TWICE)
    there = export(project)
    assert (there["runs"], there["lacking"]) == (2, [])
    here = bring(other)
    assert (here["runs"], here["known"], here["lacking"]) == (2, 0, [])
    assert (here["blobs"], here["bytes"]) == (there["blobs"], there["bytes"])
    for table in ("runs", "events", "tasks", "results", "blobs"):
        assert rows(other.environment["HEADRACE_HOME"], table) == rows(project.home, table), table
    assert other.headrace("fsck", "--deep").code == 0
    assert "small is here, with 2" in other.headrace("logs", "latest").out
    again = other.headrace("run", "flow", "--n", "2", "--json")
    assert {task["state"] for task in again.json["tasks"]} == {"reused"}


DEADLY = """\
import os
import time
import headrace as hr

@hr.stage
def fine() -> int:
    print("fine is here")
    return 1

@hr.stage(retries=1)
def boom(n: int) -> int:
    print("last words")
    os._exit(7)

@hr.stage(timeout="1s")
def late() -> int:
    print("still waiting")
    time.sleep(60)
    return 1

@hr.pipeline
def flow() -> None:
    print("wired")
    boom(fine())
    late()
"""


def test_what_attempts_printed_that_died_or_had_no_time_left_moves_too(project: Project, other: Project) -> None:
    project.write("pipelines.py", DEADLY)
    assert project.headrace("run", "flow").code == 1
    export(project)
    bring(other)
    printed = {task: project.headrace("logs", "latest", task).out for task in ("fine", "boom", "late")}
    assert printed["boom"].count("last words\n") == 2
    assert "still waiting\n" in printed["late"]
    assert {task: other.headrace("logs", "latest", task).out for task in printed} == printed
    assert other.headrace("logs", "latest").out == project.headrace("logs", "latest").out


def test_it_can_be_repeated_and_goes_back(project: Project, begun: Beginnings, other: Project) -> None:
    begun(project.root, *EXPORTED)
    bring(other)
    assert bring(other) == {
        "runs": 0, "known": 1, "results": 0, "cursors": 0, "versions": 0, "blobs": 0, "bytes": 0, "lacking": [],
        "forgotten": [],
        "standing": {
            "cursors": 0, "versions": 0, "aliases": 0, "alias_moves": 0, "outbox": 0, "routes": 0, "tokens": 0,
            "erasures": 0, "erased": 0, "prediction_parts": 0, "label_parts": 0, "label_withdrawals": 0,
            "prediction_batches": 0,
        },
    }  # fmt: skip
    other.headrace("run", "flow", "--n", "7")
    export(other, "back.headrace")
    found = bring(project, "back.headrace")
    assert (found["runs"], found["known"], found["results"]) == (1, 1, 3)
    assert {task["state"] for task in project.headrace("run", "flow", "--n", "7", "--json").json["tasks"]} == {"reused"}


def test_the_file_of_settings_may_stand_before_the_command(project: Project, begun: Beginnings) -> None:
    begun(project.root, *EXPORTED)
    project.write("shared.toml", '[ledger]\nurl = "sqlite:///shared.db"\n[store]\nurl = "shared"\n')
    done = project.headrace("--config", "shared.toml", "ledger", "import", "laptop.headrace")
    assert done.code == 0, done
    assert "imported 1 run" in done.out
    again = project.headrace("--config", "shared.toml", "run", "flow", "--json")
    assert {task["state"] for task in again.json["tasks"]} == {"reused"}
    assert (project.root / "shared" / "blobs").is_dir()


def test_a_run_that_lives_while_it_is_exported_is_resumed_elsewhere(
    project: Project, other: Project, tmp_path: Path
) -> None:
    process = project.start("run", "slow", "--folder", str(tmp_path))
    wait_for((tmp_path / "begun").exists)
    run = export(project)
    assert run["runs"] == 1
    (tmp_path / "end").touch()
    assert finish(process).code == 0
    bring(other)
    assert other.headrace("show", "latest", "--json").json["state"] == "waiting"
    assert other.headrace("logs", "latest", "waits").out == "waits here\n", "which it had printed by then"
    done = other.headrace("resume", "latest", "--json")
    assert done.code == 0, done
    assert {name: task["attempts"] for name, task in done.task.items()} == {"small": 1, "big": 1, "waits": 2}
    assert other.headrace("logs", "latest", "waits").out == 2 * "waits here\n"
    assert bring(other)["known"] == 1, "it has gone on here, so it is no other"


def test_a_run_that_went_on_in_both_places_is_refused_and_nothing_written(
    project: Project, other: Project, tmp_path: Path
) -> None:
    process = project.start("run", "slow", "--folder", str(tmp_path))
    wait_for((tmp_path / "begun").exists)
    export(project)
    (tmp_path / "end").touch()
    finish(process)
    project.headrace("run", "flow", "--n", "5")
    export(project, "later.headrace")
    bring(other)
    other.headrace("resume", "latest")
    run = other.headrace("show", "latest", "--json").json["run"]
    before = rows(other.environment["HEADRACE_HOME"], "events")
    refused = other.headrace("ledger", "import", "later.headrace")
    check_error(refused, 2, f"run `{run}` already, with other events", hint="continue it where it has the most events")
    assert rows(other.environment["HEADRACE_HOME"], "events") == before
    check_json_error(other.headrace("ledger", "import", "later.headrace", "--json"), 2, run)


def test_equal_generations_that_became_one_here_are_no_difference(
    project: Project, begun: Beginnings, other: Project
) -> None:
    begun(project.root, *TWICE)  # both keep the same bundle
    export(project)
    bring(other)
    assert other.headrace("gc").code == 0
    assert bring(other)["known"] == 2
    assert other.headrace("fsck", "--deep").code == 0


def test_rows_come_alone_where_the_store_is_shared(project: Project, begun: Beginnings, other: Project) -> None:
    begun(project.root, *EXPORTED)
    assert export(project, "rows.headrace", "--no-blobs")["blobs"] == 0
    assert len(bring(other, "rows.headrace", code=5)["lacking"]) == 2
    project.write("shared.toml", f'[ledger]\nurl = "sqlite:///shared.db"\n[store]\nurl = "{project.home / "store"}"\n')
    assert bring(project, "rows.headrace", "--config", "shared.toml")["lacking"] == []


def test_a_blob_that_is_gone_or_damaged_is_said_to_be_lacking(
    project: Project, begun: Beginnings, other: Project
) -> None:
    begun(project.root, *TWICE)
    files = sorted((project.home / "store" / "blobs").glob("*/*"), key=lambda path: path.stat().st_size)
    files[-1].unlink()
    files[-2].chmod(0o644)
    files[-2].write_bytes(bytes(300_000))
    found = export(project, code=5)
    assert sorted(found["lacking"]) == sorted(file.name for file in files[-2:])
    assert sorted(bring(other, code=5)["lacking"]) == sorted(found["lacking"])


def test_what_is_no_archive_or_not_whole_is_refused(project: Project, begun: Beginnings, other: Project) -> None:
    begun(project.root, *EXPORTED)
    data = (project.root / "laptop.headrace").read_bytes()
    check_error(other.headrace("ledger", "import", "none.headrace"), 2, "No such file", hint="export")
    check_error(other.headrace("ledger", "import", "."), 2, "Is a directory", hint="export")
    check_error(other.headrace("ledger", "import", "pipelines.py"), 2, "not an archive of a ledger", hint="export")
    with tarfile.open(project.root / "foreign.tar", "w") as tar:
        tar.add(project.root / "pipelines.py", "pipelines.py")
    check_error(other.headrace("ledger", "import", "foreign.tar"), 2, "not an archive of a ledger", hint="export")
    for size in (700, 3000, len(data) - 20_000, len(data) - 2048):
        (project.root / "torn").write_bytes(data[:size])
        check_error(other.headrace("ledger", "import", "torn"), 2, hint="export")
    for place in (data.index(b"x\x01") + 40, data.index(bytes([2]) * 1000) + 5000):
        (project.root / "flipped").write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        check_error(other.headrace("ledger", "import", "flipped"), 5, "is damaged", hint="export it again")
    (project.root / "laptop.headrace").chmod(0)
    if os.geteuid() != 0:
        check_error(other.headrace("ledger", "import", "laptop.headrace"), 2, "Permission denied")
    assert rows(other.environment["HEADRACE_HOME"], "runs") == []


def test_an_archive_of_a_newer_headrace_is_refused(project: Project, begun: Beginnings, other: Project) -> None:
    begun(project.root, *EXPORTED)
    with tarfile.open(project.root / "laptop.headrace") as old, tarfile.open(project.root / "newer", "w") as new:
        for member in old:
            file = old.extractfile(member)
            assert file is not None
            data = file.read()
            if member.name == "headrace-ledger.json":
                data = msgspec.json.encode(msgspec.json.decode(data) | {"version": 3, "headrace": "9.1"})
                member.size = len(data)
            new.addfile(member, io.BytesIO(data))
    check_error(other.headrace("ledger", "import", "newer"), 2, "newer Headrace, 9.1", hint="upgrade")


def test_a_file_that_is_there_or_cannot_be_written_is_told(project: Project, begun: Beginnings) -> None:
    begun(project.root, *EXPORTED)
    check_error(project.headrace("ledger", "export", "laptop.headrace"), 2, "there already", hint="another file")
    check_error(project.headrace("ledger", "export", "no/such/folder"), 2, "No such file", hint="a folder")
    assert [path.name for path in project.root.glob(".*part")] == []


def test_a_disk_that_is_full_leaves_no_half_archive_and_no_half_run(
    project: Project, begun: Beginnings, other: Project, tmp_path: Path
) -> None:
    begun(project.root, *EXPORTED)
    disk = tmp_path / "disk"
    disk.mkdir()
    mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk))
    try:
        rest = fill(disk)
        rest.write_bytes(rest.read_bytes()[: 1 << 19])
        full = disk / "laptop.headrace"
        done = project.headrace("run", "flow", "--n", "2")
        assert done.code == 0
        project.headrace("run", "flow", "--n", "3")
        check_error(project.headrace("ledger", "export", str(full)), 2, "No space left", hint="with room")
        assert sorted(path.name for path in disk.iterdir()) == ["rest"]
        rest = fill(disk)
        os.truncate(rest, rest.stat().st_size - (200 << 10))
        other.environment["HEADRACE_HOME"] = str(disk / "state")
        check_error(other.headrace("ledger", "import", "laptop.headrace"), 5, hint="free some space")
        rest.unlink()
        assert bring(other)["runs"] == 1
        assert other.headrace("fsck", "--deep").code == 0
    finally:
        unmount(disk)
