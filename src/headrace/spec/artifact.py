"""An artifact: an immutable value, named by the digest of its bytes."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from blake3 import blake3

from headrace.spec.noun import Row

_encode = msgspec.json.Encoder().encode

INLINE_LIMIT_BYTES = 4096
"""A value whose bytes are no more than this lives in the ledger's row instead of the store."""


class Ref(Row, frozen=True):
    """Names an artifact and says how to read it.

    `digest` is the BLAKE3 hex digest of the bytes; of a value with parts, of the digests of its parts. `codec` names
    the codec that reads them. `type` is the class as the artifact records it, `module.Qualname`, followed by `@` and
    twelve hex digits of its code where the class is the project's own. `inline` holds the bytes of a small value;
    otherwise `nonce` names the generation in the store (None: a value with parts only). `content` is the digest of
    the value itself, from a codec whose bytes differ between equal values. `parts` are the elements' own artifacts,
    and `names` their names where they have some (fields, or keys of a dictionary).
    """

    digest: str
    size: int
    codec: str
    type: str
    inline: bytes | None = None
    nonce: str | None = None
    content: str | None = None
    parts: tuple[Ref, ...] | None = None
    names: tuple[str, ...] | None = None

    @property
    def identity(self) -> str:
        """What stands for the value in a key: its content, its codec and its class."""
        return f"{self.codec}:{self.type}:{self.content or self.digest}"


def part_names(ref: Ref | None, path: Sequence[int]) -> list[str]:
    """Return the names of the parts along a path of positions, the position itself where a part has none.

    It ends where the artifact does: of one that isn't there, nothing is known.
    """
    names: list[str] = []
    for place in path:
        if ref is None or not ref.parts or place >= len(ref.parts):
            break
        names.append(ref.names[place] if ref.names else str(place))
        ref = ref.parts[place]
    return names


def within(ref: Ref) -> list[Ref]:
    """Return an artifact and all its parts, without recursion."""
    rest = [ref]
    for each in rest:
        rest.extend(each.parts or ())
    return rest


def generations(ref: Ref) -> set[str]:
    """Name each generation in the store that a ref needs, `DIGEST.NONCE`."""
    return {f"{each.digest}.{each.nonce}" for each in blobs(ref)}


def blobs(ref: Ref) -> list[Ref]:
    """Return each generation in the store that a ref needs, parts included, without recursion."""
    return [each for each in within(ref) if each.nonce is not None]


def gather(
    parts: Sequence[Ref], *, codec: str = "parts", type: str = "builtins.list", names: tuple[str, ...] | None = None
) -> Ref:
    """Name the value that is made of these artifacts, without a look at the values themselves.

    Its digest covers the codecs and classes of the parts too: `[1]` and `["1"]` have the same bytes inside. If a part
    has a content digest, so has the whole.
    """
    told = [f"{each.codec}:{each.type}:{each.digest}" for each in parts]
    content = None
    if any(each.content is not None for each in parts):
        content = blake3(_encode((names, [each.identity for each in parts]))).hexdigest()
    return Ref(
        digest=blake3(_encode((names, told))).hexdigest(),
        size=sum(each.size for each in parts),
        codec=codec,
        type=type,
        content=content,
        parts=tuple(parts),
        names=names,
    )
