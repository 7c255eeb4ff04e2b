"""On a Ray cluster: a fan of 1,000 integer tasks beside as many bare Ray tasks, and a table of 400 MB handed over.

The cluster is warm, and the same for both sides. `(T(1000) - T(2)) / 998` is taken from whole commands: a fan of two
begins as many workers as there are cpus. The floor is `ray.get` of 1,000 `@ray.remote` calls at once, by a process that
has connected and made some before.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from statistics import median

import msgspec

from bench import fan, handoff
from bench.command import Took, headrace, project, spent
from bench.table import Row, amount
from bench.turns import in_turns
from tests.servers.ray import Ray

WIDTH, NARROW = 1000, 2
BEYOND_S = 0.0004
HANDOFF_BAR = 1.5
MOST_ROUNDS = 5


def rows(folder: Path, rounds: int) -> Iterator[Row]:
    """Measure on a cluster of one node with two cpus."""
    server = Ray(cpus=(2,))
    try:
        with _with(server.credentials):
            yield from _fan(project(folder / "fan", fan.CODE), server, rounds)
            yield from _handoff(project(folder / "handoff", handoff.CODE), server, min(rounds, MOST_ROUNDS))
    finally:
        server.stop()


def _fan(place: Path, server: Ray, rounds: int) -> Iterator[Row]:
    _use(place, server)
    salts = count()

    def run(width: int) -> Took:
        return headrace(["run", "one.py:fan", "--salt", str(next(salts)), "--width", str(width)], place)

    def bare() -> float:
        words = [sys.executable, "-m", "bench.ray", server.address]
        return float(subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()[-1])

    run(NARROW)
    turns = in_turns(rounds, {"wide": lambda: run(WIDTH), "narrow": lambda: run(NARROW), "bare": bare})
    wide, narrow, floor = spent(turns["wide"]), spent(turns["narrow"]), median(turns["bare"])
    yield Row(
        what="Ray: one task in a fan of 1,000",
        measured=(wide.wall_s - narrow.wall_s) / (WIDTH - NARROW),
        floor=floor,
        bar=floor + BEYOND_S,
        bar_is=f"the floor + {amount(BEYOND_S, 's')}",
        floor_is="a bare Ray task, of 1,000 at once",
        note=f"the runs take {amount(wide.wall_s, 's')} and {amount(narrow.wall_s, 's')}",
    )


def _handoff(place: Path, server: Ray, rounds: int) -> Iterator[Row]:
    _use(place, server)
    kept = place.parent / "kept"
    kept.mkdir()
    seeds = count()

    def hand_over() -> float:
        out = place / "run.json"
        headrace(["run", "one.py:handoff", "--seed", str(next(seeds)), "--json"], place, out=out)
        tasks = {task["name"]: task for task in msgspec.json.decode(out.read_bytes())["tasks"]}
        return float(tasks["make"]["save_s"] + tasks["total"]["load_s"])

    def write() -> float:
        words = [sys.executable, "-m", "bench.handoff", str(kept / "table"), str(next(seeds))]
        return float(subprocess.run(words, check=True, capture_output=True, text=True).stdout)

    hand_over()
    turns = in_turns(rounds, {"hand over": hand_over, "write": write})
    floor = median(turns["write"])
    yield Row(
        what="Ray: 400 MB Arrow table passed to the next stage on the same node",
        measured=median(turns["hand over"]),
        floor=floor,
        bar=HANDOFF_BAR * floor,
        bar_is=f"{HANDOFF_BAR:g} x the floor",
        floor_is="to write, digest and sync the same table, one after the other, in a process of its own",
    )


@contextmanager
def _with(variables: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _use(place: Path, server: Ray) -> None:
    toml = place / "headrace.toml"
    pool = f'[pool.ray]\nbackend = "ray"\naddress = "{server.address}"\ncpu = 2\nmemory_gib = 8\n'
    toml.write_text(f"{toml.read_text()}\n{pool}")


def main() -> None:
    """Be the floor's process: print the seconds of a bare task."""
    import ray  # noqa: PLC0415  the benchmark itself does without

    ray.init(sys.argv[1], log_to_driver=False, logging_level="ERROR")

    @ray.remote
    def work(n: int, salt: int) -> int:
        return n + salt

    ray.get([work.remote(n, 0) for n in range(100)])
    began = time.perf_counter()
    ray.get([work.remote(n, 1) for n in range(WIDTH)])
    print((time.perf_counter() - began) / WIDTH)


if __name__ == "__main__":
    main()
