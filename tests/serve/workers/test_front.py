"""The front keeps its web workers running, whatever ends them, and ends them all. Each test runs a front in a process
of its own, whose workers do nothing but beat."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.projects import wait_for

FRONT = """
import asyncio, os, signal, socket, sys, time
from headrace.errors import HeadraceError
from headrace.serve.workers import front
from headrace.serve.workers.front import Front

front.FIRST_PAUSE_S, front.BEAT_S = 0.1, 0.2


def say(text):
    os.write(1, f"{text}\\n".encode())


async def serve(seat):
    ends = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ends.set)
    seat.beats()
    say(f"worker {seat.number} is {os.getpid()} after {seat.restarts}")
    await ends.wait()
    say(f"worker {seat.number} ends")
    BODY


def work(seat):
    if "fail" in sys.argv:
        raise LogError("the disk is full")
    asyncio.run(serve(seat))


listening = socket.create_server(("127.0.0.1", 0))
Front(2, work, [listening], say, lambda: say("all listen"), silent_s=float(sys.argv[1])).run()
say(f"the front has ended {listening.fileno()}")
"""
FRONT = FRONT.replace("HeadraceError", "LogError")


class Run:
    """A front that runs, with its output in a file."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self.process = process
        self.output = output

    def told(self) -> str:
        return self.output.read_text()

    def wait(self, text: str) -> None:
        wait_for(lambda: text in self.told(), why=self.told)

    def worker(self, number: int, restarts: int = 0) -> psutil.Process:
        line = re.compile(rf"worker {number} is (\d+) after {restarts}\n")
        return psutil.Process(int(wait_for(lambda: line.search(self.told()), why=self.told)[1]))

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


@contextmanager
def running(folder: Path, *words: str, silent_s: float = 60.0, body: str = "") -> Iterator[Run]:
    output = folder / "told"
    with output.open("wb") as file:
        code = FRONT.replace("BODY", body)
        begin = [sys.executable, "-c", code, str(silent_s), *words]
        process = subprocess.Popen(begin, stdout=file, stderr=file, start_new_session=True)
    try:
        yield Run(process, output)
    finally:
        known = psutil.Process(process.pid).children() if process.poll() is None else []
        process.kill()
        process.wait()
        psutil.wait_procs(known, 10)


def test_a_worker_that_was_ended_is_started_again_and_the_other_goes_on(tmp_path: Path) -> None:
    with running(tmp_path) as front:
        front.wait("all listen")
        other = front.worker(2)
        front.worker(1).kill()
        assert front.worker(1, restarts=1).is_running()
        assert other.is_running()
        assert "web worker 1 was ended by SIGKILL; it is started again in 0.1 s" in front.told()
        front.worker(1, restarts=1).terminate()
        front.wait("web worker 1 ended with the exit code 0; it is started again in 0.2 s")
        front.worker(1, restarts=2)
        assert front.end() == 0
        assert front.told().count("ends\n") == 3
        assert front.told().endswith("the front has ended -1\n")
        assert front.told().count("all listen") == 1


def test_a_worker_that_hangs_is_killed_and_started_again(tmp_path: Path) -> None:
    with running(tmp_path, silent_s=3.0) as front:
        front.wait("all listen")
        front.worker(2).suspend()
        front.worker(2, restarts=1)
        assert "web worker 2 has done nothing for 3 s, so it is killed" in front.told()
        assert front.worker(1).is_running()


def test_workers_that_were_stopped_together_with_the_front_are_not_killed(tmp_path: Path) -> None:
    with running(tmp_path, silent_s=3.0) as front:
        front.wait("all listen")
        one, other = front.worker(1), front.worker(2)
        os.killpg(front.process.pid, signal.SIGSTOP)
        with pytest.raises(subprocess.TimeoutExpired):
            front.process.wait(4)
        os.killpg(front.process.pid, signal.SIGCONT)
        with pytest.raises(subprocess.TimeoutExpired):
            front.process.wait(3)
        assert one.is_running()
        assert other.is_running()
        assert "killed" not in front.told()


def test_a_worker_that_is_stopped_still_ends_when_it_is_told_to(tmp_path: Path) -> None:
    with running(tmp_path) as front:
        front.wait("all listen")
        front.worker(1).suspend()
        assert front.end() == 0
        assert front.told().count("ends\n") == 2


def test_a_second_signal_ends_all_at_once(tmp_path: Path) -> None:
    with running(tmp_path, body="time.sleep(100)") as front:
        front.wait("all listen")
        one, other = front.worker(1), front.worker(2)
        front.process.send_signal(signal.SIGINT)
        wait_for(lambda: front.told().count("ends\n") == 2, why=front.told)
        assert front.process.poll() is None, "it waits for its workers"
        assert front.end(signal.SIGINT) == 3
        psutil.wait_procs([one, other], 10)
        assert "left without waiting any longer" in front.told()


def test_workers_end_with_a_front_that_is_killed(tmp_path: Path) -> None:
    with running(tmp_path) as front:
        front.wait("all listen")
        both = [front.worker(1), front.worker(2)]
        both[0].suspend()
        front.process.kill()
        front.process.wait()
        wait_for(lambda: not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in both))


def test_a_front_whose_workers_can_not_begin_ends_with_an_error(tmp_path: Path) -> None:
    with running(tmp_path, "fail") as front:
        assert front.process.wait(60) == 1
        assert "the disk is full" in front.told()
        assert "before all of them listened" in front.told()
        assert "all listen\n" not in front.told()
