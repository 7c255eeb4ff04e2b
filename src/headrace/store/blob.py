"""A blob: one stored copy of some bytes in a store. Such a copy is called a generation."""

from __future__ import annotations

from headrace.spec.noun import Row


class Blob(Row, frozen=True):
    """A blob in a store: the BLAKE3 hex digest of its bytes, the number of its bytes, and the nonce of this
    generation."""

    digest: str
    size: int
    nonce: str


class Found(Row, frozen=True):
    """A blob in a listing of a store. `modified` is when the blob was written, in Unix seconds by the store's clock."""

    digest: str
    nonce: str
    size: int
    modified: float


class Stray(Row, frozen=True):
    """An unfinished file of a store: its writer is still writing, or has died.

    `modified` is when the file was last written, in Unix seconds.
    """

    name: str
    size: int
    modified: float
