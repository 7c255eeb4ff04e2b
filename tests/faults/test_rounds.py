"""The small form of `make faults`: some rounds on each ground, of each kind of disturbance at least one in the end.

A round that fails is repeated alone: `python -m tests.faults --only SEED --ground GROUND`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.__main__ import play
from tests.faults.grounds import Ground, World
from tests.servers.missing import Missing

SEED = os.environ.get("SEED", "1")
SMALL = {
    "sqlite+folder": [0, 2, 3],
    "sqlite+folder+pools": [0],
    "postgres+s3": [0, 3, 4],
    "postgres+s3+pools": [0],
    "postgres+s3+ray": [0],
}
"""The first rounds on each ground, without those of which the first seed's other rounds have all disturbances, too."""


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    # not among pytest's own folders, of which it removes older ones: the servers run in it
    with tempfile.TemporaryDirectory(prefix="headrace-rounds-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        with World(Path(folder) / "world") as world:
            yield world


@pytest.mark.parametrize(("ground", "number"), [(ground, n) for ground, numbers in SMALL.items() for n in numbers])
def test_whatever_happens_nothing_is_lost(world: World, ground: str, number: int) -> None:
    try:
        (outcome,) = play(world, [Ground.of(ground)], [f"{SEED}-{number}"])
    except Missing as missing:
        pytest.skip(str(missing))
    print(outcome)
    assert outcome.problems == []
