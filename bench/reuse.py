"""1,000 tasks that are all reused, beyond one task reused, where each is the whole command.

There is no floor but the one task; the bar is an absolute one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bench import chain, fan
from bench.command import headrace, project
from bench.table import Row
from bench.turns import medians

BAR_S = 0.05


def rows(folder: Path, rounds: int) -> Iterator[Row]:
    """Run a chain and a fan once, and then again and again."""
    many = {
        "chain": ["one.py:chain", "--length", str(chain.LENGTH)],
        "fan": ["one.py:fan", "--width", str(fan.WIDTH)],
    }
    one = {"chain": ["one.py:chain"], "fan": ["one.py:fan"]}
    for shape, code in {"chain": chain.CODE, "fan": fan.CODE}.items():
        place = project(folder / shape, code)
        headrace(["run", *many[shape]], place)
        headrace(["run", *one[shape]], place)
        sides = {
            "many": lambda shape=shape, place=place: headrace(["run", *many[shape]], place).wall_s,
            "one": lambda shape=shape, place=place: headrace(["run", *one[shape]], place).wall_s,
        }
        found = medians(rounds, sides)
        yield Row(
            what=f"{shape} of 1,000 reused, beyond one reused",
            measured=found["many"] - found["one"],
            floor=found["one"],
            bar=BAR_S,
            floor_is="the whole command with one task reused, which is taken off",
        )
