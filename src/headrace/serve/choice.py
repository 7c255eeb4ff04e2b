"""Chooses the variant of an endpoint that answers for a key. The choice depends only on the route and the key. So all
processes that serve an endpoint make the same choice, without any messages between them."""

from __future__ import annotations

import math
import secrets
from collections import defaultdict
from collections.abc import Mapping, Sequence
from hashlib import blake2b

from headrace.spec.endpoint import Route, Variant

Places = Mapping[str, Sequence[int] | None]
"""For each variant that answers a request, by name: the positions of the rows for which it answers, or None if it
answers for all rows."""


def chosen(route: Route, key: str) -> Variant:
    """Return the variant that answers requests with this key.

    Each variant gets its share of the keys. If a variant's share grows, and the other variants divide the rest as
    before, keys only move from the others to this variant. No key moves away from it. This is weighted rendezvous
    hashing (Schindelhauer & Schomaker 2005, the logarithmic method): the variant with the least `-log(u) / share` gets
    the key, where `u` is a uniform number from the hash of endpoint, variant and key.
    """
    if len(route.variants) == 1:
        return route.variants[0]
    return min(
        (variant for variant in route.variants if variant.share), key=lambda variant: _distance(route, variant, key)
    )


def places_of(route: Route, keys: Sequence[str] | None) -> Places:
    """Return which variants answer for rows with these keys. If `keys` is None, one variant is chosen at random for all
    rows. If `keys` is empty, because the rows can't be read, the main variant is chosen."""
    if len(route.variants) == 1:
        return {route.variants[0].name: None}
    if keys is None:
        return {chosen(route, secrets.token_hex(8)).name: None}
    names = {key: chosen(route, key).name for key in dict.fromkeys(keys)}
    found = set(names.values()) or {route.main.name}
    if len(found) == 1:
        return dict.fromkeys(found)
    places: dict[str, list[int]] = defaultdict(list)
    for place, key in enumerate(keys):
        places[names[key]].append(place)
    return places


def _distance(route: Route, variant: Variant, key: str) -> float:
    text = f"{route.endpoint}\0{variant.name}\0{key}".encode("utf-8", "surrogatepass")
    number = int.from_bytes(blake2b(text, digest_size=8).digest(), "big")
    return -math.log((number + 1) / ((1 << 64) + 1)) / variant.share
