"""Making the artifacts that need no store."""

from __future__ import annotations

from blake3 import blake3

from headrace.spec.artifact import Ref

PARTS_LIMIT = 100_000
"""How many artifacts one value may consist of; what is longer is saved whole. Lists inside a list share it."""


def inline(codec: str, kind: str, data: bytes, content: str | None = None) -> Ref:
    """Make the artifact of a small value, which holds its bytes."""
    return Ref(digest=blake3(data).hexdigest(), size=len(data), codec=codec, type=kind, inline=data, content=content)
