"""Stages that misbehave: each is a named failure with a hint, or no failure; others go on, and nothing stays behind."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path
from tempfile import TemporaryFile

import pytest

from tests.projects import Done, Project, check_error, finish, wait_for

PIPELINES = """\
import ctypes
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
import headrace as hr

# -- what goes well nevertheless

@hr.stage
def forks() -> int:
    if os.fork() == 0:
        time.sleep(1000)
    return 1

@hr.stage
def forks_and_returns() -> int:
    os.fork()
    return 1

@hr.stage
def leaves_processes() -> int:
    subprocess.Popen(["sleep", "1000"])
    subprocess.Popen(["sleep", "1000"], start_new_session=True)
    return 1

@hr.stage
def leaves_a_thread() -> int:
    threading.Thread(target=time.sleep, args=(1000,)).start()
    return 1

@hr.stage
def closes_stdout() -> int:
    print("before")
    sys.stdout.close()
    os.close(1)
    os.close(2)
    return 1

@hr.stage
def takes_its_ground_away() -> int:
    os.rmdir(os.getcwd())
    os.environ.clear()
    sys.path.clear()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return 1

@hr.stage
def stands_on_ground() -> int:
    print("words after")
    Path("file").write_text("text")
    assert os.environ["PATH"] and sys.path
    return 1

# -- what fails

@hr.stage
def exits() -> int:
    print("last words", flush=True)
    os._exit(3)

@hr.stage
def exits_politely() -> int:
    sys.exit(3)

@hr.stage
def crashes() -> int:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return ctypes.string_at(0)

@hr.stage
def aborts() -> int:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.abort()

@hr.stage
def is_killed() -> int:
    os.kill(os.getpid(), signal.SIGKILL)

@hr.stage
def closes_everything() -> int:
    os.closerange(0, 256)
    return 1

@hr.stage(timeout=0.5)
def sleeps() -> int:
    time.sleep(1000)

@hr.stage(timeout=0.5)
def spins() -> int:
    while True:
        pass

@hr.stage(timeout=0.5)
def spins_in_c() -> int:
    return sum(range(10**12))

@hr.stage(timeout=0.5)
def stops_itself() -> int:
    os.kill(os.getpid(), signal.SIGSTOP)
    return 1

@hr.stage(timeout=0.5)
def will_not_end() -> int:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        try:
            time.sleep(1000)
        except BaseException:
            continue

@hr.stage(resources=hr.Resources(memory_gib=0.2))
def eats() -> int:
    eaten = []
    while True:
        eaten.append(b"x" * 5_000_000)
        time.sleep(0.002)

@hr.stage(resources=hr.Resources(memory_gib=0.2))
def has_others_eat() -> int:
    return subprocess.run([sys.executable, "-c", EATING]).returncode

EATING = '''
import time
eaten = []
while True:
    eaten.append(b"x" * 5_000_000)
    time.sleep(0.002)
'''

@hr.stage
def wants_too_much() -> int:
    return len(bytearray(10**15))

@hr.stage
def recurses() -> int:
    return recurses.function()

@hr.stage
def talks_out_of_turn() -> int:
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                os.write(int(name), b"\\xff\\x00\\x00\\x00" + b"no message of ours" * 100)
        except OSError:
            continue
    time.sleep(1000)

@hr.stage
def raises_at_length() -> int:
    raise ValueError("x" * 10_000_000)

class Wordless(Exception):
    def __str__(self) -> str:
        raise RuntimeError

@hr.stage
def raises_without_words() -> int:
    raise Wordless

GOOD = [
    forks, forks_and_returns, leaves_processes, leaves_a_thread, closes_stdout, takes_its_ground_away, stands_on_ground,
]
BAD = [
    exits, exits_politely, crashes, aborts, is_killed, closes_everything, sleeps, spins, spins_in_c, stops_itself,
    will_not_end, eats, has_others_eat, wants_too_much, recurses, talks_out_of_turn, raises_at_length,
    raises_without_words,
]

@hr.pipeline
def good() -> None:
    for stage in GOOD:
        stage()
        stands_on_ground(after=[])

@hr.pipeline
def bad() -> None:
    for stage in BAD:
        stage()

# -- more

@hr.stage
def prints(mib: int) -> int:
    for _ in range(mib):
        sys.stdout.write("x" * (2**20 - 1) + "\\n")
    return mib

@hr.stage
def waits(folder: str) -> int:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(folder, "begun").touch()
    while True:
        try:
            time.sleep(1000)
        except BaseException:
            continue

@hr.stage
def stops(folder: str) -> int:
    Path(folder, "begun").touch()
    os.kill(os.getpid(), signal.SIGSTOP)
    return 1

@hr.stage(retries=3, backoff=0.2)
def fails_twice(folder: str) -> int:
    with open(Path(folder, "times"), "a") as file:
        file.write(f"{time.time()}\\n")
    if hr.attempt().number < 3:
        raise ValueError(f"attempt {hr.attempt().number}")
    return hr.attempt().number

@hr.stage(retries=1, backoff=0)
def always_fails() -> int:
    raise ValueError("as always")

@hr.stage
def is_ended(n: int) -> int:
    if n == 1 and hr.attempt().number < 3:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1000)
    return n

@hr.stage
def ends_itself() -> int:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(1000)
    return 1

@hr.stage
def hog() -> int:
    eaten = []
    while len(eaten) < 200:
        eaten.append(b"x" * 5_000_000)
        time.sleep(0.005)
    return len(eaten)

@hr.pipeline
def forks_itself() -> None:
    os.fork()
    stands_on_ground()

@hr.pipeline
def loops() -> None:
    while True:
        pass

@hr.pipeline
def loud(mib: int = 50) -> None:
    prints(mib)

@hr.pipeline
def deaf(folder: str) -> None:
    waits(folder)

@hr.pipeline
def still(folder: str) -> None:
    stops(folder)

@hr.pipeline
def tries(folder: str) -> None:
    fails_twice(folder)
    always_fails()

@hr.pipeline
def ended() -> int:
    return sum_of(is_ended.map(list(range(40))))

@hr.stage
def sum_of(values: list[int]) -> int:
    return sum(values)

@hr.pipeline
def ends() -> int:
    return sum_of([ends_itself()])

@hr.pipeline
def hungry() -> None:
    hog()
"""

FAILURES = {
    "exits": ("crash: it ended its own process, with exit code 3", "headrace logs"),
    "exits_politely": ("user: SystemExit: 3 (pipelines.py:", ""),
    "crashes": ("crash: it crashed: a segmentation fault", "headrace debug"),
    "aborts": ("crash: it aborted itself", "headrace logs"),
    "is_killed": ("crash: it was killed (signal 9)", "headrace logs"),
    "closes_everything": ("crash: ", "headrace logs"),
    "sleeps": ("timeout: it ran longer than its timeout of 0.5 s", "raise `timeout`"),
    "spins": ("timeout: it ran longer than its timeout of 0.5 s", "raise `timeout`"),
    "spins_in_c": ("timeout: it ran longer than its timeout of 0.5 s", "raise `timeout`"),
    "stops_itself": ("timeout: it ran longer than its timeout of 0.5 s", "raise `timeout`"),
    "will_not_end": ("timeout: it ran longer than its timeout of 0.5 s", "raise `timeout`"),
    "eats": ("GiB of memory, more than its limit of 0.2 GiB", "raise `memory_gib`"),
    "has_others_eat": ("GiB of memory, more than its limit of 0.2 GiB", "raise `memory_gib`"),
    "wants_too_much": ("memory: MemoryError (pipelines.py:", "raise `memory_gib`"),
    "recurses": ("user: RecursionError", ""),
    "talks_out_of_turn": ("crash: its code wrote to the connection between worker and driver", "headrace logs"),
    "raises_at_length": ("xxx... (10000000 characters) (pipelines.py:", ""),
    "raises_without_words": ("Wordless: (its message raised `RuntimeError`) (pipelines.py:", ""),
}


@pytest.fixture
def project(project: Project) -> Project:
    project.write("pipelines.py", PIPELINES)
    return project


def check_reason(done: Done, task: str, reason: str, hint: str) -> None:
    assert done.task[task]["state"] == "failed", done.task[task]
    message, _, advice = done.task[task]["reason"].partition("\nhint: ")
    assert reason in message, message
    assert hint in advice, advice


def test_each_bad_stage_is_a_failure_of_its_own(project: Project) -> None:
    done = project.headrace("run", "bad", "--json")
    assert done.code == 1, done
    assert set(done.task) == set(FAILURES)
    for task, (reason, hint) in FAILURES.items():
        check_reason(done, task, reason, hint)
    assert project.headrace("logs", "latest", "exits").out == "last words\n"
    project.check_no_process_is_left()
    assert project.headrace("fsck", "--deep").code == 0


def test_what_a_stage_leaves_behind_hurts_no_other(project: Project) -> None:
    done = project.headrace("run", "good", "--json")
    assert done.code == 0, done
    project.check_no_process_is_left()
    for name, task in done.task.items():
        assert task["attempts"] <= 1, name
    ran = [name for name, task in done.task.items() if name.startswith("stands") and task["state"] == "succeeded"]
    assert ran
    assert project.headrace("logs", "latest", ran[0]).out == "words after\n"


def test_a_pipeline_that_forks_is_traced_once(project: Project) -> None:
    done = project.headrace("run", "forks_itself", "--json")
    assert done.code == 0, done
    assert list(done.task) == ["stands_on_ground"]


def test_a_pipeline_that_never_ends_is_ended_with_its_run(project: Project) -> None:
    check_error(project.headrace("run", "loops", "--timeout", "1s"), 4, "longer than 1 s", hint="--timeout")
    process = project.start("run", "loops")
    wait_for(lambda: len(project.processes()) > 2)
    process.send_signal(signal.SIGINT)
    done = finish(process)
    assert done.code == 3
    assert "Traceback" not in done.err


@pytest.mark.parametrize("mib", [50, 1024])
def test_all_that_is_printed_is_kept(project: Project, mib: int) -> None:
    if mib > 100 and "ROUNDS" not in os.environ:
        pytest.skip("it takes a gigabyte of disk: `make faults` does it")
    done = project.headrace("run", "loud", "--mib", str(mib), "--json")
    assert done.code == 0, done
    with TemporaryFile() as log:
        process = project.start("logs", "latest", "prints", out=log)
        assert finish(process).code == 0
        assert log.seek(0, os.SEEK_END) == mib * 2**20
    shutil.rmtree(project.home)  # pytest keeps the folders of tests


def test_a_stage_that_does_not_heed_the_end_of_its_run_is_killed(project: Project, tmp_path: Path) -> None:
    process = project.start("run", "deaf", "--folder", str(tmp_path), "--json")
    wait_for((tmp_path / "begun").exists)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    done = finish(process)
    assert done.code == 3
    assert done.task["waits"]["state"] == "cancelled"
    assert time.monotonic() - began > 3  # it was given some time


def test_a_stopped_stage_is_ended_with_its_run(project: Project, tmp_path: Path) -> None:
    done = project.headrace("run", "still", "--folder", str(tmp_path), "--timeout", "3s", "--json")
    assert done.code == 1
    assert done.json["state"] == "failed"
    assert done.json["why"] == "the run took longer than 3 s"
    assert (tmp_path / "begun").exists()


def test_a_worker_that_a_signal_ends_from_outside_has_lost_its_attempt_which_is_made_again(project: Project) -> None:
    done = project.headrace("run", "ended", "--json")
    assert done.code == 0, done
    assert done.task["is_ended[n=1]"]["attempts"] >= 3
    assert {task["state"] for task in done.task.values()} == {"succeeded"}


def test_a_run_whose_workers_are_ended_again_and_again_fails(project: Project) -> None:
    done = project.headrace("run", "ends", "--json")
    assert (done.code, done.json["state"]) == (1, "failed"), done
    check_reason(done, "ends_itself", "lost after 6 attempts: ", "")
    assert done.task["sum_of"]["state"] == "skipped"


def test_a_failed_attempt_is_followed_by_others_after_a_pause(project: Project, tmp_path: Path) -> None:
    done = project.headrace("run", "tries", "--folder", str(tmp_path), "--json")
    assert done.code == 1
    assert done.task["fails_twice"]["state"] == "succeeded"
    assert done.task["fails_twice"]["attempts"] == 3
    times = [float(line) for line in (tmp_path / "times").read_text().split()]
    assert len(times) == 3
    assert times[1] - times[0] >= 0.2
    assert times[2] - times[1] >= 0.4
    check_reason(done, "always_fails", "user after 2 attempts: ValueError: as always (pipelines.py:", "")


def test_in_a_small_pool_a_stage_may_not_take_more_than_all_of_it(project: Project) -> None:
    project.write("headrace.toml", "[pool.small]\nmemory_gib = 0.3\n")
    done = project.headrace("run", "hungry", "--json")
    assert done.code == 1
    check_reason(done, "hog", "memory: it took", "raise `memory_gib`")
