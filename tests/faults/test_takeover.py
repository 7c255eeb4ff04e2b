"""A driver is killed in the middle of an attempt: the next one takes over the worker, and the attempt goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from headrace.backends.processes.orphans import DOOR
from headrace.ledger.views.tracking import TrackingViews
from tests.projects import Project, finish, wait_for

PIPELINES = """\
import os
import time
from pathlib import Path
import headrace as hr

def wait(folder: str) -> None:
    with open(Path(folder, "begun"), "a") as file:
        file.write(f"{os.getpid()}\\n")
    while not Path(folder, "end").exists():
        time.sleep(0.01)

@hr.stage
def waits(folder: str) -> int:
    print("it begins")
    wait(folder)
    print("it ends")
    return 1

@hr.stage
def knows(folder: str, word: str) -> int:
    wait(folder)
    return len(word)

@hr.stage(timeout="4s")
def hurries(folder: str) -> int:
    wait(folder)
    return 1

@hr.stage
def trains(folder: str) -> int:
    at = hr.attempt()
    at.keep(1)
    hr.log("loss", 0.5, 1)
    wait(folder)
    hr.log("loss", 0.25, 2)
    at.keep(2)
    return at.number

@hr.stage
def after(n: int) -> int:
    return n + 1

@hr.pipeline
def slow(folder: str) -> None:
    after(waits(folder))

@hr.pipeline
def secret(folder: str) -> None:
    knows(folder, hr.secret("TOKEN"))

@hr.pipeline
def timed(folder: str) -> None:
    hurries(folder)

@hr.pipeline
def training(folder: str) -> None:
    trains(folder)
"""


@pytest.fixture
def project(project: Project) -> Project:
    project.write("pipelines.py", PIPELINES)
    return project


def killed(project: Project, folder: Path, *words: str) -> None:
    """Kill the driver of a run whose attempt has begun."""
    driver = project.start("run", *(words or ("slow",)), "--folder", str(folder))
    wait_for(lambda: begun(folder) > 0)
    kill(driver)


def kill(driver: subprocess.Popen[str]) -> None:
    driver.kill()
    finish(driver)


def begun(folder: Path) -> int:
    """Return how often the attempt has done what it does at its beginning."""
    return len((folder / "begun").read_text().split()) if (folder / "begun").exists() else 0


def workers(project: Project) -> list[psutil.Process]:
    """Return the processes that run attempts: those of Headrace that have begun none of the others."""
    ours = [psutil.Process(int(each.split()[0])) for each in project.processes() if "headrace.work" in each]
    parents = {each.ppid() for each in ours}
    return [each for each in ours if each.pid not in parents]


def is_driven(project: Project) -> bool:
    return project.headrace("runs", "--json").json["runs"][0]["state"] == "running"


def test_what_an_attempt_does_is_done_once_and_counts_once(project: Project, tmp_path: Path) -> None:
    killed(project, tmp_path)
    second = project.start("resume", "latest", "--json")
    wait_for(lambda: is_driven(project))
    (tmp_path / "end").touch()
    done = finish(second)
    assert done.code == 0, done
    assert "begin again" not in done.err
    assert (done.task["waits"]["attempts"], done.task["after"]["state"]) == (1, "succeeded")
    assert begun(tmp_path) == 1
    assert project.headrace("logs", "latest", "waits").out.split("\n")[:2] == ["it begins", "it ends"]


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGKILL])
def test_an_attempt_outlives_the_group_of_its_driver_which_a_closed_terminal_or_a_notebooks_end_kills(
    project: Project, tmp_path: Path, number: signal.Signals
) -> None:
    former = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # `nohup make test` would have the driver ignore it, too
    driver = project.start("run", "slow", "--folder", str(tmp_path), start_new_session=True)
    signal.signal(signal.SIGHUP, former)
    wait_for(lambda: begun(tmp_path) > 0)
    os.killpg(driver.pid, number)
    assert finish(driver).code == -number
    assert len(workers(project)) == 1
    (tmp_path / "end").touch()
    done = project.headrace("resume", "latest", "--json")
    assert (done.code, done.task["waits"]["attempts"], begun(tmp_path)) == (0, 1, 1), done


def test_an_attempt_outlives_two_drivers_that_are_killed_and_one_that_looks_on(
    project: Project, tmp_path: Path
) -> None:
    killed(project, tmp_path)
    for _ in range(2):
        driver = project.start("resume", "latest")
        wait_for(lambda: is_driven(project))
        time.sleep(0.3)
        kill(driver)
    (tmp_path / "end").touch()
    done = project.headrace("resume", "latest", "--json")
    assert (done.code, done.task["waits"]["attempts"], begun(tmp_path)) == (0, 1, 1), done


@pytest.mark.parametrize("words", [["--now"], ["--new-code"]])
def test_on_request_what_still_runs_is_ended_and_begins_again(
    project: Project, tmp_path: Path, words: list[str]
) -> None:
    killed(project, tmp_path)
    second = project.start("resume", "latest", *words, "--json")
    wait_for(lambda: begun(tmp_path) == 2)
    wait_for(lambda: len(workers(project)) == 1)
    (tmp_path / "end").touch()
    done = finish(second)
    assert (done.code, done.task["waits"]["attempts"]) == (0, 2), done


def test_cancel_ends_it_quickly(project: Project, tmp_path: Path) -> None:
    killed(project, tmp_path)
    at = time.monotonic()
    done = project.headrace("cancel", "latest")
    assert (done.code, "it had no driver" in done.err) == (0, True), done
    assert time.monotonic() - at < 5
    project.check_no_process_is_left(5.0)


@pytest.mark.parametrize("how", ["zygote stopped", "zygote killed", "worker stopped", "socket gone"])
def test_what_can_not_be_taken_over_is_ended_and_begins_again(project: Project, tmp_path: Path, how: str) -> None:
    killed(project, tmp_path)
    [worker] = workers(project)
    match how:
        case "zygote stopped":
            psutil.Process(worker.ppid()).suspend()
        case "zygote killed":
            psutil.Process(worker.ppid()).kill()
        case "worker stopped":
            worker.suspend()
        case _:
            [door] = project.home.rglob(f"{DOOR}*")
            door.unlink()
    at = time.monotonic()
    second = project.start("resume", "latest")
    wait_for(lambda: begun(tmp_path) == 2)
    assert time.monotonic() - at < 20
    wait_for(lambda: len(workers(project)) == 1)
    (tmp_path / "end").touch()
    done = finish(second)
    assert done.code == 0, done
    assert "`waits` from the beginning" in done.err
    assert project.headrace("show", "latest", "--json").task["waits"]["attempts"] == 2


def test_a_secret_that_it_was_told_is_still_known_and_still_masked(project: Project, tmp_path: Path) -> None:
    project.environment["TOKEN"] = "hush-hush"
    killed(project, tmp_path, "secret")
    del project.environment["TOKEN"]
    (tmp_path / "end").touch()
    done = project.headrace("resume", "latest", "--json")
    assert (done.code, done.task["knows"]["attempts"]) == (0, 1), done
    assert project.headrace("get", "latest", "knows", "--to", "value.json").code == 0
    assert (project.root / "value.json").read_text().strip() == "9"


def test_its_timeout_still_holds(project: Project, tmp_path: Path) -> None:
    killed(project, tmp_path, "timed")
    at = time.monotonic()
    done = project.headrace("resume", "latest", "--json")
    assert (done.code, done.task["hurries"]["state"]) == (1, "failed"), done
    assert "timeout" in done.task["hurries"]["reason"] or "4 s" in done.task["hurries"]["reason"]
    assert time.monotonic() - at < 20


def test_checkpoints_and_values_before_and_after_are_kept(project: Project, tmp_path: Path) -> None:
    killed(project, tmp_path, "training")
    (tmp_path / "end").touch()
    done = project.headrace("resume", "latest", "--json")
    assert (done.code, done.task["trains"]["attempts"]) == (0, 1), done
    with TrackingViews(f"sqlite:///{project.home / 'ledger.db'}") as views:
        [loss] = views.series("latest", "trains", "loss")
    assert (list(loss.steps), list(loss.values)) == ([1, 2], [0.5, 0.25])
