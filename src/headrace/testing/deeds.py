"""What workers do for the contract of backends: stages by the names of its deeds; a stand gives them this file.

A deed that lasts keeps a checkpoint first, so that whoever waits for it hears that it has begun.
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
    """Give 1."""
    return 1


@stage
def fail(length: int = 1) -> int:
    """Raise an error with a message of so many letters."""
    raise ValueError("x" * length)


@stage
def leave() -> int:
    """End its own process."""
    os._exit(3)


@stage
def eat() -> int:
    """Take more and more memory."""
    held = []
    while True:
        held.append(bytearray(b"x" * 20_000_000))
        time.sleep(0.001)


@stage
def wait() -> int:
    """Wait until it is stopped; then keep a second checkpoint."""
    try:
        attempt().keep(1)
        time.sleep(FOREVER_S)
    finally:
        attempt().keep(2)
    return 0


@stage
def deaf() -> int:
    """Wait, and heed nothing but force."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    attempt().keep(1)
    time.sleep(FOREVER_S)
    return 0


@stage
def later() -> int:
    """Give 1 after half a second."""
    attempt().keep(1)
    time.sleep(0.5)
    return 1


@stage
def rank() -> list[int]:
    """Give its rank, and among how many."""
    return [attempt().rank, attempt().nodes]


@stage
def hear() -> list[str]:
    """Give the words that come down to it, up to `stop`."""
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
    """Keep the checkpoint 7 and end its process; with a checkpoint, give that."""
    kept = attempt().checkpoint()
    if kept is None:
        attempt().keep(7)
        os._exit(1)
    return kept


@stage
def size(data: bytes) -> int:
    """Give the length of its argument."""
    return len(data)


@pipeline
def asks() -> None:
    """Ask for the time and for a value, and go on by it."""
    now()
    first = one()
    if value(first) == 1:
        one()


# -- what only processes do ------------------------------------------------------------------------------------------


@stage
def crash() -> int:
    """Read where nothing is."""
    ctypes.string_at(0)
    return 0


@stage
def say(lines: int, text: str) -> int:
    """Print some lines."""
    sys.stdout.write(f"{text}\n" * lines)
    return lines


@stage
def mute() -> int:
    """Close its output."""
    sys.stdout.close()
    os.close(1)
    os.close(2)
    return 1


@stage
def look() -> dict[str, object]:
    """Give what it finds: its folder, its environment, its module; and leave all of it in disorder."""
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
    """Return the variables of its environment."""
    return dict(os.environ)


@stage
def draw() -> float:
    """Draw a number."""
    return random.random()


@stage
def see(path: str) -> bool:
    """Say whether it can see a file."""
    return Path(path).exists()


@stage
def reach(port: int) -> bool:
    """Say whether it can reach a port of this machine."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except OSError:
        return False
    return True


@stage
def find(module: str) -> bool:
    """Say whether it can import a module."""
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True


@stage
def fork() -> int:
    """Fork, and return in both processes."""
    os.fork()
    return 1


@stage
def breed() -> list[str]:
    """Leave processes behind, and give the last word by which each is known: a child, one in a session of its own
    whose parent is gone, and two without the environment: one that prints, one that does not and stays in the
    session."""
    words = [f"{FOREVER_S + random.SystemRandom().random():.9f}" for _ in range(4)]
    child, daemon, bare, quiet = words
    subprocess.Popen(["sleep", child])
    subprocess.run(["sh", "-c", f"sleep {daemon} >/dev/null 2>&1 &"], check=True, start_new_session=True)
    subprocess.run(["/bin/sh", "-c", f"sleep {bare} &"], check=True, start_new_session=True, env={})
    null = subprocess.DEVNULL
    subprocess.run(["/bin/sh", "-c", f"sleep {quiet} &"], check=True, env={}, stdout=null, stderr=null)
    return words
