"""A fake of the store as a driver uses it, in memory, for tests."""

from __future__ import annotations

from collections.abc import Iterable

from headrace.spec.artifact import Ref, blobs


class MemoryBlobs:
    """Stores only the sizes of blobs (implements `run.ports.Blobs`). A blob that was never added doesn't exist."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], int] = {}

    def add(self, ref: Ref) -> Ref:
        """Add all blobs of an artifact, and return the artifact."""
        for blob in blobs(ref):
            self.held[blob.digest, blob.nonce or ""] = blob.size
        return ref

    def lose(self, ref: Ref) -> None:
        """Remove all blobs of an artifact."""
        for blob in blobs(ref):
            self.held.pop((blob.digest, blob.nonce or ""), None)

    def size(self, digest: str, nonce: str) -> int | None:
        """Return the size of a blob in bytes, or None if it doesn't exist."""
        return self.held.get((digest, nonce))

    def sizes(self, generations: Iterable[tuple[str, str]]) -> list[int | None]:
        """Return the sizes of many blobs in the given order. A missing blob has the size None."""
        return [self.size(*generation) for generation in generations]
