"""The settings for requests to a web service, checked before the first request is sent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from headrace.errors import DefinitionError
from headrace.spec.duration import seconds
from headrace.spec.noun import Noun

_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*(s|m|h|second|minute|hour)")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_PROXIES = ("http", "https", "socks5", "socks5h")


class Manners(Noun, frozen=True):
    """The settings for requests to a server.

    `rate` is the highest number of requests a second; None means no limit. `patience_s` is the longest `Retry-After` to
    wait for, in seconds. `limit_bytes` is the largest size of a body, unpacked.
    """

    headers: Mapping[str, str] = {}
    auth: str | tuple[str, str] | None = None
    rate: float | None = None
    retries: int = 5
    timeout_s: float = 60.0
    patience_s: float = 600.0
    limit_bytes: int = 256 << 20
    allow_private: bool = False
    verify: bool | str = True
    proxy: str | None = None


def manners(
    *,
    headers: Mapping[str, str],
    auth: str | tuple[str, str] | None,
    rate: str | float | None,
    retries: int,
    timeout: str | float,
    patience: str | float,
    limit_mib: float,
    allow_private: bool,
    verify: bool | str,
    proxy: str | None,
) -> Manners:
    """Return the settings for requests, made from the arguments of `ingest.http`.

    Raises:
        DefinitionError: an argument is wrong.
    """
    _check(retries, limit_mib, verify, proxy)
    timeout_s, patience_s = seconds(timeout), seconds(patience, name="patience")
    if timeout_s <= 0 or patience_s < 0:
        raise DefinitionError(
            f"`timeout` is {timeout!r}, and `patience` is {patience!r}", hint="give times above 0; `patience` may be 0"
        )
    return Manners(
        headers=dict(headers),
        auth=auth,
        rate=rate_of(rate),
        retries=retries,
        timeout_s=timeout_s,
        patience_s=patience_s,
        limit_bytes=int(limit_mib * 2**20),
        allow_private=allow_private,
        verify=verify,
        proxy=proxy,
    )


def _check(retries: Any, limit_mib: Any, verify: Any, proxy: Any) -> None:
    if type(retries) is not int or retries < 0:
        raise DefinitionError(f"retries={retries!r} is not a number of times", hint="give a whole number from 0")
    if isinstance(limit_mib, bool) or not isinstance(limit_mib, int | float) or not 0 < limit_mib < 2**30:
        raise DefinitionError(f"limit_mib={limit_mib!r} is not a size", hint="give a number of MiB")
    if not isinstance(verify, bool | str):
        raise DefinitionError(f"verify={verify!r:.80} is not a file", hint="give a file of certificates, or False")
    if proxy is not None and not (isinstance(proxy, str) and urlsplit(proxy).scheme in _PROXIES):
        raise DefinitionError("`proxy` is not a URL of a proxy", hint="such as `http://proxy.example:3128`")


def rate_of(text: str | float | None) -> float | None:
    """Return a rate such as `10/s` as requests a second; a number already means requests a second.

    >>> rate_of("10/s"), rate_of("30/m"), rate_of(None)
    (10.0, 0.5, None)
    """
    if text is None or isinstance(text, int | float):
        found = None if text is None else float(text)
    elif match := _RATE.fullmatch(str(text).strip()):
        found = float(match[1]) / _UNITS[match[2][0]]
    else:
        found = 0.0
    if found is not None and not 0 < found < float("inf"):
        raise DefinitionError(f"rate={text!r} is not a rate", hint='write "10/s", "600/m" or "1000/h"')
    return found
