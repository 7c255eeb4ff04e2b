"""Shares and means, with their 95% intervals."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from headrace.spec.noun import Noun

Z = 1.959963984540054
RESAMPLES = 2000


class Share(Noun, frozen=True):
    """A number and the ends of its 95% interval."""

    value: float
    low: float
    high: float


def share(hits: int, count: int) -> Share | None:
    """Return a share with Wilson's interval (1927), which is valid for small and extreme counts; None if `count` is 0.

    >>> share(8, 10)
    Share(value=0.8, low=0.49..., high=0.94...)
    """
    if not count:
        return None
    value = hits / count
    middle = (value + Z * Z / (2 * count)) / (1 + Z * Z / count)
    half = Z * sqrt(value * (1 - value) / count + Z * Z / (4 * count * count)) / (1 + Z * Z / count)
    return Share(value=value, low=max(middle - half, 0.0), high=min(middle + half, 1.0))


def mean_with_interval(values: np.ndarray[Any, np.dtype[np.float64]], *, seed: int = 0) -> Share:
    """Return a mean with its percentile bootstrap interval.

    This is fast if there are few different values, such as 0 for wrong and 1 for right, or the differences of such
    values. How often a resample draws each value follows a multinomial distribution, so a resample takes one random
    number per different value.
    """
    different, counts = np.unique(values, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(len(values), counts / len(values), size=RESAMPLES)
    low, high = np.quantile(drawn @ different / len(values), [0.025, 0.975])
    return Share(value=float(values.mean()), low=float(low), high=float(high))
