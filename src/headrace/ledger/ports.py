"""What the record needs of others: a store's housekeeping, and the rule by which runs share a pool."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from headrace.spec.claim import Amount, Claim


class Blobs(Protocol):
    """One region's store, where equal generations are made one."""

    def size(self, digest: str, nonce: str) -> int | None: ...
    def verify(self, digest: str, nonce: str) -> None: ...


class Spills(Protocol):
    """What the workers of a run spilled while no driver listened."""

    def spills(self, run: str) -> Iterator[tuple[str, bytes]]: ...


class Share(Protocol):
    """Says what the run of claim number `asks` may use; claims are ordered by arrival (`place.share.grant`)."""

    def __call__(self, capacity: Amount, claims: Sequence[Claim], asks: int) -> Amount: ...
