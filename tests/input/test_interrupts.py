"""^C at any moment: exit 3 or a finish, never a traceback of ours, no process left, and `resume` goes on."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import headrace as hr
from tests.projects import Done, Project, finish, wait_for
from tests.servers.line import Line
from tests.servers.postgres import Postgres
from tests.servers.s3 import S3

SEED = int(os.environ.get("SEED", "1"))
ROUNDS = int(os.environ.get("ROUNDS", "12"))
OURS = str(Path(hr.__file__).parent)

MAIN = Path(OURS, "cli", "main.py").read_text()
FIRST_LINES = {
    "cli/main.py": MAIN[: MAIN.index("_signal.signal(")].count("\n") + 1,
    **{name: Path(OURS, name).read_text().count("\n") for name in ("__init__.py", "cli/__init__.py")},
}
"""By file, the last line at which Python itself may still answer ^C."""

WITNESS = """\
import _signal, sys
change = _signal.signal
def signal(number, handler):
    if number == _signal.SIGINT and callable(handler) and handler is not _signal.default_int_handler:
        _signal.signal = change
        print(*sys.modules, file=open("modules", "w"))
    return change(number, handler)
_signal.signal = signal
"""

LONG_IMPORT = """\
import sys, time
class Long:
    def find_spec(self, name, *_):
        if name == "headrace.cli.shell":
            open("begun", "w").close()
            time.sleep(60)
sys.meta_path.insert(0, Long())
"""

PIPELINES = """\
import time
from pathlib import Path
import headrace as hr

@hr.stage
def one(n: int, salt: int) -> int:
    time.sleep(0.03)
    return n

@hr.stage
def total(numbers: list[int]) -> int:
    return sum(numbers)

@hr.stage(cache=False)
def waits(folder: str) -> int:
    Path(folder, "begun").touch()
    try:
        while not Path(folder, "end").exists():
            time.sleep(0.01)
    finally:
        Path(folder, "tidied").touch()
    return 1

@hr.stage(cache=False)
def stays(folder: str) -> int:
    Path(folder, "begun").touch()
    while not Path(folder, "end").exists():
        try:
            time.sleep(0.01)
        except BaseException:
            Path(folder, "asked").touch()
    return 1

@hr.pipeline
def flow(salt: int) -> None:
    total(one.map([1, 2, 3, 4, 5, 6], salt))

@hr.pipeline
def slow(folder: str) -> None:
    total([waits(folder), waits(folder)])

@hr.pipeline
def stubborn(folder: str) -> None:
    stays(folder)
"""


@pytest.fixture
def project(project: Project) -> Project:
    project.write("headrace.toml", "")
    project.write("pipelines.py", PIPELINES)
    return project


def interrupt(process: subprocess.Popen[str], whole: bool) -> None:
    """Send SIGINT to the driver alone, as `kill` does, or to its whole group, as a terminal does."""
    try:
        (os.killpg if whole else os.kill)(process.pid, signal.SIGINT)
    except ProcessLookupError:
        return


def check_quiet(done: Done) -> None:
    """Check that nothing of ours was unwound.

    Until our first lines have run, Python itself answers ^C, and dies of it. Its traceback may show the lines of `main`
    that set the handler, and those of the packages that hold `main`. It may show no later line, and no other file.
    """
    if done.code == -signal.SIGINT or "Fatal Python error: init" in done.err:
        shown = re.findall(rf'File "{re.escape(OURS)}/(.+?)", line (\d+)', done.err)
        late = [(file, line) for file, line in shown if int(line) > FIRST_LINES.get(file, 0)]
        assert not late, done
    else:
        assert done.code in (0, 3), done
        assert "Traceback" not in done.err, done


def test_the_interrupt_is_handled_before_anything_else_is_imported(project: Project) -> None:
    project.write("sitecustomize.py", WITNESS)
    done = project.headrace("--version", also={"PYTHONPATH": str(project.root)})
    assert done.code == 0, done
    modules = set((project.root / "modules").read_text().split())
    assert {name for name in modules if name.startswith("headrace")} == {
        "headrace",
        "headrace.cli",
        "headrace.cli.main",
    }
    assert modules.isdisjoint({"select", "signal"})


@pytest.mark.parametrize("number", range(ROUNDS))
def test_at_a_random_moment(project: Project, number: int) -> None:
    rng = random.Random(f"{SEED}-{number}")
    pause_s, whole, twice = rng.uniform(0, 0.9), rng.random() < 0.5, rng.random() < 0.4
    print(f"SEED={SEED} number={number} pause_s={pause_s:.3f} whole={whole} twice={twice}")
    if number % 2:
        project.headrace("run", "flow", "--salt", "0")  # from now on the workers' parent is begun early
    process = project.start("run", "flow", "--salt", "1", start_new_session=True)
    time.sleep(pause_s)  # the moment is the point
    interrupt(process, whole)
    if twice:
        time.sleep(rng.uniform(0, 0.05))
        interrupt(process, whole)
    done = finish(process, 20)
    check_quiet(done)
    project.check_no_process_is_left()
    if done.code == 3 and done.err.startswith("run "):
        again = project.headrace("resume", "latest", "--json")
        assert again.json["state"] == "succeeded"
    again = project.headrace("run", "flow", "--salt", "1", "--json")
    assert again.code == 0, again
    assert project.headrace("get", "latest", "total", "--to", "total.json").code == 0
    assert (project.root / "total.json").read_text() == "21"


def test_a_run_that_is_interrupted_before_it_began_says_so(project: Project) -> None:
    project.write("sitecustomize.py", LONG_IMPORT)
    process = project.start("run", "flow", "--salt", "1", also={"PYTHONPATH": str(project.root)})
    wait_for((project.root / "begun").exists)
    process.send_signal(signal.SIGINT)
    done = finish(process, 20)
    assert (done.code, done.out, done.err) == (3, "", "interrupted\n")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("run", "flow"), "interrupted, and the pipeline wasn't traced yet: no run began"),
        (("resume", "latest", "--new-code"), "interrupted, and the new code wasn't traced yet: the run is as it was"),
        (("plan", "flow"), "interrupted"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_a_command_that_is_interrupted_while_the_pipeline_is_imported_says_what_that_means(
    project: Project, words: tuple[str, ...], told: str, as_json: bool
) -> None:
    if words[0] == "resume":
        assert project.headrace("run", "flow", "--salt", "1").code == 0
    begun = project.root / "begun"
    wait = f"import pathlib, time\npathlib.Path({str(begun)!r}).touch()\ntime.sleep(60)\n"
    project.write("pipelines.py", wait + (project.root / "pipelines.py").read_text())
    process = project.start(*words, *["--json"] * as_json)
    wait_for(begun.exists)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    done = finish(process, 20)
    assert done.code == 3
    if as_json:
        assert done.err == ""
        assert done.json == {"error": "Interrupted", "message": told, "hint": "call the command again"}
    else:
        assert (done.out, done.err.splitlines()[-1]) == ("", told)
    assert len(project.headrace("runs", "--json").json["runs"]) == (words[0] == "resume")


COMMANDS = [
    ["plan", "flow", "--salt", "1"],
    ["show"],
    ["runs"],
    ["explain", "latest", "total"],
    ["logs", "latest"],
    ["lineage", "latest", "total"],
    ["register", "latest", "total", "--dataset", "totals"],
    ["models"],
]


def test_any_command_is_ended_by_it(project: Project) -> None:
    project.headrace("run", "flow", "--salt", "0")
    rng = random.Random(SEED)
    for words in COMMANDS:
        process = project.start(*words, start_new_session=True)
        time.sleep(rng.uniform(0, 0.3))  # the moment is the point
        interrupt(process, whole=True)
        check_quiet(finish(process, 20))
    project.check_no_process_is_left()


def begin(project: Project, tmp_path: Path, name: str) -> tuple[subprocess.Popen[str], Callable[[str], Path]]:
    """Begin a pipeline whose stage waits, and wait until it does."""
    process = project.start("run", name, "--folder", str(tmp_path), start_new_session=True)
    wait_for((tmp_path / "begun").exists)
    return process, lambda file: tmp_path / file


def test_once_it_lets_stages_tidy_up_and_twice_it_ends_them(project: Project, tmp_path: Path) -> None:
    process, file = begin(project, tmp_path, "slow")
    interrupt(process, whole=True)
    done = finish(process)
    assert done.code == 3
    assert "cancelled" in done.out
    assert file("tidied").exists()
    project.check_no_process_is_left()
    file("begun").unlink()
    process, file = begin(project, tmp_path, "stubborn")
    interrupt(process, whole=True)
    wait_for(file("asked").exists)
    assert process.poll() is None
    interrupt(process, whole=True)
    assert finish(process, 3).code == 3
    project.check_no_process_is_left()
    file("end").touch()
    for run in project.headrace("runs", "--json").json["runs"]:
        assert run["state"] == "cancelled"
        again = project.headrace("resume", run["run"], "--json")
        assert again.json["state"] == "succeeded", again


def test_a_terminate_is_answered_like_an_interrupt(project: Project, tmp_path: Path) -> None:
    process, file = begin(project, tmp_path, "slow")
    process.terminate()
    done = finish(process)
    assert done.code == 3
    assert file("tidied").exists()
    project.check_no_process_is_left()


def test_a_detached_run_does_not_hear_it(project: Project, tmp_path: Path) -> None:
    process = project.start("run", "slow", "--folder", str(tmp_path), "--detach", start_new_session=True)
    done = finish(process)
    assert done.code == 0
    wait_for((tmp_path / "begun").exists)
    interrupt(process, whole=True)
    (tmp_path / "end").touch()
    run = done.out.strip()
    wait_for(lambda: project.headrace("show", run, "--json").json["state"] == "succeeded")


def stages(project: Project) -> list[int]:
    """Return the processes that the project's zygotes and workers are."""
    words = (each.split(" ", 1) for each in project.processes())
    return [int(pid) for pid, command in words if "headrace.work" in command and "bwrap" not in command]


@pytest.mark.parametrize("how", ["held", "stopped"])
def test_twice_it_ends_a_run_whose_ledger_says_nothing_any_more(
    project: Project, postgres: Postgres, tmp_path: Path, how: str
) -> None:
    url = postgres.database()
    with Line(postgres.port) as line:
        url = url.replace(f":{postgres.port}/", f":{line.port}/")
        project.write("headrace.toml", f'[ledger]\nurl = "{url}"')
        process, file = begin(project, tmp_path, "slow")
        line.hold() if how == "held" else postgres.suspend()
        try:
            assert process.stderr is not None
            said = next(text for text in iter(process.stderr.readline, "") if text.startswith("waiting for"))
            interrupt(process, whole=False)
            time.sleep(0.2)  # a signal that comes while another is pending is none
            interrupt(process, whole=False)
            done = finish(process, 12)
        finally:
            line.heal()
            postgres.go_on()
        assert "an answer of the ledger `postgresql://postgres:***@" in said
        assert " so far, and for " in said
        assert done.code == 3, done
        assert "`headrace resume" in done.err
        assert "Traceback" not in done.err
        file("end").touch()
        again = project.headrace("resume", "latest", "--json")
        assert again.code == 0, again


def test_twice_it_ends_a_run_whose_store_says_nothing_any_more(project: Project, s3: S3, tmp_path: Path) -> None:
    with Line(s3.port) as line:
        project.environment |= s3.environment
        project.write(
            "headrace.toml", f'[store]\nurl = "s3://{s3.bucket()}/p"\nendpoint = "http://127.0.0.1:{line.port}"'
        )
        process, file = begin(project, tmp_path, "slow")
        line.hold()
        file("end").touch()  # `total` is looked up, and what the workers keep is waited for
        interrupt(process, whole=False)
        time.sleep(0.2)  # a signal that comes while another is pending is none
        interrupt(process, whole=False)
        assert finish(process, 15).code == 3
        line.heal()
    project.kill_all()


def test_a_stage_is_timed_out_though_what_would_tell_of_it_is_stopped(project: Project, tmp_path: Path) -> None:
    project.write(
        "pipelines.py", PIPELINES.replace("@hr.stage(cache=False)\ndef stays", "@hr.stage(timeout=2)\ndef stays")
    )
    process = project.start("run", "stubborn", "--folder", str(tmp_path), "--json")
    wait_for((tmp_path / "begun").exists)
    time.sleep(0.5)  # it has been heard of by then
    (zygote,) = [pid for pid in stages(project) if not children_of(pid).isdisjoint(stages(project))]
    os.kill(zygote, signal.SIGSTOP)
    done = finish(process, 25)
    assert done.code == 1, done
    assert "it ran longer than its timeout of 2 s" in done.task["stays"]["reason"]
    project.check_no_process_is_left()


def children_of(pid: int) -> set[int]:
    return {int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def test_a_detached_driver_is_ended_by_cancel_and_by_the_loss_of_its_ledger(project: Project, tmp_path: Path) -> None:
    for count, lose in enumerate((False, True)):
        folder = tmp_path / str(count)
        folder.mkdir()
        run = project.headrace("run", "slow", "--folder", str(folder), "--detach").out.strip()
        wait_for((folder / "begun").exists)
        if lose:
            (project.home / "ledger.db").unlink()
            wait_for(lambda: all("headrace.work" in each for each in project.processes()))  # the driver has left
            (folder / "end").touch()  # its workers finish what they are at
        else:
            assert project.headrace("cancel", run).code == 0
        project.check_no_process_is_left()
        assert (folder / "tidied").exists()
