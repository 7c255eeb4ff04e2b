"""Matches a user's regular expression in time proportional to the length of the text.

Python's engine tries one way to match after another. Even with a pattern of ten characters, it can need years for one
line. RE2, which comes with Arrow, follows all ways at once. It has no look-around and no back references, and its
`\\d`, `\\w` and `\\s` match only ASCII.
"""

from __future__ import annotations

import re
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from headrace.errors import DefinitionError

_PIECES = re.compile(
    r"\\Q.*?(?:\\E|\Z)|\\.|\[\^?\]?(?:\[:\^?\w+:\]|\\.|[^\]\\])*\]|(?P<group>\((?!\?))|(?P<most>\{,\d*\})", re.DOTALL
)
"""Matches an escaped or quoted part, a set of characters, the start of a group without a name, and `{,n}`."""

# an array of one empty text; `pa.array` would import pandas
_NOTHING = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(bytes(8)), pa.py_buffer(b"")])


class Linear:
    """A compiled regular expression for RE2. Groups without a name don't capture."""

    def __init__(self, pattern: str, name: str) -> None:
        """Compile a pattern; `name` is the parameter's name in errors.

        Raises:
            DefinitionError: the pattern isn't text, RE2 doesn't accept it, or two groups have the same name.
        """
        self._inner = _without_nameless(pattern, name)
        self._whole = rf"\A(?s:{self._inner})\z"
        try:
            pc.match_substring_regex(_NOTHING, pattern)  # alone: it might close parentheses added below
            kind: Any = pc.extract_regex(_NOTHING, self._whole).type
        except (pa.ArrowInvalid, UnicodeEncodeError) as error:
            raise DefinitionError(
                f"`{name}` isn't a pattern for RE2: {str(error).removeprefix('Invalid regular expression: ')}",
                hint="write it without look-around, back references and possessive quantifiers,"
                ' and as r"..." so that backslashes stay',
            ) from error
        self.names: tuple[str, ...] = tuple(field.name for field in kind)
        """The named groups, in order."""
        twice = [each for each in self.names if self.names.count(each) > 1]
        if twice:
            raise DefinitionError(f"`{name}` has two groups `{twice[0]}`", hint="give each a name of its own")

    def rows(self, texts: list[str]) -> list[dict[str, str | None] | None]:
        """Return the values of the named groups for each text; None for a text that doesn't match as a whole.

        A group that took no part in the match has the value None.
        """
        values = pa.array(texts, pa.string())
        found: list[dict[str, str | None] | None] = pc.extract_regex(values, self._whole).to_pylist()
        if any(row is not None and "" in row.values() for row in found):  # "" may mean an empty match or no match
            spans = pc.extract_regex_span(values, self._whole).to_pylist()
            for row, span in zip(found, spans, strict=True):
                if row is not None:
                    row.update({name: None for name, place in span.items() if place is None})
        return found

    def begins(self, texts: list[bytes]) -> list[bool]:
        """Return for each text whether the pattern matches the beginning of the text."""
        found: Any = pc.match_substring_regex(pa.array(texts, pa.binary()), rf"\A(?s:{self._inner})")
        return list(found.to_pylist())


def _without_nameless(pattern: str, name: str) -> str:
    """Return a pattern with each group without a name changed to a group that doesn't capture.

    Raises:
        DefinitionError: the pattern isn't text, or has `{,n}`, which RE2 would match as plain characters.
    """
    if not isinstance(pattern, str):
        raise DefinitionError(f"`{name}` is a `{type(pattern).__name__}`", hint=r'give a text, such as r"\d+"')
    for found in _PIECES.finditer(pattern):
        if found["most"]:
            raise DefinitionError(
                f"`{name}` has `{found['most']}`, which RE2 reads as plain characters",
                hint=f"write `{{0{found['most'][1:]}`, or `\\{found['most']}` if the characters are meant",
            )
    return _PIECES.sub(lambda found: "(?:" if found["group"] else found[0], pattern)
