"""A run whose pool has no room for it says that it is queued, and for what."""

from __future__ import annotations

from pathlib import Path

from tests.projects import finish, lent, wait_for

PIPELINES = """
import time
from pathlib import Path

import headrace as hr


@hr.stage(cache=False)
def hold(folder: str) -> int:
    Path(folder, "begun").touch()
    while not Path(folder, "done").exists():
        time.sleep(0.05)
    return 1


@hr.stage(cache=False)
def fit() -> int:
    return 1


@hr.pipeline
def first(folder: str) -> None:
    hold(folder)


@hr.pipeline
def second() -> None:
    fit()
"""
TOML = '[project]\npipelines = ["pipelines.py"]\n[pool.small]\nbackend = "local"\ncpu = 1\n'


def test_a_run_that_finds_no_room_is_queued_and_goes_on_once_there_is_some(tmp_path: Path) -> None:
    with lent(tmp_path, TOML) as project:
        project.write("pipelines.py", PIPELINES)
        one = project.start("run", "first", "--folder", str(tmp_path))
        wait_for((tmp_path / "begun").exists)
        two = project.start("run", "second", "--json")
        wait_for(lambda: project.headrace("show", "latest", "--json").json["state"] == "queued")
        shown = project.headrace("show", "latest").out
        assert "queued" in shown
        assert "waits for room in pool `small`: the next task needs cpu=1" in shown
        assert project.headrace("replay", "latest").code == 0
        (tmp_path / "done").touch()
        assert finish(one).code == 0
        done = finish(two)
        assert (done.code, done.json["state"], done.json["why"]) == (0, "succeeded", "")
