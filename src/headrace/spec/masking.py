"""Addresses as they may be shown: whatever is printed, logged, stored or sent on goes through here."""

from __future__ import annotations

import re

# A password that should have been percent-encoded may hold more of the signs that end one.
_USER = re.compile(r"(?<=://)([^/@?#\s]*?):[^/\s]*@")
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
    return _TOKEN.sub("***@", _USER.sub(r"\1:***@", _QUERY.sub(r"\1***", text)))
