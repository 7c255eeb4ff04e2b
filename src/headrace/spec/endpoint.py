"""Endpoints: which versions of a model answer, in which shares, and the parts of the prediction log."""

from __future__ import annotations

import math

from headrace.errors import UsageError
from headrace.spec.artifact import Ref
from headrace.spec.noun import Document, Noun

MAIN = "production"
"""The name of the variant that gets what no other variant gets."""


class Variant(Noun, frozen=True):
    """A version of a model that answers a share of the requests. `version` is its number in the registry; `share` is
    from 0 to 1."""

    name: str
    version: int
    share: float


class Route(Document, frozen=True):
    """Where the requests of an endpoint go. The shares of the variants add up to 1.

    `shadow` is a version that gets a copy of each request, and whose answers are kept but never returned.
    """

    endpoint: str
    variants: tuple[Variant, ...]
    shadow: int | None = None

    def __post_init__(self) -> None:
        names = [variant.name for variant in self.variants]
        if not names or len(set(names)) < len(names):
            raise UsageError(
                f"endpoint `{self.endpoint}`: each variant needs a name of its own", hint="name a variant once"
            )
        if any(not 0 <= variant.share <= 1 for variant in self.variants):
            raise UsageError(f"endpoint `{self.endpoint}`: a share is from 0 to 1", hint="0.1 is a tenth")
        total = math.fsum(variant.share for variant in self.variants)
        if abs(total - 1) > 1e-9:
            raise UsageError(
                f"endpoint `{self.endpoint}`: the shares add up to {total:g}, not to 1",
                hint=f"leave out the share of `{MAIN}`: it gets what no other variant gets",
            )

    def variant(self, name: str) -> Variant | None:
        """Return the variant of this name, or None."""
        return next((variant for variant in self.variants if variant.name == name), None)


class Part(Noun, frozen=True):
    """A part of an endpoint's log: `count` predictions that one writer logged into one segment, as the table `out` in
    the store. `first` and `last` are the times of the first and the last request, in Unix seconds.

    Endpoint, writer and segment together identify a part.
    """

    endpoint: str
    writer: str
    segment: int
    out: Ref
    count: int
    first: float
    last: float
