"""The command `headrace` as a process of its own that begins in some milliseconds: it is forked from a process that has
imported the command line already. The zygotes and workers that it starts begin as ever."""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from threading import Lock
from typing import BinaryIO, NamedTuple

ROOT = Path(__file__).parents[1]


class Ended(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    out: bytes
    err: bytes


def command(words: Sequence[str], *, folder: Path, environment: Mapping[str, str], within_s: float) -> Ended:
    """Run `headrace` with these words to its end.

    Raises:
        TimeoutExpired: it didn't end in time, and was killed.
    """
    order = json.dumps({"words": list(words), "folder": str(folder), "environment": dict(environment)}).encode()
    with (
        socket.socket(socket.AF_UNIX) as line,
        line.makefile("r") as answers,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
    ):
        line.settimeout(within_s)
        line.connect(_template().address)
        with open(os.devnull, "rb") as nothing:
            socket.send_fds(line, [len(order).to_bytes(4, "big")], [each.fileno() for each in (nothing, out, err)])
        line.sendall(order)
        pid = int(answers.readline() or _no_template())
        try:
            code = int(answers.readline())
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired(["headrace", *words], within_s, _all(out), _all(err)) from None
        return Ended(code, _all(out), _all(err))


def may_fork(words: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Return whether a fork of the template does what a command begun by Python would do.

    What the command leaves behind must be found by its environment, and a fork shows that of the template. And Python
    must begin the same in both environments.
    """
    return "--detach" not in words and read_at_start(environment) == read_at_start(_template().environment)


def read_at_start(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that Python reads when it begins. `-B` changes no result."""
    names = [each for each in environment if each.startswith(("PYTHON", "LC_", "LANG")) or each == "TZ"]
    return {each: environment[each] for each in names if each != "PYTHONDONTWRITEBYTECODE"}


def begun_in(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the template: that of the tests, but what Python reads when it begins is as commands
    have it. Otherwise none could be forked where the tests run with `PYTHONUNBUFFERED`, say."""
    own = read_at_start(environment).keys() - {"PYTHONPATH"}
    return {name: environment[name] for name in environment.keys() - own} | {"LANG": "C.UTF-8"}


def _no_template() -> int:
    _only.cache_clear()
    raise RuntimeError("the process that commands are forked from has died; the next command begins another")


def _all(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()


class _Template:
    """The process that commands are forked from. It ends when this one does."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="headrace-command-")
        self.address = f"{self._folder.name}/line"
        self.environment = begun_in(os.environ)
        with socket.socket(socket.AF_UNIX) as door:
            door.bind(self.address)
            door.listen(64)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.command", str(door.fileno())],
                cwd=ROOT,
                pass_fds=[door.fileno()],
                stdin=subprocess.PIPE,  # its end tells that this process has ended
                env=self.environment,
            )

    def end(self) -> None:
        """Let it end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._folder.cleanup()


_ONE_AT_A_TIME = Lock()


def _template() -> _Template:
    with _ONE_AT_A_TIME:
        return _only()


@cache
def _only() -> _Template:
    template = _Template()
    atexit.register(template.end)
    return template


def _serve(door: socket.socket) -> None:
    """Fork a process for each order, until the tests have ended."""
    import select
    from importlib import import_module

    from headrace.cli.catalogue import COMMANDS, module

    for each in ("headrace.cli.shell", *map(module, COMMANDS), "headrace.cli.terminal.summary"):
        import_module(each)
    import_module("pandas")  # pyarrow imports it as soon as it makes an array, which takes 0.2 s
    import_module("headrace.operate.session")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        ready, _, _ = select.select([door, 0], [], [])
        if 0 in ready:
            return
        line, _ = door.accept()
        if os.fork() == 0:
            door.close()
            _run(line)
        line.close()


def _run(line: socket.socket) -> None:
    """Fork the command, wait for it, and tell how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    head, streams, _, _ = socket.recv_fds(line, 4, 3)
    with line.makefile("rb") as rest:
        order = json.loads(rest.read(int.from_bytes(head, "big")))
    if (pid := os.fork()) == 0:
        line.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.environ.clear()
        os.environ.update(order["environment"])
        os.chdir(order["folder"])
        sys.argv[:] = ["headrace", *order["words"]]
        from headrace.cli.main import main

        main()
    line.sendall(f"{pid}\n".encode())
    _, status = os.waitpid(pid, 0)
    line.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
