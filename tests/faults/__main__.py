"""Plays rounds: `python -m tests.faults --rounds 240 --seed 1 --ground postgres+s3`.

A round that failed is repeated alone by its seed: `python -m tests.faults --only 1-17 --ground postgres+s3`.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.faults.grounds import Ground, World
from tests.faults.kinds import KINDS
from tests.faults.rounds import Disturbance, Outcome, Round
from tests.servers.missing import Missing


def main(words: Sequence[str] | None = None) -> int:
    """Play the rounds that are asked for; 1 where one failed."""
    asked = _parser().parse_args(words)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # servers are ended then, too
    grounds = [Ground.of(name) for name in asked.ground.split(",")]
    seeds = asked.only.split(",") if asked.only else [f"{asked.seed}-{number}" for number in range(asked.rounds)]
    outcomes: list[Outcome] = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="headrace-faults-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        try:
            with World(Path(folder) / "world") as world:
                for outcome in play(world, grounds, seeds, asked.kind):
                    outcomes.append(outcome)
                    print(outcome, flush=True)
        except Missing as missing:
            print(missing, file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print("interrupted")
    print(f"\n{table(outcomes)}\n{len(outcomes)} rounds in {time.monotonic() - began:.0f} s")
    return int(any(outcome.problems for outcome in outcomes))


def play(world: World, grounds: Sequence[Ground], seeds: Sequence[str], kinds: str = "") -> Iterator[Outcome]:
    """Play a round for each seed, which draws the ground and up to three disturbances, too."""
    for seed in seeds:
        rng = random.Random(f"kind {seed}")
        ground = rng.choice(grounds)
        known = [kind for kind in KINDS if kind.fits(ground) and (not kinds or kind.name in kinds.split(","))]
        wanted = rng.choice([1, 1, 2, 3])
        chosen: list[type[Disturbance]] = []
        for kind in rng.choices(known, [kind.weight for kind in known], k=wanted):
            if all(kind.uses.isdisjoint(each.uses) for each in chosen):
                chosen.append(kind)
        with world.place(ground) as place:
            yield Round(world, place, [kind() for kind in chosen], seed).play()


def table(outcomes: Sequence[Outcome]) -> str:
    """Return a table by disturbance, in Markdown. A round with several of them counts for each."""
    by_kind: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        for name in [*sorted(set(outcome.name.split(" + "))), "**all**"]:
            by_kind[str(outcome.ground), name].append(outcome)
    lines = [
        "| ground | disturbance | rounds | met a living driver | failed | mean | longest |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for (ground, name), found in sorted(
        by_kind.items(), key=lambda each: (each[0][0], each[0][1] == "**all**", each[0])
    ):
        times = [outcome.seconds for outcome in found]
        failed = sum(bool(outcome.problems) for outcome in found)
        hits = sum(outcome.hit for outcome in found)
        mean, longest = sum(times) / len(times), max(times)
        lines.append(f"| {ground} | {name} | {len(found)} | {hits} | {failed} | {mean:.1f} s | {longest:.1f} s |")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="how many")
    parser.add_argument("--seed", default="1", help="the first half of each round's seed; its number is the second")
    parser.add_argument("--ground", default="sqlite+folder", help="such as postgres+s3+ray; more by commas")
    parser.add_argument("--kind", default="", help="disturbances by name, by commas; all when not given")
    parser.add_argument("--only", default="", help="seeds of single rounds, by commas")
    return parser


if __name__ == "__main__":
    sys.exit(main())
