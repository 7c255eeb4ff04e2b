"""Measuring in turns: the machine's mood then goes into each side alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median


def in_turns(rounds: int, sides: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Measure each side once a round, one after the other; give each side's numbers."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, measure in sides.items():
            found[name].append(measure())
    return found


def medians(rounds: int, sides: Mapping[str, Callable[[], float]]) -> dict[str, float]:
    """Give the median of each side, measured in turns."""
    return {name: median(numbers) for name, numbers in in_turns(rounds, sides).items()}
