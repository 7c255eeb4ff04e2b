"""What the workers of the local stand do: stages by the names of the contract's deeds."""

import os
import signal
import time
from pathlib import Path

import headrace as hr


@hr.stage
def one() -> int:
    return 1


@hr.stage(name="raises")
def fails() -> int:
    raise ValueError("bad")


globals()["raise"] = fails  # the deed's name is a word of the language


@hr.stage
def exit() -> int:
    os._exit(3)


@hr.stage
def eat() -> int:
    held = []
    while True:
        held.append(bytearray(b"x" * 20_000_000))
        time.sleep(0.001)


@hr.stage
def wait() -> int:
    try:
        time.sleep(3600)
    finally:
        print("cleaned up")
    return 0


@hr.stage
def deaf() -> int:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(3600)
    return 0


@hr.stage
def later() -> int:
    time.sleep(0.5)
    return 1


@hr.stage
def rank() -> int:
    return hr.attempt().rank


@hr.stage
def number() -> int:
    return hr.attempt().number


@hr.stage
def word() -> str:
    while (told := hr.attempt().told()) is None:
        time.sleep(0.01)
    return told


@hr.stage
def keep() -> object:
    attempt = hr.attempt()
    kept = attempt.checkpoint()
    if kept is not None:
        return kept
    attempt.keep(7)
    os._exit(1)


@hr.stage
def size(data: bytes) -> int:
    return len(data)


@hr.stage
def prints(count: int = 1_000_000) -> int:
    for _ in range(count // 100):
        print("x" * 99)
    return count


@hr.stage
def looks() -> dict[str, object]:
    """What an attempt finds: its folder, the environment, and what it can see of the world."""
    here = Path.cwd()
    found: dict[str, object] = {
        "files": sorted(os.listdir()),
        "mark": os.environ.get("LEFT_BEHIND"),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "module": __file__,
        "here": str(here),
    }
    (here / "left.txt").write_text("left behind")
    os.environ["LEFT_BEHIND"] = "yes"
    os.chdir("/")
    return found


@hr.stage
def draws() -> float:
    import random

    return random.random()


@hr.stage
def reads(path: str = "") -> str:
    try:
        return Path(os.environ["HEADRACE_TEST_PATH"]).read_text()
    except OSError as error:
        return type(error).__name__


@hr.stage
def connects() -> str:
    import socket

    try:
        socket.create_connection(("127.0.0.1", int(os.environ["HEADRACE_TEST_PORT"])), timeout=2).close()
    except OSError as error:
        return type(error).__name__
    return "connected"


@hr.stage
def breeds() -> int:
    """Leave a process behind."""
    pid = os.fork()
    if pid == 0:
        time.sleep(3600)
        os._exit(0)
    return pid
