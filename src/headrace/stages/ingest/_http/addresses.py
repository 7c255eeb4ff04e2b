"""Checks where requests go: a host's name is resolved once, and a connection is made only to an address that was
checked.

A name that is looked up twice can give two answers (DNS rebinding), so the connection is made to the checked address.
The `Host` header and the check of the server's certificate still use the name.
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
"""Addresses of clouds' metadata services. These services hand out credentials.

In order: Alibaba, Azure, most other clouds, Oracle, and AWS by IPv6.
"""
_GIVEN_OUT = ipaddress.ip_network("2000::/3")
"""All IPv6 addresses of the public Internet. All other IPv6 addresses are private or reserved."""


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host, found by this machine's resolver."""
    return list(dict.fromkeys(str(each[4][0]) for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))


def is_public(text: str) -> bool:
    """Return whether an address belongs to the public Internet.

    Private, loopback, link-local, multicast and reserved addresses aren't public. The addresses of clouds' metadata
    services aren't public either. If an IPv6 address contains an IPv4 address, both addresses must be public.

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
    """Return whether an address, or the IPv4 address in it, belongs to a cloud's metadata service."""
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
    """A transport that connects only to addresses that it has checked.

    Each host has its own connections, because a certificate was checked for one name only. The hosts in `allowed` may
    have private addresses. All other hosts, including targets of redirects, must have public addresses. With `proxied`,
    the proxy resolves the names, and only addresses written in URLs are checked.
    """

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
        """Send a request to one of its host's addresses, and return the response.

        Raises:
            SourceError: one of the addresses is not public, and the host isn't allowed to be private.
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
        """Return the checked addresses of a request's host; an empty list if a proxy makes the connection."""
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
        if host in self._allowed:  # only an address written in the URL may be a cloud's metadata service
            closed = [each for each in closed if _is_metadata(each) and each != literal]
        if closed:
            named = "" if closed[0] == host else f"`{host}` is "
            raise SourceError(
                f"a request to a private address was refused: {named}{closed[0]}",
                hint="if you want it, set `allow_private=True`: it allows the host of that call's URL",
            )
        return [] if self._proxied else found


def _literal(host: str) -> str | None:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return None


def _to(request: httpx.Request, address: str) -> httpx.Request:
    """Return the request with an address in place of its host's name."""
    return httpx.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": request.url.host},
    )
