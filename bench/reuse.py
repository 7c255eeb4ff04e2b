"""1,000 tasks that are all reused, beyond one task reused, where each is the whole command.

There is no floor but the one task; the bar is an absolute one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bench import chain, fan
from bench.beyond import beyond
from bench.command import headrace, project
from bench.table import Row

BAR_S = 0.05


def rows(folder: Path, rounds: int) -> Iterator[Row]:
    """Run a chain and a fan once, and then again and again."""
    for shape, code, width in (
        ("chain", chain.CODE, ["--length", str(chain.LENGTH)]),
        ("fan", fan.CODE, ["--width", str(fan.WIDTH)]),
    ):
        place = project(folder / shape, code)
        one = ["run", f"one.py:{shape}"]
        many = [*one, *width]
        headrace(many, place)
        headrace(one, place)
        yield beyond(
            f"{shape} of 1,000 reused tasks, minus the time of one reused task",
            lambda words=many, place=place: headrace(words, place),
            lambda words=one, place=place: headrace(words, place),
            bar_s=BAR_S,
            rounds=2 * rounds,
            floor_is="the whole command with one reused task; this time is subtracted",
        )
