"""Measuring in turns: the machine's mood then goes into each side alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def in_turns(rounds: int, sides: Mapping[str, Callable[[], Any]]) -> dict[str, list[Any]]:
    """Measure each side once a round, one after the other; return what each side measured."""
    found: dict[str, list[Any]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, measure in sides.items():
            found[name].append(measure())
    return found
