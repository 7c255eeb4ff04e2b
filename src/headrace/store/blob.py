"""A blob: one generation of some bytes in a store."""

from __future__ import annotations

from headrace.spec.noun import Row


class Blob(Row, frozen=True):
    """Some bytes that a store keeps: their BLAKE3 hex digest, how many, and the nonce of this generation."""

    digest: str
    size: int
    nonce: str


class Found(Row, frozen=True):
    """A blob as a listing of the store gives it; `modified` is in seconds since the epoch, by the store's clock."""

    digest: str
    nonce: str
    size: int
    modified: float


class Stray(Row, frozen=True):
    """A file that was being written aside and never kept; its writer is at work, or died."""

    name: str
    size: int
    modified: float
