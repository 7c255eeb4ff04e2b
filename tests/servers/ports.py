"""Ports that nothing listens on."""

from __future__ import annotations

import fcntl
import itertools
import os
import socket
import tempfile
from pathlib import Path
from typing import IO

_FIRST, _COUNT = 20000, 2700
_offset = itertools.count(os.getpid() * 7)
_kept: list[IO[bytes]] = []  # a lock holds as long as its file is open


def free_port() -> int:
    """Return a port that nothing listens on, below those that the system hands out by itself.

    Processes of tests that run beside each other never get the same one: it is this process's until that ends. Some
    servers add 10000 for a second one, which is free too.
    """
    for offset in itertools.islice(_offset, _COUNT):
        port = _FIRST + offset % _COUNT
        if _is_taken_by_us(port) and all(_is_free(each) for each in (port, port + 10000)):
            return port
    raise RuntimeError(f"all ports from {_FIRST} to {_FIRST + _COUNT} are taken")


def _is_taken_by_us(port: int) -> bool:
    folder = Path(tempfile.gettempdir()) / f"headrace-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    file = (folder / str(port)).open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return False
    _kept.append(file)
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
