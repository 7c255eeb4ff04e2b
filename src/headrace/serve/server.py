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
"""How many connections may wait to be accepted."""
_HOSTS = (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6))
_SURPLUS = 16
"""How many clients above the limit of connections may make a TLS handshake, so that they can be told that the server is
full."""
_PAUSE_S = 0.1
"""How many seconds no client is accepted after accepting failed, for example because too many files are open."""
_GRACE_S = 5.0
"""How long requests that are cancelled may take to end."""


def loopback(port: int) -> list[socket.socket]:
    """Return sockets that listen on this port of the loopback addresses: the one of IPv4, and the one of IPv6 if the
    host has it. If the port is 0, a free port is chosen.

    Raises:
        UsageError: the port can't be used.
    """
    return _listening([each for each in _HOSTS if each[1] == socket.AF_INET or _has_ipv6()], port)


def addressed(host: str, port: int) -> list[socket.socket]:
    """Return sockets that listen on this port of the addresses of a host, such as `0.0.0.0`, `::` or a name.

    Raises:
        UsageError: the host isn't known, or the port can't be used.
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
    """Return the TLS context (version 1.2 or newer) for a certificate and its key, which are files in PEM. In the file
    of the certificate, the intermediate certificates follow it.

    Raises:
        ConfigError: a file can't be read, every user of the host can read or change the key, or the key doesn't belong
            to the certificate.
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
    """Return an empty password for a key that needs one. Without this function, OpenSSL would ask for the password on
    the terminal."""
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
    """Serves an application on sockets that listen already, in the event loop in which `serve` is called. The loop
    should be uvloop's. Signals aren't handled here: the caller calls `stop` when one comes. With `tls`, clients must
    use TLS."""

    def __init__(
        self, app: App, sockets: Sequence[socket.socket], limits: Limits, tls: ssl.SSLContext | None = None
    ) -> None:
        self._sockets = list(sockets)
        self._server = _Uvicorn(Settings(app, limits), tls, limits)
        app.metrics.gauge(CONNECTIONS, lambda: {(): self._server.clients()})

    async def serve(self) -> None:
        """Serve until `stop` is called. Then answer the requests that run, for at most `Limits.stop_s` seconds, and
        close the sockets. If the caller is cancelled, all connections are closed at once."""
        try:
            await self._server.serve(self._sockets)
        finally:
            self._server.end()
            for each in self._sockets:
                each.close()

    def stop(self) -> None:
        """Accept no more connections, answer the requests that run, and end. Call this in the event loop's thread."""
        self._server.should_exit = True


class _Uvicorn(uvicorn.Server):
    def __init__(self, settings: Settings, tls: ssl.SSLContext | None, limits: Limits) -> None:
        super().__init__(settings)
        self._tls = tls
        self._limits = limits
        self._takers: list[asyncio.Task[None]] = []
        self._agreeing: set[asyncio.Task[None]] = set()

    def clients(self) -> int:
        """Return how many clients are connected, including those whose TLS handshake isn't complete."""
        return len(self.server_state.connections) + len(self._agreeing)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept connections."""
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
        """Accept clients, and make a TLS handshake with each, in limited time. A server of the event loop isn't used:
        it would accept any number of clients that never send anything, and report each only after its handshake."""
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
        """Capture no signals: the caller handles them."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Wait for the requests that run. Requests that take too long are cancelled, and their clients get an error."""
        self._take_no_more()
        await super().shutdown(sockets)
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=_GRACE_S)

    def end(self) -> None:
        """Close all sockets and connections that are still open."""
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
