"""Masks secrets in texts and values. Also masks the quoted and encoded forms in which secrets may appear."""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import copy
from dataclasses import fields, is_dataclass
from typing import Any
from urllib.parse import quote, quote_plus

from headrace.spec.artifact import Ref
from headrace.work.output.log_writer import STARS, any_bytes_of, any_of

_SHORTEST = 4
"""If a secret has fewer characters than this, only the secret itself is masked. Its quoted and encoded forms aren't,
since they could occur anywhere by chance."""
_LONG = 8
"""The least length of a secret that is masked in values too. A shorter secret may occur in data by chance."""
_LEFT_ALONE = ("", "/", " +", "!$&'()*+,;=")
"""The characters that stay unescaped in a URL, for each of four ways to escape: the strictest one, Python's default,
SQLAlchemy's for passwords, and HTTPX's."""
_ESCAPE = re.compile("%[0-9A-F]{2}")


class Mask:
    """Hides the secrets that were added. Longer secrets are hidden first, since a shorter secret may be a part of a
    longer one."""

    def __init__(self) -> None:
        self.forms: tuple[str, ...] = ()
        self._in_values: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self._value_pattern: re.Pattern[str] | None = None
        self._bytes_pattern = re.compile(b"(?!)")

    def add(self, secret: str) -> bool:
        """From now on, hide this secret too. Return whether the secret is new."""
        made = set(_forms(secret))
        known = {*self.forms, *made}
        if len(known) == len(self.forms):
            return False
        self.forms = tuple(sorted(known, key=len, reverse=True))
        self._pattern = re.compile(any_of(self.forms))
        if len(secret) >= _LONG:
            self._in_values |= {form for form in made if len(form) >= _LONG}
            self._value_pattern = re.compile(any_of(self._in_values))
            self._bytes_pattern = any_bytes_of(form.encode(errors="surrogateescape") for form in self._in_values)
        return True

    def text(self, text: str) -> str:
        """Return a text with the secrets in it masked."""
        return text if self._pattern is None else self._pattern.sub(STARS.decode(), text)

    def value(self, value: object) -> object:
        """Return a value with the secrets in its texts masked, also in texts inside plain containers and dataclasses.
        If there are no secrets in the value, return the same object."""
        if self._value_pattern is None:
            return value
        try:
            return self._without(value, self._value_pattern)
        except RecursionError:  # the error is reported when the value is saved
            return value

    def finds_in(self, ref: Ref) -> bool:
        """Return whether a secret is in an artifact's reference, which the ledger stores: in the name of the value's
        class, in the names of its parts, in a value that is stored inside the reference, or in the reference of a
        part."""
        if self._value_pattern is None:
            return False
        texts = [ref.type, *(ref.names or ()), (ref.inline or b"").decode(errors="replace")]
        return any(map(self._value_pattern.search, texts)) or any(map(self.finds_in, ref.parts or ()))

    def _without(self, value: Any, pattern: re.Pattern[str]) -> Any:
        kind = type(value)
        if kind is str:
            return pattern.sub(STARS.decode(), value) if pattern.search(value) else value
        if kind is bytes:
            return self._bytes_pattern.sub(STARS, value) if self._bytes_pattern.search(value) else value
        if kind in (list, tuple, set, frozenset) or (isinstance(value, tuple) and hasattr(kind, "_make")):
            items = [self._without(item, pattern) for item in value]
            if all(map(_is_same, items, value)):
                return value
            return kind._make(items) if hasattr(kind, "_make") else kind(items)
        if kind is dict:
            pairs = [(self._without(key, pattern), self._without(item, pattern)) for key, item in value.items()]
            old = (item for pair in value.items() for item in pair)
            return value if all(map(_is_same, (item for pair in pairs for item in pair), old)) else dict(pairs)
        if is_dataclass(kind):
            return self._record_without(value, pattern)
        return value

    def _record_without(self, value: Any, pattern: re.Pattern[str]) -> Any:
        values = [(field.name, getattr(value, field.name)) for field in fields(value) if hasattr(value, field.name)]
        changed = [(name, new) for name, old in values if (new := self._without(old, pattern)) is not old]
        if changed:
            value = copy(value)
            for name, new in changed:
                object.__setattr__(value, name, new)
        return value


def _is_same(one: object, other: object) -> bool:
    return one is other


def _forms(secret: str) -> Iterator[str]:
    """Yield the forms in which a secret may appear in a text: the secret itself; its forms in `repr`, JSON, URLs, HTML
    and shell words; and its encoded forms. If a secret has several lines, as a key has, each long line is treated like
    a secret.

    >>> sorted(set(_forms("it's/ü")))[:4]
    ['697427732FC3BC', '697427732fc3bc', 'NF2CO4ZPYO6A', 'aXQncy/Dv']
    """
    if secret:
        yield secret
    if len(secret) < _SHORTEST:
        return
    for form in {secret, *(line for line in secret.splitlines() if len(line) >= 2 * _LONG and line[:2] != "--")}:
        yield form
        yield from _quoted(form)
        yield from _encoded(form.encode(errors="surrogateescape"))


def _quoted(secret: str) -> Iterator[str]:
    import json  # noqa: PLC0415  3 ms in the parent of all workers, and few are given a secret
    from html import escape  # noqa: PLC0415  1 ms, as above

    # in a text with both kinds of quotation marks, `repr` escapes the single ones
    bare = repr(b"'\"" + secret.encode(errors="surrogateescape"))[5:-1]
    for escaped in (repr(f"'\"{secret}")[4:-1], ascii(f"'\"{secret}")[4:-1], bare):
        yield escaped
        yield escaped.replace("\\'", "'")
    for pure in (True, False):
        once = json.dumps(secret, ensure_ascii=pure)[1:-1]
        yield once
        yield json.dumps(once, ensure_ascii=pure)[1:-1]  # JSON inside JSON
    for safe in _LEFT_ALONE:
        escaped = quote(secret, safe, errors="surrogateescape")
        yield escaped
        yield _ESCAPE.sub(lambda found: found[0].lower(), escaped)
    yield quote_plus(secret, errors="surrogateescape")
    for both in (True, False):
        yield escape(secret, quote=both)
    yield secret.replace("'", "'\"'\"'")
    yield secret.replace("'", "'\\''")


def _encoded(secret: bytes) -> Iterator[str]:
    """Yield a secret in hex, Base32 and Base64. For Base64, also yield the part that stays the same whatever bytes are
    encoded before and after the secret."""
    import base64  # noqa: PLC0415  2 ms in the parent of all workers, and few are given a secret

    yield secret.hex()
    yield secret.hex().upper()
    yield base64.b32encode(secret).decode().rstrip("=")
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(secret).decode().rstrip("=")
        for before in range(3):
            inner = encode(bytes(before) + secret).decode()[-(-before * 8 // 6) : (before + len(secret)) * 8 // 6]
            if len(inner) >= _LONG:
                yield inner
    for line in base64.encodebytes(secret).decode().splitlines():
        if len(line) >= _LONG:
            yield line
