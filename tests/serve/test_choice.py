"""Variants get their shares of the keys, always the same keys, and growth moves nobody back."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import UsageError
from headrace.serve.choice import chosen
from headrace.spec.endpoint import Route, Variant

KEYS = [f"customer {number}" for number in range(20_000)]


def route(**shares: float) -> Route:
    variants = [
        Variant(name=name, version=place + 1, share=share) for place, (name, share) in enumerate(shares.items())
    ]
    return Route(endpoint="delays", variants=tuple(variants))


def test_each_variant_gets_its_share_of_the_keys() -> None:
    found = route(production=0.6, canary=0.1, other=0.3)
    counts = Counter(chosen(found, key).name for key in KEYS)
    for variant in found.variants:
        doubt = math.sqrt(len(KEYS) * variant.share * (1 - variant.share))
        assert abs(counts[variant.name] - len(KEYS) * variant.share) < 4 * doubt
    assert [chosen(found, key) for key in KEYS[:100]] == [chosen(found, key) for key in KEYS[:100]]


@given(st.floats(0.0, 0.5), st.floats(0.0, 0.5))
def test_a_share_that_grows_moves_keys_only_to_its_variant(share: float, growth: float) -> None:
    rest, less = (1 - share) / 2, (1 - share - growth) / 2
    before = route(production=rest, other=rest, canary=1 - 2 * rest)
    after = route(production=less, other=less, canary=1 - 2 * less)
    for key in KEYS[:200]:
        was, now = chosen(before, key).name, chosen(after, key).name
        assert now in (was, "canary")


@given(st.text())
def test_a_variant_with_no_share_gets_no_key(key: str) -> None:
    assert chosen(route(canary=0.0, production=1.0), key).name == "production"


def test_two_endpoints_divide_the_same_keys_differently() -> None:
    first = route(production=0.5, canary=0.5)
    second = Route(endpoint="other", variants=first.variants)
    same = sum(chosen(first, key).name == chosen(second, key).name for key in KEYS)
    assert abs(same / len(KEYS) - 0.5) < 0.02


@pytest.mark.parametrize(
    ("shares", "what"),
    [
        ({}, "needs one variant `production`"),
        ({"production": 0.5}, "the shares add up to 0.5"),
        ({"production": 1.5, "canary": -0.5}, "a share is from 0 to 1"),
        ({"production": math.nan}, "a share is from 0 to 1"),
    ],
)
def test_shares_that_make_no_sense_are_refused(shares: dict[str, float], what: str) -> None:
    with pytest.raises(UsageError, match=what):
        route(**shares)


def test_a_name_that_two_variants_have_is_refused() -> None:
    with pytest.raises(UsageError, match="each variant a name of its own"):
        Route(endpoint="delays", variants=(Variant(name="production", version=1, share=0.5),) * 2)
