"""Addresses as they may be shown: whatever is printed, logged, stored or sent on goes through here."""

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
    """Return a text with the passwords in its URLs as `***`, and with the names that are tokens.

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
    """Return what stands behind `://` without its password. One that should have been percent-encoded may hold more of
    the signs that end it, so all up to the last `@` before the path goes; or before the URL's end, where a `/` comes
    first and what stands before that is no port."""
    for part in (_AUTHORITY, _URL):
        found = part.match(url)
        assert found is not None
        user, _, rest = found[0].partition(":")
        is_path = part is _URL and (user[:1] == "[" or _PORTS.match(rest.partition("/")[0]))
        if "@" in rest and not is_path and not any(sign in user for sign in "@?#/"):
            return f"{user}:***@{rest.rpartition('@')[2]}{url[found.end() :]}"
    return url
