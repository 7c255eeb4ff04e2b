"""Which variant of an endpoint answers a request. The choice follows from route and key alone, so that all processes
that serve an endpoint agree without asking each other."""

from __future__ import annotations

import math
from hashlib import blake2b

from headrace.spec.endpoint import Route, Variant


def chosen(route: Route, key: str) -> Variant:
    """Return the variant that answers requests with this key.

    Each variant gets its share of the keys. If a variant's share grows and the others keep their shares of the rest,
    keys only move to this variant: nobody who had it goes back to another one. This is weighted rendezvous hashing
    (Schindelhauer & Schomaker 2005, the logarithmic method): the variant with the least `-log(u) / share` gets the key,
    where `u` is a uniform number from the hash of endpoint, variant and key.
    """
    if len(route.variants) == 1:
        return route.variants[0]
    return min(
        (variant for variant in route.variants if variant.share), key=lambda variant: _distance(route, variant, key)
    )


def _distance(route: Route, variant: Variant, key: str) -> float:
    text = f"{route.endpoint}\0{variant.name}\0{key}".encode("utf-8", "surrogatepass")
    number = int.from_bytes(blake2b(text, digest_size=8).digest(), "big")
    return -math.log((number + 1) / ((1 << 64) + 1)) / variant.share
