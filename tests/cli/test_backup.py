"""`headrace backup` and `restore`: the real command, from one state folder to another."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_ledger import PIPELINES, rows
from tests.faults.test_disks import mount, unmount
from tests.projects import Project, check_error, finish, lent, wait_for


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with lent(tmp_path / "project") as project:
        project.write("pipelines.py", PIPELINES)
        yield project


@pytest.fixture
def other(project: Project) -> Project:
    """The same project with its state elsewhere, as after the loss of a machine."""
    return Project(project.root, {"HEADRACE_HOME": str(project.root.parent / "other")}, project.mark)


def back_up(project: Project, *words: str) -> dict[str, Any]:
    done = project.headrace("backup", "kept", *words, "--json")
    assert done.code == 0, done
    found: dict[str, Any] = done.json
    return found


def blobs(project: Project) -> set[str]:
    return {path.name for path in (project.root / "kept" / "blobs").glob("*/*")}


def test_a_backup_comes_back_whole_and_is_reused(project: Project, other: Project) -> None:
    project.headrace("run", "flow")
    first = back_up(project)
    assert (first["copied"], first["snapshot"]["runs"], first["snapshot"]["lacking"]) == (2, 1, [])
    project.headrace("run", "flow", "--n", "2")
    second = back_up(project)
    assert second["copied"] == 2, "what is there already is not copied again"
    back = other.headrace("restore", "kept", "--json")
    assert back.code == 0, back
    assert (back.json["imported"]["runs"], back.json["imported"]["blobs"]) == (2, 4)
    for table in ("runs", "events", "tasks", "results", "blobs"):
        assert rows(other.environment["HEADRACE_HOME"], table) == rows(project.home, table), table
    assert other.headrace("fsck", "--deep").code == 0
    assert other.headrace("show", "latest").code == 0
    again = other.headrace("run", "flow", "--n", "2", "--json")
    assert {task["state"] for task in again.json["tasks"]} == {"reused"}


def test_an_earlier_snapshot_can_be_chosen_and_one_is_not_laid_over_runs(project: Project, other: Project) -> None:
    project.headrace("run", "flow")
    first = back_up(project)["snapshot"]["name"]
    project.headrace("run", "flow", "--n", "2")
    back_up(project)
    listed = project.headrace("restore", "kept", "--list", "--json").json["snapshots"]
    assert [each["runs"] for each in listed] == [1, 2]
    assert other.headrace("restore", "kept", "--snapshot", first).code == 0
    assert len(other.headrace("runs", "--json").json["runs"]) == 1
    check_error(other.headrace("restore", "kept"), 2, "has runs already", hint="`--merge`")
    merged = other.headrace("restore", "kept", "--merge")
    assert (merged.code, "; 1 run was there already" in merged.out) == (0, True)
    assert len(other.headrace("runs", "--json").json["runs"]) == 2


def test_a_backup_without_an_artifact_that_is_gone_holds_all_else_and_says_so_to_the_nightly_job(
    project: Project, other: Project
) -> None:
    project.headrace("run", "flow")
    files = sorted((project.home / "store" / "blobs").glob("*/*"), key=lambda path: path.stat().st_size)
    files[-1].unlink()
    made = project.headrace("backup", "kept")
    assert (made.code, "missing blobs" in made.err, "copied 1 blob" in made.out) == (5, True, True), made
    back = other.headrace("restore", "kept", "--json")
    assert (back.code, back.json["imported"]["runs"], back.json["imported"]["blobs"]) == (5, 1, 1)


def test_of_the_snapshots_the_newest_are_kept_with_all_that_they_need(project: Project, other: Project) -> None:
    project.headrace("run", "flow")
    back_up(project)
    project.headrace("run", "flow", "--n", "2")
    project.headrace("gc", "--keep-runs", "1")
    project.write("headrace.toml", '[backup]\nurl = "kept"\nkeep = 1\n')
    done = project.headrace("backup", "--json").json
    assert len(done["forgotten"]) == 1
    assert done["deleted"] == 3, "what only the older one needed: an output, its bundle, and its ledger"
    assert len(blobs(project)) == 3
    assert other.headrace("restore").code == 0
    assert other.headrace("fsck", "--deep").code == 0


def test_a_run_that_lives_while_it_is_backed_up_is_resumed_from_there(
    project: Project, other: Project, tmp_path: Path
) -> None:
    process = project.start("run", "slow", "--folder", str(tmp_path))
    wait_for((tmp_path / "begun").exists)
    back_up(project)
    (tmp_path / "end").touch()
    assert finish(process).code == 0
    assert other.headrace("restore", "kept").code == 0
    done = other.headrace("resume", "latest", "--json")
    assert done.code == 0, done
    assert {name: task["attempts"] for name, task in done.task.items()} == {"small": 1, "big": 1, "waits": 2}
    assert other.headrace("fsck", "--deep").code == 0


def test_what_is_damaged_in_the_backup_is_told_and_copied_again(project: Project, other: Project) -> None:
    project.headrace("run", "flow")
    name = back_up(project)["snapshot"]["name"]
    big = max((project.root / "kept" / "blobs").glob("*/*"), key=lambda path: path.stat().st_size)
    big.chmod(0o644)
    big.write_bytes(bytes(big.stat().st_size))
    check_error(other.headrace("restore", "kept"), 5, "is damaged", hint="copy it again")
    assert other.headrace("runs", "--json").json["runs"] == []
    assert back_up(project)["copied"] == 0, "its size is right"
    assert back_up(project, "--deep")["copied"] == 1
    assert other.headrace("restore", "kept", "--snapshot", name).code == 0
    assert other.headrace("fsck", "--deep").code == 0


def test_places_that_hold_no_backup_or_cannot_be_written_are_told(project: Project, tmp_path: Path) -> None:
    project.headrace("run", "flow")
    check_error(project.headrace("backup"), 2, "no place for backups", hint="[backup] url")
    check_error(project.headrace("restore", "none"), 2, "no backup in", hint="headrace backup")
    assert ".." not in project.headrace("restore", "away/../none").err
    back_up(project)
    check_error(project.headrace("restore", "kept", "--snapshot", "x"), 2, "no backup `x`", hint="the newest are")
    check_error(project.headrace("backup", "pipelines.py"), 2, "is not a folder", hint="a folder")
    check_error(project.headrace("backup", "pipelines.py/x"), 2, "pipelines.py` is not a folder", hint="a folder")
    project.write("full/note.txt", "mine")
    check_error(project.headrace("backup", "full"), 2, "holds files that aren't backups", hint="an empty folder")
    assert os.listdir(project.root / "full") == ["note.txt"]
    check_error(project.headrace("backup", "."), 2, "is the project's own folder", hint="another place")
    check_error(project.headrace("backup", ".headrace"), 2, "is in the project's state folder", hint="another place")
    check_error(project.headrace("backup", "ftp://host/x"), 2, "ftp://", hint="s3://")
    (project.root / "link").symlink_to(".headrace")
    for place in (".headrace/store", ".headrace/store/kept", "link/store", "kept/../.headrace/store"):
        check_error(project.headrace("backup", place), 2, "a store that the project uses", hint="another place")
    other = project.headrace("backup", "kept", "--config", str(project.write("other.toml", '[project]\nname = "o"')))
    check_error(other, 2, "backups of project `project`, and this one is `o`", hint="its own place")
    archive = min((project.root / "kept" / "blobs").glob("*/*"), key=lambda path: path.stat().st_size)
    archive.unlink()
    disk = tmp_path / "disk"
    disk.mkdir()
    mount("-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk))
    try:
        check_error(project.headrace("backup", str(disk)), 5, "no room left", hint="free some space")
        assert project.headrace("restore", str(disk), "--list", "--json").json == {"snapshots": []}
    finally:
        unmount(disk)
    if os.geteuid() != 0:
        (tmp_path / "closed").mkdir(mode=0o500)
        check_error(project.headrace("backup", str(tmp_path / "closed")), 5, "Permission denied")
