"""The ports through which the ledger uses other packages: a region's store, workers' spilled reports, and the sharing
rule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from headrace.spec.claim import Amount, Claim


class Blobs(Protocol):
    """One region's store, with only the methods that are needed to merge generations with equal bytes."""

    def size(self, digest: str, nonce: str) -> int | None: ...
    def verify(self, digest: str, nonce: str) -> None: ...


class Spills(Protocol):
    """The reports that a run's workers saved while no driver listened."""

    def spills(self, run: str) -> Iterator[tuple[str, bytes]]: ...


class Share(Protocol):
    """The rule that says how much of a pool one run may use. `asks` is the index of that run's claim in `claims`, which
    are in the order of their arrival (`place.share.grant`)."""

    def __call__(self, capacity: Amount, claims: Sequence[Claim], asks: int) -> Amount: ...
