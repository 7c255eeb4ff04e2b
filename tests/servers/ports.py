"""Ports that nothing listens on."""

from __future__ import annotations

import itertools
import os
import socket

_FIRST, _COUNT = 20000, 2700
_offset = itertools.count(os.getpid() * 7)


def free_port() -> int:
    """Give a port that nothing listens on now, below those that the system hands out by itself.

    Some servers add 10000 for a second one, which is looked at too.
    """
    for offset in _offset:
        port = _FIRST + offset % _COUNT
        if all(_is_free(each) for each in (port, port + 10000)):
            return port
    raise AssertionError


def _is_free(port: int) -> bool:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
