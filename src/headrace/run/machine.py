"""The machine: it absorbs a run's events and says what follows from them. Pure: no clock, file, socket or chance.

Invariants (`headrace.run.invariants` checks them):
- a task ends once, and an ended task never changes again within a generation of the trace;
- a task is launched only while all that it waits for has ended, and never while another attempt of it runs;
- replaying the stored events gives the same state, whatever version of the machine wrote them.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable
from typing import Protocol

from msgspec import Struct

from headrace.errors import TraceError
from headrace.plan.planner import names_needed, needed_by
from headrace.plan.resolve import Unmappable, follow, labels, truth
from headrace.run.events import (
    Asked,
    Cancelled,
    Checkpointed,
    Closed,
    Event,
    Failed,
    Launched,
    Noted,
    Opened,
    Renewed,
    Reused,
    RunState,
    Succeeded,
    Taken,
    Traced,
    TraceEnded,
    TraceFailed,
    Woke,
)
from headrace.run.resolve import lists, resolve
from headrace.run.retry import retry
from headrace.run.task import Inputs, Phase, Task
from headrace.spec.artifact import Ref, gather
from headrace.spec.bundle import Bundle
from headrace.spec.failure import Failure
from headrace.spec.graph import Node, outs
from headrace.spec.policy import Policy
from headrace.spec.stage import Resources, Stage


class Probe(Struct, frozen=True):
    """Find out whether this task's output is there already; answer with `Reused` or `Missed`."""

    task: str


class Answer(Struct, frozen=True):
    """Tell the tracer the value it asked for, or why there is none."""

    question: int
    ref: Ref | None = None
    error: str | None = None


class Stop(Struct, frozen=True):
    """End this attempt on these workers."""

    task: str
    attempt: int
    workers: tuple[int, ...]
    now: bool


class Finish(Struct, frozen=True):
    """All is done: close the run in this state."""

    state: RunState
    why: str


Command = Probe | Answer | Stop | Finish


class Missed(Struct, frozen=True):
    """No output is there under this key, so the task has to run. Not stored: `Launched` implies it."""

    task: str
    key: str
    inputs: bytes
    why: str


class Room(Protocol):
    """Where attempts may start now."""

    @property
    def pool(self) -> str:
        """The pool's name."""
        ...

    def take(self, task: str, attempt: int, stage: Stage) -> tuple[int, ...] | None:
        """Give an attempt to workers, or say None where there is no room for it."""
        ...

    def price(self, need: Resources) -> float:
        """Give US dollars per hour of an attempt that needs this."""
        ...


class Machine:
    """One run's state. `step` absorbs an event; `launches` proposes attempts; `changed` holds tasks to project anew."""

    def __init__(self) -> None:
        self.tasks: dict[str, Task] = {}
        self.stages: dict[str, Stage] = {}
        self.nodes: list[Node] = []
        self.changed: dict[str, Task] = {}
        self.opened: Opened | None = None
        self.closed: Closed | None = None
        self.bundle: Bundle | None = None
        self.cancelled: Cancelled | None = None
        self.trace_ended = False
        self.trace_failure: Failure | None = None
        self.notes: dict[int, float] = {}
        self.kept: dict[tuple[str, str], Ref] = {}
        self.made: dict[str, Ref] = {}
        self._question: Asked | None = None
        self._dependents: dict[str, list[Task]] = {}
        self._ready: dict[Resources, deque[Task]] = {}
        self._due: list[tuple[float, int, str]] = []
        self._ended: deque[Task] = deque()
        self._fresh: list[Task] = []
        self._wanted: set[str] | None = None
        self._live = 0
        self._ordinal = 0
        self._passed_over = 0

    # -- what others may ask -------------------------------------------------------------------------------------

    @property
    def policy(self) -> Policy:
        """The run's policy."""
        return self.opened.policy if self.opened else Policy()

    @property
    def may_launch(self) -> bool:
        """Whether the trace is good so far: it has ended, or waits for a value."""
        return (self.trace_ended or self._question is not None) and self.cancelled is None and self.closed is None

    @property
    def next_due(self) -> float | None:
        """When the next retry is due (Unix seconds), or None."""
        return self._due[0][0] if self._due else None

    @property
    def ready(self) -> int:
        """How many tasks could be launched now if there were room."""
        return sum(len(queue) for queue in self._ready.values())

    @property
    def wanted(self) -> Iterable[tuple[Resources, int]]:
        """What the tasks that are ready need, and how many of each there are."""
        return [(need, len(queue)) for need, queue in self._ready.items() if queue]

    def running(self) -> list[Task]:
        """Give the tasks that an attempt is out for."""
        return [task for task in self.tasks.values() if task.phase == "running"]

    def probes(self) -> list[Probe]:
        """Give the probes that are open: what a driver asks first after it has replayed the events."""
        return [Probe(task.name) for task in self.tasks.values() if task.phase == "probing"]

    def inputs(self, name: str) -> Inputs:
        """Give a task's arguments, each handle replaced by the artifact that it came to; dropped where it has none."""
        task = self.tasks[name]
        return resolve(task, self.tasks)

    def forget_question(self) -> None:
        """The tracer starts anew, and will ask anew."""
        self._question = None

    def unseen(self, stages: tuple[Stage, ...], nodes: tuple[Node, ...], seen: int) -> Traced | None:
        """Compare a trace with what is known of this generation, and give what is new.

        `seen` is how many nodes of this trace came before.

        Raises:
            TraceError: the trace differs; the message names the node.
        """
        known = self.nodes[seen : seen + len(nodes)]
        for before, after in zip(known, nodes, strict=False):
            if before != after:
                raise TraceError(
                    f"the pipeline traced `{after.name}` ({after.line}) where it had traced `{before.name}`"
                    f" ({before.line}) with other arguments"
                    if before.name == after.name
                    else f"the pipeline traced `{after.name}` ({after.line}) where it had traced `{before.name}`",
                    hint="a pipeline's body must do the same each time: use `hr.now()` for the time and `.value()` for"
                    " data; `headrace resume RUN --new-code` starts from the code as it is now",
                )
        new_stages = tuple(stage for stage in stages if stage.function not in self.stages)
        new_nodes = nodes[len(known) :]
        return Traced(new_stages, new_nodes) if new_nodes or new_stages else None

    # -- events --------------------------------------------------------------------------------------------------

    def step(self, event: Event | Missed) -> list[Command]:
        """Absorb one event; say what follows from it."""
        commands: list[Command] = []
        match event:
            case Succeeded():
                self._succeeded(event)
            case Launched():
                self._launched(event)
            case Missed():
                self._missed(event)
            case Reused():
                self._reused(event)
            case Failed():
                self._failed(event)
            case Traced():
                self._traced(event)
            case TraceEnded():
                self.trace_ended = True
                self._begin()
            case Asked():
                self._question = event
                self._begin()
            case Woke(at=at):
                self._woke(at)
            case Checkpointed(task=name, attempt=attempt, out=out):
                if (task := self._running(name, attempt)) is not None:
                    task.checkpoint = out
            case Noted(question=question, now=now):
                self.notes[question] = now
            case Cancelled():
                self._cancel(event, commands)
            case TraceFailed(failure=failure):
                self._trace_failed(failure)
            case Taken(again=again):
                self._taken(again)
            case Opened():
                self.opened, self.bundle = event, event.bundle
            case Renewed(bundle=bundle):
                self._renew(bundle)
            case Closed():
                self.closed = event
        self._propagate(commands)
        return commands

    def launches(self, room: Room, at: float) -> list[Launched]:
        """Propose an attempt for each ready task that there is room for, oldest first among those of like needs.

        A task that has been passed over many times is waited for, so that small ones can't starve a big one.
        """
        found: list[Launched] = []
        if not self.may_launch:
            return found
        for queue in sorted((queue for queue in self._ready.values() if queue), key=lambda queue: queue[0].ordinal):
            while queue and (launch := self._propose(queue[0], room, at)) is not None:
                queue.popleft()
                found.append(launch)
            if queue:
                self._passed_over += 1
                if self._passed_over > PATIENCE:
                    break
            elif found:
                self._passed_over = 0
        return found

    def _propose(self, task: Task, room: Room, at: float) -> Launched | None:
        attempt = task.attempt + 1
        workers = room.take(task.name, attempt, task.stage)
        if workers is None:
            return None
        price = room.price(task.stage.resources)
        return Launched(
            task.name, attempt, task.key or "", workers, room.pool, task.reason, task.inputs or b"", price, at
        )

    # -- the trace -----------------------------------------------------------------------------------------------

    def _traced(self, event: Traced) -> None:
        for stage in event.stages:
            self.stages[stage.function] = stage
        for node in event.nodes:
            task = self._add(node.name, node, self.stages[node.stage])
            self.nodes.append(node)
            needs = names_needed(node)
            for name in needs:
                if not self.tasks[name].ended:
                    task.waits += 1
                self._dependents.setdefault(name, []).append(task)
            self._live += 1
            if task.waits == 0:
                self._fresh.append(task)

    def _add(self, name: str, node: Node, stage: Stage, parent: Task | None = None, index: int = -1) -> Task:
        task = Task(self._ordinal, name, node, stage, parent, index)
        self._ordinal += 1
        self.tasks[name] = task
        self.changed[name] = task
        return task

    def _begin(self) -> None:
        """The trace is good: know what is asked for, and start what waits for nothing."""
        only = self.policy.only
        if only:
            asked = only if self._question is None else (*only, self._question.out.task)
            self._wanted = needed_by(asked, self.nodes, self.stages)
        for task in self._fresh:
            if not task.ended:
                self._ended.append(task)
        self._fresh.clear()

    def _trace_failed(self, failure: Failure) -> None:
        self.trace_failure = failure
        self.trace_ended = True
        for task in self.tasks.values():
            if task.phase in ("blocked", "probing", "ready", "resting"):
                self._end(task, "cancelled", "the pipeline's body raised")

    # -- a task's way --------------------------------------------------------------------------------------------

    def _propagate(self, commands: list[Command]) -> None:
        """Work off what has ended or become free, one at a time: a chain may be as long as memory allows."""
        while self._ended:
            task = self._ended.popleft()
            if task.phase == "blocked":
                self._release(task, commands)
                continue
            if task.parent is not None:
                self._element_ended(task)
            for dependent in self._dependents.get(task.name, ()):
                dependent.waits -= 1
                if dependent.waits == 0 and dependent.phase == "blocked":
                    if self.may_launch or self.trace_ended:
                        self._ended.append(dependent)
                    else:
                        self._fresh.append(dependent)
        self._answer(commands)
        if self._live == 0 and self.trace_ended and self.closed is None and self.opened is not None:
            commands.append(self._verdict())

    def _release(self, task: Task, commands: list[Command]) -> None:
        """All that a task waited for has ended: skip it, spread it, or ask for its output."""
        if self.cancelled is not None:
            self._end(task, "cancelled", "the run was cancelled")
            return
        if self._wanted is not None and task.name not in self._wanted:
            self._end(task, "skipped", "not asked for (`--only`)")
            return
        skip = self._why_skip(task)
        if skip is not None:
            task.by_when = skip[1]
            self._end(task, "skipped", skip[0])
        elif task.node.over:
            self._spread(task, commands)
        else:
            task.phase = "probing"
            commands.append(Probe(task.name))

    def _why_skip(self, task: Task) -> tuple[str, bool] | None:
        """Say why a task is not to run, and whether a `when=` is the cause; None where it is to run."""
        node = task.node
        always = node.always
        for param, arg in node.args:
            for out in outs(arg):
                source = self.tasks[out.task]
                if source.good:
                    continue
                if param in task.stage.defaults and (source.by_when or always):
                    continue
                return _because(source), source.by_when
        for name in node.after:
            source = self.tasks[name]
            if not source.good and not always:
                return _because(source), source.by_when
        if node.when is None:
            return None
        source = self.tasks[node.when.task]
        if not source.good or source.out is None:
            return _because(source), source.by_when
        verdict = truth(follow(source.out, node.when.path))
        if verdict is None:
            return f"`when=` got a value of `{source.name}` that is neither true nor false", False
        return None if verdict else (f"`when=`: the value of `{source.name}` is false", True)

    def _spread(self, task: Task, commands: list[Command]) -> None:
        """Make the elements of a mapped task, now that its lists are known."""
        try:
            columns = lists(task, self.tasks)
        except Unmappable as problem:
            task.failure = Failure("user", str(problem), hint="give `.map()` lists of one length")
            self._end(task, "failed", str(problem))
            return
        names = labels(task.name, columns)
        task.phase = "spread"
        task.elements = []
        task.waits = len(names)
        self.changed[task.name] = task
        if not names:
            self._gather(task)
            return
        for index, name in enumerate(names):
            element = self._add(name, task.node, task.stage, task, index)
            element.phase = "probing"
            task.elements.append(element)
            commands.append(Probe(name))
        self._live += len(names)

    def _element_ended(self, element: Task) -> None:
        parent = element.parent
        assert parent is not None
        parent.waits -= 1
        if parent.waits == 0:
            self._gather(parent)

    def _gather(self, task: Task) -> None:
        """All elements of a mapped task have ended: its output lists those that gave one."""
        elements = task.elements or []
        bad = [element for element in elements if not element.good]
        if any(element.phase == "cancelled" for element in bad):
            self._end(task, "cancelled", "the run was cancelled")
        elif len(bad) > task.node.allow_failures:
            task.failure = bad[0].failure
            self._end(task, "failed", f"{len(bad)} of {len(elements)} failed, first `{bad[0].name}`: {bad[0].reason}")
        else:
            task.out = gather([element.out for element in elements if element.out is not None])
            for element in elements:
                task.spend(0.0)
                task.seconds += element.seconds
                task.usd += element.usd
            reused = bool(elements) and all(element.phase == "reused" for element in elements)
            lost = f", {len(bad)} failed as allowed" if bad else ""
            self._end(task, "reused" if reused else "succeeded", f"{len(elements)} elements{lost}")

    def _missed(self, event: Missed) -> None:
        task = self.tasks[event.task]
        if task.phase == "probing":
            task.key, task.inputs, task.reason = event.key, event.inputs, event.why
            task.code = task.stage.code.digest
            self._queue(task)

    def _reused(self, event: Reused) -> None:
        task = self.tasks[event.task]
        if task.phase in ("probing", "ready"):
            self._unqueue(task)
            task.key, task.out, task.inputs = event.key, event.out, event.inputs
            task.code = task.stage.code.digest
            self.made.setdefault(event.key, event.out)
            self._end(task, "reused", event.why)

    def _launched(self, event: Launched) -> None:
        task = self.tasks[event.task]
        if task.ended or task.phase == "running":
            return
        self._unqueue(task)
        task.phase = "running"
        task.attempt = event.attempt
        task.key, task.inputs, task.code = event.key, event.inputs, task.stage.code.digest
        task.workers, task.pool = event.workers, event.pool
        task.usd_per_hour, task.started, task.reason = event.usd_per_hour, event.at, event.why
        self.changed[task.name] = task

    def _succeeded(self, event: Succeeded) -> None:
        task = self._running(event.task, event.attempt)
        if task is None:
            return
        task.out, task.log, task.started = event.out, event.log, event.started
        task.spend(event.seconds, event.load_s, event.save_s)
        if task.key and event.unreusable is None:
            self.made.setdefault(task.key, event.out)
        if event.unreusable is not None:
            task.reason = f"{task.reason}; not reusable: {event.unreusable}"
        self._end(task, "succeeded", task.reason)

    def _failed(self, event: Failed) -> None:
        task = self._running(event.task, event.attempt)
        if task is None:
            return
        kind = event.failure.kind
        task.failure, task.log = event.failure, event.log
        task.spend(event.seconds)
        task.failures = task.failures or {}
        task.failures[kind] = task.failures.get(kind, 0) + 1
        if kind == "cancelled" or self.cancelled is not None:
            self._end(task, "cancelled", event.failure.message)
            return
        verdict = retry(task.stage, kind, task.failures, event.jitter)
        if not verdict.again:
            self._end(task, "failed", f"{verdict.why}: {event.failure.message}")
        elif verdict.pause_s:
            task.phase = "resting"
            task.due = event.at + verdict.pause_s
            task.reason = f"{verdict.why}, in {verdict.pause_s:.1f} s: {event.failure.message}"
            heapq.heappush(self._due, (task.due, task.ordinal, task.name))
            self.changed[task.name] = task
        else:
            task.reason = f"{verdict.why}: {event.failure.message}"
            self._queue(task)

    def _woke(self, at: float) -> None:
        while self._due and self._due[0][0] <= at:
            _, _, name = heapq.heappop(self._due)
            task = self.tasks[name]
            if task.phase == "resting" and task.due <= at:
                self._queue(task)

    # -- the run's way -------------------------------------------------------------------------------------------

    def _cancel(self, event: Cancelled, commands: list[Command]) -> None:
        self.cancelled = event
        self.trace_ended = True
        for task in self.tasks.values():
            if task.phase == "running":
                commands.append(Stop(task.name, task.attempt, task.workers, event.now))
            elif task.phase in ("blocked", "probing", "ready", "resting"):
                self._unqueue(task)
                self._end(task, "cancelled", event.why)

    def _taken(self, again: bool) -> None:
        """A new driver: its tracer, if it needs one, asks anew; what had come to nothing may be tried again."""
        self._question = None
        if not again:
            return
        self.closed = self.cancelled = None
        if self.trace_failure is not None:
            self.trace_failure = None
            self.trace_ended = False
        self._revive()

    def _revive(self) -> None:
        for task in self.tasks.values():
            if task.phase in ("failed", "skipped", "cancelled") and task.parent is None:
                self._live += 1
                task.phase = "blocked"
                task.failures = task.failure = None
                task.by_when = False
                task.reason = ""
                if task.elements is not None:
                    self._respread(task)
                self.changed[task.name] = task
        for task in self.tasks.values():
            if task.phase == "blocked":
                task.waits = sum(not self.tasks[name].ended for name in names_needed(task.node))
                if task.waits == 0:
                    (self._ended if self.trace_ended else self._fresh).append(task)

    def _respread(self, task: Task) -> None:
        """Try those elements of a mapped task again that have no output; the others stay as they are."""
        task.phase = "spread"
        task.waits = 0
        for element in task.elements or ():
            if element.good:
                continue
            element.phase = "probing"
            element.failures = element.failure = None
            self._live += 1
            task.waits += 1
            self.changed[element.name] = element
        if task.waits == 0:
            self._gather(task)

    def _renew(self, bundle: Bundle) -> None:
        """Forget the graph, keep what succeeded: a task of the same name and key never runs again."""
        self.bundle = bundle
        for task in self.tasks.values():
            if task.good and task.key and task.out is not None:
                self.kept[task.name, task.key] = task.out
        for part in (self.tasks, self.stages, self.nodes, self._dependents, self._ready, self._due, self._fresh):
            part.clear()
        self.notes.clear()
        self._ended.clear()
        self.trace_ended, self.trace_failure, self._question = False, None, None
        self.closed = self.cancelled = self._wanted = None
        self._live = self._ordinal = 0

    def _answer(self, commands: list[Command]) -> None:
        asked = self._question
        if asked is None:
            return
        task = self.tasks[asked.out.task]
        if not task.ended:
            return
        self._question = None
        if task.out is not None and task.good:
            commands.append(Answer(asked.question, follow(task.out, asked.out.path)))
        else:
            commands.append(Answer(asked.question, error=f"`{task.name}` {task.phase}: {task.reason}"))

    def _verdict(self) -> Finish:
        if self.cancelled is not None:
            state: RunState = "failed" if self.cancelled.by == "policy" else "cancelled"
            return Finish(state, self.cancelled.why)
        if self.trace_failure is not None:
            return Finish("failed", f"the pipeline's body raised: {self.trace_failure.message}")
        bad = [task for task in self.tasks.values() if task.phase == "failed" and task.parent is None]
        if bad:
            more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
            return Finish("failed", f"task `{bad[0].name}`{more} failed: {bad[0].reason}")
        return Finish("succeeded", "")

    # -- small moves ---------------------------------------------------------------------------------------------

    def _running(self, name: str, attempt: int) -> Task | None:
        """Give the task if this attempt of it is the one that runs; a late word of an older one counts for nothing."""
        task = self.tasks.get(name)
        return task if task is not None and task.phase == "running" and task.attempt == attempt else None

    def _queue(self, task: Task) -> None:
        task.phase = "ready"
        self._ready.setdefault(task.stage.resources, deque()).append(task)
        self.changed[task.name] = task

    def _unqueue(self, task: Task) -> None:
        """Take a task out of the queue; `launches` has done so for those that it proposed."""
        if task.phase != "ready":
            return
        queue = self._ready[task.stage.resources]
        if queue and task in queue:
            queue.remove(task)

    def _end(self, task: Task, phase: Phase, reason: str) -> None:
        task.phase, task.reason = phase, reason
        task.workers = ()
        self._live -= 1
        self.changed[task.name] = task
        self._ended.append(task)


PATIENCE = 64
"""How often a ready task may be passed over for lack of room before nothing younger starts."""


def _because(source: Task) -> str:
    return f"`{source.name}` {'was skipped' if source.phase == 'skipped' else source.phase}"
