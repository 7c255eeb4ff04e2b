"""The store as a driver sees it, in memory, for tests."""

from __future__ import annotations

from headrace.spec.artifact import Ref, blobs


class MemoryBlobs:
    """Knows the sizes of blobs (`run.ports.Blobs`). What was never added is not there."""

    def __init__(self) -> None:
        self.sizes: dict[tuple[str, str], int] = {}

    def add(self, ref: Ref) -> Ref:
        """Have all blobs of an artifact be there."""
        for each in blobs(ref):
            self.sizes[each.digest, each.nonce or ""] = each.size
        return ref

    def lose(self, ref: Ref) -> None:
        """Have them be gone."""
        for each in blobs(ref):
            self.sizes.pop((each.digest, each.nonce or ""), None)

    def size(self, digest: str, nonce: str) -> int | None:
        """Give the size of a blob in bytes, or None if it isn't there."""
        return self.sizes.get((digest, nonce))
