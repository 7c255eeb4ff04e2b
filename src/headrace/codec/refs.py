"""Making the artifacts that need no store: small values, and values made of parts."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from blake3 import blake3

from headrace.spec.artifact import Ref

PARTS_LIMIT = 100_000
"""How many artifacts one value may consist of; what is longer is saved whole. Lists inside a list share it."""

_encode = msgspec.json.Encoder().encode


def inline(codec: str, kind: str, data: bytes, content: str | None = None) -> Ref:
    """Make the artifact of a small value, which holds its bytes."""
    return Ref(digest=blake3(data).hexdigest(), size=len(data), codec=codec, type=kind, inline=data, content=content)


def compose(codec: str, kind: str, parts: Sequence[Ref], names: tuple[str, ...] | None) -> Ref:
    """Make the artifact of a value with parts.

    Its digest covers the codecs and classes of the parts too: `[1]` and `["1"]` have the same bytes inside. If a part
    has a content digest, so has the whole.
    """
    bytes_of = [f"{each.codec}:{each.type}:{each.digest}" for each in parts]
    content = None
    if any(each.content is not None for each in parts):
        content = blake3(_encode((names, [each.identity for each in parts]))).hexdigest()
    return Ref(
        digest=blake3(_encode((names, bytes_of))).hexdigest(),
        size=sum(each.size for each in parts),
        codec=codec,
        type=kind,
        content=content,
        parts=tuple(parts),
        names=names,
    )
