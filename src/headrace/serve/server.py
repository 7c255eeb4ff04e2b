"""Serves an application over HTTP, by uvicorn, on sockets that we open ourselves."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path

import uvicorn

from headrace.errors import ConfigError, UsageError
from headrace.serve.app import App
from headrace.serve.connection import Connection, Settings
from headrace.serve.metrics import CONNECTIONS
from headrace.serve.request import Limits

BACKLOG = 2048
"""How many connections may wait to be taken."""
_HOSTS = (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6))
_SURPLUS = 16
"""How many clients beyond the bound of connections may agree on TLS, to be told that there is no room for them."""
_PAUSE_S = 0.1
"""How long no client is taken when the system has no file for one."""
_GRACE_S = 5.0
"""How long requests that are cancelled may take to end."""


def loopback(port: int) -> list[socket.socket]:
    """Return sockets that listen on this port of the loopback addresses: that of IPv4, and that of IPv6 if the host has
    one. For the port 0, a free port is chosen.

    Raises:
        UsageError: the port can't be had.
    """
    return _listening([each for each in _HOSTS if each[1] == socket.AF_INET or _has_ipv6()], port)


def addressed(host: str, port: int) -> list[socket.socket]:
    """Return sockets that listen on this port of the addresses of a host, such as `0.0.0.0`, `::` or a name.

    Raises:
        UsageError: the host isn't known, or the port can't be had.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise UsageError(
            f"the host `{host:.80}` isn't known: {error}", hint="give an address of this machine, such as `0.0.0.0`"
        ) from error
    return _listening(list(dict.fromkeys((str(address[0]), family) for family, _, _, _, address in found)), port)


def is_loopback(sockets: Sequence[socket.socket]) -> bool:
    """Return whether only programs of this host can reach sockets."""
    return all(ip_address(each.getsockname()[0].partition("%")[0]).is_loopback for each in sockets)


def tls_of(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return what speaks TLS 1.2 or newer by a certificate, with those that vouch for it behind it, and its key: files
    in PEM.

    Raises:
        ConfigError: a file can't be read, every user of the host can read the key, or the two don't fit.
    """
    try:
        if key.stat().st_mode & stat.S_IRWXO:
            raise ConfigError(f"every user of this host can read or change the key `{key}`", hint=f"chmod o= {key}")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(certificate, key, password=_no_password)
        context.set_alpn_protocols(["http/1.1"])
    except OSError as error:
        why = error.reason if isinstance(error, ssl.SSLError) and error.reason else error.strerror or "it is no PEM"
        raise ConfigError(
            f"the certificate `{certificate}` with the key `{key}` can't be used: {why}",
            hint="give a certificate and its key in PEM, the key without a password",
        ) from error
    return context


def _no_password() -> str:
    """Return no password for a key that needs one. Without this, OpenSSL would ask for it on the terminal."""
    return ""


def _listening(hosts: Sequence[tuple[str, int]], port: int) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    for host, family in hosts:
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
    should be uvloop's, and signals are left to the caller: it calls `stop` when one comes. With `tls`, clients must
    speak TLS."""

    def __init__(
        self, app: App, sockets: Sequence[socket.socket], limits: Limits, tls: ssl.SSLContext | None = None
    ) -> None:
        self._sockets = list(sockets)
        self._server = _Uvicorn(Settings(app, limits), tls, limits)
        app.metrics.gauge(CONNECTIONS, lambda: {(): self._server.clients()})

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
    def __init__(self, settings: Settings, tls: ssl.SSLContext | None, limits: Limits) -> None:
        super().__init__(settings)
        self._tls = tls
        self._limits = limits
        self._takers: list[asyncio.Task[None]] = []
        self._agreeing: set[asyncio.Task[None]] = set()

    def clients(self) -> int:
        """Return how many clients are connected, with those that don't speak TLS yet."""
        return len(self.server_state.connections) + len(self._agreeing)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        loop, tls = asyncio.get_running_loop(), self._tls
        if tls is None:
            self.servers = [
                await loop.create_server(self._connection, sock=each, backlog=BACKLOG) for each in sockets or ()
            ]
        else:
            self.servers = []
            self._takers = [loop.create_task(self._take(each, tls)) for each in sockets or ()]
        self.started = True

    async def _take(self, listening: socket.socket, tls: ssl.SSLContext) -> None:
        """Take clients, and let each agree on TLS, for which it has limited time. A server of the event loop would hold
        any number of clients that never say anything, and tell of each only when it has agreed."""
        loop = asyncio.get_running_loop()
        listening.setblocking(False)
        while True:
            try:
                client, _ = await loop.sock_accept(listening)
            except OSError:
                await asyncio.sleep(_PAUSE_S)
                continue
            if self.clients() >= self._limits.most_connections + _SURPLUS:
                client.close()
                continue
            agrees = loop.create_task(self._agree(client, tls))
            self._agreeing.add(agrees)
            agrees.add_done_callback(self._agreeing.discard)

    async def _agree(self, client: socket.socket, tls: ssl.SSLContext) -> None:
        with suppress(OSError):  # it left, took too long, or speaks no TLS
            await asyncio.get_running_loop().connect_accepted_socket(
                self._connection, client, ssl=tls, ssl_handshake_timeout=self._limits.head_s
            )

    def _connection(self) -> Connection:
        assert isinstance(self.config, Settings)
        return Connection(self.config, self.server_state, app_state={})

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none: they are the caller's."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Wait for what runs. Requests that take too long are cancelled, and still say so to their clients."""
        self._take_no_more()
        await super().shutdown(sockets)
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=_GRACE_S)

    def end(self) -> None:
        """Close what is still open."""
        self._take_no_more()
        for server in getattr(self, "servers", ()):
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    def _take_no_more(self) -> None:
        for task in (*self._takers, *self._agreeing):
            task.cancel()


def _has_ipv6() -> bool:
    with suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False
