"""Drivers and workers killed at random instants: nothing is lost, nothing finished is redone, nothing stays behind.

`make faults ROUNDS=50 SEED=1` kills more than `make test` does; a round is repeated by its seed and number.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.projects import Done, Project, finish, lent, wait_for

SEED = int(os.environ.get("SEED", "1"))
ROUNDS = int(os.environ.get("ROUNDS", "10"))

PIPELINES = """\
import os
import time
import headrace as hr

def note(what: str, task: str) -> None:
    with open(os.environ["JOURNAL"], "a") as journal:
        journal.write(f"{what} {task}\\n")

def work(task: str, seconds: float) -> None:
    note("begin", task)
    time.sleep(seconds)
    note("end", task)

@hr.stage(retries=5)
def listed(salt: int) -> list[int]:
    work("listed", 0.02)
    return list(range(salt, salt + 6))

@hr.stage(retries=5)
def each(n: int, salt: int) -> int:
    work(f"each[{n - salt}]", 0.05)
    return n - salt

@hr.stage
def plain(n: int, salt: int) -> int:
    work(f"plain{n}", 0.03)
    return n

@hr.stage(retries=5, isolation="fresh")
def big(n: int, salt: int) -> bytes:
    work("big", 0.02)
    return bytes([n]) * 300_000

@hr.stage(retries=5)
def total(numbers: list[int], more: list[int], data: bytes) -> int:
    work("total", 0.02)
    return sum(numbers) + sum(more) + len(data)

@hr.stage(retries=5)
def last(at: float, salt: int) -> bool:
    work("last", 0.02)
    return at > 0

@hr.pipeline
def flow(salt: int) -> None:
    numbers = each.map(listed(salt), salt=salt)
    first = plain(1, salt)
    rest = [plain(n, salt) for n in range(2, 5)]
    result = total(numbers, [first, *rest], big(first, salt))
    if hr.value(result) > 0 and hr.now().year > 2000:
        last(1.0, salt)
"""
RESULT = 15 + 10 + 300_000


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("kills")
    with lent(folder / "project") as project:
        project.write("pipelines.py", PIPELINES)
        yield project
        shutil.rmtree(project.home)  # pytest keeps the folders of tests


class Round:
    """One round: a run of its own, and what its stages have noted."""

    def __init__(self, project: Project, number: int) -> None:
        self.rng = random.Random(f"{SEED}-{number}")
        self.project = project
        self.salt = 1000 * SEED + number
        self.journal = project.root.parent / f"journal-{self.salt}"
        self.journal.touch()
        project.environment["JOURNAL"] = str(self.journal)
        project.environment["HEADRACE__POOL__LOCAL__NAMESPACE"] = self.rng.choice(["auto", "off"])

    def begin(self, *words: str) -> subprocess.Popen[str]:
        return self.project.start(*words)

    def lines(self) -> int:
        """Count all that stages have noted."""
        return len(self.journal.read_text().splitlines())

    def noted(self, what: str) -> Counter[str]:
        """Count what stages have noted: the calls that have begun, or those that have ended."""
        lines = [line.split() for line in self.journal.read_text().splitlines()]
        return Counter(task for said, task in lines if said == what)

    def kill(self, target: str, process: subprocess.Popen[str]) -> None:
        """Kill the driver, one of the processes that it has begun, or all at once."""
        # bubblewrap, killed while it makes a namespace, leaves a child of its own that waits for it without end
        ours = [each for each in self.project.processes() if "bwrap" not in each]
        others = [pid for pid in (int(each.split()[0]) for each in ours) if pid != process.pid]
        if target in ("driver", "all"):
            process.kill()
        if target == "worker" and others:
            others = [self.rng.choice(sorted(others))]
        if target in ("worker", "all"):
            for pid in others:
                _kill(pid)

    def succeeded(self) -> set[str]:
        """Name, as stages note it, the tasks that the ledger has as succeeded."""
        shown = self.project.headrace("show", "latest", "--json")
        if shown.code or shown.json["params"].get("salt") != str(self.salt):
            return set()
        found = {name for name, task in shown.task.items() if task["state"] == "succeeded"}
        places = {"plain": "plain1"} | {f"plain[{n}]": f"plain{n + 1}" for n in range(1, 4)}
        places |= {f"each[n={self.salt + n}]": f"each[{n}]" for n in range(6)}
        return {places.get(name, name) for name in found} - {"each"}

    def is_open(self) -> bool:
        shown = self.project.headrace("show", "latest", "--json")
        return shown.code == 0 and shown.json["params"].get("salt") == str(self.salt)

    def go_on(self) -> Done:
        """Resume the run, or run again: whichever the dice say, where there is a choice."""
        resumes = self.is_open() and self.rng.random() < 0.6
        words = ("resume", "latest") if resumes else ("run", "flow", "--salt", str(self.salt))
        process = self.begin(*words, "--json")
        kill = self.rng.random() < 0.2
        print("then", *words, "and killed again" if kill else "")
        if kill:
            time.sleep(self.rng.uniform(0, 0.5))  # the instant is the point
            process.kill()
        return finish(process)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


@pytest.mark.parametrize("number", range(ROUNDS))
def test_whoever_is_killed_the_work_goes_on_where_it_was(project: Project, number: int) -> None:
    now = Round(project, number)
    target = now.rng.choice(["driver", "driver", "worker", "worker", "all"])
    kills, lines, pause_s = now.rng.choice([1, 1, 2]), now.rng.choice([0, 0, *range(29)]), now.rng.random()
    pause_s *= 0.4 if lines == 0 else 0.03
    print(f"SEED={SEED} number={number} target={target} kills={kills} after {lines} lines and {pause_s:.3f} s")
    process = now.begin("run", "flow", "--salt", str(now.salt), "--json")
    wait_for(lambda: now.lines() >= lines or process.poll() is not None)
    for _ in range(kills):
        time.sleep(pause_s)  # the instant is the point
        now.kill(target, process)
    done = finish(process)
    assert done.code in (0, 1, -signal.SIGKILL), done
    assert "Traceback" not in done.err, done
    if done.code == -signal.SIGKILL and now.rng.random() < 0.5:
        project.check_no_process_is_left()  # workers end by themselves; else the next driver ends them
    kept, calls = now.succeeded(), now.noted("begin")
    print(f"exit {done.code} with {len(kept)} calls kept")
    for _ in range(12):
        if done.code == 0:
            break
        done = now.go_on()
        assert "Traceback" not in done.err, done
    assert done.code == 0, done
    again = now.noted("begin")
    assert {name for name in kept if again[name] != calls[name]} == set(), "done again"
    check_is_right(now, done)


def test_undisturbed_each_stage_is_called_once(project: Project) -> None:
    now = Round(project, -2)
    check_is_right(now, finish(now.begin("run", "flow", "--salt", str(now.salt), "--json")))
    assert set(now.noted("begin").values()) == {1}
    assert now.noted("begin") == now.noted("end")


def check_is_right(now: Round, done: Done) -> None:
    """Check the result, the store and the ledger, and that no process is left."""
    project = now.project
    assert done.out, done
    assert done.json["state"] == "succeeded"
    assert done.task["last"]["state"] in ("succeeded", "reused")
    assert project.headrace("get", done.json["run"], "total", "--to", "total.json").code == 0
    assert (project.root / "total.json").read_text() == str(RESULT)
    project.check_no_process_is_left()
    checked = project.headrace("fsck", "--deep", "--json")
    assert checked.code == 0, checked
    assert checked.json["problems"] == []


def test_what_workers_finish_after_their_driver_was_killed_is_kept(project: Project) -> None:
    now = Round(project, -1)
    process = now.begin("run", "flow", "--salt", str(now.salt))
    wait_for(lambda: now.noted("begin")["each[0]"])
    process.kill()
    finish(process)
    project.check_no_process_is_left()
    ended = now.noted("end")
    assert ended["each[0]"] == 1
    done = project.headrace("resume", "latest", "--json")
    check_is_right(now, done)
    again = now.noted("begin")
    assert {name for name in ended if again[name] != 1} == set(), "done again"
