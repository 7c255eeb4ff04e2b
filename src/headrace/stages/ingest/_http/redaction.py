"""Removes secrets from the data that an attempt saves for the next one, because the saved files aren't encrypted."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote, quote_plus

import msgspec


class Veil:
    """Hides secret words in JSON. `hide` replaces each word by a mark, even where the word is encoded as in a URL.
    `show` puts the words back in place of the marks.

    >>> veil = Veil(["s3 cret"])
    >>> hidden = veil.hide(b'{"url": "https://a.example?key=s3%20cret&page=2"}')
    >>> b"cret" in hidden, veil.show(hidden)
    (False, b'{"url": "https://a.example?key=s3%20cret&page=2"}')
    """

    def __init__(self, words: Iterable[str]) -> None:
        forms = {
            form
            for word in words
            for form in (msgspec.json.encode(word)[1:-1], quote(word, safe="").encode(), quote_plus(word).encode())
            if form
        }
        # JSON has no control characters, so a mark is unique; longer words come first, as they may contain shorter ones
        self._marks = [
            (form, b"\0" + _mark(number) + b"\0")
            for number, form in enumerate(sorted(forms, key=lambda form: (-len(form), form)))
        ]

    def hide(self, data: bytes) -> bytes:
        """Return JSON with a mark in place of each secret word."""
        for form, mark in self._marks:
            data = data.replace(form, mark)
        return data

    def show(self, data: bytes) -> bytes:
        """Return JSON with each mark replaced by its secret word, as it was before `hide`."""
        for form, mark in self._marks:
            data = data.replace(mark, form)
        return data


def _mark(number: int) -> bytes:
    """Return the mark of the secret word with this number: the number written in control characters other than NUL."""
    digits = [1 + number % 31]
    while number := number // 31:
        digits.append(1 + number % 31)
    return bytes(digits)
