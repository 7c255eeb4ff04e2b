"""The query and options that belong to the rows in a cursor of `ingest.sql`; the differences between two queries."""

from __future__ import annotations

import os.path
from collections.abc import Iterator, Mapping
from typing import Any

from blake3 import blake3

from headrace.spec.noun import Noun
from headrace.stages.ingest._sql.statement import Statement

_SHORT = 70
_BEFORE = 20
"""Of a long query, this many characters are shown before the first character that differs."""


class Question(Noun, frozen=True):
    """A query with its options. Parameters are kept by name only, because their values may be secrets."""

    query: str
    mode: str
    watermark: str | None
    key: list[str]
    parameters: list[str]


def question_of(
    statement: Statement, mode: str, watermark: str | None, key: list[str], parameters: Mapping[str, Any]
) -> Question:
    """Return the `Question` of a query and its options."""
    query = statement.written(lambda name: f":{name}")
    return Question(query=query, mode=mode, watermark=watermark, key=key, parameters=sorted(parameters))


def digest_of(
    statement: Statement, mode: str, watermark: str | None, key: list[str], parameters: Mapping[str, Any]
) -> str:
    """Return a digest of a query, its options, and its parameters with their values."""
    told = (statement.texts, statement.places, mode, watermark, key, sorted(parameters.items()))
    return blake3(repr(told).encode()).hexdigest()[:16]


def differences(held: Question, asked: Question) -> Iterator[str]:
    """Yield a text for each difference between two queries: `held`, whose rows a cursor holds, and `asked`.

    Call this function only if the digests of the two queries differ. Then, if all fields of `held` and `asked` are
    equal, the values of parameters must differ.

    >>> from msgspec.structs import replace
    >>> one = Question(query="select 1", mode="increment", watermark="at", key=["id"], parameters=["m"])
    >>> list(differences(one, replace(one, watermark="on")))
    ['`watermark` was `at`, and is `on`']
    >>> list(differences(one, one))
    ['the value of `m` is another one']
    """
    pairs = [(name, getattr(held, name), getattr(asked, name)) for name in Question.__struct_fields__]
    found = [(name, before, now) for name, before, now in pairs if before != now]
    for name, before, now in found:
        texts = _short(before, now) if name == "query" else (_text(before), _text(now))
        yield f"`{name}` {'were' if name == 'parameters' else 'was'} {texts[0]}, and {_be(name)} {texts[1]}"
    if not found:
        names = [f"`{name}`" for name in held.parameters]
        yield f"the value of {' or '.join(names)} is another one" if names else "it is written in another way"


def _be(name: str) -> str:
    return "are" if name == "parameters" else "is"


def _text(value: str | list[str] | None) -> str:
    names = [value] if isinstance(value, str) else value or []
    return ", ".join(f"`{name}`" for name in names) or "none"


def _short(before: str, now: str) -> tuple[str, str]:
    """Return two queries, cut to the part where they first differ."""
    texts = [" ".join(text.split()) for text in (before, now)]
    if texts[0] == texts[1]:
        return f"`{texts[0][:_SHORT]}`", "the same with other spaces"
    same = len(os.path.commonprefix(texts))  # noqa: RUF071  comparing characters is right here
    start = max(0, same - _BEFORE) if max(map(len, texts)) > _SHORT else 0
    cut = [f"{'…' if start else ''}{text[start : start + _SHORT]}" for text in texts]
    left = [len(text) > start + _SHORT for text in texts]
    return f"`{cut[0]}{'…' if left[0] else ''}`", f"`{cut[1]}{'…' if left[1] else ''}`"
