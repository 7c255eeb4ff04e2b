"""What nobody may see in a text: secrets, as they are and as they are written where something quotes them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

from headrace.work.sieve import STARS

_SHORTEST = 4
"""Of a shorter secret only its very text is masked: what quoting makes of it may be found in anything."""
_LEFT_ALONE = ("", "/", " +", "!$&'()*+,;=")
"""What is left as it is in a URL: nothing, what Python leaves, SQLAlchemy in a password, and HTTPX."""


class Mask:
    """Hides the secrets that it has been told, the longest first: another may be a part of it."""

    def __init__(self) -> None:
        self.forms: tuple[str, ...] = ()
        self._pattern: re.Pattern[str] | None = None

    def add(self, secret: str) -> bool:
        """Hide this too from now on; say whether that is anything new."""
        known = {*self.forms, *_forms(secret)}
        if len(known) == len(self.forms):
            return False
        self.forms = tuple(sorted(known, key=len, reverse=True))
        self._pattern = re.compile("|".join(map(re.escape, self.forms)))
        return True

    def text(self, text: str) -> str:
        """Give a text with the secrets in it masked."""
        return text if self._pattern is None else self._pattern.sub(STARS.decode(), text)


def _forms(secret: str) -> Iterator[str]:
    """Give the texts that a secret may be found as: its own, and those by `repr`, as JSON and in a URL.

    >>> sorted(set(_forms("it's/ü")))[:4]
    ['it%27s%2F%C3%BC', 'it%27s/%C3%BC', "it's%2F%C3%BC", "it's/\\\\u00fc"]
    """
    if secret:
        yield secret
    if len(secret) < _SHORTEST:
        return
    import json  # noqa: PLC0415  3 ms in the parent of all workers, few of which are given a secret

    for quoted in (repr, ascii):
        escaped = quoted(f"'\"{secret}")[4:-1]  # among both kinds of quotation marks the single ones are escaped
        yield escaped
        yield escaped.replace("\\'", "'")
    for pure in (True, False):
        yield json.dumps(secret, ensure_ascii=pure)[1:-1]
    for safe in _LEFT_ALONE:
        yield quote(secret, safe, errors="surrogateescape")
    yield quote_plus(secret, errors="surrogateescape")
