"""Plain values as short text, and several texts shortened so that their differences show."""

from __future__ import annotations

import json
import os.path
from collections.abc import Sequence
from io import BytesIO
from zipfile import ZIP_STORED, BadZipFile, ZipFile

import msgspec
from msgspec.structs import replace

from headrace.errors import UsageError
from headrace.inspect.get.get import plain_of
from headrace.inspect.value_summary import Load
from headrace.spec.artifact import Ref

SMALL_BYTES = 4096
READ_BYTES = 1 << 16
_PLAIN = ("json", "text", "record", "parts")
SHORT = 60
BEFORE = 12
"""How many characters to show before the first one that differs."""


def value_text(ref: Ref, load: Load | None = None) -> str | None:
    """Return a plain value as text: a text as it is, other values as JSON.
    Return None for a large value or one that is not plain.

    With `load`, values that are not in the ledger are read from the store too, the JSON of a struct that has a tag
    (msgspec's `tag=`) includes the tag, and an estimator of scikit-learn is its class with its parameters.
    """
    if ref.size > (SMALL_BYTES if load is None else READ_BYTES):
        return None
    if load is not None and ref.codec == "skops":
        return _estimator_text(load(replace(ref, codec="bytes", type="builtins.bytes")))
    value = load(ref) if load is not None and ref.codec in _PLAIN and not holds_code(ref) else None
    try:
        if value is None and holds_code(ref):
            return _text_with_code(ref)
        if value is None:
            value = plain_of(ref, "")
        return value if isinstance(value, str) else msgspec.json.encode(value).decode()
    except (UsageError, TypeError, ValueError):
        return None


def holds_code(ref: Ref) -> bool:
    """Return whether a value is a function, a class or a partial, or holds one."""
    return ref.codec == "code" or any(holds_code(part) for part in ref.parts or ())


def _text_with_code(ref: Ref) -> str:
    """Return as text a value that holds functions. A function is `module.name@` and twelve digits of its code's digest.

    Lists, dictionaries and partials are written as in Python.
    """
    if ref.codec == "code" and ref.parts is None:
        name = msgspec.json.decode(ref.inline or b'""', type=str).replace(":", ".")
        return f"{name}@{(ref.content or ref.digest)[:12]}"
    if ref.codec == "code":
        function, args, keywords = ref.parts or ()
        held = [_text_with_code(function), *(text for _, text in _pairs(args))]
        return f"partial({', '.join([*held, *(f'{name}={text}' for name, text in _pairs(keywords))])})"
    if not holds_code(ref):
        return msgspec.json.encode(plain_of(ref, "")).decode()
    pairs = _pairs(ref)
    if ref.names:
        return "{" + ", ".join(f"{name}: {text}" for name, text in pairs) + "}"
    return f"[{', '.join(text for _, text in pairs)}]"


def _pairs(ref: Ref) -> list[tuple[str, str]]:
    """Return the items of a list or a dictionary as pairs of name and text. Items of a list have an empty name."""
    if ref.parts is not None:
        names = ref.names or [""] * len(ref.parts)
        return [(name, _text_with_code(part)) for name, part in zip(names, ref.parts, strict=True)]
    value = plain_of(ref, "")
    assert isinstance(value, dict)
    return [(name, msgspec.json.encode(each).decode()) for name, each in value.items()]


def _estimator_text(data: object) -> str | None:
    """Return an estimator in skops' format as JSON, or None if the bytes can't be read.

    Only the archive's schema is read, as text: no object is made from it, and scikit-learn isn't needed.
    """
    if not isinstance(data, bytes):
        return None
    try:
        with ZipFile(BytesIO(data)) as archive:
            schema = archive.getinfo("schema.json")
            if schema.compress_type != ZIP_STORED or schema.file_size > READ_BYTES:  # `save` compresses nothing
                return None
            return msgspec.json.encode(_node(json.loads(archive.read(schema)))).decode()
    except (BadZipFile, KeyError, RuntimeError, ValueError, EOFError):  # damaged, or forged
        return None


def _node(node: object) -> object:
    """Return a node of skops' schema as plain data. Arrays and other objects that aren't plain are only named."""
    match node:
        case {"__loader__": "JsonNode", "content": str(text)}:
            return json.loads(text)
        case {"__loader__": "ObjectNode", "__class__": str(name), "content": {"content": dict(fields)}}:
            return {name: {field: _node(value) for field, value in fields.items()}}
        case {"__loader__": "DictNode", "content": dict(fields)}:
            return {field: _node(value) for field, value in fields.items()}
        case {"__loader__": "ListNode" | "TupleNode", "content": list(items)}:
            return [_node(item) for item in items]
        case {"__class__": str(name)}:
            return name
        case _:
            return None


def cut(text: str, limit: int = SHORT) -> str:
    """Return a text, cut off with an ellipsis if it is longer than `limit` characters."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def told_apart(texts: Sequence[str | None], limit: int = SHORT) -> tuple[str | None, ...]:
    """Return texts cut to `limit` characters. If the texts are equal up to that length, each text begins with an
    ellipsis and the characters shortly before the first difference.

    >>> told_apart(["select a from x limit 1", "select a from x limit 2", None], limit=16)
    ('…rom x limit 1', '…rom x limit 2', None)
    >>> told_apart(["select a from x limit 1", None], limit=16)
    ('select a from x…', None)
    """
    there = [text for text in texts if text is not None]
    same = len(os.path.commonprefix(there))  # noqa: RUF071  characters are meant
    start = same - BEFORE if same >= limit - 1 and len(set(there)) > 1 else 0
    return tuple(None if text is None else cut(f"…{text[start:]}" if start else text, limit) for text in texts)
