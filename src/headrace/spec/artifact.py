"""An artifact: an immutable value, named by the digest of its bytes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Self

import msgspec
from blake3 import blake3
from msgspec.structs import replace

from headrace.spec.noun import Row, stored

_encode = msgspec.json.Encoder().encode

INLINE_LIMIT_BYTES = 4096
"""A value of at most this many bytes is kept in a row of the ledger instead of the store."""

ERASED = "erased"
"""The nonce of a small value whose bytes were in rows of the ledger, until they were erased. No store has such a
generation."""


class Ref(Row, frozen=True):
    """A reference to an artifact: its name, and how to read it.

    `digest` is the BLAKE3 hex digest of the bytes; for a value with parts, it is the digest of the parts' digests.
    `size` is the number of bytes. `codec` names the codec that reads the bytes. `type` is the class of the value,
    `module.Qualname`; for a class of the project, `@` and twelve hex digits of the digest of its code follow. `inline`
    holds the bytes of a small value. For a larger value, `nonce` names the generation in the store. Both are None for a
    value that consists of parts only. `content` is the digest of the value itself. It is given only by codecs that may
    save equal values as different bytes. `parts` are the artifacts of the elements. `names` are the names of the parts,
    if they have names (fields of a record, or keys of a dictionary). `signature` says what a model takes and gives, as
    `spec.signature` encodes it. The signature isn't a part of the value, so `digest` and `identity` don't depend on it.
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
    signature: bytes | None = None

    @property
    def identity(self) -> str:
        """The text that identifies the value in a key: codec, class, and content digest (or digest of the bytes)."""
        return f"{self.codec}:{self.type}:{self.content or self.digest}"


decode_ref = stored(msgspec.msgpack.Decoder(Ref).decode, "a stored artifact")
"""Return the artifact whose reference these bytes encode, or raise `RecordDamaged`."""


class Piece(Row, frozen=True):
    """Which rows of a larger table are in a slice of it: `count` rows from the row `start` on, of `of` rows in all."""

    start: int
    count: int
    of: int

    @property
    def name(self) -> str:
        """The name of the slice's one part, the larger table.

        >>> Piece(start=20, count=3, of=60).name
        '20+3/60'
        """
        return f"{self.start}+{self.count}/{self.of}"

    @classmethod
    def named(cls, names: Sequence[str] | None) -> Self | None:
        """Return the piece that the name of a slice's part says, or None if the names are none of a slice."""
        found = _PIECE.fullmatch(names[0]) if names is not None and len(names) == 1 else None
        if found is None:
            return None
        start, count, of = map(int, found.groups())
        return cls(start=start, count=count, of=of) if start + count <= of else None


_PIECE = re.compile(r"(\d{1,15})\+(\d{1,15})/(\d{1,15})", re.ASCII)


def slice_of(ref: Ref) -> tuple[Ref, Piece] | None:
    """Return the larger table of an artifact that is a slice of it, and which rows the slice has. Return None if the
    artifact isn't a slice."""
    piece = Piece.named(ref.names) if ref.codec == "slice" and ref.parts else None
    return None if piece is None or ref.parts is None else (ref.parts[0], piece)


def fused(refs: Sequence[Ref]) -> list[Ref]:
    """Return artifacts of tables with slices put together that follow each other in one larger table."""
    found = list[Ref]()
    for ref in refs:
        both = _fused(found[-1], ref) if found else None
        if both is None:
            found.append(ref)
        else:
            found[-1] = both
    return found


def _fused(one: Ref, next_: Ref) -> Ref | None:
    """Return both slices as one, or None if they don't follow each other."""
    above, below = slice_of(one), slice_of(next_)
    if above is None or below is None or above[0] != below[0] or above[1].start + above[1].count != below[1].start:
        return None
    piece = replace(above[1], count=above[1].count + below[1].count)
    return gather([above[0]], codec="slice", type=one.type, names=(piece.name,))


def type_of(identity: str) -> str:
    """Return the class that an artifact's `identity` names.

    >>> type_of("text:builtins.str:6a09e667")
    'builtins.str'
    """
    return identity.partition(":")[2].rpartition(":")[0]


def part_names(ref: Ref | None, path: Sequence[int]) -> list[str]:
    """Follow a path of positions into the parts of an artifact, and return the name of each part on the way.

    A part without a name is named by its position. The list ends early if the artifact has no part at a position.
    """
    names: list[str] = []
    for place in path:
        if ref is None or not ref.parts or place >= len(ref.parts):
            break
        names.append(ref.names[place] if ref.names else str(place))
        ref = ref.parts[place]
    return names


def within(ref: Ref) -> list[Ref]:
    """Return an artifact and all its parts at any depth. Deep nesting is safe: there is no recursion."""
    rest = [ref]
    for part in rest:
        rest.extend(part.parts or ())
    return rest


def generations(ref: Ref) -> set[str]:
    """Return the names (`DIGEST.NONCE`) of all generations in the store that an artifact and its parts need."""
    return {f"{blob.digest}.{blob.nonce}" for blob in blobs(ref)}


def blobs(ref: Ref) -> list[Ref]:
    """Return those references, among an artifact and its parts at any depth, whose bytes are in the store."""
    return [part for part in within(ref) if part.nonce is not None]


def gather(
    parts: Sequence[Ref], *, codec: str = "parts", type: str = "builtins.list", names: tuple[str, ...] | None = None
) -> Ref:
    """Return the reference of a value that consists of the given parts, without reading the parts' bytes.

    The digest covers the codecs and classes of the parts too, because `[1]` and `["1"]` have parts with the same bytes.
    If a part has a content digest, the whole value has one too.
    """
    texts = [f"{part.codec}:{part.type}:{part.digest}" for part in parts]
    content = None
    if any(part.content is not None for part in parts):
        content = blake3(_encode((names, [part.identity for part in parts]))).hexdigest()
    return Ref(
        digest=blake3(_encode((names, texts))).hexdigest(),
        size=sum(part.size for part in parts),
        codec=codec,
        type=type,
        content=content,
        parts=tuple(parts),
        names=names,
    )
