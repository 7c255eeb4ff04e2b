"""A clock that is set back or forward while a run goes on."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.projects import Project, finish, wait_for

# Python imports this first: from when a file is there on, its clock is off by what the file says.
CLOCK = """\
import os
import time

real = time.time

def shifted():
    try:
        with open(os.environ["CLOCK_FILE"]) as file:
            return real() + float(file.read() or 0)
    except OSError:
        return real()

time.time = shifted
"""

PIPELINES = """\
import time
from pathlib import Path
import headrace as hr

@hr.stage
def waits(folder: str) -> float:
    Path(folder, "begun").touch()
    while not Path(folder, "end").exists():
        time.sleep(0.01)
    return time.time()

@hr.stage(retries=2, backoff=0.3, timeout=30)
def tries(at: float) -> int:
    if hr.attempt().number < 3:
        raise ValueError("not yet")
    return hr.attempt().number

@hr.stage(timeout=30)
def sleeps(at: float) -> int:
    time.sleep(0.3)
    return 1

@hr.pipeline
def flow(folder: str) -> None:
    at = waits(folder)
    tries(at)
    sleeps(at)
"""


def set_clock(project: Project, folder: Path, shift_s: float = 0.0) -> Path:
    """Have a project's clock be off by what a file says; return that file."""
    (folder / "clock").mkdir()
    (folder / "clock" / "sitecustomize.py").write_text(CLOCK)
    shift = folder / "shift"
    shift.write_text(str(shift_s))
    project.environment["CLOCK_FILE"] = str(shift)
    paths = [str(folder / "clock"), *filter(None, [os.environ.get("PYTHONPATH")])]
    project.environment["PYTHONPATH"] = os.pathsep.join(paths)
    return shift


@pytest.mark.parametrize("shift_s", [-3600, 3600])
def test_a_clock_that_jumps_changes_no_pause_and_no_timeout(project: Project, tmp_path: Path, shift_s: int) -> None:
    project.write("pipelines.py", PIPELINES)
    shift = set_clock(project, tmp_path)
    process = project.start("run", "flow", "--folder", str(tmp_path), "--json")
    wait_for((tmp_path / "begun").exists)
    shift.write_text(str(shift_s))
    (tmp_path / "end").touch()
    done = finish(process)
    assert done.code == 0, done
    assert done.task["tries"]["attempts"] == 3
    assert done.task["sleeps"]["attempts"] == 1
    assert 0.3 <= done.json["seconds"] < 3000
    project.headrace("get", "latest", "waits", "--to", "at.json")
    at = json.loads((project.root / "at.json").read_text())
    assert abs(at - done.json["created"] - shift_s) < 60, "the clock was not shifted"
    assert project.headrace("runs", "--json").json["runs"][0]["run"] == done.json["run"]
    again = project.headrace("run", "flow", "--folder", str(tmp_path), "--json")
    assert {task["state"] for task in again.json["tasks"]} == {"reused"}
    assert project.headrace("runs", "--json").json["runs"][0]["run"] == again.json["run"]
    assert project.headrace("show", "--json").json["run"] == again.json["run"]
    assert project.headrace("fsck", "--deep").code == 0


LATE = """\
from pathlib import Path
import headrace as hr

@hr.stage(retries=2, backoff=5)
def tries(folder: str) -> int:
    with open(Path(folder, "begun"), "a") as file:
        file.write("x")
    if hr.attempt().number < 2:
        raise ValueError("not yet")
    return hr.attempt().number

@hr.pipeline
def flow(folder: str) -> None:
    tries(folder)
"""


def test_a_driver_whose_clock_is_behind_that_of_the_one_before_waits_no_longer_for_a_retry(
    project: Project, tmp_path: Path
) -> None:
    project.write("pipelines.py", LATE)
    shift = set_clock(project, tmp_path, 300)
    process = project.start("run", "flow", "--folder", str(tmp_path))
    wait_for((tmp_path / "begun").exists)
    wait_for(lambda: "attempt 2 of" in project.headrace("show", "--json").task["tries"]["reason"])  # it rests
    process.kill()
    finish(process)
    shift.write_text("-300")
    done = finish(project.start("resume", "latest", "--json"), 20)
    assert done.code == 0, done
    assert done.task["tries"]["attempts"] == 2


PARTS = """\
import time
from pathlib import Path
import headrace as hr
from headrace.define.attempt import attempt

@hr.stage
def makes(folder: str) -> list[bytes]:
    part = attempt().stored(bytes(200_000))
    Path(folder, "begun").touch()
    while not Path(folder, "end").exists():
        time.sleep(0.01)
    return [part, b"more"]

@hr.pipeline
def flow(folder: str) -> None:
    makes(folder)
"""


@pytest.mark.parametrize("shift_s", [1200, 86400])
def test_what_a_long_attempt_stored_is_there_when_it_succeeds_though_its_driver_s_clock_is_ahead(
    project: Project, tmp_path: Path, shift_s: int
) -> None:
    project.write("pipelines.py", PARTS)
    set_clock(project, tmp_path, shift_s)
    process = project.start("run", "flow", "--folder", str(tmp_path), "--json")
    wait_for((tmp_path / "begun").exists)
    hours_pass(project, 2 * 3600.0)
    project.environment["CLOCK_FILE"] = str(tmp_path / "no shift")
    done = project.headrace("gc", "--json")
    assert done.code == 0, done
    assert done.json["count"] == 0, "nothing there is nobody's"
    (tmp_path / "end").touch()
    done = finish(process)
    assert done.code == 0, done
    assert done.task["makes"]["attempts"] == 1
    assert project.headrace("fsck", "--deep").code == 0


def hours_pass(project: Project, seconds: float) -> None:
    """Have all that a project keeps, and the attempts that are out, be older by so much."""
    for path in (project.home / "store").rglob("*"):
        os.utime(path, (path.stat().st_mtime - seconds,) * 2)
    with closing(sqlite3.connect(project.home / "ledger.db")) as db, db:
        db.execute("update tasks set started = started - ?", (seconds,))
