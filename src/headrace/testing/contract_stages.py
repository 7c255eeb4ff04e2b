"""The stages that workers run in the test suite for backends. A stand packs this file into the bundle of its run.

A stage that lasts for some time saves a checkpoint first, so that a test can see that the stage has begun.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from headrace.define.attempt import attempt
from headrace.define.handle import value
from headrace.define.now import now
from headrace.define.pipeline import pipeline
from headrace.define.stage import stage

FOREVER_S = 3600.0


@stage
def one() -> int:
    """Return 1."""
    return 1


@stage
def fail(length: int = 1) -> int:
    """Raise an error with a message of `length` letters."""
    raise ValueError("x" * length)


@stage
def leave() -> int:
    """End the worker's process, with exit code 3."""
    os._exit(3)


@stage
def eat() -> int:
    """Use more and more memory, without end."""
    held = []
    while True:
        held.append(bytearray(b"x" * 20_000_000))
        time.sleep(0.001)


@stage
def wait() -> int:
    """Save a checkpoint. When the attempt is told to stop, save a second checkpoint."""
    try:
        attempt().keep(1)
        time.sleep(FOREVER_S)
    finally:
        attempt().keep(2)
    return 0


@stage
def deaf() -> int:
    """Save a checkpoint, then wait for an hour and ignore SIGTERM, so that only a kill ends it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    attempt().keep(1)
    time.sleep(FOREVER_S)
    return 0


@stage
def later() -> int:
    """Save a checkpoint, and return 1 after half a second."""
    attempt().keep(1)
    time.sleep(0.5)
    return 1


@stage
def rank() -> list[int]:
    """Return the attempt's rank and its number of nodes."""
    return [attempt().rank, attempt().nodes]


@stage
def hear() -> list[str]:
    """Return the messages that the attempt gets, up to and including `stop`."""
    words: list[str] = []
    while "stop" not in words:
        word = attempt().told()
        if word is None:
            time.sleep(0.005)
        else:
            words.append(word)
    return words


@stage
def keep() -> object:
    """Return the value of the attempt's checkpoint. If there is none, save the checkpoint 7 and end the process."""
    kept = attempt().checkpoint()
    if kept is None:
        attempt().keep(7)
        os._exit(1)
    return kept


@stage
def size(data: bytes) -> int:
    """Return the length of `data`."""
    return len(data)


@pipeline
def asks() -> None:
    """Ask for the time and for the value of a task. If the value is 1, call a second task."""
    now()
    first = one()
    if value(first) == 1:
        one()


# -- for workers that are processes ----------------------------------------------------------------------------------


@stage
def crash() -> int:
    """Crash the process with a segmentation fault: read the memory at address 0."""
    ctypes.string_at(0)
    return 0


@stage
def say(lines: int, text: str) -> int:
    """Print `text` on `lines` lines, and return their number."""
    sys.stdout.write(f"{text}\n" * lines)
    return lines


@stage
def mute() -> int:
    """Close the process's stdout and stderr, and return 1."""
    sys.stdout.close()
    os.close(1)
    os.close(2)
    return 1


@stage
def look() -> dict[str, object]:
    """Return what the attempt finds when it begins: the files in its folder, environment variables, import path and
    module.

    Then change the folder, the environment, the import path and the current folder, and leave them changed.
    """
    here = Path.cwd()
    found: dict[str, object] = {
        "files": sorted(os.listdir()),
        "mark": os.environ.get("LEFT_BEHIND"),
        "home": os.environ.get("HOME"),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "path": [folder for folder in sys.path if "left" in folder],
        "module": __file__,
    }
    (here / "left.txt").write_text("left behind")
    os.environ["LEFT_BEHIND"] = "yes"
    os.environ.pop("HOME", None)
    sys.path.insert(0, "/left")
    os.chdir("/")
    return found


@stage
def surroundings() -> dict[str, str]:
    """Return the environment variables of the process."""
    return dict(os.environ)


@stage
def draw() -> float:
    """Return a random number from 0 to 1."""
    return random.random()


@stage
def see(path: str) -> bool:
    """Return whether the process can see a file."""
    return Path(path).exists()


@stage
def reach(port: int) -> bool:
    """Return whether the process can connect to a port of this machine."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except OSError:
        return False
    return True


@stage
def find(module: str) -> bool:
    """Return whether the process can import a module."""
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True


@stage
def fork() -> int:
    """Fork the process, and return in the parent and in the child."""
    os.fork()
    return 1


@stage
def breed() -> list[str]:
    """Start four processes that go on running. Return the last command-line argument of each process, so that a test
    can find the process.

    The first is a child process. The second is in a session of its own, and its parent has ended. The other two have no
    environment variables. The third is in another session, but writes to the worker's log. The fourth writes nothing,
    but is in the worker's session.
    """
    words = [f"{FOREVER_S + random.SystemRandom().random():.9f}" for _ in range(4)]
    child, daemon, bare, quiet = words
    subprocess.Popen(["sleep", child])
    subprocess.run(["sh", "-c", f"sleep {daemon} >/dev/null 2>&1 &"], check=True, start_new_session=True)
    subprocess.run(["/bin/sh", "-c", f"sleep {bare} &"], check=True, start_new_session=True, env={})
    null = subprocess.DEVNULL
    subprocess.run(["/bin/sh", "-c", f"sleep {quiet} &"], check=True, env={}, stdout=null, stderr=null)
    return words
