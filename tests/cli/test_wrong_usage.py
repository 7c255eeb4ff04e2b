"""What is wrong is said in one message with a hint, on stderr, with the right exit code."""

from __future__ import annotations

import os

import pytest

from tests.cli.conftest import Shell

WRONG = {
    "an unknown command": (["rnu"], "there is no command `rnu`", "`headrace run`"),
    "an unknown option": (["show", "--htlm"], "there is no option `--htlm`", "--html"),
    "no pipeline": (["run"], "the pipeline's name is missing", "headrace run NAME"),
    "a word too many": (["run", "good", "3"], "`3` is not expected here", "headrace run NAME"),
    "an unknown pipeline": (["run", "god"], "there is no pipeline `god`", "`good`"),
    "a file without a pipeline": (
        ["run", "pipelines.py"],
        "there is no pipeline `pipelines.py`",
        "`pipelines.py:NAME`; there are `good`, `bad`",
    ),
    "a dash for a file": (["get", "latest", "best", "--to", "-"], "`-` is not a file", "give a path"),
    "an unknown parameter": (["run", "good", "--mont", "3"], "no parameter `mont`", "`month`"),
    "an option of ours misspelt": (["run", "good", "--detatch"], "no parameter `detatch`", "`--detach`"),
    "a wrong parameter": (["run", "good", "--month", "may"], "month", ""),
    "a pair that is none": (["run", "good", "--param", "month"], "NAME=VALUE", "month=3"),
    "a parameter given twice": (["run", "good", "--month", "3", "--month", "4"], "given twice", "one"),
    "a file that isn't there": (["run", "x.py:main"], "there is no file `x.py`", "path/to/file.py:name"),
    "an unknown run": (["show", "nope"], "there is no run `nope`", ""),
    "no run at all": (["show"], "there is no run", "headrace run"),
    "a strange time": (["run", "good", "--timeout", "soon"], "`--timeout` is 'soon'", "90s"),
    "a time below zero": (["run", "good", "--timeout", "-5s"], "`--timeout` is '-5s'", "isn't negative"),
    "no time": (["run", "good", "--timeout", "0"], "`--timeout` is '0'", ""),
    "a word for a number": (["runs", "--limit", "x"], "'--limit': 'x' is not a whole number", "--help"),
    "a missing overlay": (["run", "good", "--config", "x.toml"], "there is no file `x.toml`", "TOML"),
}


@pytest.mark.parametrize(("words", "message", "hint"), WRONG.values(), ids=WRONG)
def test_wrong_usage_has_code_2_and_a_hint(project: Shell, words: list[str], message: str, hint: str) -> None:
    done = project(*words)
    assert done.code == 2, done
    assert done.out == ""
    error, *rest = done.err.splitlines()
    assert error.startswith("error: ")
    assert message in error
    assert rest[-1].startswith("hint: ")
    assert hint in rest[-1]
    assert "Traceback" not in done.err


@pytest.mark.parametrize("words", [["rnu"], ["show", "nope"], ["run", "--json", "god"], ["show", "--htlm"]])
def test_with_json_it_is_one_object(project: Shell, words: list[str]) -> None:
    done = project(*words, "--json")
    assert done.code == 2
    assert done.err == ""
    assert done.json.keys() == {"error", "message", "hint"}


def test_an_unknown_task_is_told_with_the_nearest(project: Shell) -> None:
    project("run", "good")
    for command in (["explain"], ["debug"], ["logs"]):
        done = project(*command, "latest", "fit[depth=4]")
        assert done.code == 2
        assert "there is no task" in done.err or "has no task" in done.err
        assert "fit[depth=" in done.err.splitlines()[-1]


def test_the_tasks_of_the_run_are_told_if_none_is_named(project: Shell) -> None:
    for run, hint in (("nope", "--help` lists what there is"), ("latest", "the run's tasks are `")):
        project("run", "good")
        for command in ("explain", "debug", "stop"):
            done = project(command, run)
            assert done.code == 2
            assert done.err.startswith("error: missing argument 'TASK'\nhint: ")
            assert hint in done.err


def test_an_option_without_its_value_is_told_with_the_help_of_its_command(empty: Shell) -> None:
    done = empty("run", "good", "--pool")
    assert done.code == 2
    assert done.err.splitlines()[1] == "hint: `headrace run --help` lists what there is"


def test_no_project_is_told(empty: Shell) -> None:
    for words in (["run", "x"], ["plan", "x"], ["show"], ["runs"], ["gc"]):
        done = empty(*words)
        assert done.code == 2
        assert "headrace init" in done.err


def test_a_broken_file_of_settings_is_told_by_every_command(project: Shell) -> None:
    project.write("headrace.toml", "[project]\npiplines = []\n")
    for words in (["run", "good"], ["runs"], ["show"], ["doctor"]):
        done = project(*words)
        assert done.code == 2
        assert "headrace.toml:2: unknown key `piplines`" in done.err
        assert "did you mean `pipelines`?" in done.err


def test_init_overwrites_nothing(project: Shell) -> None:
    done = project("init")
    assert done.code == 2
    assert "`headrace.toml` and `pipelines.py`" in done.err
    assert not (project.folder / ".gitignore").exists()


def test_a_fault_of_ours_has_code_5_and_a_file(project: Shell) -> None:
    (project.folder / ".headrace").mkdir()
    project.write(
        "sitecustomize.py",
        "import headrace.project.pipelines as p\n"
        "def w(project): raise RuntimeError('oh: ftp://ann:geheim@db')\n"
        "p.written = w\n",
    )
    done = project("doctor", PYTHONPATH=f"{project.folder}:{os.environ.get('PYTHONPATH', '')}")
    assert done.code == 5
    assert "error: internal error: RuntimeError: oh" in done.err
    (file,) = (project.folder / ".headrace" / "faults").iterdir()
    assert str(file) in done.err
    assert "Traceback" in file.read_text()
    assert "Traceback" not in done.err
    assert "geheim" not in done.err + file.read_text()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_state_folder_that_is_read_only_is_told(project: Shell) -> None:
    project.folder.chmod(0o500)
    done = project("run", "good")
    project.folder.chmod(0o700)
    assert done.code == 2
    assert "HEADRACE_HOME" in done.err
