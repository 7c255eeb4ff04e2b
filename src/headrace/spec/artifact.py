"""An artifact: an immutable value, named by the digest of its bytes."""

from __future__ import annotations

from collections.abc import Sequence

from blake3 import blake3

from headrace.spec.noun import Row

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
    parts: tuple["Ref", ...] | None = None
    names: tuple[str, ...] | None = None

    @property
    def identity(self) -> str:
        """What stands for the value in a key: its content, its codec and its class."""
        return f"{self.codec}:{self.type}:{self.content or self.digest}"


def blobs(ref: Ref) -> list[Ref]:
    """Give each generation in the store that a ref needs, parts included, without recursion."""
    found: list[Ref] = []
    rest = [ref]
    while rest:
        each = rest.pop()
        if each.nonce is not None:
            found.append(each)
        if each.parts:
            rest.extend(each.parts)
    return found


def gather(
    parts: Sequence[Ref], *, codec: str = "list", type: str = "builtins.list", names: Sequence[str] | None = None
) -> Ref:
    """Name the value that is made of these artifacts: its digest covers their identities, their order and their names.

    The machine makes the output of a mapped task this way, without a look at the values.
    """
    hasher = blake3(f"{codec}:{type}:{len(parts)}".encode())
    for part in parts:
        hasher.update(f"\n{part.identity}".encode())
    for name in names or ():
        hasher.update(f"\n{name!r}".encode())
    return Ref(
        digest=hasher.hexdigest(),
        size=sum(part.size for part in parts),
        codec=codec,
        type=type,
        parts=tuple(parts),
        names=None if names is None else tuple(names),
    )
