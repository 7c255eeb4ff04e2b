"""A new project, and a look over an old one."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.cli.conftest import Shell


def test_a_new_project_runs_at_once_and_its_tests_pass(empty: Shell) -> None:
    done = empty("init", "power")
    assert done.code == 0
    assert "cd power && headrace run demand" in done.err
    project = Shell(empty.folder / "power")
    assert sorted(os.listdir(project.folder)) == [".gitignore", "headrace.toml", "pipelines.py", "test_pipelines.py"]
    ran = project("run", "demand", "--json").json
    assert {task["state"] for task in ran["tasks"]} == {"succeeded"}
    assert "mean_error_mw" in project("logs", "latest", "report").out
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    subprocess.run(tests, cwd=project.folder, env=project.environment(), check=True, timeout=100, capture_output=True)


def test_doctor_finds_a_sound_project_sound(project: Shell) -> None:
    project("run", "good")
    done = project("doctor")
    assert done.code == 0, done.out
    for about in (
        "python",
        "machine",
        "namespace",
        "pipelines",
        "pool local",
        "state",
        "locks",
        "ledger",
        "store",
        "clock",
    ):
        assert f" {about}" in done.out
    assert "`good`, `bad`" in done.out
    assert "1 run in" in done.out


def test_doctor_says_what_to_do(project: Shell) -> None:
    project.write("headrace.toml", "[pool.big]\ncpu = 4000\nmemory_gib = 1\n")
    (project.folder / ".headrace").write_text("a file where a folder should be")
    findings = {each["about"]: each for each in project("doctor", "--json").json["findings"]}
    assert findings["pool big"]["state"] == "doubtful"
    assert "lower cpu" in findings["pool big"]["hint"]
    assert findings["state"]["state"] == "wrong"
    assert "HEADRACE_HOME" in findings["state"]["hint"]
    assert project("doctor").code == 2


def test_doctor_looks_at_the_machine_where_there_is_no_project(empty: Shell) -> None:
    findings = empty("doctor", "--json").json["findings"]
    assert [each["about"] for each in findings] == ["python", "machine", "namespace"]
