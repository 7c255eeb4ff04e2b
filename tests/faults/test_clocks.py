"""A clock that is set back or forward while a run goes on."""

from __future__ import annotations

import json
import os
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


@pytest.mark.parametrize("shift_s", [-3600, 3600])
def test_a_clock_that_jumps_changes_no_pause_and_no_timeout(project: Project, tmp_path: Path, shift_s: int) -> None:
    project.write("pipelines.py", PIPELINES)
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock" / "sitecustomize.py").write_text(CLOCK)
    project.environment["CLOCK_FILE"] = str(tmp_path / "shift")
    paths = [str(tmp_path / "clock"), *filter(None, [os.environ.get("PYTHONPATH")])]
    project.environment["PYTHONPATH"] = os.pathsep.join(paths)
    process = project.start("run", "flow", "--folder", str(tmp_path), "--json")
    wait_for((tmp_path / "begun").exists)
    (tmp_path / "shift").write_text(str(shift_s))
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
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock" / "sitecustomize.py").write_text(CLOCK)
    project.environment["CLOCK_FILE"] = str(tmp_path / "shift")
    paths = [str(tmp_path / "clock"), *filter(None, [os.environ.get("PYTHONPATH")])]
    project.environment["PYTHONPATH"] = os.pathsep.join(paths)
    (tmp_path / "shift").write_text("300")
    process = project.start("run", "flow", "--folder", str(tmp_path))
    wait_for((tmp_path / "begun").exists)
    wait_for(lambda: "attempt 2 of" in project.headrace("show", "--json").task["tries"]["reason"])  # it rests
    process.kill()
    finish(process)
    (tmp_path / "shift").write_text("-300")
    done = finish(project.start("resume", "latest", "--json"), 20)
    assert done.code == 0, done
    assert done.task["tries"]["attempts"] == 2
