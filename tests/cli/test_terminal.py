"""Terminals, pipes, signals, colours, and the tab key."""

from __future__ import annotations

import os
import re
import select
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND, Shell
from tests.projects import PATIENCE_S, wait_for

SLOW = """
import pathlib
import time

import headrace as hr


@hr.stage
def sleepy(folder: str) -> int:
    print("going to sleep", flush=True)
    (pathlib.Path(folder) / "asleep").touch()
    time.sleep(600)
    return 1


@hr.pipeline
def slow(folder: str = ".") -> None:
    sleepy(folder)
"""

CLEANING = SLOW.replace(
    "    time.sleep(600)",
    """
    try:
        time.sleep(600)
    finally:
        time.sleep(600)
""",
)


def on_a_terminal(shell: Shell, *words: str, columns: int = 100, **environment: str) -> tuple[int, str]:
    """Run a command whose output is a terminal, and return its exit code and what it showed."""
    terminal, inside = os.openpty()
    known = shell.environment(TERM="xterm", COLUMNS=str(columns), **environment)
    running = subprocess.Popen(
        [*COMMAND, *words], cwd=shell.folder, env=known, stdin=inside, stdout=inside, stderr=inside
    )
    os.close(inside)
    shown = b""
    while select.select([terminal], [], [], 30)[0]:
        try:
            shown += os.read(terminal, 4096)
        except OSError:  # nobody has it open any more
            break
    os.close(terminal)
    return running.wait(PATIENCE_S), shown.decode()


def test_a_terminal_sees_each_stage_in_place(project: Shell) -> None:
    code, shown = on_a_terminal(project, "run", "bad")
    assert code == 1
    assert "\x1b[?25l" in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")  # the cursor is back
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert re.search(r"fit +━+ +3/3 +.*1 failed", plain)
    assert "✗ fit" in plain


def test_no_color_is_heeded_on_a_terminal(project: Shell) -> None:
    code, shown = on_a_terminal(project, "runs", "--limit", "0", NO_COLOR="1")
    assert code == 2
    assert "error: " in shown
    assert "\x1b[" not in shown
    assert "\x1b[1;31merror:" in on_a_terminal(project, "runs", "--limit", "0")[1]
    assert not re.search(r"\x1b\[[0-9;]*m", on_a_terminal(project, "run", "good", NO_COLOR="1")[1])
    assert re.search(r"\x1b\[[0-9;]*m", on_a_terminal(project, "run", "good")[1])


def test_a_narrow_terminal_folds_the_last_column(project: Shell) -> None:
    project("run", "bad")
    _, shown = on_a_terminal(project, "show", columns=60, NO_COLOR="1")
    assert max(len(line) for line in shown.splitlines() if "depth=13" not in line) <= 60


def test_color_can_be_forced(project: Shell) -> None:
    assert "\x1b[1;31merror:\x1b[0m" in project("show", FORCE_COLOR="1").err
    assert "\x1b" not in project("show").err


def test_a_reader_that_leaves_is_no_error(project: Shell) -> None:
    for _ in range(3):
        project("run", "good")
    running = project.start("show", "--tasks", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert running.stdout is not None
    running.stdout.close()
    assert running.stderr is not None
    assert running.stderr.read() == b""
    running.stderr.close()
    assert running.wait(PATIENCE_S) == 0


@pytest.mark.parametrize(
    ("words", "unbuffered"),
    [
        (["show"], ""),
        (["show"], "1"),
        (["show", "--json"], ""),
        (["show", "--json"], "1"),
        (["runs"], "1"),
        (["logs", "latest"], "1"),
        (["run", "--help"], ""),
        (["run", "good"], ""),
        (["run", "good"], "1"),
    ],
)
def test_a_full_disk_behind_stdout_is_one_error(project: Shell, words: list[str], unbuffered: str) -> None:
    project("run", "good")
    with open("/dev/full", "wb") as full:
        known = project.environment(PYTHONUNBUFFERED=unbuffered)
        running = subprocess.Popen(
            [*COMMAND, *words], cwd=project.folder, env=known, stdout=full, stderr=subprocess.PIPE
        )
        _, err = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == 2
    said = [line for line in err.decode().splitlines() if line.startswith(("error:", "hint:"))]
    assert said == [
        "error: stdout can't be written: No space left on device",
        "hint: free some space, or send the output elsewhere",
    ]
    assert b"Traceback" not in err


def test_interrupted_once_a_run_is_cancelled(project: Shell, tmp_path: Path) -> None:
    project.write("pipelines.py", SLOW)
    running = project.start("run", "slow", "--folder", str(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for((tmp_path / "asleep").exists)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == 3
    assert b"Traceback" not in err
    assert b"cancelled" in out


def test_an_attempt_that_cleans_up_for_too_long_is_killed_and_the_run_says_so(project: Shell, tmp_path: Path) -> None:
    project.write("headrace.toml", "[pool.local]\nstop_s = 0.2\n")
    project.write("pipelines.py", CLEANING)
    running = project.start("run", "slow", "--folder", str(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for((tmp_path / "asleep").exists)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=PATIENCE_S)
    assert b"interrupted: running attempts have 0.2 s to clean up and end, and are killed after that" in err
    why = "the run was cancelled; the attempt had not ended 0.2 s after it was told to stop, so it was killed"
    (task,) = project("show", "latest", "--json").json["tasks"]
    assert task["reason"] == why
    logs = project("logs", "latest", "sleepy")
    assert logs.out == "going to sleep\n"
    assert logs.err == f"note: `sleepy` is cancelled: {why}\n"


@pytest.mark.parametrize("after_s", [0.0, 0.03, 0.06, 0.1, 0.15, 0.3])
def test_interrupted_at_any_moment_there_is_no_traceback(project: Shell, after_s: float) -> None:
    running = project.start("run", "good", stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    # Before our first line runs, Python itself answers an interrupt. click is the first that we import.
    maps = Path(f"/proc/{running.pid}/maps")
    while running.poll() is None and "_decimal" not in maps.read_text() and "msgspec" not in maps.read_text():
        time.sleep(0.002)
    time.sleep(after_s)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=PATIENCE_S)
    assert b"Traceback" not in err
    assert running.returncode in (0, 3)


def test_logs_are_followed_while_a_task_prints_them_and_the_time_goes_on(project: Shell, tmp_path: Path) -> None:
    project.write("pipelines.py", SLOW)
    run = project("run", "slow", "--folder", str(tmp_path), "--detach").out.strip()
    wait_for((tmp_path / "asleep").exists)
    earlier = project("runs", "--json").json["runs"][0]["seconds"]
    assert project("show", run, "--json").json["seconds"] > earlier > 0
    following = project.start("logs", run, "-f", stdout=subprocess.PIPE)
    assert following.stdout is not None
    assert following.stdout.readline() == b"--- sleepy\n"
    assert following.stdout.readline() == b"going to sleep\n"
    cancelled = project("cancel", run, "--now")
    assert cancelled.code == 0
    assert run in cancelled.err
    assert following.wait(PATIENCE_S) == 0
    following.stdout.close()
    assert project("show", run, "--json").json["state"] == "cancelled"


def completions(shell: Shell, words: str) -> list[str]:
    done = shell(_HEADRACE_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(len(words.split(" ")) - 1))
    assert done.err == ""
    return [line.partition(",")[2] for line in done.out.split("\n") if line]


def test_the_tab_key_knows_commands_pipelines_runs_and_tasks(project: Shell) -> None:
    run = project("run", "good", "--json").json["run"]
    assert completions(project, "headrace resu") == ["resume"]
    assert completions(project, "headrace run ") == ["good", "bad"]
    assert completions(project, "headrace run good --mo") == ["--month"]
    assert completions(project, "headrace show ") == [run]
    assert "fit[depth=2]" in completions(project, f"headrace explain {run} fit")
    assert project("--completion", "zsh").out.startswith("#compdef headrace")


def test_the_tab_key_knows_metrics_models_and_their_addresses(project: Shell) -> None:
    run = project("run", "good", "--json").json["run"]
    project("register", run, "fit[depth=2]", "--model", "trees")
    assert completions(project, f"headrace compare {run} --metric a") == ["auc"]
    assert completions(project, "headrace runs --sort au") == ["auc"]
    assert completions(project, "headrace models t") == ["trees"]
    assert completions(project, "headrace alias mo") == ["model:trees"]
    assert completions(project, "headrace get ") == [run, "model:trees"]


def test_the_tab_key_is_silent_about_a_ledger_that_cannot_be_read(project: Shell) -> None:
    project("run", "good")
    with closing(sqlite3.connect(project.folder / ".headrace" / "ledger.db")) as db:
        for table in ("runs", "cursors", "versions"):
            db.execute(f"drop table {table}")
    for words in ("show ", "explain latest ", "get ", "models ", "cursors ", "compare --metric "):
        assert completions(project, f"headrace {words}") == []


def test_the_tab_key_is_silent_without_a_project(empty: Shell) -> None:
    for words in ("headrace run ", "headrace show ", "headrace explain x ", "headrace get ", "headrace runs --sort "):
        assert completions(empty, words) == []
