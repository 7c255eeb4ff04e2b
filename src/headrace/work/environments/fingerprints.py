"""Computes the fingerprints of stages that run in another environment than the tracer.

A fingerprint depends on the versions of the distributions that a stage's code reaches, and the tracer must compute the
same fingerprint as the worker. So if a stage has an environment of its own, its code is read in that environment, by a
process that the tracer starts there and keeps.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from headrace import errors
from headrace.errors import EnvironmentFailed, HeadraceError, ProjectError
from headrace.fingerprint.fingerprint import fingerprint
from headrace.run.wire import Frames, Hello, Refused, Waiting, frame
from headrace.spec.code import Code
from headrace.spec.stage import Stage
from headrace.store.open_store import open_store
from headrace.work.archive import unpack
from headrace.work.channel import Channel
from headrace.work.environments.enter import enter, origin, receive_hello
from headrace.work.user_code import describe, enter_project, find_function

_MODULE = "headrace.work.environments.fingerprints"
_READ_BYTES = 1 << 16


class Told(Struct, frozen=True, array_like=True, tag="told"):
    """The answer to a request for the code of a stage."""

    code: Code


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Told | Refused | Waiting).decode
_decode_name = msgspec.msgpack.Decoder(str).decode


class Envoys:
    """Gets the code of stages from processes in the stages' environments. There is one process in each environment. If
    an environment must be built first, the driver is told."""

    def __init__(self, hello: Hello, channel: Channel) -> None:
        self._hello = hello
        self._channel = channel
        self._lines: dict[str, socket.socket] = {}

    def code(self, stage: Stage) -> Code:
        """Return the code that a stage's function reaches, as read in the stage's environment.

        Raises:
            EnvironmentFailed: there is no such environment, or it can't be built.
            ProjectError: the stage's module can't be imported there.
        """
        group = stage.environment
        assert group is not None
        line = self._lines.get(group)
        if line is None:
            line = self._lines[group] = _begin(replace(self._hello, group=group))
        _send(line, stage.function)
        frames = Frames()
        while data := self._hear(line):
            for body in frames.feed(data):
                match _decode(body):
                    case Told(code=code):
                        return code
                    case Refused() as refused:
                        raise _refusal(stage, refused)
                    case Waiting() as waiting:
                        self._channel.send(waiting)
        raise ProjectError(
            f"the process that reads the code of stage `{stage.name}` in environment `{group}` died",
            hint="check what the stage's module does when it is imported there",
        )

    def _hear(self, line: socket.socket) -> bytes:
        self._channel.wait_for(line)
        return line.recv(_READ_BYTES)


def _refusal(stage: Stage, refused: Refused) -> HeadraceError:
    if refused.error == EnvironmentFailed.__name__:
        message = f"stage `{stage.name}` can't have environment `{stage.environment}`: {refused.message}"
        return EnvironmentFailed(message, hint=refused.hint)
    kind = getattr(errors, refused.error)
    message = f"stage `{stage.name}`, in environment `{stage.environment}`: {refused.message}"
    return kind(message, hint=refused.hint)  # type: ignore[no-any-return]  # one of Headrace's errors, by name


def _begin(hello: Hello) -> socket.socket:
    ours, theirs = socket.socketpair()
    theirs.set_inheritable(True)
    words = [origin(), "-P", "-m", _MODULE, str(theirs.fileno())]
    os.posix_spawn(words[0], words, os.environ)
    theirs.close()
    ours.sendall(frame(hello))
    return ours


def _send(line: socket.socket, name: str) -> None:
    body = _encode(name)
    line.sendall(len(body).to_bytes(4, "little") + body)


def main() -> None:
    """Run the process that reads code in an environment, on the socket whose descriptor is the first argument."""
    control = socket.socket(fileno=int(sys.argv[1]))
    greeting = receive_hello(control, sys.argv[2:])
    if greeting is None:
        return
    hello, chosen = greeting
    if not chosen:
        unfit = enter(hello, control, _MODULE, sys.argv[1:], lambda waiting: control.sendall(frame(waiting)))
        if unfit is not None:
            control.sendall(frame(Refused(EnvironmentFailed.__name__, unfit.message, unfit.hint)))
            return
    local = Path(hello.local)
    bundle = unpack(hello.bundle, open_store(hello.store, local=local, own=hello.own), local)
    project = enter_project(bundle, hello.bundle.roots)
    frames = Frames()
    while data := control.recv(_READ_BYTES):
        for body in frames.feed(data):
            try:
                stage = find_function(_decode_name(body), bundle)
                answer: Told | Refused = Told(fingerprint(stage.function, project))
            except HeadraceError as error:
                answer = Refused(type(error).__name__, describe(error, bundle), _IMPORT_HINT)
            control.sendall(frame(answer))


_IMPORT_HINT = (
    "the module of a stage is imported both where the pipeline is traced and in the stage's environment: if only "
    "one of them has a package, import it inside the functions that use it"
)


if __name__ == "__main__":
    main()
