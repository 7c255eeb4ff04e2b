"""The code part of a key: each function, class, constant or library that a stage's function reaches, with a digest."""

from __future__ import annotations

from typing import Literal

from blake3 import blake3

from headrace.spec.noun import Row

PartKind = Literal["function", "class", "constant", "module", "distribution", "bundle", "file", "environment"]


class Part(Row, frozen=True):
    """One function, class, constant, module, library or file that a stage's function reaches.

    `name` is dotted (`pipelines.clean`, `numpy`). `where` gives the lines of the source within the bundle as
    `path:first-last`, or is None if there is no source. For code of a notebook, `path` is the file name of its cell.
    `text` is a short form for people, such as the value of a constant or the version of a distribution.
    """

    name: str
    kind: PartKind
    digest: str
    where: str | None = None
    text: str | None = None


class Code(Row, frozen=True):
    """All code that a stage's function reaches: one digest, and the parts that explain the digest.

    `notes` say where the digest covers more than the function reaches, for example because a name is computed when the
    code runs. `uncached` is the reason why outputs of this code must never be reused, or None if they may be reused.
    """

    digest: str
    parts: tuple[Part, ...] = ()
    notes: tuple[str, ...] = ()
    uncached: str | None = None


NAMED = "__headrace_named__"
"""The attribute that `@stage(name=...)` sets on a function. Such a function can be renamed without changing keys,
because its stage has a name of its own."""


def digest(*texts: str, size: int = 16) -> str:
    """Return a digest of `size` bytes of the texts, in hex. The length of each text also goes into the digest."""
    pieces = []
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        pieces += [b"%d:" % len(data), data]
    return blake3(b"".join(pieces)).hexdigest(length=size)
