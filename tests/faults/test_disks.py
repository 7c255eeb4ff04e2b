"""A full disk, and a state folder that is mounted read-only."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.projects import Project, check_error, finish, wait_for

PIPELINES = """\
import time
from pathlib import Path
import headrace as hr

@hr.stage
def small() -> int:
    return 1

@hr.stage
def big(n: int, mib: int) -> bytes:
    return bytes([n]) * (mib << 20)

@hr.stage
def length(data: bytes) -> int:
    return len(data)

@hr.stage
def waits(folder: str, n: int) -> int:
    with open(Path(folder, "begun"), "a") as file:
        file.write("x")
    while not Path(folder, "end").exists():
        time.sleep(0.01)
    return n

@hr.pipeline
def flow(mib: int = 1) -> None:
    length(big(small(), mib))

@hr.pipeline
def slow(folder: str) -> None:
    length(big(waits(folder, small()), 1))
"""


def mount(*words: str) -> None:
    """Mount something, which only root may do."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"can't mount here: {done.stderr.strip()}")


def unmount(folder: Path) -> None:
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def project(project: Project) -> Project:
    project.write("pipelines.py", PIPELINES)
    return project


@pytest.fixture
def disk(project: Project, tmp_path: Path) -> Iterator[Path]:
    """A disk of 6 MiB that holds the project's state."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder))
    project.environment["HEADRACE_HOME"] = str(folder / "state")
    try:
        yield folder
    finally:
        project.kill_all()
        unmount(folder)


def fill(disk: Path) -> Path:
    """Fill a disk to the last byte."""
    file = disk / "rest"
    with suppress(OSError), file.open("wb", buffering=0) as rest:
        while True:
            rest.write(bytes(4096))
    return file


def test_an_output_that_does_not_fit_is_told_and_made_when_there_is_room(project: Project, disk: Path) -> None:
    done = project.headrace("run", "flow", "--mib", "8", "--json")
    assert done.code == 1
    assert done.task["small"]["state"] == "succeeded"
    assert done.task["length"]["state"] == "skipped"
    reason, _, hint = done.task["big"]["reason"].partition("\nhint: ")
    assert f"no room left in the store `{disk}/state/store`" in reason
    assert "headrace gc" in hint
    assert project.headrace("fsck", "--deep").code == 0
    assert project.headrace("gc").code == 0
    mount("-o", "remount,size=64m", str(disk))
    again = project.headrace("resume", "latest", "--json")
    assert again.code == 0, again
    assert again.task["small"]["attempts"] == 1
    assert project.headrace("fsck", "--deep").code == 0


def test_a_disk_that_is_full_from_the_start_is_told_by_each_command(project: Project, disk: Path) -> None:
    assert project.headrace("run", "flow").code == 0
    rest = fill(disk)
    check_error(project.headrace("run", "flow", "--mib", "2"), 5, "no room left", hint="free some space")
    check_error(project.headrace("resume", "latest"), 5, "disk is full", hint="free some space")
    for words in (["show"], ["runs"], ["explain", "latest", "big"], ["fsck", "--deep"]):
        assert project.headrace(*words).code == 0
    project.check_no_process_is_left()
    rest.unlink()
    assert project.headrace("run", "flow", "--mib", "2").code == 0


def test_a_disk_that_fills_while_a_run_goes_on_ends_it_and_resume_goes_on(
    project: Project, disk: Path, tmp_path: Path
) -> None:
    process = project.start("run", "slow", "--folder", str(tmp_path))
    wait_for((tmp_path / "begun").exists)
    rest = fill(disk)
    (tmp_path / "end").touch()
    done = finish(process)
    assert done.code in (1, 5), done
    assert "Traceback" not in done.err
    assert "hint: free some space" in done.err
    project.check_no_process_is_left()
    rest.unlink()
    assert project.headrace("fsck", "--deep").code == 0
    again = project.headrace("resume", "latest", "--json")
    assert again.code == 0, again
    assert again.task["small"]["attempts"] == 1
    assert len((tmp_path / "begun").read_text()) <= 2
    assert project.headrace("fsck", "--deep").code == 0


def test_a_read_only_state_folder_can_be_read_and_nothing_else(project: Project) -> None:
    assert project.headrace("run", "flow").code == 0
    home = str(project.home)
    mount("--bind", home, home)
    try:
        mount("-o", "remount,ro,bind", home)
        for words in (["run", "flow"], ["plan", "flow"], ["resume", "latest"], ["cancel", "latest"], ["gc"]):
            check_error(project.headrace(*words), 2, "it is read-only", hint="HEADRACE_HOME")
        for words in (["show"], ["runs"], ["explain", "latest", "big"], ["logs", "latest"]):
            assert project.headrace(*words).code == 0
        assert project.headrace("get", "latest", "length", "--to", "length.json").code == 0
        assert (project.root / "length.json").read_text() == str(1 << 20)
    finally:
        unmount(project.home)
    assert project.headrace("run", "flow").code == 0
