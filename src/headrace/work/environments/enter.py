"""Switches the process that starts workers to the interpreter of the workers' environment, before it starts any worker.

The interpreter is chosen in a child process: a process that forks workers must not contain the threads of a store's
library or the modules that read locks. If another interpreter is needed, the process switches to it (`exec`). It keeps
its process id, its connection to the driver, and the messages that are waiting in the connection.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from headrace.errors import HeadraceError
from headrace.run.wire import Frames, Hello, Waiting, decode_order, frame
from headrace.store.open_store import open_store
from headrace.work.archive import unpack
from headrace.work.environments.cache import CACHE, Memo, cache_folder
from headrace.work.environments.headrace_code import code_folder

HELLO, ORIGIN = "hello=", "origin="
"""Prefixes of two arguments of a process that has switched to another interpreter. The first argument is the descriptor
from which the process reads its `Hello` again; the second is the interpreter that it had before the switch."""
BOOT = "import importlib, sys; sys.path.append(sys.argv.pop(1)); importlib.import_module(sys.argv.pop(1)).main()"
"""The Python code that a new interpreter runs first. It finds Headrace's own code by a path: see `headrace_install`."""


class Chosen(Struct, frozen=True, array_like=True, tag="chosen"):
    """The interpreter to switch to, and the folder from which it loads Headrace's code. If the present interpreter is
    used, both are empty texts."""

    python: str
    code: str


class Unfit(Struct, frozen=True, array_like=True, tag="unfit"):
    """No environment is available; `message` says why, and `hint` what to do."""

    message: str
    hint: str | None


_decode = msgspec.msgpack.Decoder(Waiting | Chosen | Unfit).decode


def receive_hello(control: socket.socket, words: Sequence[str]) -> tuple[Hello, bool] | None:
    """Return the driver's first message, and whether the interpreter is already chosen. Return None if the driver is
    gone.

    No byte after this message is read from the socket, since the next bytes may be for the interpreter to which this
    process switches.
    """
    stored = next((word for word in words if word.startswith(HELLO)), None)
    if stored is not None:
        with open(int(stored.removeprefix(HELLO)), "rb") as file:
            return _hello(file.read()), True
    try:
        head = control.recv(4, socket.MSG_WAITALL)
        body = control.recv(struct.unpack("<I", head)[0], socket.MSG_WAITALL) if len(head) == 4 else b""
    except ConnectionError:
        return None
    return (_hello(body), False) if body else None


def enter(
    hello: Hello, control: socket.socket, module: str, words: Sequence[str], tell: Callable[[Waiting], None]
) -> Unfit | None:
    """Switch this process to the interpreter of a group's environment (`exec`).

    The new interpreter calls `main` of `module` with this process's arguments `words`. If the process switches, this
    function doesn't return. It returns None if the present interpreter is used, and an `Unfit` with the reason if no
    environment is available.
    """
    if (
        hello.group is None
        and (hello.environment == "present" or not hello.bundle.lock)
        and hello.environment != "lock"
    ):
        return None
    if not os.path.isabs(cache_folder()):
        os.environ[CACHE] = os.path.abspath(cache_folder())  # workers read this variable too, and run in other folders
    choice = _known(hello) or _found_out(hello, control, tell)
    if isinstance(choice, Unfit):
        return choice
    if choice.python:
        _become(choice, hello, module, words)
    return None


def origin() -> str:
    """Return the interpreter that this process had before it switched to another one. Headrace is installed in the
    environment of the returned interpreter."""
    return next((word.removeprefix(ORIGIN) for word in sys.argv if word.startswith(ORIGIN)), sys.executable)


def on(python: Path, code: Path | str, module: str, words: Sequence[str]) -> list[str]:
    """Return a command that runs `main` of Headrace's module `module` on `python`, the interpreter of a built
    environment."""
    return [str(python), "-P", "-c", BOOT, str(code), module, *words]


def environment_of(python: Path) -> dict[str, str]:
    """Return the environment variables for a process on the interpreter `python`. The folder of its programs comes
    first on PATH."""
    programs = str(python.parent)
    return {
        **os.environ,
        "PATH": os.pathsep.join([programs, os.environ.get("PATH", os.defpath)]),
        "VIRTUAL_ENV": str(python.parent.parent),
    }


def _known(hello: Hello) -> Chosen | None:
    """Return the interpreter that an earlier run chose and stored, or None. Only one file is read for this."""
    if hello.group is not None or not hello.bundle.lock:
        return None
    cache = cache_folder()
    choice = Memo(cache, hello.bundle.lock, None, hello.environment).get()
    return None if choice is None else _chosen(choice.python, cache)


def _chosen(python: Path | None, cache: Path) -> Chosen:
    return Chosen("", "") if python is None else Chosen(str(python), str(code_folder(cache)))


def _found_out(hello: Hello, control: socket.socket, tell: Callable[[Waiting], None]) -> Chosen | Unfit:
    """Choose the interpreter in a child process, which builds an environment if needed. If the driver ends meanwhile,
    the child process and this process end too."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reader)
        _find_out(hello, writer)
    os.close(writer)
    frames, poll, waited = Frames(), select.poll(), False
    poll.register(reader, select.POLLIN)
    poll.register(control, 0)  # only to notice when it closes
    try:
        while True:
            ready = [descriptor for descriptor, _ in poll.poll()]
            if control.fileno() in ready:
                _end(pid)
                os._exit(0)
            data = os.read(reader, 1 << 16)
            for body in frames.feed(data):
                match _decode(body):
                    case Waiting() as waiting:
                        waited = True
                        tell(waiting)
                    case Chosen() | Unfit() as found:
                        if waited:
                            tell(Waiting(""))
                        return found
            if not data:
                return Unfit(
                    "the process that looks for the environment's interpreter died",
                    "`headrace doctor` checks this machine",
                )
    finally:
        _end(pid)
        os.close(reader)


def _find_out(hello: Hello, writer: int) -> None:
    """Choose the interpreter, write the result to `writer`, and end this process, which is a child of the zygote."""

    def say(message: Waiting | Chosen | Unfit) -> None:
        os.write(writer, frame(message))

    try:
        os.setsid()
        os.environ.update(hello.own)  # for the installer; no stage runs in this process
        say(_find(hello, lambda why: say(Waiting(why))))
    except HeadraceError as error:
        say(Unfit(error.message, error.hint))
    except OSError as error:
        message = f"`{error.filename or cache_folder()}` can't be read or written: {error.strerror or error}"
        say(Unfit(message, "allow reading and writing there, or set HEADRACE_CACHE to another folder on that machine"))
    except BaseException:  # noqa: BLE001  for any error, the parent reports that there is no environment
        traceback.print_exc()
    finally:
        os._exit(0)


def _find(hello: Hello, tell: Callable[[str], None]) -> Chosen:
    from headrace.work.environments.choose import environment_python  # noqa: PLC0415  40 ms in the parent of workers

    local, cache = Path(hello.local), cache_folder()
    bundle = unpack(hello.bundle, open_store(hello.store, local=local, own=hello.own), local)
    python = environment_python(bundle, hello.group, hello.environment, cache, tell=tell)
    return _chosen(python, cache)


def _end(pid: int) -> None:
    """Kill a child and all processes that it started, unless it has already ended."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)
        os.killpg(pid, signal.SIGKILL)  # if it has a session of its own; before that it has started nothing
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)


def _hello(body: bytes) -> Hello:
    hello = decode_order(body)
    assert isinstance(hello, Hello)
    return hello


def _become(found: Chosen, hello: Hello, module: str, words: Sequence[str]) -> None:
    """Switch this process to the chosen interpreter (`exec`)."""
    reader, writer = os.pipe()
    os.write(writer, frame(hello)[4:])
    os.close(writer)
    os.set_inheritable(reader, True)
    python = Path(found.python)
    command = on(python, found.code, module, [*words, f"{HELLO}{reader}", f"{ORIGIN}{sys.executable}"])
    os.execve(python, command, environment_of(python))
