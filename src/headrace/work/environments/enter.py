"""Has the process that begins workers run on the interpreter of their environment, before it begins any.

What this takes is found out in a child: a process that forks workers must neither hold what a store's library does
(threads) nor the modules that read locks. Where another interpreter is needed, this process becomes that (`exec`): it
keeps its number, its line to the driver, and what is queued there.
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
"""How the arguments begin that tell a process, which became another interpreter's, where it finds its greeting again,
and what its interpreter was before."""
BOOT = "import importlib, sys; sys.path.append(sys.argv.pop(1)); importlib.import_module(sys.argv.pop(1)).main()"
"""What an interpreter is told to run: Headrace's own code is found by its path, see `headrace_install`."""


class Chosen(Struct, frozen=True, array_like=True, tag="chosen"):
    """The interpreter to become, and the folder of Headrace's code for it; empty: the present one will do."""

    python: str
    code: str


class Unfit(Struct, frozen=True, array_like=True, tag="unfit"):
    """There is no environment to be had, and why."""

    message: str
    hint: str | None


_decode = msgspec.msgpack.Decoder(Waiting | Chosen | Unfit).decode


def receive_hello(control: socket.socket, words: Sequence[str]) -> tuple[Hello, bool] | None:
    """Return the greeting, which comes before all else, and whether the interpreter is chosen; None if nobody is there.

    Not a byte more is taken from the line: what follows may be for the process that this one becomes.
    """
    told = next((word for word in words if word.startswith(HELLO)), None)
    if told is not None:
        with open(int(told.removeprefix(HELLO)), "rb") as file:
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
    """Become the interpreter of a group's environment, or return where the present one serves.

    There `main` of the module is called; `words` are this process's arguments, which it keeps. Where there is no such
    environment to be had, give why.
    """
    if (
        hello.group is None
        and (hello.environment == "present" or not hello.bundle.lock)
        and hello.environment != "lock"
    ):
        return None
    if not os.path.isabs(cache_folder()):
        os.environ[CACHE] = os.path.abspath(cache_folder())  # workers are in folders of their own, and ask again
    found = _known(hello) or _found_out(hello, control, tell)
    if isinstance(found, Unfit):
        return found
    if found.python:
        _become(found, hello, module, words)
    return None


def origin() -> str:
    """Return the interpreter that this process had before it became another: there Headrace is installed, and
    builds."""
    return next((word.removeprefix(ORIGIN) for word in sys.argv if word.startswith(ORIGIN)), sys.executable)


def on(python: Path, code: Path | str, module: str, words: Sequence[str]) -> list[str]:
    """Return a command that calls `main` of one of Headrace's modules on an interpreter that was built."""
    return [str(python), "-P", "-c", BOOT, str(code), module, *words]


def environment_of(python: Path) -> dict[str, str]:
    """Return the environment variables for a process on an interpreter: its programs are found first."""
    programs = str(python.parent)
    return {
        **os.environ,
        "PATH": os.pathsep.join([programs, os.environ.get("PATH", os.defpath)]),
        "VIRTUAL_ENV": str(python.parent.parent),
    }


def _known(hello: Hello) -> Chosen | None:
    """Look whether the same was chosen before: most often the present interpreter, at the cost of one look."""
    if hello.group is not None or not hello.bundle.lock:
        return None
    cache = cache_folder()
    choice = Memo(cache, hello.bundle.lock, None, hello.environment).get()
    return None if choice is None else _chosen(choice.python, cache)


def _chosen(python: Path | None, cache: Path) -> Chosen:
    return Chosen("", "") if python is None else Chosen(str(python), str(code_folder(cache)))


def _found_out(hello: Hello, control: socket.socket, tell: Callable[[Waiting], None]) -> Chosen | Unfit:
    """Find out in a child, and build what has to be built. When the driver ends, both end."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reader)
        _find_out(hello, writer)
    os.close(writer)
    frames, poll, waited = Frames(), select.poll(), False
    poll.register(reader, select.POLLIN)
    poll.register(control, 0)  # its end only
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
                    "the process that was to find the environment's interpreter died",
                    "`headrace doctor` checks this machine",
                )
    finally:
        _end(pid)
        os.close(reader)


def _find_out(hello: Hello, writer: int) -> None:
    """Be the child: say what was found, and end."""

    def say(message: Waiting | Chosen | Unfit) -> None:
        os.write(writer, frame(message))

    try:
        os.setsid()
        os.environ.update(hello.own)  # for what builds; no stage runs in this process
        say(_find(hello, lambda why: say(Waiting(why))))
    except HeadraceError as error:
        say(Unfit(error.message, error.hint))
    except OSError as error:
        message = f"`{error.filename or cache_folder()}` can't be read or written: {error.strerror or error}"
        say(Unfit(message, "give rights there, or have HEADRACE_CACHE name another folder of that machine"))
    except BaseException:  # noqa: BLE001  whatever it is, the parent says that there is no environment
        traceback.print_exc()
    finally:
        os._exit(0)


def _find(hello: Hello, tell: Callable[[str], None]) -> Chosen:
    from headrace.work.environments.choose import environment_python  # noqa: PLC0415  40 ms, in the parent of workers

    local, cache = Path(hello.local), cache_folder()
    bundle = unpack(hello.bundle, open_store(hello.store, local=local, own=hello.own), local)
    python = environment_python(bundle, hello.group, hello.environment, cache, tell=tell)
    return _chosen(python, cache)


def _end(pid: int) -> None:
    """End a child with all that it began, unless it has ended already."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)
        os.killpg(pid, signal.SIGKILL)  # once it has a session of its own; before that it has begun nothing
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)


def _hello(body: bytes) -> Hello:
    hello = decode_order(body)
    assert isinstance(hello, Hello)
    return hello


def _become(found: Chosen, hello: Hello, module: str, words: Sequence[str]) -> None:
    """Be this interpreter's process from now on."""
    reader, writer = os.pipe()
    os.write(writer, frame(hello)[4:])
    os.close(writer)
    os.set_inheritable(reader, True)
    python = Path(found.python)
    command = on(python, found.code, module, [*words, f"{HELLO}{reader}", f"{ORIGIN}{sys.executable}"])
    os.execve(python, command, environment_of(python))
