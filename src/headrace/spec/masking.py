"""Addresses as they may be shown: whatever is printed, logged, stored or sent on goes through here."""

from __future__ import annotations

import re

_AUTHORITY = re.compile(r"://([^/\s]*)")
_TOKEN = re.compile(r"(?<=https://)[^/@:\s]+@")
_QUERY = re.compile(
    r"((?:password|passwd|token|secret|sig|signature|access_key|sslpassword)=)[^&\s'\"]+", re.IGNORECASE
)


def masked(text: str) -> str:
    """Give a text with the passwords in its URLs as `***`, and with the names that are tokens.

    >>> masked("can't reach postgresql://ann:geheim@db/shared?sslmode=require")
    "can't reach postgresql://ann:***@db/shared?sslmode=require"
    >>> masked("postgresql://ann:ge@heim@db/shared?password=ge@heim")
    'postgresql://ann:***@db/shared?password=***'
    >>> masked("git+https://ghp_geheim@example.org/rivers")
    'git+https://***@example.org/rivers'
    """
    return _TOKEN.sub("***@", _AUTHORITY.sub(_without_password, _QUERY.sub(r"\1***", text)))


def _without_password(authority: re.Match[str]) -> str:
    """Return the part of a URL between `://` and its path without its password. One that should have been
    percent-encoded may hold more of the signs that end it, so all up to the last `@` goes."""
    user, colon, rest = authority[1].partition(":")
    if not colon or "@" not in rest or any(sign in user for sign in "@?#"):
        return authority[0]
    return f"://{user}:***@{rest.rpartition('@')[2]}"
