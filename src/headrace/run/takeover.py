"""The messages by which a run's next driver takes over the living workers of a zygote on its own machine.

The driver connects to the socket on which the zygote listens, and sends `Take`. The zygote answers with one `Kept` for
each worker. If the driver can take over the worker, the `Kept` carries one end of a new connection to the worker. The
last message of the answer is `Taken`. After that, the connection is the zygote's channel to the driver. If the zygote
works for a newer driver already, its whole answer is `Newer`.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import Any, get_args, get_type_hints
from zlib import crc32

import msgspec
from msgspec import Struct

from headrace.run.events import Event
from headrace.run.ports import Job
from headrace.run.wire import Down, News, Order, Report, Up


class Take(Struct, frozen=True, array_like=True, tag="take"):
    """A driver with this epoch asks the zygote to work for it from now on. `form` is the driver's result of the
    function `form`. If the zygote gets another result, driver and zygote know different messages, so the zygote
    refuses."""

    epoch: int
    form: str


class Kept(Struct, frozen=True, array_like=True, tag="kept"):
    """One worker of the zygote. If `lives` is True, the new driver takes it over. If `lives` is False, the worker is
    ended, because it can't be taken over: for example, it is stopped or exiting.

    `attempt` is the attempt (task, number) that the worker runs, or None. It has finished `done` attempts before that
    one. `reports` are its reports that no driver has acknowledged, oldest first.
    """

    job: Job
    attempt: tuple[str, int] | None
    done: int
    reports: tuple[Report, ...]
    lives: bool = True


class Taken(Struct, frozen=True, array_like=True, tag="taken"):
    """The end of the answer. The descriptor of the zygote's stderr is sent along. `pid` is the zygote's process id as
    the zygote sees it (see `wire.Ready`)."""

    pid: int


class Newer(Struct, frozen=True, array_like=True, tag="newer"):
    """The driver can't take over the workers: they work for a driver whose epoch is the same or higher."""

    pid: int


_PEER = struct.Struct("3i")  # process, user and group of a socket's other side
decode_take = msgspec.msgpack.Decoder(Take).decode
decode_answer = msgspec.msgpack.Decoder(Kept | Taken | Newer).decode


def form() -> str:
    """Return a text that is the same in two processes if their messages and events, and all structs in these, have the
    same fields.

    The text is made from the classes that this process has loaded, not from files, which an upgrade may have replaced.
    """
    kinds = [kind for union in (Down, Up, Order, News, Event, Kept | Taken | Newer) for kind in get_args(union)]
    fields: dict[type, str] = {}
    for kind in kinds:  # grows meanwhile
        if kind not in fields:
            hints = get_type_hints(kind)
            fields[kind] = repr((kind, kind.__struct_config__.tag, hints))
            kinds += [each for hint in hints.values() for each in _structs(hint)]
    return hex(crc32("\n".join(fields.values()).encode()))


def _structs(hint: Any) -> list[type[Struct]]:
    """Return the classes of structs in a type hint."""
    if isinstance(hint, type) and issubclass(hint, Struct):
        return [hint]
    return [found for part in get_args(hint) for found in _structs(part)]


def is_own(connection: socket.socket) -> bool:
    """Return whether the process at the other end of a connection belongs to this user."""
    _, user, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return bool(user == os.geteuid())
