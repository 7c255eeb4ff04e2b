"""Texts without passwords. Addresses that are printed, logged, stored or sent on pass through `masked` first."""

from __future__ import annotations

import re

_AUTHORITY = re.compile(r"[^/\s]*")
_URL = re.compile(r"[^\s\"'<>`]*")
_PORTS = re.compile(r"\d*(,|$)")
_TOKEN = re.compile(r"(?<=https://)[^/@:\s]+@")
_QUERY = re.compile(
    r"((?:password|passwd|token|secret|sig|signature|access_key|sslpassword)=)[^&\s'\"]+", re.IGNORECASE
)


def masked(text: str) -> str:
    """Return a text in which `***` replaces each password in a URL, and each user name that is a token.

    >>> masked("can't reach postgresql://ann:geheim@db/shared?sslmode=require")
    "can't reach postgresql://ann:***@db/shared?sslmode=require"
    >>> masked("postgresql://ann:ge@heim@db/shared?password=ge@heim")
    'postgresql://ann:***@db/shared?password=***'
    >>> masked("git+https://ghp_geheim@example.org/rivers")
    'git+https://***@example.org/rivers'
    >>> masked("postgresql://ann:ge/heim@db/shared is down, http://db:8080/a@b is not")
    'postgresql://ann:***@db/shared is down, http://db:8080/a@b is not'
    """
    before, *urls = _QUERY.sub(r"\1***", text).split("://")
    return _TOKEN.sub("***@", "://".join([before, *map(_without_password, urls)]))


def _without_password(url: str) -> str:
    """Return the part of a URL after `://`, with `***` in place of the password.

    A password that isn't percent-encoded, though it should be, may contain `@` or `/`. So everything between the first
    `:` and the last `@` before the path counts as the password. If there is no `@` before the first `/`, the password
    may contain that `/`. Then everything from the first `:` to the last `@` of the URL counts, unless a port number
    comes before the `/`.
    """
    for part in (_AUTHORITY, _URL):
        matched = part.match(url)
        assert matched is not None
        user, _, rest = matched[0].partition(":")
        is_path = part is _URL and (user[:1] == "[" or _PORTS.match(rest.partition("/")[0]))
        if "@" in rest and not is_path and not any(sign in user for sign in "@?#/"):
            return f"{user}:***@{rest.rpartition('@')[2]}{url[matched.end() :]}"
    return url
