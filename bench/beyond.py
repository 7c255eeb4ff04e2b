"""What one command takes beyond another that differs in one thing only."""

from __future__ import annotations

from collections.abc import Callable

from bench.command import Took, spent
from bench.table import Row, amount
from bench.turns import in_turns


def beyond(
    what: str, more: Callable[[], Took], less: Callable[[], Took], *, bar_s: float, rounds: int, floor_is: str
) -> Row:
    """Measure both in turns; what is measured is the difference of their medians, and the floor is the lesser."""
    turns = in_turns(rounds, {"more": more, "less": less})
    most, least = spent(turns["more"]), spent(turns["less"])
    return Row(
        what=what,
        measured=most.wall_s - least.wall_s,
        floor=least.wall_s,
        bar=bar_s,
        floor_is=floor_is,
        note=f"{amount(most.cpu_s - least.cpu_s, 's')} more CPU time than the subtracted command, in all processes",
    )
