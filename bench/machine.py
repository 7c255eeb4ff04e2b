"""Machine and planner on 100,000 simulated tasks: a fan, a mapped task, and a chain of 20,000; no ledger, no workers.

Timed are the machine's steps, its launches with the crew that they draw workers from (10,000 at once), and the planner.
The floor is to make the events, and to have a loop look at each. Each graph is run in a process of its own, whose peak
of memory is held to 1 GiB: `python -m bench.machine KIND SIZE` is such a process.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from statistics import median

import msgspec
from msgspec import Struct

from bench.command import took
from bench.table import Row, amount
from headrace.plan.planner import Planner
from headrace.plan.pools import PlannedPools
from headrace.plan.reuse import Before
from headrace.plan.times import Took
from headrace.run.driver.crew import Crew
from headrace.run.events import Closed, Event, Launched, Opened, Succeeded, Taken
from headrace.run.machine.commands import Command, Finish, Missed, Probe
from headrace.run.machine.machine import Machine
from headrace.run.ports import Grant
from headrace.spec.artifact import Ref
from headrace.spec.fleet import Pool
from headrace.spec.policy import Policy
from headrace.testing.graphs import BUNDLE, Sketch, chain, fan, number, spread

ROOT = Path(__file__).resolve().parent.parent
GRAPHS: dict[str, Callable[[int], Sketch]] = {"fan": fan, "map": spread, "chain": chain}
SIZES = {"fan": 100_000, "map": 100_000, "chain": 20_000}
MOST_ROUNDS = 5
MACHINE_S, WITH_PLAN_S, MEMORY_MIB, LINEAR = 2.0, 10.0, 1024.0, 1.5
POOL = Pool(name="simulated", cpu=10_000, memory_gib=10_000)


class Figures(Struct, frozen=True):
    """What one process found: seconds of cpu that machine, planner and floor took, and the peak of memory."""

    machine_s: float
    plan_s: float
    floor_s: float
    peak_mib: float


class Nothing:
    """A history that knows nothing (`plan.planner.History`)."""

    def results(self, keys: Sequence[str]) -> Mapping[str, tuple[Ref, str]]:  # noqa: ARG002
        return {}

    def runs(self) -> Sequence[str]:
        return ()

    def before(self, task: str) -> Before | None:  # noqa: ARG002
        return None

    def output(self, task: str, run: str) -> Ref | None:  # noqa: ARG002
        return None

    def made_of(self, task: str, code: str, *, is_map: bool) -> Sequence[bytes] | None:  # noqa: ARG002
        return ()

    def took(self, task: str, stage: str) -> Took | None:  # noqa: ARG002
        return None

    def width(self, task: str) -> int | None:  # noqa: ARG002
        return None


def rows(folder: Path, rounds: int) -> Iterator[Row]:
    """Measure each graph, large and small in turns."""
    rounds = min(rounds, MOST_ROUNDS)
    for kind, size in SIZES.items():
        large, small = [], []
        for _ in range(rounds):
            large.append(_apart(folder, kind, size))
            small.append(_apart(folder, kind, size // 10))
        yield from _of(kind, size, large, small)


def _of(kind: str, size: int, large: Sequence[Figures], small: Sequence[Figures]) -> Iterator[Row]:
    machine_s = median(each.machine_s for each in large)
    plan_s = median(each.plan_s for each in large)
    floor_s = median(each.floor_s for each in large)
    what = f"{kind} of {size:,}"
    each_large, each_small = machine_s / size, median(each.machine_s for each in small) / (size // 10)
    yield Row(
        what=f"state machine, {what}",
        measured=machine_s,
        floor=floor_s,
        bar=MACHINE_S,
        floor_is="making the events, and a loop that looks at each",
        note=f"seconds of cpu; {each_large * 1e6:.1f} us a task",
    )
    yield Row(
        what=f"state machine and planner, {what}",
        measured=machine_s + plan_s,
        bar=WITH_PLAN_S,
        note=f"the planner took {amount(plan_s, 's')}",
    )
    yield Row(
        what=f"state machine, {what}: time per task",
        measured=each_large,
        floor=each_small,
        bar=LINEAR * each_small,
        bar_is=f"{LINEAR:g} x a task of {size // 10:,}",
        floor_is=f"a task of {size // 10:,}",
    )
    yield Row(
        what=f"state machine and planner, {what}: peak memory",
        measured=max(each.peak_mib for each in large),
        bar=MEMORY_MIB,
        unit="MiB",
    )


def _apart(folder: Path, kind: str, size: int) -> Figures:
    """Run a graph in a process of its own."""
    out = folder / "figures.json"
    code = took([sys.executable, "-m", "bench.machine", kind, str(size)], ROOT, out).code
    if code:
        raise RuntimeError(f"bench.machine {kind} {size}: exit code {code}\n{out.read_text()[-2000:]}")
    return msgspec.json.decode(out.read_bytes(), type=Figures)


class Stopwatch:
    """Adds up seconds of cpu."""

    def __init__(self) -> None:
        self.total_s = 0.0
        self._began = 0.0

    def __enter__(self) -> None:
        self._began = time.process_time()

    def __exit__(self, *_: object) -> None:
        self.total_s += time.process_time() - self._began


class Loop:
    """Drives a machine as a driver would that has neither ledger nor workers; ticks are timed, not single steps."""

    def __init__(self) -> None:
        self.machine = Machine()
        self.watch = Stopwatch()
        self.floor = Stopwatch()
        self._crew = Crew(POOL, count(1))
        self._crew.grant = Grant(pool=POOL.name, cpu=POOL.cpu, memory_gib=POOL.memory_gib, gpus=0, expires=0)
        self._out = number(1)

    def run(self, sketch: Sketch) -> None:
        """Run a graph to its end."""
        commands = self._step([Opened("bench", (), BUNDLE, 0.0), Taken(1, "bench", 0.0), *sketch.events()])
        while self.machine.closed is None:
            commands = self._answer(commands)
            with self.watch:
                launched = [each for each in self.machine.launches([self._crew], 0.0) if isinstance(each, Launched)]
            self._step(launched)
            self.machine.changed.clear()
            commands = self._finish(launched)

    def _answer(self, commands: Sequence[Command]) -> Sequence[Command]:
        found: list[Event | Missed] = []
        with self.floor:
            for command in commands:
                if isinstance(command, Probe):
                    found.append(Missed(command.task, f"key of {command.task}", b"", "no earlier result"))
                elif isinstance(command, Finish):
                    found.append(Closed(command.state, 0.0, command.why))
        return self._step(found)

    def _finish(self, launched: Sequence[Launched]) -> Sequence[Command]:
        with self.watch:
            for each in launched:
                self._crew.finished(each.workers[0], each.task, each.attempt, "stage", None)
        with self.floor:
            done: list[Event | Missed] = [
                Succeeded(each.task, each.attempt, self._out, started=0.0, seconds=1.0) for each in launched
            ]
        return self._step(done)

    def _step(self, events: Sequence[Event | Missed]) -> Sequence[Command]:
        commands: list[Command] = []
        with self.watch:
            for event in events:
                commands += self.machine.step(event)
        with self.floor:
            for event in events:
                _look_at(event)
        return commands


def _look_at(event: Event | Missed) -> bool:
    match event:
        case Succeeded() | Launched() | Missed():
            return True
        case _:
            return False


def figures(kind: str, size: int) -> Figures:
    """Run and plan a graph, here."""
    sketch = GRAPHS[kind](size)
    stages = {stage.function: stage for stage in sketch.stages.values()}
    nodes = list(sketch.nodes)
    loop = Loop()
    loop.run(sketch)
    planning = Stopwatch()
    with planning:
        planner = Planner(
            stages=stages,
            policy=Policy(),
            pools=PlannedPools([POOL], {}, {}),
            history=Nothing(),
            changed_code=lambda *_: (),
        )
        planner.plan("bench", nodes)
    assert loop.machine.closed is not None
    assert loop.machine.closed.state == "succeeded"
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Figures(loop.watch.total_s, planning.total_s, loop.floor.total_s, peak_mib)


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(figures(sys.argv[1], int(sys.argv[2]))))
