"""Who may ask a server."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from headrace.errors import ConfigError, listed
from headrace.serve.rates import Rates
from headrace.serve.refusals import AccessRefused, RateExceeded
from headrace.serve.request import Headers, values
from headrace.serve.tokens import Token, Tokens

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
"""What a page of a shared site may send. A browser asks for it beforehand, and remembers it for ten minutes."""
_ELSEWHERE = ("cross-site", "same-site")
_LINK = [["navigate"], ["document"]]
"""What browsers send of the origin of a request, and of its purpose if they follow a link (W3C, Fetch Metadata)."""
_ORIGIN = re.compile(r"https?://(\[[0-9a-f:]+\]|[a-z0-9.-]+)(:[0-9]{1,5})?")
_PORTS = {"http": 80, "https": 443}
"""The ports that browsers leave out."""


class Access(NamedTuple):
    """Whom a server lets ask: clients that reach it by one of `hosts` (None: by any name, or by a proxy), and pages of
    one of `origins`. `may_list` says whether a refusal may name the endpoints that there are. If there are `tokens`,
    who asks an endpoint needs one of them. If there are `rates`, nobody may ask more often than they allow: each token
    counts for itself, and without tokens all clients count together. Pages of the sites in `shared` may ask, too, and
    read the answers (CORS).

    A page of another site can't get past it: its browser sends the page's origin, and if the page's own name was
    pointed at this host (DNS rebinding), it sends this name as the host. Other programs may send what they like, so
    on a loopback address every user of this host may ask.
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
        """Return the access for a server whose clients need tokens, wherever they are."""
        return cls(hosts=None, origins=frozenset(), may_list=False, tokens=tokens)

    def shared_with(self, origins: frozenset[str]) -> Access:
        """Return the access with pages of these sites, too."""
        return self._replace(origins=self.origins | origins, shared=origins)

    def cors(self, headers: Headers) -> tuple[tuple[bytes, bytes], ...]:
        """Return the headers by which a browser lets a page read the answer, if it may."""
        if not self.shared:
            return ()
        origins = values(headers, b"origin")
        if len(origins) != 1 or origins[0] not in self.shared:
            return (_VARIES,)
        return (_VARIES, (b"access-control-allow-origin", origins[0].encode("latin-1")), _EXPOSED)

    def check_endpoint(self, headers: Headers, endpoint: str, scope: str) -> None:
        """Check whether a client may ask an endpoint for this. The endpoint need not exist.

        Raises:
            TokenRefused, AccessRefused: the client may not.
            RateExceeded: it asks too often.
            NotReady: nobody knows which tokens are still valid.
        """
        self._count(None if self.tokens is None else self.tokens.check(headers, endpoint, scope))

    def readable(self, headers: Headers) -> frozenset[str] | None:
        """Return about which endpoints a client may read what the server tells of itself; None: about all.

        Raises:
            TokenRefused: the client has no valid token.
            RateExceeded: it asks too often.
            NotReady: nobody knows which tokens are still valid.
        """
        token = None if self.tokens is None else self.tokens.valid(headers)
        self._count(token)
        return None if token is None else token.endpoints or None

    def check(self, headers: Headers) -> None:
        """Check the headers of a request.

        Raises:
            AccessRefused: the client may not ask.
        """
        if self.hosts is not None:
            self._check_host(headers, self.hosts)
        origins = values(headers, b"origin")
        if not origins and _is_part_of_another_page(headers):
            raise AccessRefused(
                "this server answers no pages of other sites; the `Sec-Fetch-Site` header says that one asks",
                hint="ask from a program, or from a page of this server",
            )
        for origin in origins:
            if origin not in self.origins and not (self.hosts is None and _is_own(origin, headers)):
                raise AccessRefused(
                    f"this server answers no pages of other sites; the `Origin` header names `{origin:.80}`",
                    hint="ask from a program, or from a page of this server",
                )

    def _count(self, token: Token | None) -> None:
        if self.rates is None or not (wait_s := self.rates.wait_s("" if token is None else token.id)):
            return
        asks = "the clients of this server ask" if token is None else f"who has the token `{token.id}` asks"
        raise RateExceeded(
            f"{asks} too often",
            hint=f"ask again in {wait_s:,} second{'s' * (wait_s != 1)}",
            headers=((b"retry-after", str(wait_s).encode()),),
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
                    f"this server answers only clients on its own host; `{name.decode('latin-1'):.80}` says that a"
                    " proxy forwards the request",
                    hint="ask the server without the proxy, or serve with `--tokens`",
                )


def origins_in(texts: Iterable[str]) -> frozenset[str]:
    """Return the origins of sites, which settings name.

    Raises:
        ConfigError: one is no origin.
    """
    origins = frozenset(texts)
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise ConfigError(
                f"`{origin:.80}` is no origin of pages",
                hint='give it as browsers send it, in small letters and without a path: "https://app.example"',
            )
    return origins


def _is_part_of_another_page(headers: Headers) -> bool:
    """Return whether a browser asks for a part of a page of another site, such as an image. It sends no origin then,
    and shows the page nothing of the answer, but the request would count. Links to this server may be followed. Old
    browsers and other programs don't send these headers."""
    follows_link = [values(headers, name) for name in (b"sec-fetch-mode", b"sec-fetch-dest")] == _LINK
    return not follows_link and any(site in _ELSEWHERE for site in values(headers, b"sec-fetch-site"))


def _is_own(origin: str, headers: Headers) -> bool:
    """Return whether a page comes from the host that its request goes to. If that host's name was pointed at this host
    (DNS rebinding), it looks so, too, which is why this is enough only where the page also needs a token."""
    return [origin.partition("://")[2].lower()] == [host.lower() for host in values(headers, b"host")]
