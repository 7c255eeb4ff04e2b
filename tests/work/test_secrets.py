"""Secrets in real runs: what a stage prints, raises and logs of them is masked wherever it is kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.projects import Project, finish, lent, wait_for

SECRET = 'p@ss/W0\'rd\\x%41 "ü"'
QUOTED = """\
import json
from urllib.parse import quote, quote_plus
import headrace as hr

@hr.stage
def quotes(secret: str) -> None:
    print(secret, repr(secret), ascii(secret), [f"'{secret}"])
    print(json.dumps({"password": secret}), json.dumps([secret], ensure_ascii=False))
    print(quote(secret), quote(secret, ""), quote_plus(secret))
    hr.log("warning", f"can't log in with {secret!r}")
    {}[secret]

@hr.pipeline
def flow() -> None:
    quotes(hr.secret("PASSWORD"))
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with lent(tmp_path) as project:
        yield project


def test_a_secret_is_masked_however_it_is_quoted(project: Project) -> None:
    project.write("flow.py", QUOTED)
    project.environment["PASSWORD"] = SECRET
    done = project.headrace("run", "flow.py:flow")
    assert done.code == 1
    assert "KeyError: '********'" in done.err, done
    printed = project.headrace("logs", "latest", "quotes").out
    assert "can't log in with" in project.headrace("show", "latest").out
    kept = b"".join(path.read_bytes() for path in project.home.rglob("*") if path.is_file())
    for part in ("W0", "rd\\", "x%41", "x%2541"):
        assert part not in done.out + done.err + printed, part
        assert part.encode() not in kept, part


LIVING = """\
import os
import signal
import subprocess
import sys
import time
import headrace as hr

def says(secret: str) -> None:
    print("with", secret, flush=True)
    os.write(2, secret[:7].encode())
    time.sleep(0.1)
    os.write(2, secret[7:].encode() + b" by halves\\n")
    subprocess.run(["sh", "-c", 'echo "from a process: $0"', secret], check=True)

@hr.stage
def ends(secret: str) -> int:
    says(secret)
    subprocess.Popen(["sleep", "600"], start_new_session=True)
    sys.stdout.write("the end")
    return 1

@hr.stage
def plain(n: int) -> None:
    print("no secret is given here")

@hr.stage(timeout="1s")
def deaf(secret: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    says(secret)
    while True:
        time.sleep(1)

@hr.stage
def killed(secret: str) -> None:
    says(secret)
    print("last words: " + "x" * 1000, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

@hr.stage
def waits(secret: str) -> None:
    says(secret)
    time.sleep(600)

@hr.pipeline
def good() -> None:
    plain(ends(hr.secret("PASSWORD")))

@hr.pipeline
def late() -> None:
    deaf(hr.secret("PASSWORD"))

@hr.pipeline
def dead() -> None:
    killed(hr.secret("PASSWORD"))

@hr.pipeline
def long() -> None:
    waits(hr.secret("PASSWORD"))
"""
SAID = "with ********\n******** by halves\nfrom a process: ********\n"


@pytest.fixture
def living(project: Project) -> Project:
    project.write("flow.py", LIVING)
    project.environment["PASSWORD"] = "hunter2hunter2"
    return project


def in_clear(project: Project) -> list[Path]:
    """Name the files of the project's state that hold the secret."""
    return [path for path in project.home.rglob("*") if path.is_file() and b"hunter2hunter2" in path.read_bytes()]


def printed(project: Project, task: str) -> str:
    return project.headrace("logs", "latest", task).out


def test_the_log_of_an_attempt_is_whole_and_masked_when_it_has_ended(living: Project) -> None:
    done = living.headrace("run", "flow.py:good")
    assert done.code == 0, done
    assert f"{SAID}the end" in printed(living, "ends")
    assert "no secret is given here\n" in printed(living, "plain")
    assert not in_clear(living)


@pytest.mark.parametrize(("flow", "task"), [("late", "deaf"), ("dead", "killed")])
def test_the_log_of_an_attempt_that_was_killed_is_whole_and_masked(living: Project, flow: str, task: str) -> None:
    done = living.headrace("run", f"flow.py:{flow}")
    assert done.code == 1, done
    assert SAID in printed(living, task)
    assert task == "deaf" or "x" * 1000 in printed(living, task)
    assert not in_clear(living)


def test_no_secret_stands_in_a_log_while_its_attempt_runs_and_when_all_have_been_killed(living: Project) -> None:
    driver = living.start("run", "flow.py:long")
    wait_for(lambda: SAID in "".join(path.read_text() for path in living.home.glob("store/logs/*/*")))
    assert not in_clear(living)
    driver.kill()
    finish(driver)
    living.kill_all()
    assert SAID in printed(living, "waits")
    assert not in_clear(living)
