"""Where a request may go: names are resolved here, judged, and the request then goes to the very address judged.

A name that is looked up twice can give two answers (DNS rebinding), so the connection is made to an address, not to a
name; the name stays in the `Host` header and in what the server's certificate is checked against.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Collection, Sequence

import httpx

from headrace.errors import SourceError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Sequence[str]]

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
METADATA = frozenset({"100.100.100.200", "168.63.129.16", "169.254.169.254", "192.0.0.192", "fd00:ec2::254"})
"""Where clouds answer the machines on them, with credentials too: Alibaba, Azure, most of them, Oracle, AWS by IPv6."""
_GIVEN_OUT = ipaddress.ip_network("2000::/3")
"""All of IPv6 that the open Internet has. What else there is was for sites of their own, or is kept back."""


def resolve(host: str, port: int) -> list[str]:
    """Give the addresses of a host, by this machine's resolver."""
    return list(dict.fromkeys(str(each[4][0]) for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))


def is_public(text: str) -> bool:
    """Return whether an address is one of the open Internet: not private, loopback, link-local, multicast or reserved,
    and no cloud's metadata.

    An IPv6 address that carries an IPv4 one is judged by that too.

    >>> [is_public(each) for each in ("93.184.216.34", "10.0.0.1", "127.0.0.1", "169.254.169.254", "::ffff:10.0.0.1")]
    [True, False, False, False, False]
    """
    address = ipaddress.ip_address(text.partition("%")[0])
    inner = _carried(address)
    if inner is not None:
        return address.is_global and is_public(str(inner))
    if _is_metadata(text):
        return False
    return address.is_global and not address.is_multicast and (address.version == 4 or address in _GIVEN_OUT)


def _is_metadata(text: str) -> bool:
    """Return whether a cloud answers at an address, or at the IPv4 one that it carries."""
    address = ipaddress.ip_address(text.partition("%")[0])
    return str(_carried(address) or address) in METADATA


def _carried(address: Address) -> Address | None:
    if not isinstance(address, ipaddress.IPv6Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address.sixtofour or (address.teredo[1] if address.teredo is not None else None)


class Guard(httpx.BaseTransport):
    """A transport that connects to judged addresses only. Each host has connections of its own, so that one whose
    certificate was checked for one name never serves another. With a `proxy`, names are the proxy's to resolve. The
    hosts that are `allowed` may be private, and no others: one that it redirects to is judged by itself."""

    def __init__(
        self,
        make: Callable[[], httpx.BaseTransport],
        *,
        allowed: Collection[str] = (),
        proxied: bool = False,
        resolver: Resolve = resolve,
    ) -> None:
        self._make = make
        self._allowed = allowed
        self._proxied = proxied
        self._resolve = resolver
        self._inner: dict[str, httpx.BaseTransport] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request to an address of its host.

        Raises:
            SourceError: one of the host's addresses is not public, and that isn't allowed.
        """
        host = request.url.host
        inner = self._inner.get(host)
        if inner is None:
            inner = self._inner[host] = self._make()
        addresses = self._judged(request)
        if not addresses:
            return inner.handle_request(request)
        for last, address in enumerate(addresses, start=1 - len(addresses)):
            try:
                return inner.handle_request(_to(request, address))
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if last == 0:
                    raise
        raise AssertionError("there was an address")

    def close(self) -> None:
        """Close all connections."""
        for each in self._inner.values():
            each.close()

    def _judged(self, request: httpx.Request) -> list[str]:
        """Give the addresses to connect to; none where that is the proxy's business."""
        host = request.url.host
        port = request.url.port or (443 if request.url.scheme == "https" else 80)
        literal = _literal(host)
        if literal is None and self._proxied:
            return []
        try:
            found = [literal] if literal is not None else list(self._resolve(host, port))
        except (OSError, UnicodeError) as error:
            raise httpx.ConnectError(f"the name can't be resolved ({error})", request=request) from error
        closed = [each for each in found if not is_public(each)]
        if host in self._allowed:  # a name may be private, and only an address that was written out a cloud's metadata
            closed = [each for each in closed if _is_metadata(each) and each != literal]
        if closed:
            named = "" if closed[0] == host else f"`{host}` is "
            raise SourceError(
                f"a request to a private address was refused: {named}{closed[0]}",
                hint="if it is meant, say `allow_private=True`, which allows the host of the URL that it is said with",
            )
        return [] if self._proxied else found


def _literal(host: str) -> str | None:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return None


def _to(request: httpx.Request, address: str) -> httpx.Request:
    """Give the request with an address in the place of its host's name."""
    return httpx.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": request.url.host},
    )
