"""Fewer points of a curve, with nothing lost that could be seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

MAX_POINTS = 800
Number = TypeVar("Number", int, float)


def kept(values: Sequence[float], limit: int = MAX_POINTS) -> Sequence[int]:
    """Give the places of at most `limit` values: of each group of neighbours the least and the greatest, so that no
    spike is lost, and the first and the last of all. What is no number is passed over where there are others.

    >>> kept([1.0, 2.0, 9.0, 2.0, 1.0, 0.0, 1.0, 1.0], 6)
    [0, 2, 4, 5, 7]
    """
    if len(values) <= limit:
        return range(len(values))
    groups = max(1, limit // 2 - 1)
    places = {0, len(values) - 1}
    for group in range(groups):
        span = range(group * len(values) // groups, (group + 1) * len(values) // groups)
        numbers = [place for place in span if not math.isnan(values[place])] or span[:1]
        places.add(min(numbers, key=values.__getitem__))
        places.add(max(numbers, key=values.__getitem__))
    return sorted(places)
