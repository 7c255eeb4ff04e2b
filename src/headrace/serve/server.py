"""Serves an application over HTTP, by uvicorn, on sockets that we open ourselves."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import uvicorn

from headrace.errors import UsageError
from headrace.serve.app import App
from headrace.serve.connection import Settings
from headrace.serve.metrics import CONNECTIONS
from headrace.serve.request import Limits

BACKLOG = 2048
"""How many connections may wait to be taken."""
_HOSTS = (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6))
_GRACE_S = 5.0
"""How long requests that are cancelled may take to end."""


def loopback(port: int) -> list[socket.socket]:
    """Return sockets that listen on this port of the loopback addresses: that of IPv4, and that of IPv6 if the host has
    one. For the port 0, a free port is chosen.

    Raises:
        UsageError: the port can't be had.
    """
    sockets: list[socket.socket] = []
    for host, family in _HOSTS:
        if family == socket.AF_INET6 and not _has_ipv6():
            continue
        try:
            sockets.append(socket.create_server((host, port), family=family, backlog=BACKLOG))
        except OSError as error:
            for each in sockets:
                each.close()
            raise UsageError(
                f"can't listen on port {port} of `{host}`: {os.strerror(error.errno or 0)}",
                hint="stop what listens there, or choose another port",
            ) from error
        port = sockets[0].getsockname()[1]
    return sockets


class Server:
    """Serves an application on sockets that listen already, in the event loop that `serve` is called in. The loop
    should be uvloop's, and signals are left to the caller: it calls `stop` when one comes."""

    def __init__(self, app: App, sockets: Sequence[socket.socket], limits: Limits) -> None:
        self._sockets = list(sockets)
        self._server = _Uvicorn(Settings(app, limits))
        app.metrics.gauge(CONNECTIONS, lambda: {(): len(self._server.server_state.connections)})

    async def serve(self) -> None:
        """Serve until `stop` is called and what runs then is answered, or `Limits.stop_s` is over. The sockets are
        closed then. If the caller is cancelled, all connections are closed at once."""
        try:
            await self._server.serve(self._sockets)
        finally:
            self._server.end()
            for each in self._sockets:
                each.close()

    def stop(self) -> None:
        """Take no more connections, answer the requests that run, and end. Call it in the event loop's thread."""
        self._server.should_exit = True


class _Uvicorn(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none: they are the caller's."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Wait for what runs. Requests that take too long are cancelled, and still say so to their clients."""
        await super().shutdown(sockets)
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=_GRACE_S)

    def end(self) -> None:
        """Close what is still open."""
        for server in getattr(self, "servers", ()):
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()


def _has_ipv6() -> bool:
    with suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False
