"""Decides which clients may send requests to a server."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from headrace.errors import ConfigError, listed
from headrace.serve.access.rates import Rates
from headrace.serve.access.tokens import Token, Tokens
from headrace.serve.refusals import AccessRefused, RateExceeded, retry_after
from headrace.serve.request import Headers, values

_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_VARIES = (b"vary", b"Origin")
_EXPOSED = (
    b"access-control-expose-headers",
    b"headrace-variant, headrace-version, inference-header-content-length, retry-after",
)
PREFLIGHT = (
    (
        b"access-control-allow-headers",
        b"authorization, content-encoding, content-type, inference-header-content-length, traceparent",
    ),
    (b"access-control-max-age", b"600"),
)
"""The headers that say what a page of a shared site may send. A browser requests them first, and remembers them for ten
minutes."""
_ELSEWHERE = ("cross-site", "same-site")
_LINK = [["navigate"], ["document"]]
"""The values of `Sec-Fetch-Mode` and `Sec-Fetch-Dest` that browsers send when a user follows a link (W3C, Fetch
Metadata)."""
_ORIGIN = re.compile(r"https?://(\[[0-9a-f:]+\]|[a-z0-9.-]+)(:[0-9]{1,5})?")
_PORTS = {"http": 80, "https": 443}
"""The ports that browsers leave out of an origin, by scheme."""


class Access(NamedTuple):
    """Decides which requests a server accepts. `hosts` are the values of the header `Host` that are accepted (None:
    all, and requests through a proxy too). `origins` are the sites whose pages may send requests; pages of the sites in
    `shared` may also read the answers (CORS). `may_list` says whether an error may name the existing endpoints. If
    there are `tokens`, each request to an endpoint needs one of them. If there are `rates`, they limit the requests of
    each token; without tokens, they limit the requests of all clients together.

    A page of another site can't get around these checks, since its browser sends the page's origin. If the page's host
    name was pointed at this host (DNS rebinding), the browser sends that name in `Host`. Other programs may send any
    headers, so on a loopback address every user of this host can send requests.
    """

    hosts: frozenset[str] | None
    origins: frozenset[str]
    may_list: bool
    tokens: Tokens | None = None
    rates: Rates | None = None
    shared: frozenset[str] = frozenset()

    @classmethod
    def loopback(cls, port: int, scheme: str = "http") -> Access:
        """Return the access for a server that listens on loopback addresses only, without tokens."""
        with_port = {f"{host}:{port}" for host in _LOOPBACK}
        bare = set(_LOOPBACK)
        origins = with_port | bare if port == _PORTS[scheme] else with_port
        own = frozenset(f"{scheme}://{host}" for host in origins)
        return cls(hosts=frozenset(with_port | bare), origins=own, may_list=True)

    @classmethod
    def by_token(cls, tokens: Tokens) -> Access:
        """Return the access for a server whose clients need tokens, on whatever host the clients are."""
        return cls(hosts=None, origins=frozenset(), may_list=False, tokens=tokens)

    def shared_with(self, origins: frozenset[str]) -> Access:
        """Return a copy in which pages of the sites `origins` may also send requests and read the answers."""
        return self._replace(origins=self.origins | origins, shared=origins)

    def cors(self, headers: Headers) -> tuple[tuple[bytes, bytes], ...]:
        """Return the headers of an answer that tell a browser whether the page that sent the request may read the
        answer."""
        if not self.shared:
            return ()
        origins = values(headers, b"origin")
        if len(origins) != 1 or origins[0] not in self.shared:
            return (_VARIES,)
        return (_VARIES, (b"access-control-allow-origin", origins[0].encode("latin-1")), _EXPOSED)

    def check_endpoint(self, headers: Headers, endpoint: str, scope: str) -> None:
        """Check whether a client may send a request of the kind `scope` to an endpoint, and count the request. The
        endpoint need not exist.

        Raises:
            TokenRefused, AccessRefused: the client may not send it.
            RateExceeded: the client sends requests too often.
            NotReady: it isn't known which tokens are still valid.
        """
        self._count(None if self.tokens is None else self.tokens.check(headers, endpoint, scope))

    def readable(self, headers: Headers) -> frozenset[str] | None:
        """Return the endpoints whose metrics and descriptions a client may read; None: those of all endpoints.

        Raises:
            TokenRefused: the client has no valid token.
            RateExceeded: the client sends requests too often.
            NotReady: it isn't known which tokens are still valid.
        """
        token = None if self.tokens is None else self.tokens.valid(headers)
        self._count(token)
        return None if token is None else token.endpoints or None

    def check(self, headers: Headers) -> None:
        """Check the headers of a request.

        Raises:
            AccessRefused: the request isn't accepted.
        """
        if self.hosts is not None:
            self._check_host(headers, self.hosts)
        origins = values(headers, b"origin")
        if not origins and _is_part_of_another_page(headers):
            raise AccessRefused(
                "this server answers no requests from pages of other sites; the `Sec-Fetch-Site` header says that this"
                " request comes from such a page",
                hint="send the request from a program, or from a page of this server",
            )
        for origin in origins:
            if origin not in self.origins and not (self.hosts is None and _is_own(origin, headers)):
                raise AccessRefused(
                    "this server answers no requests from pages of other sites; the `Origin` header names"
                    f" `{origin:.80}`",
                    hint="ask from a program, or from a page of this server",
                )

    def _count(self, token: Token | None) -> None:
        if self.rates is None or not (wait_s := self.rates.wait_s("" if token is None else token.id)):
            return
        who = "the clients of this server send" if token is None else f"the client with token `{token.id}` sends"
        raise RateExceeded(
            f"{who} requests too often",
            hint=f"ask again in {wait_s:,} second{'s' * (wait_s != 1)}",
            headers=(retry_after(wait_s),),
        )

    def _check_host(self, headers: Headers, known: frozenset[str]) -> None:
        hosts = values(headers, b"host")
        if len(hosts) != 1 or hosts[0].lower() not in known:
            shown = listed([host[:80] for host in hosts], 2) or "no host"
            raise AccessRefused(
                f"this server answers only clients on its own host; the `Host` header names {shown}",
                hint="ask `localhost`, with the server's own port",
            )
        for name, _ in headers:
            if name == b"forwarded" or name.startswith(b"x-forwarded-"):
                raise AccessRefused(
                    "this server answers only clients on its own host, and this request has the header"
                    f" `{name.decode('latin-1'):.80}`, which says that it came through a proxy",
                    hint="send the request directly to the server; or start the server with `headrace serve --tokens`:"
                    " then requests may come through a proxy, and each client needs a token",
                )


def origins_in(texts: Iterable[str]) -> frozenset[str]:
    """Return the origins of sites, after checking each of `texts`.

    Raises:
        ConfigError: a text isn't an origin.
    """
    origins = frozenset(texts)
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise ConfigError(
                f"`{origin:.80}` is not the origin of a web page",
                hint='give it as browsers send it, in small letters and without a path: "https://app.example"',
            )
    return origins


def _is_part_of_another_page(headers: Headers) -> bool:
    """Return whether a browser requests a part of a page of another site, such as an image. Such a request has no
    origin, and the page can't read the answer, but the request would count. Links to this server are allowed. Old
    browsers and other programs don't send the headers that show this."""
    follows_link = [values(headers, name) for name in (b"sec-fetch-mode", b"sec-fetch-dest")] == _LINK
    return not follows_link and any(site in _ELSEWHERE for site in values(headers, b"sec-fetch-site"))


def _is_own(origin: str, headers: Headers) -> bool:
    """Return whether a page comes from the host to which its request goes. A page whose host name was pointed at this
    host (DNS rebinding) seems to do so too. So this check is enough only if the page also needs a token."""
    return [origin.partition("://")[2].lower()] == [host.lower() for host in values(headers, b"host")]
