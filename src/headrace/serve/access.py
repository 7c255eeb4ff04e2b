"""Who may ask a server."""

from __future__ import annotations

from headrace.serve.refusals import AccessRefused
from headrace.serve.request import Headers, values
from headrace.spec.noun import Noun

_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_HTTP_PORT = 80
"""The port that browsers leave out."""


class Access(Noun, frozen=True):
    """Whom a server lets ask: clients that reach it by one of `hosts`, and pages of one of `origins`. `may_list` says
    whether a refusal may name the endpoints that there are.

    A page of another site can't get past it: its browser sends the page's origin, and if the page's own name was
    pointed at this host (DNS rebinding), it sends this name as the host. Other programs may send what they like, so
    on a loopback address every user of this host may ask.
    """

    hosts: frozenset[str]
    origins: frozenset[str]
    may_list: bool

    @classmethod
    def loopback(cls, port: int) -> Access:
        """Return the access for a server that listens on loopback addresses only, without tokens."""
        with_port = {f"{host}:{port}" for host in _LOOPBACK}
        bare = set(_LOOPBACK)
        origins = with_port | bare if port == _HTTP_PORT else with_port
        return cls(
            hosts=frozenset(with_port | bare), origins=frozenset(f"http://{host}" for host in origins), may_list=True
        )

    def check(self, headers: Headers) -> None:
        """Check the headers of a request.

        Raises:
            AccessRefused: the client may not ask.
        """
        hosts = values(headers, b"host")
        if len(hosts) != 1 or hosts[0].lower() not in self.hosts:
            shown = ", ".join(f"`{host:.80}`" for host in hosts[:2]) or "no host"
            raise AccessRefused(
                f"this server answers only clients on its own host; the `Host` header names {shown}",
                hint="ask `localhost`, with the server's own port",
            )
        for name, _ in headers:
            if name == b"forwarded" or name.startswith(b"x-forwarded-"):
                raise AccessRefused(
                    f"this server answers only clients on its own host; `{name.decode('latin-1'):.80}` says that a"
                    " proxy forwards the request",
                    hint="ask the server without the proxy",
                )
        for origin in values(headers, b"origin"):
            if origin not in self.origins:
                raise AccessRefused(
                    f"this server answers no pages of other sites; the `Origin` header names `{origin:.80}`",
                    hint="ask from a program, or from a page of this server",
                )
