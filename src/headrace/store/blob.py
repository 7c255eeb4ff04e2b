"""A blob: one stored copy (generation) of some bytes in a store."""

from __future__ import annotations

from headrace.spec.noun import Row


class Blob(Row, frozen=True):
    """A blob in a store: the BLAKE3 hex digest of its bytes, their number, and the nonce of this generation."""

    digest: str
    size: int
    nonce: str


class Found(Row, frozen=True):
    """A blob in a listing of a store. `modified` is when it was written, in Unix seconds by the store's clock."""

    digest: str
    nonce: str
    size: int
    modified: float


class Stray(Row, frozen=True):
    """An unfinished file of a store: its writer is still at work, or has died.

    `modified` is when it was last written, in Unix seconds.
    """

    name: str
    size: int
    modified: float
