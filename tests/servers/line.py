"""A line to a server that can be cut, held, or made slow: for protocols that nobody looks into."""

from __future__ import annotations

import select
import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

from tests.servers.ports import free_port

_CHUNK = 1 << 14
_POLL_S = 0.05


class Line:
    """Passes bytes on to a server on this machine, both ways.

    `cut` ends all connections and refuses new ones; `refuse` does only that, once so many more have come; `hold` keeps
    them, and nothing arrives; `slow` has each piece wait for some time; `heal` ends all of that, and what was held
    arrives.
    """

    def __init__(self, port: int) -> None:
        self.port = free_port()
        self._target = ("127.0.0.1", port)
        self._ended = threading.Event()
        self._cut = threading.Event()
        self._open = threading.Event()
        self._open.set()
        self._wait_s = 0.0
        self._left: int | None = None
        self._connections: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        self._listener.settimeout(_POLL_S)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def cut(self) -> None:
        """End all connections; new ones end at once."""
        self._cut.set()
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def refuse(self, after: int = 0) -> None:
        """Refuse new connections, once so many more have come; those that there are go on."""
        self._left = after

    def hold(self) -> None:
        """Let nothing through, either way."""
        self._open.clear()

    def slow(self, wait_s: float) -> None:
        """Have each piece wait for some time."""
        self._wait_s = wait_s

    def heal(self) -> None:
        """Let all through again."""
        self._cut.clear()
        self._open.set()
        self._wait_s = 0.0
        self._left = None

    def stop(self) -> None:
        """End it."""
        self._ended.set()
        self.cut()
        self._open.set()
        self._thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                continue
            if self._cut.is_set() or self._left == 0:
                client.close()
                continue
            if self._left is not None:
                self._left -= 1
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._target, timeout=10)
        except OSError:
            client.close()
            return
        pair = {client: server, server: client}
        self._connections.update(pair)
        with client, server, suppress(OSError):
            for each in pair:
                each.settimeout(None)
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while not self._ended.is_set():
                for ready in select.select(list(pair), [], [], _POLL_S)[0]:
                    data = ready.recv(_CHUNK)
                    self._open.wait()
                    if self._wait_s:
                        time.sleep(self._wait_s)
                    if not data or self._cut.is_set():
                        return
                    pair[ready].sendall(data)
        self._connections.difference_update(pair)
