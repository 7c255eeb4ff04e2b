"""Several drivers: two of one run, two runs of one machine, and one whose project is taken away."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.projects import Project, check_error, check_json_error, finish, wait_for

PIPELINES = """\
import os
import time
from pathlib import Path
import headrace as hr

@hr.stage
def waits(folder: str) -> int:
    Path(folder, "begun").touch()
    while not Path(folder, "end").exists():
        time.sleep(0.01)
    return 1

@hr.stage
def after(n: int) -> int:
    return n + 1

@hr.stage(resources=hr.Resources(cpu=1, memory_gib=1))
def piece(n: int, name: str, folder: str) -> int:
    with open(Path(folder, "pieces"), "a") as file:
        file.write(f"begin {name}\\n")
        file.flush()
        time.sleep(0.04)
        file.write(f"end {name}\\n")
    return n

@hr.stage(retries=1)
def trains(folder: str) -> int:
    at = hr.attempt()
    begun = step = at.checkpoint() or 0
    while at.number == 1:
        step += 1
        at.keep(step)
        Path(folder, "new").write_text(str(step))
        Path(folder, "new").rename(Path(folder, "step"))
        time.sleep(0.02)
    return begun

@hr.pipeline
def training(folder: str) -> None:
    trains(folder)

@hr.pipeline
def slow(folder: str) -> None:
    after(waits(folder))

@hr.pipeline
def many(name: str, folder: str, count: int) -> None:
    piece.map(list(range(count)), name, folder)
"""


@pytest.fixture
def project(project: Project) -> Project:
    project.write("pipelines.py", PIPELINES)
    return project


def test_the_second_driver_of_a_run_is_told_who_holds_it(project: Project, tmp_path: Path) -> None:
    first = project.start("run", "slow", "--folder", str(tmp_path), "--json")
    wait_for((tmp_path / "begun").exists)
    second = project.headrace("resume", "latest")
    check_error(second, 2, f"is held by process {first.pid} on `", "since 20", hint="headrace cancel")
    check_json_error(project.headrace("resume", "latest", "--json"), 2, f"{first.pid}", error="LeaseHeld")
    (tmp_path / "end").touch()
    done = finish(first)
    assert done.code == 0, done
    assert project.headrace("resume", "latest").code == 0


def test_a_stopped_driver_holds_its_run_and_a_killed_one_does_not(project: Project, tmp_path: Path) -> None:
    first = project.start("run", "slow", "--folder", str(tmp_path))
    wait_for((tmp_path / "begun").exists)
    first.send_signal(signal.SIGSTOP)
    check_error(project.headrace("resume", "latest"), 2, f"is held by process {first.pid}", hint="cancel")
    first.kill()
    finish(first)
    (tmp_path / "end").touch()
    done = project.headrace("resume", "latest", "--json")
    assert done.code == 0, done
    assert done.task["waits"]["attempts"] == 1


def test_a_checkpoint_that_a_worker_kept_after_its_driver_was_killed_is_where_the_next_attempt_starts(
    project: Project, tmp_path: Path
) -> None:
    step = tmp_path / "step"
    driver = project.start("run", "training", "--folder", str(tmp_path))
    wait_for(step.exists)
    driver.kill()
    finish(driver, 10)
    last = int(step.read_text()) + 20
    wait_for(lambda: int(step.read_text()) >= last)
    done = project.headrace("resume", "latest", "--now")
    assert done.code == 0, done
    assert "so they begin again: `trains` from checkpoint " in done.err
    assert project.headrace("get", "latest", "trains", "--to", "begun.json").code == 0
    assert int((project.root / "begun.json").read_text()) >= last


def test_of_several_that_resume_a_run_one_does(project: Project, tmp_path: Path) -> None:
    first = project.start("run", "slow", "--folder", str(tmp_path))
    wait_for((tmp_path / "begun").exists)
    first.kill()
    finish(first)
    drivers = [project.start("resume", "latest", "--json") for _ in range(3)]
    wait_for(lambda: sum(driver.poll() is not None for driver in drivers) == 2)
    (tmp_path / "end").touch()
    ended = sorted((finish(driver) for driver in drivers), key=lambda done: done.code)
    assert [done.code for done in ended] == [0, 2, 2]
    for done in ended[1:]:
        check_json_error(done, 2, "is held by process", error="LeaseHeld")


def test_a_run_without_a_driver_can_be_cancelled(project: Project, tmp_path: Path) -> None:
    first = project.start("run", "slow", "--folder", str(tmp_path))
    wait_for((tmp_path / "begun").exists)
    first.kill()
    finish(first)
    assert project.headrace("cancel", "latest").code == 0
    assert project.headrace("show", "--json").json["state"] == "cancelled"
    project.check_no_process_is_left()
    check_error(project.headrace("cancel", "nothing"), 2, "no run `nothing`", hint="the newest are")


COMPARED = """
import pathlib
import time

import headrace as hr


@hr.stage
def waits(folder: str, *, n: int) -> int:
    (pathlib.Path(folder) / f"begun-{n}").touch()
    while not (pathlib.Path(folder) / f"end-{n}").exists():
        time.sleep(0.01)
    return n


@hr.stage
def after(n: int) -> int:
    return n + 1


@hr.pipeline
def compared(folder: str, n: int = 1) -> None:
    after(waits(folder, n=n))
"""


def test_a_driver_goes_on_while_the_run_that_it_compares_with_is_forgotten(project: Project, tmp_path: Path) -> None:
    project.write("pipelines.py", COMPARED)
    (tmp_path / "end-1").touch()
    assert project.headrace("run", "compared", "--folder", str(tmp_path)).code == 0
    project.write("pipelines.py", COMPARED.replace("n + 1", "n + 2"))
    second = project.start("run", "compared", "--folder", str(tmp_path), "--n", "2", "--json")
    wait_for((tmp_path / "begun-2").exists)
    assert len(project.headrace("gc", "--keep-runs", "0", "--json").json["runs"]) == 1
    (tmp_path / "end-2").touch()
    done = finish(second)
    assert (done.code, done.json["state"]) == (0, "succeeded"), done


def test_what_a_driver_leaves_that_was_killed_before_its_run_began_is_collected(project: Project) -> None:
    project.write("pipelines.py", "import time\ntime.sleep(1000)\n")
    process = project.start("run", "slow")
    left = project.home / "store" / "workers"
    wait_for(lambda: left.is_dir() and any(each.is_dir() and list(each.iterdir()) for each in left.iterdir()))
    process.kill()
    finish(process)
    project.kill_all()
    folders = [folder for name in ("workers", "scratch", "logs") for folder in left.parent.glob(f"{name}/*")]
    assert folders
    assert project.headrace("gc").code == 0
    assert all(folder.exists() for folder in folders)
    for folder in folders:
        os.utime(folder, (0, 0))
    assert project.headrace("gc").code == 0
    assert not any(folder.exists() for folder in folders)
    assert project.headrace("fsck").code == 0


def test_what_workers_that_were_killed_left_of_a_run_that_has_ended_is_collected(
    project: Project, tmp_path: Path
) -> None:
    (tmp_path / "end").touch()
    done = project.headrace("run", "slow", "--folder", str(tmp_path), "--json")
    assert done.code == 0, done
    left = [project.home / "store" / name / done.json["run"] for name in ("workers", "scratch")]
    for folder in left:
        folder.mkdir(parents=True)
        (folder / "parent-1").touch()
    logs = project.home / "store" / "logs" / done.json["run"]
    for folder in (*left, logs):
        os.utime(folder, (0, 0))
    assert project.headrace("gc").code == 0
    assert [folder.exists() for folder in (*left, logs)] == [False, False, True]


def test_two_runs_share_the_machine_and_neither_starves(project: Project, tmp_path: Path) -> None:
    project.write("headrace.toml", "[pool.local]\ncpu = 2\nmemory_gib = 2\n")
    words = ("run", "many", "--folder", str(tmp_path), "--json")
    one = project.start(*words, "--name", "one", "--count", "2000")
    wait_for((tmp_path / "pieces").exists)
    two = project.start(*words, "--name", "two", "--count", "20")
    assert finish(two).code == 0
    assert one.poll() is None, "the second waited for the end of the first"
    one.send_signal(signal.SIGINT)
    done = finish(one)
    assert done.code == 3
    lines = [line.split() for line in (tmp_path / "pieces").read_text().splitlines()]
    running = most = 0
    for what, _ in lines:
        running += 1 if what == "begin" else -1
        most = max(most, running)
    assert most == 2, "more at once than the pool holds, or less"
    begun = "".join("1" if name == "one" else "2" for what, name in lines if what == "begin")
    together = begun[begun.index("2") : begun.rindex("2")]
    assert together.count("1") >= 5, f"the first starved: {begun}"


def test_a_project_that_is_removed_while_it_runs_ends_its_run(project: Project, tmp_path: Path) -> None:
    process = project.start("run", "slow", "--folder", str(tmp_path))
    wait_for((tmp_path / "begun").exists)
    shutil.rmtree(project.root)
    (tmp_path / "end").touch()
    done = finish(process, 20)
    check_error(done, 5, "was removed while run", hint="run again")
    project.check_no_process_is_left()
