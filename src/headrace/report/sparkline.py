"""A curve as one line of text."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

BARS = "▁▂▃▄▅▆▇█"


def sparkline(
    values: Sequence[float], *, width: int = 24, low: float | None = None, high: float | None = None, bars: str = BARS
) -> str:
    """Return a curve of the values as one line of at most `width` characters.

    `low` and `high` are the bottom and the top of the scale, by default the least and the greatest value. If several
    values share a character, their mean is drawn. NaN and infinities leave a gap.

    >>> sparkline([1.0, 2.0, 3.0, math.nan, 8.0])
    '▁▂▃ █'
    """
    means = list(_means(values, width))
    finite = [value for value in means if math.isfinite(value)]
    if not finite:
        return ""
    low = min(finite) if low is None else low
    high = max(finite) if high is None else high
    return "".join(_bar(value, low, high, bars) for value in means)


def _means(values: Sequence[float], width: int) -> Iterator[float]:
    count = min(width, len(values))
    for place in range(count):
        part = [
            value
            for value in values[place * len(values) // count : (place + 1) * len(values) // count]
            if math.isfinite(value)
        ]
        yield math.fsum(value / len(part) for value in part) if part else math.nan  # a sum could be too large


def _bar(value: float, low: float, high: float, bars: str) -> str:
    if not math.isfinite(value):
        return " "
    if not high > low:
        return bars[len(bars) // 2]
    share = min(1.0, max(0.0, (value / 2 - low / 2) / (high / 2 - low / 2)))  # halves: a range could be too large
    return bars[min(len(bars) - 1, int(share * len(bars)))]
