"""How commands start: each alone in a new process, without the libraries that it doesn't need."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from headrace.cli.catalogue import COMMANDS
from tests.cli.conftest import COMMAND, Shell
from tests.command import begun_in, may_fork

LOOK = """
import sys
from headrace.cli import shell
assert shell.run(sys.argv[1:]) == 0
print("imported:", *sorted({"numpy", "pyarrow"} & set(sys.modules)))
"""


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_what_a_process_may_import_first(name: str) -> None:
    done = subprocess.run([*COMMAND, name, "--help"], check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"headrace {name}" in done.stdout


@pytest.mark.parametrize("words", ["runs", "show", "models", "datasets", "explain latest one"])
def test_a_command_that_shows_what_was_recorded_does_without_numpy_and_arrow(project: Shell, words: str) -> None:
    assert project("run", "good").code == 0
    looked = [sys.executable, "-c", LOOK, *words.split()]
    done = subprocess.run(looked, check=False, cwd=project.folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "imported:"


def test_commands_of_tests_are_forked_whatever_python_reads_at_its_start_where_the_tests_run(empty: Shell) -> None:
    assert may_fork(["gc"], empty.environment())
    there = begun_in({**os.environ, "PYTHONUNBUFFERED": "1", "LC_ALL": "C", "TZ": "UTC", "LANG": "C"})
    assert there.keys() & {"PYTHONUNBUFFERED", "LC_ALL", "TZ"} == set()
    assert there["LANG"] == empty.environment()["LANG"]
