"""Finds names in strings that are passed to calls. Some libraries look up such names in the code that calls them.

Such a name may be a type (`TypeAdapter("list[Row]")`), a variable in an expression (`frame.query("x > @LIMIT")`), or a
table in SQL.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from headrace.fingerprint.source.code_piece import Chain, chain_of

_VARIABLE = re.compile(r"(?<![\w.])@([^\W\d]\w*)")
_TABLE = re.compile(r"\b(?:from|join)\s+\"?([^\W\d]\w*)", re.IGNORECASE)
_TYPE = re.compile(r"[\w.,|\[\] ]+")


def named(texts: Iterable[str]) -> Iterator[Chain]:
    """Yield the names that strings may contain: variables, tables, and the parts of a type."""
    for text in texts:
        yield from ((name,) for pattern in (_VARIABLE, _TABLE) for name in pattern.findall(text))
        yield from _of_type(text)


@lru_cache(maxsize=10_000)
def _of_type(text: str) -> tuple[Chain, ...]:
    """Return the names in a type such as `list[Row]`. For a text of a single word, return no names: most such texts are
    names of columns."""
    if not _TYPE.fullmatch(text) or not ("[" in text or "|" in text):
        return ()
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError):  # thousands of alternatives nest too deep; this is not a type
        return ()
    chains = (chain_of(node) for node in ast.walk(tree) if isinstance(node, ast.Name | ast.Attribute))
    return tuple(chain for chain in chains if chain is not None)
