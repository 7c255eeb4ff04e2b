"""What the record needs of others: a store's housekeeping, and the rule by which runs share a pool."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from headrace.spec.claim import Amount, Claim
from headrace.store.blob import Found, Stray


class Blobs(Protocol):
    """One region's store, as the collector and the checker see it."""

    def size(self, digest: str, nonce: str) -> int | None: ...
    def verify(self, digest: str, nonce: str) -> None: ...
    def blobs(self) -> Iterator[Found]: ...
    def delete(self, digest: str, nonce: str) -> None: ...
    def strays(self) -> Iterator[Stray]: ...
    def discard(self, stray: Stray) -> None: ...


class Spills(Protocol):
    """What the workers of a run spilled while no driver listened."""

    def spills(self, run: str) -> Iterator[tuple[str, bytes]]: ...
    def runs(self) -> list[str]: ...
    def forget(self, run: str) -> None: ...


class Share(Protocol):
    """Says what the run of claim number `asks` may use; claims are ordered by arrival (`place.share.grant`)."""

    def __call__(self, capacity: Amount, claims: Sequence[Claim], asks: int) -> Amount: ...
