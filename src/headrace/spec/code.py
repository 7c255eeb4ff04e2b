"""The code part of a key: what a stage's function reaches, each with a digest."""

from __future__ import annotations

from typing import Literal

from blake3 import blake3

from headrace.spec.noun import Row

PartKind = Literal["function", "class", "constant", "module", "distribution", "bundle", "file", "environment"]


class Part(Row, frozen=True):
    """One thing that a stage's function reaches.

    `name` is dotted (`pipelines.clean`, `numpy`). `where` is `path:first-last` within the bundle, where it has source.
    `text` is a short form for people: a constant's value, a distribution's version.
    """

    name: str
    kind: PartKind
    digest: str
    where: str | None = None
    text: str | None = None


class Code(Row, frozen=True):
    """All that a stage's function reaches, as one digest and as parts to explain it by.

    `notes` say in words where the digest is coarser than the function (a computed name widened it). `uncached` is the
    reason why outputs of this code may not be reused at all, or None.
    """

    digest: str
    parts: tuple[Part, ...] = ()
    notes: tuple[str, ...] = ()
    uncached: str | None = None


NAMED = "__headrace_named__"
"""The attribute of a function that `@stage(name=...)` gave a name, so that its own may change."""


def digest(*texts: str, size: int = 16) -> str:
    """Return the hex digest of texts; where one ends and the next begins is part of it."""
    pieces = []
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        pieces += [b"%d:" % len(data), data]
    return blake3(b"".join(pieces)).hexdigest(length=size)
