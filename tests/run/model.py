"""A driver without a backend: whoever holds it decides what happens next, and the machine is checked at each step."""

from __future__ import annotations

import math
from array import array

from msgspec.structs import asdict, replace

from headrace.backends.simulated.backend import SimulatedBackend
from headrace.backends.simulated.cluster import Cluster
from headrace.run.driver.prober import Prober
from headrace.run.driver.regions import Elsewhere
from headrace.run.driver.sites import Ground, Sites
from headrace.run.events import (
    Approved,
    Asked,
    Cancelled,
    Checkpointed,
    Closed,
    Deferred,
    Event,
    Expired,
    Failed,
    Lacked,
    Launched,
    Logged,
    Moved,
    Opened,
    Points,
    Recalled,
    Rejected,
    Renewed,
    Reused,
    Submitted,
    Succeeded,
    Taken,
    Traced,
    TraceFailed,
    Woke,
    decode_event,
    encode_event,
)
from headrace.run.machine.commands import Answer, Ask, Awaited, Command, Finish, Missed, Probe, Stop
from headrace.run.machine.invariants import check
from headrace.run.machine.machine import Machine
from headrace.run.machine.task import Task
from headrace.run.ports import Batch, Grant, ResultRow, RunRow
from headrace.run.projection import result_of
from headrace.spec.address import StoreAddress
from headrace.spec.artifact import Ref, blobs
from headrace.spec.failure import Failure, FailureKind
from headrace.spec.fleet import Link, Pool
from headrace.spec.graph import constants
from headrace.spec.policy import Policy
from headrace.testing.blobs import MemoryBlobs
from headrace.testing.graphs import BUNDLE, number
from headrace.testing.ledger import MemoryLedger
from tests.run.bed import gives
from tests.run.scenes import Scene, output

POOL = Pool(name="here", cpu=4, memory_gib=4, nodes=2, region="", usd_per_hour=3600)
REGIONS = ("", "far")
"""Where a run with two regions may go on: it begins in the first."""
PRICE = {"bits_per_s": 1e9, "usd_per_gb": 0.02}
ROW = RunRow(pipeline="scene", state="running", created=0.0, bundle="")


class Model:
    """One run of a scene. `done` is what has succeeded, by name and key; `stopping` are attempts told to stop; `usd` is
    what its attempts cost.

    Checking costs what the run is large, so a run of thousands is not `checked`. With `regions`, there is a second
    one to go on in, and what plain stages give are blobs, which lie in the `stores` of the regions. A run that comes
    `after` another begins in the second region, and may reuse what that has made in the first.
    """

    def __init__(
        self,
        scene: Scene,
        policy: Policy | None = None,
        *,
        checked: bool = True,
        regions: bool = False,
        after: Model | None = None,
    ) -> None:
        self.scene = scene
        self.region = REGIONS[0] if after is None else REGIONS[1]
        self.stores = {region: MemoryBlobs() for region in REGIONS} if regions else {self.region: MemoryBlobs()}
        if after is not None:
            self.stores = after.stores
        self._checked = checked
        self.now = 1000.0
        self.ledger = MemoryLedger(POOL) if after is None else after.ledger
        self.run = self.ledger.open("scene" if after is None else "again")
        self.stored: list[bytes] = []
        self.done: set[tuple[str, str]] = set()
        self.stopping: set[tuple[str, int]] = set()
        self.usd = 0.0
        self.checkpoints: dict[tuple[str, str | None], Ref] = {}
        self._begin(Machine())
        self.absorb(Opened("scene", (), BUNDLE, self.now, policy=policy or Policy()))
        self.absorb(Taken(1, "model", self.now, region=self.region))

    @property
    def here(self) -> MemoryBlobs:
        """The store of the region that the run is in."""
        return self.stores[self.region]

    def _output(self, function: str, key: str) -> Ref:
        """Return what a stage gives under a key, and have it lie here; where there are regions, a blob if need be."""
        out = output(function, key)
        if len(self.stores) == 1 or out.inline is None or not function.partition(":")[2].startswith("plain"):
            return out
        return self.here.add(
            Ref(digest=key, size=1 + int(key[:4], 16), codec="raw", type="builtins.int", nonce=key[:8])
        )

    def _begin(self, machine: Machine) -> None:
        self.machine = machine
        pool = replace(POOL, region=self.region)
        elsewhere = [
            Elsewhere(region, store, StoreAddress(url=region), Link(source=region, target=self.region, **PRICE))
            for region, store in self.stores.items()
            if region != self.region
        ]
        backend = SimulatedBackend(pool, Cluster(gives))
        sites = Sites([Ground(backend=backend, store=self.here, elsewhere=elsewhere)], machine.last_worker)
        self.prober = Prober(machine, self.run, sites, lambda *_: ())
        self.crew = sites.first.crew
        self.crew.grant = Grant(pool=POOL.name, cpu=POOL.cpu, memory_gib=POOL.memory_gib, gpus=0, expires=0)
        self.place = self.seen = 0
        self.question: int | None = None

    # -- the drive loop's part -----------------------------------------------------------------------------------

    def absorb(self, event: Event) -> None:
        """Store an event, step the machine, do what it says, and check it."""
        self.stored.append(encode_event(event))
        self._spend(event)
        self._obey(self.machine.step(event))
        if self._checked:
            check(self.machine)
            self._check_costs()

    def _check_costs(self) -> None:
        """Hold what the run's tasks cost against what its attempts did: nothing is counted twice, or forgotten."""
        leaves = [task for task in self.machine.tasks.values() if task.elements is None]
        usd = self.machine.phases.usd_before + sum(task.usd for task in leaves)
        assert math.isclose(usd, self.usd, abs_tol=1e-9), f"its tasks cost {usd}, and their attempts {self.usd}"

    def _obey(self, commands: list[Command]) -> None:
        rest = list(reversed(commands))
        while rest:
            match rest.pop():
                case Probe(task=name):
                    found = self.prober.probe(name)
                    rest.extend(reversed([command for event in found for command in self._take(event)]))
                case Ask(task=name) if (task := self.machine.tasks[name]).phase == "asking":
                    why = task.why or task.reason
                    event = Submitted(name, task.key or "", task.inputs or b"", why, self.now)
                    self.stored.append(encode_event(event))
                    rest.extend(reversed(self.machine.step(event)))
                case Answer(question=question, ref=Ref() as ref) if self.prober.missing(ref)[1]:
                    wanted, transfers = self.prober.missing(ref)
                    commands = [command for lack in wanted for command in self._take(lack)]
                    rest.extend(reversed([*commands, *self.machine.step(Awaited(question, transfers))]))
                case Answer(question=question):
                    if question == self.question:
                        self.question = None
                case Stop(task=task, attempt=attempt):
                    self.stopping.add((task, attempt))
                case Finish(state=state, why=why):
                    closed = Closed(state, self.now, why)
                    self.stored.append(encode_event(closed))
                    rest.extend(reversed(self.machine.step(closed)))

    def _take(self, event: Reused | Missed | Lacked | Deferred) -> list[Command]:
        if not isinstance(event, Missed):
            self.stored.append(encode_event(event))
        return self.machine.step(event)

    # -- what may happen -----------------------------------------------------------------------------------------

    def enabled(self) -> list[str]:
        """Name what may happen next in the ordinary course of things."""
        found = []
        if self.machine.closed is not None:
            return found
        if self._may_trace:
            found.append("trace")
        if self.machine.may_launch and self.machine.ready:
            found.append("launch")
        if self.heads():
            found.append("succeed")
        if self.machine.next_due is not None:
            found.append("wake")
        if self.machine.phases.asking:
            assert not self.machine.waits_for or not found, "it waits for something outside, and goes on without it"
            found += ["approve", "approve", "reject", "expire"]
        return found

    @property
    def _may_trace(self) -> bool:
        return not self.machine.trace_ended and self.question is None and self.place < len(self.scene.events)

    def heads(self) -> list[Task]:
        """Return the tasks whose attempt a worker is really at; those queued behind wait."""
        found = {}
        for worker in self.crew.workers.values():
            if worker.queue:
                name, attempt, _ = worker.queue[0]
                task = self.machine.tasks.get(name)
                if task is not None and task.phase == "running" and task.attempt == attempt:
                    found[name] = task
        return list(found.values())

    def trace(self) -> None:
        """Have the tracer report one thing more."""
        event = self.scene.events[self.place]
        self.place += 1
        match event:
            case Traced(stages=stages, nodes=nodes):
                fresh = self.machine.unseen(stages, nodes, self.seen)
                self.seen += len(nodes)
                if fresh is not None:
                    self.absorb(fresh)
            case Asked(question=question):
                self.question = question
                self.absorb(event)
            case _:
                self.absorb(event)

    def break_trace(self) -> None:
        """Have the body raise."""
        self.absorb(TraceFailed(Failure("user", "the body raised")))

    def launch(self) -> bool:
        """Launch all that there is room for; return whether there was any."""
        launches = self.machine.launches([self.crew], self.now)
        for launch in launches:
            self._check_launch(launch)
            self.absorb(launch)
        cpu, memory_gib, _ = self.crew.used()
        assert cpu <= POOL.cpu
        assert memory_gib <= POOL.memory_gib
        return bool(launches)

    def _check_launch(self, launch: Launched) -> None:
        task = self.machine.tasks[launch.task]
        if task.move is not None:
            assert not self._has(task.move.ref), "it brings what is there already"
            moving = [each for each in self.machine.running() if each.move is not None]
            assert all(each.move != task.move for each in moving), "it is brought twice at once"
            return
        needed = [ref for _, arg in self.machine.inputs(launch.task) for ref in constants(arg)]
        kept = self.machine.outputs.checkpoints(launch.task, launch.key)
        for ref in needed if kept is None else [*needed, kept.last]:
            assert all(self._has(each) for each in blobs(ref)), f"`{launch.task}` is launched without its input"
        assert (launch.task, launch.key) not in self.done, f"`{launch.task}` had succeeded under this key"
        assert launch.attempt == task.attempt + 1
        assert (None if kept is None else kept.last) == self.checkpoints.get((launch.task, launch.key))
        assert len(set(launch.workers)) == task.stage.resources.nodes

    def see(self, task: Task) -> None:
        """Have the attempt of a task succeed that has read another version of its source than the one it was given."""
        self.succeed(task, saw=(("version", f"text:builtins.str:{task.attempt}"),))

    def log(self, task: Task) -> None:
        """Have an attempt of a task log something, as a worker that is not heard any more does too."""
        for attempt in (task.attempt, task.attempt - 1):
            points = Points("loss", array("q", [attempt, 7]).tobytes(), array("d", [1.0, 2.0]).tobytes(), bytes(8))
            self.absorb(Logged(task.name, attempt, self.now, (points,)))

    def succeed(self, task: Task, seconds: float = 0.001, saw: tuple[tuple[str, str], ...] = ()) -> None:
        """Have the attempt of a task succeed."""
        attempt = task.attempt
        self._release(task, seconds)
        if task.move is not None:
            ref = self.here.add(task.move.ref)
            self.absorb(Moved(task.name, attempt, ref.size, self.now, seconds, task.move.usd))
            return
        assert task.key is not None
        out = self._output(task.stage.function, task.key)
        self.done.add((task.name, task.key))
        event = Succeeded(task.name, attempt, out, self.now, seconds, saw=saw)
        if (result := result_of(self.machine, event)) is not None:
            assert (result.key != task.key) == bool(saw)
            self._offer(task, result)
        self.absorb(event)

    def _has(self, ref: Ref) -> bool:
        return self.here.size(ref.digest, ref.nonce or "") == ref.size

    def _offer(self, task: Task, result: ResultRow) -> None:
        self.run.commit(Batch(first=self.run.next_seq, bodies=[], run=ROW, results=[result]))

    def fail(self, task: Task, kind: FailureKind, *, lasting: bool = False, seconds: float = 0.0) -> None:
        """Have the attempt of a task fail."""
        attempt = task.attempt
        self._release(task, None)
        failure = Failure(kind, f"it failed: {kind}", lasting=lasting)
        self.absorb(Failed(task.name, attempt, failure, self.now, seconds=seconds, jitter=0.5))

    def die(self, task: Task) -> None:
        """Have the first worker of an attempt die: those queued behind are lost."""
        number = task.workers[0]
        for place, (name, attempt) in enumerate(self.crew.lost(number)):
            each = self.machine.tasks[name]
            if each.phase == "running" and each.attempt == attempt:
                for other in each.workers[1:]:
                    self.crew.lost(other)
                failure = Failure("crash" if place == 0 else "lost", "its worker died")
                self.absorb(Failed(name, attempt, failure, self.now, jitter=0.5))

    def recall(self) -> None:
        """Take back what waits behind others."""
        for worker in list(self.crew.workers):
            for name, attempt in self.crew.recall(worker):
                task = self.machine.tasks.get(name)
                if task is not None and (task.phase, task.attempt) == ("running", attempt):
                    self.absorb(Recalled(name, attempt))

    def _release(self, task: Task, seconds: float | None) -> None:
        for worker in task.workers:
            self.crew.finished(worker, task.name, task.attempt, task.stage.function, seconds)

    def _spend(self, event: Event) -> None:
        """Count what an attempt cost, if it is the one that runs."""
        if isinstance(event, Succeeded | Moved | Failed) and self.machine.expects(event.task, event.attempt):
            moving_s = event.load_s + event.save_s if isinstance(event, Succeeded) else 0.0
            seconds = event.seconds + moving_s
            self.usd += seconds * self.machine.tasks[event.task].usd_per_hour / 3600
            self.usd += event.usd if isinstance(event, Moved) else 0.0

    def checkpoint(self, task: Task) -> None:
        """Have an attempt keep a checkpoint."""
        kept = number(task.attempt)
        if len(self.stores) > 1:
            kept = self.here.add(Ref(digest=kept.digest, size=8, codec="raw", type="builtins.int", nonce="cc"))
        self.checkpoints[task.name, task.key] = kept
        self.absorb(Checkpointed(task.name, task.attempt, kept))

    def wake(self) -> None:
        """Let time pass until the next retry is due."""
        assert self.machine.next_due is not None
        self.now = max(self.now, self.machine.next_due)
        self.absorb(Woke(self.now))

    def approve(self) -> None:
        """Have somebody approve the task that has waited longest."""
        task = next(iter(self.machine.phases.asking.values()))
        self.absorb(Approved(task.name, task.key or "", "somebody", "it is fine", self.now))

    def reject(self) -> None:
        """Have somebody reject the task that has waited longest."""
        task = next(iter(self.machine.phases.asking.values()))
        self.absorb(Rejected(task.name, task.key or "", "somebody", "it is not", self.now))

    def expire(self) -> None:
        """Let the time run out of the task that has waited longest."""
        task = next(iter(self.machine.phases.asking.values()))
        self.absorb(Expired(task.name, task.key or "", self.now))

    def cancel(self, *, now: bool) -> None:
        """Cancel the run."""
        self.absorb(Cancelled("somebody", "cancelled by somebody", self.now, now))

    def resume(self, spilled: int, *, new_code: bool = False, away: bool = False) -> None:
        """Lose the driver; a new one replays the events, adopts what ran (so many attempts had succeeded), goes on.

        With `away`, in the other region.
        """
        again = replay(self.stored)
        compare(self.machine, again)
        left = self.region
        if away:
            self.region = next(region for region in self.stores if region != self.region)
        self._begin(again)
        self.region, goes_on = left, self.region
        self.stopping.clear()
        for place, task in enumerate(again.running()):
            if place < spilled:
                self.succeed(task)
            else:
                self.absorb(Failed(task.name, task.attempt, Failure("lost", "its driver is gone"), self.now))
        self.region = goes_on
        self.absorb(Taken(2, "model", self.now, again=not new_code, region=self.region))
        if new_code:
            self.prober.forget()
            self.absorb(Renewed(BUNDLE, self.now, counted=True))
        self._obey(list(self.machine.probes()))
        check(self.machine)

    def finish(self, most: int = 2000) -> None:
        """Let everything that is left succeed."""
        for _ in range(most):
            ready = self.enabled()
            if "trace" in ready:
                self.trace()
            elif "launch" in ready and self.launch():
                continue
            elif "succeed" in ready:
                self.succeed(self.heads()[0])
            elif "wake" in ready:
                self.wake()
            elif "approve" in ready:
                self.approve()
            else:
                break
        assert self.machine.closed is not None, "the run is stuck"
        compare(self.machine, replay(self.stored))

    def outcome(self) -> dict[str, tuple[str, Ref | None]]:
        """Return what each task came to: its output if it has one, and else how it ended."""
        tasks = [task for task in self.machine.tasks.values() if task.move is None]
        tasks = [  # its list has it still, and wasn't skipped since
            task for task in tasks if task.parent is None or (task.index >= 0 and task.parent.phase != "skipped")
        ]
        return {task.name: ("good" if task.good else task.phase, task.out) for task in tasks}


def replay(stored: list[bytes]) -> Machine:
    """Rebuild a run from its events alone."""
    machine = Machine()
    for body in stored:
        machine.step(decode_event(body))
        check(machine)
    return machine


def compare(live: Machine, again: Machine) -> None:
    """Hold a replayed machine against the one that lived through it. Misses are not stored: they are probed anew."""
    assert list(live.tasks) == list(again.tasks)
    assert live.nodes == again.nodes
    assert vars(live.outputs) == vars(again.outputs)
    assert live.past == again.past
    assert (live.dialogue.notes, live.dialogue.pointed) == (again.dialogue.notes, again.dialogue.pointed)
    assert list(live.curves.summaries()) == list(again.curves.summaries())
    for name, task in live.tasks.items():
        other = again.tasks[name]
        if other.phase == "probing":
            assert task.phase in ("probing", "ready"), f"`{name}` is {task.phase}, and probing when replayed"
        elif task.phase == "cancelled":  # it may have been missed before, under another key
            assert (other.phase, other.reason, other.attempt) == ("cancelled", task.reason, task.attempt)
        else:
            assert asdict(task.row()) == asdict(other.row())
            assert (task.phase, task.waits, task.workers) == (other.phase, other.waits, other.workers)
