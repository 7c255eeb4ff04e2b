"""The machine: it absorbs a run's events and says what follows from them. Pure: no clock, file, socket or chance.

Invariants (`headrace.run.machine.invariants` checks them):
- a task ends once, and never changes again, save that a new lease may try again what came to nothing, with all that
  had gone on without it;
- a task is launched only while all that it waits for has ended, and never while another attempt of it runs;
- a task is launched only once its inputs are known to be in its region, and no blob is brought there twice at once;
- replaying the stored events gives the same state, whatever version of the machine wrote them.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Collection

from headrace.errors import listed
from headrace.plan.keys import differing, key_seen
from headrace.plan.needs import names_needed, needed_by, with_needs
from headrace.plan.resolve import LABELS, Unmappable
from headrace.run.curves import Curves
from headrace.run.events import (
    Asked,
    Awaits,
    Cancelled,
    Checkpointed,
    Closed,
    Deferred,
    Event,
    Failed,
    Lacked,
    Launched,
    Logged,
    Moved,
    Noted,
    Opened,
    Pointed,
    Recalled,
    Renewed,
    Reused,
    Succeeded,
    Taken,
    Told,
    Traced,
    TraceEnded,
    TraceFailed,
    Woke,
)
from headrace.run.machine.commands import Answer, Awaited, Command, Missed, Probe, Stop
from headrace.run.machine.dialogue import Dialogue
from headrace.run.machine.outcome import outcome
from headrace.run.machine.outputs import Outputs
from headrace.run.machine.ready import Ready, Room
from headrace.run.machine.resolve import resolve, spread
from headrace.run.machine.retrace import unseen
from headrace.run.machine.retry import Retry, retry
from headrace.run.machine.skip import why_skip
from headrace.run.machine.task import Inputs, Phase, Task
from headrace.run.machine.transfers import node_of, stage_of, why
from headrace.run.machine.worked import Worked
from headrace.spec.artifact import gather
from headrace.spec.bundle import Bundle
from headrace.spec.code import Code
from headrace.spec.failure import Failure
from headrace.spec.graph import Node, outs
from headrace.spec.policy import NOT_ASKED, Policy
from headrace.spec.stage import Resources, Stage


class Machine:
    """One run's state. `step` absorbs an event; `launches` proposes attempts; `changed` holds tasks to project anew.

    `dialogue` is what the body was told, `outputs` what its tasks have given, `curves` what they have logged, `worked`
    how long drivers have held it.
    """

    def __init__(self) -> None:
        self.tasks: dict[str, Task] = {}
        self.stages: dict[str, Stage] = {}
        self.codes: dict[str, Code] = {}
        self.nodes: list[Node] = []
        self.changed: dict[str, Task] = {}
        self.opened: Opened | None = None
        self.worked = Worked()
        self.closed: Closed | None = None
        self.bundle: Bundle | None = None
        self.pool = self.region = ""
        self.cancelled: Cancelled | None = None
        self.trace_failure: Failure | None = None
        self.dialogue = Dialogue()
        self.outputs = Outputs()
        self.curves = Curves()
        self.last_worker = 0
        self._whole = False
        self._begun = False
        self._dependents: dict[str, list[Task]] = {}
        self._ready = Ready()
        self._due: list[tuple[float, int, str]] = []
        self._free: dict[str, Task] = {}
        self._freed: deque[Task] = deque()
        self._ended: deque[Task] = deque()
        self._wanted: set[str] | None = None
        self._fetching: dict[str, list[Task]] = {}
        self._tried: dict[str, int] = {}
        self._live = 0
        self._ordinal = 0

    # -- what others may ask -------------------------------------------------------------------------------------

    @property
    def policy(self) -> Policy:
        """The run's policy."""
        return self.opened.policy if self.opened else Policy()

    @property
    def trace_ended(self) -> bool:
        """Whether nothing more is to be traced: the body has returned or raised, or the run is cancelled."""
        return self._whole or self.trace_failure is not None or self.cancelled is not None

    @property
    def may_launch(self) -> bool:
        """Whether the trace has been good so far: it has ended, or has come to a value that it asked for."""
        return self._begun and self.cancelled is None and self.closed is None

    @property
    def next_due(self) -> float | None:
        """When the next retry is due (Unix seconds), or None."""
        return self._due[0][0] if self._due else None

    @property
    def ready(self) -> int:
        """How many tasks could be launched now if there were room."""
        return len(self._ready)

    @property
    def wanted(self) -> list[tuple[Resources, int]]:
        """What the tasks that are ready need, and how many of each there are; the oldest first."""
        return self._ready.wanted()

    def running(self) -> list[Task]:
        """Give the tasks that an attempt is out for."""
        return [task for task in self.tasks.values() if task.phase == "running"]

    def probes(self) -> list[Probe]:
        """Give the probes that are open: what a driver asks first after it has replayed the events."""
        return [Probe(task.name) for task in self.tasks.values() if task.phase == "probing"]

    def inputs(self, name: str) -> Inputs:
        """Give a task's arguments, each handle replaced by the artifact that it came to; dropped where it has none."""
        task = self.tasks[name]
        return resolve(task, self.tasks) if task.args is None else task.args

    def is_wanted(self, lack: Lacked) -> bool:
        """Whether a blob's transfer is to begin: it neither lives, nor has it failed since the lease was taken."""
        transfer = self.tasks.get(lack.task)
        return transfer is None or transfer.phase in ("succeeded", "skipped")

    def unseen(self, stages: tuple[Stage, ...], nodes: tuple[Node, ...], seen: int) -> Traced | None:
        """Compare a trace with what is known of this generation, and give what is new.

        `seen` is how many nodes of this trace came before.

        Raises:
            TraceError: the trace differs; the message names the node.
        """
        return unseen(self.nodes[seen : seen + len(nodes)], self.stages, stages, nodes)

    # -- events --------------------------------------------------------------------------------------------------

    def step(self, event: Event | Missed | Awaited) -> list[Command]:
        """Absorb one event; say what follows from it."""
        commands: list[Command] = []
        self.worked.hear(event)
        match event:
            case Succeeded():
                self._succeeded(event)
            case Launched():
                self._launched(event)
            case Missed():
                self._missed(event)
            case Deferred():
                self._deferred(event)
            case Lacked():
                self._lacked(event, commands)
            case Moved():
                self._moved(event)
            case Awaited(transfers=names):
                _add(commands, self.dialogue.wait(event, [self.tasks[name] for name in names]))
            case Reused():
                self._reused(event)
            case Failed():
                self._failed(event, commands)
            case Traced():
                self._traced(event)
            case TraceEnded():
                self._whole = True
                self._begin()
            case Asked():
                self.dialogue.hear(event)
                self._begin()
            case Noted() | Pointed():
                self.dialogue.hear(event)
            case Woke(at=at):
                self._woke(at, commands)
            case Recalled(task=name, attempt=attempt):
                if (task := self._running(name, attempt)) is not None:
                    self._queue(task, commands)
            case Awaits(task=name, attempt=attempt, why=why):
                if (task := self._running(name, attempt)) is not None:
                    task.awaits = why
                    self.changed[name] = task
            case Checkpointed(task=name, attempt=attempt):
                if (task := self._running(name, attempt)) is not None:
                    task.keep(event)
            case Logged(task=name, attempt=attempt):
                if self._running(name, attempt) is not None:
                    self.curves.add(event)  # for those who look on; nothing follows from it
            case Cancelled():
                self._cancel(event, commands)
            case Told():
                pass  # what follows is up to the attempt, which says so
            case TraceFailed(failure=failure):
                self._trace_failed(failure)
            case Taken():
                self._taken(event, commands)
            case Opened():
                self.opened, self.bundle = event, event.bundle
            case Renewed(bundle=bundle):
                self._renew(bundle)
            case Closed():
                self.closed = event
        self._propagate(commands)
        return commands

    def key_seen(self, task: Task, event: Succeeded) -> tuple[str, bytes]:
        """Give the key that a task's output goes by, by the inputs that the attempt saw, and what it is made of."""
        platform = self.bundle.platform if self.bundle else None
        return key_seen(task.stage, task.inputs or b"", event.saw, platform)

    def launches(self, room: Room, at: float) -> list[Launched]:
        """Propose an attempt for each ready task that there is room for; each is to be absorbed before the next call.

        None where nothing may start: before the first good trace, and once the run is cancelled.
        """
        return self._ready.propose(room, at) if self.may_launch else []

    # -- the trace -----------------------------------------------------------------------------------------------

    def _traced(self, event: Traced) -> None:
        for stage in event.stages:
            self.stages[stage.function] = stage
        self.codes.update((code.digest, code) for code in event.codes)
        for node in event.nodes:
            task = self._add(node.name, node, self.stages[node.stage])
            self.nodes.append(node)
            for name in names_needed(node):
                if not self.tasks[name].ended:
                    task.waits += 1
                dependents = self._dependents.get(name)
                if dependents is None:
                    self._dependents[name] = [task]
                else:
                    dependents.append(task)
            self._live += 1
            if self.cancelled is not None:
                self._end(task, "cancelled", self.cancelled.why)
            elif task.waits == 0:
                self._free[task.name] = task
        if self._begun:
            self._begin()

    def _add(self, name: str, node: Node, stage: Stage, parent: Task | None = None, index: int = -1) -> Task:
        task = Task(self._ordinal, name, node, stage, parent, index, attempt=self._tried.get(name, 0))
        self._ordinal += 1
        self.tasks[name] = task
        self.changed[name] = task
        return task

    def _begin(self) -> None:
        """The trace is good so far: let go what waits for nothing. What `--only` leaves out is known at its end."""
        self._begun = True
        only = self.policy.only
        if only:
            wanted = needed_by(only, self.nodes, self.stages)
            if (asked_for := self.dialogue.asked_for) is not None:
                wanted |= with_needs((asked_for,), self.nodes)
            self._wanted = (self._wanted or set()) | wanted
        keep: dict[str, Task] = {}
        for name, task in self._free.items():
            if self._wanted is None or self.trace_ended or name in self._wanted:
                self._freed.append(task)
            else:
                keep[name] = task
        self._free = keep

    def _trace_failed(self, failure: Failure) -> None:
        """The body raised: what runs may end, and nothing else begins."""
        self.trace_failure = failure
        self._end_waiting("the pipeline's body raised")

    # -- a task's way --------------------------------------------------------------------------------------------

    def _propagate(self, commands: list[Command]) -> None:
        """Work off what has ended or become free, one at a time: a chain may be as long as memory allows."""
        while self._ended or self._freed:
            if self._ended:
                self._pass_on(self._ended.popleft(), commands)
            elif (task := self._freed.popleft()).phase == "blocked":
                self._release(task, commands)
        _add(commands, self.dialogue.answer(self.tasks))
        if self._live == 0 and self.trace_ended and self.closed is None and self.opened is not None:
            commands.append(outcome(self.tasks.values(), self.cancelled, self.trace_failure))

    def _pass_on(self, task: Task, commands: list[Command]) -> None:
        """A task has ended: tell those that wait for it."""
        if task.move is not None:
            self._arrived(task, commands)
            return
        parent = task.parent
        if parent is not None:
            if parent.phase == "spread" and task.index >= 0:
                parent.waits -= 1
                if parent.waits == 0:
                    self._gather(parent)
            return
        for dependent in self._dependents.get(task.name, ()):
            if dependent.phase == "blocked":
                dependent.waits -= 1
                if dependent.waits == 0:
                    self._let_go(dependent)

    def _let_go(self, task: Task) -> None:
        """A task waits for no other any more."""
        if self._begun and (self._wanted is None or self.trace_ended or task.name in self._wanted):
            self._freed.append(task)
        else:
            self._free[task.name] = task

    def _release(self, task: Task, commands: list[Command]) -> None:
        """All that a task waited for has ended: skip it, spread it, or ask for its output."""
        if self._wanted is not None and task.name not in self._wanted:
            self._end(task, "skipped", NOT_ASKED)
            return
        try:
            if task.node.over or not self._is_given_all(task):
                skip = why_skip(task, self.tasks)
                if skip is not None:
                    task.by_when = skip.by_when
                    self._end(task, "skipped", skip.why)
                    return
            if task.node.over:
                self._spread(task, commands)
            else:
                task.phase = "probing"
                commands.append(Probe(task.name))
        except Unmappable as problem:
            hint = "`.map()` takes lists of one length" if task.node.over else "annotate the stage with what it returns"
            task.failure = Failure("user", str(problem), hint=hint)
            self._end(task, "failed", str(problem))

    def _is_given_all(self, task: Task) -> bool:
        """Resolve a task's arguments; say whether all are there and nothing else could keep it from running."""
        node = task.node
        task.args = resolve(task, self.tasks)
        return len(task.args) == len(node.args) and node.when is None and not node.after

    def _spread(self, task: Task, commands: list[Command]) -> None:
        """Make the elements of a mapped task, now that its lists are known; those that it has already stay as they are.

        Raises:
            Unmappable: it has no lists of one length.
        """
        task.spread = spread(task, self.tasks)
        names = task.spread.labels(task.name, self.opened.labels if self.opened else LABELS)
        known = {element.name: element for element in task.elements or ()}
        task.phase = "spread"
        self.changed[task.name] = task
        task.elements = []
        for index, name in enumerate(names):
            element = known.pop(name, None)
            if element is None and (element := self.tasks.get(name)) is not None:
                self._reset(element, moved=True)  # an earlier list had it, and a later one hadn't
            if element is None:
                element = self._add(name, task.node, task.stage, task, index)
                self._live += 1
            task.elements.append(element)
            element.index = index
            if element.phase == "blocked":
                element.phase = "probing"
                commands.append(Probe(name))
        for element in known.values():
            element.index = -1
            self._end(element, "skipped", "the list has it no more")
        task.waits = sum(not element.ended for element in task.elements)
        if task.waits == 0:
            self._gather(task)

    def _gather(self, task: Task) -> None:
        """All elements of a mapped task have ended: its output lists those that gave one."""
        elements = task.elements or []
        bad = [element for element in elements if not element.good]
        task.spread = None
        task.seconds = sum(element.seconds for element in elements)
        task.load_s = sum(element.load_s for element in elements)
        task.save_s = sum(element.save_s for element in elements)
        task.usd = sum(element.usd for element in elements)
        stopped = next((element for element in bad if element.phase == "cancelled"), None)
        if stopped is not None:
            self._end(task, "cancelled", stopped.reason)
        elif len(bad) > task.node.allow_failures:
            task.failure = bad[0].failure
            self._end(task, "failed", f"{len(bad)} of {len(elements)} failed, first `{bad[0].name}`: {bad[0].reason}")
        else:
            task.out = gather([element.out for element in elements if element.out is not None])
            reused = bool(elements) and all(element.phase == "reused" for element in elements)
            lost = f", {len(bad)} failed as allowed" if bad else ""
            plural = "" if len(elements) == 1 else "s"
            self._end(task, "reused" if reused else "succeeded", f"{len(elements)} element{plural}{lost}")

    def _missed(self, event: Missed) -> None:
        task = self.tasks[event.task]
        if task.phase == "probing":
            task.missed = task.key, task.code, task.inputs
            task.identify(event.key, event.inputs)
            task.reason, task.region = event.why, self.region
            self._enqueue(task)

    def _reused(self, event: Reused) -> None:
        task = self.tasks[event.task]
        if task.phase in ("probing", "ready"):
            task.identify(event.key, event.inputs)
            task.out = event.out
            self.outputs.reused(event.key, event.out, of_other_run=bool(event.run))
            self._end(task, "reused", event.why)

    def _launched(self, event: Launched) -> None:
        task = self.tasks[event.task]
        for worker in event.workers:
            if worker > self.last_worker:
                self.last_worker = worker
        if task.ended or task.phase == "running":
            return
        if task.phase == "ready":
            self._ready.remove(task)
        task.phase = "running"
        task.attempt, task.missed = event.attempt, None
        task.identify(event.key, event.inputs)
        task.workers, task.pool, task.awaits, task.region = event.workers, event.pool, "", self.region
        task.usd_per_hour, task.started, task.reason = event.usd_per_hour, event.at, event.why
        task.why = task.why or event.why
        self.changed[task.name] = task

    def _succeeded(self, event: Succeeded) -> None:
        task = self._running(event.task, event.attempt)
        if task is None:
            return
        task.out, task.log, task.started = event.out, event.log, event.started
        task.spend(event.seconds, event.load_s, event.save_s)
        self.dialogue.advanced(event.intents)
        reason = task.why
        if event.saw and task.key and task.inputs is not None:
            self.outputs.kept[task.name, task.key] = event.out  # this run asks for it by what it knew
            key, inputs = self.key_seen(task, event)
            if key != task.key:
                told = ", ".join(f"`{name}`" for name in differing(task.inputs, inputs))
                reason = f"{reason}; {told} had changed by the time it was read, so it is reused by what it read"
            task.key, task.inputs = key, inputs
        if task.key and event.unreusable is None:
            self.outputs.made.setdefault(task.key, event.out)
        if task.failure is not None:
            reason = f"{reason}; attempt {event.attempt}, after: {task.failure.message}"
        if event.unreusable is not None:
            reason = f"{reason}; not reusable: {event.unreusable}"
        self.curves.end(task.name)
        self._end(task, "succeeded", reason)

    def _failed(self, event: Failed, commands: list[Command]) -> None:
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
        self.outputs.damaged.update(event.failure.damaged)
        if event.failure.damaged or event.failure.lasting:  # it won't mend by itself
            verdict = Retry(again=False, pause_s=0.0, why=kind)
        if not verdict.again:
            hint = f"\nhint: {event.failure.hint}" if event.failure.hint else ""
            self._end(task, "failed", f"{verdict.why}: {event.failure.message}{hint}")
        elif verdict.pause_s:
            task.phase = "resting"
            task.workers = ()
            task.due = event.at + verdict.pause_s
            task.reason = f"{verdict.why}, in {verdict.pause_s:.1f} s: {event.failure.message}"
            heapq.heappush(self._due, (task.due, task.ordinal, task.name))
            self.changed[task.name] = task
        else:
            task.reason = f"{verdict.why}: {event.failure.message}"
            self._queue(task, commands)

    def _woke(self, at: float, commands: list[Command]) -> None:
        while self._due and self._due[0][0] <= at:
            due, _, name = heapq.heappop(self._due)
            task = self.tasks[name]
            if task.phase == "resting" and task.due == due:
                self._queue(task, commands)

    # -- transfers -----------------------------------------------------------------------------------------------

    def _deferred(self, event: Deferred) -> None:
        """Have a task wait for the transfers of what its region lacks; one that has failed already takes it along."""
        task = self.tasks[event.task]
        if task.phase != "probing":
            return
        task.identify(event.key, event.inputs)
        task.reason, task.region = event.why, self.region
        transfers = [self.tasks[name] for name in event.transfers]
        failed = next((each for each in transfers if each.ended and not each.good), None)
        if failed is not None:
            self._strand(task, failed)
            return
        task.fetches = {each.name for each in transfers if not each.ended}
        if not task.fetches:
            self._enqueue(task)
            return
        task.phase = "fetching"
        task.why = task.why or task.reason
        task.reason = f"waits for {listed(sorted(task.fetches), 3)}"
        self.changed[task.name] = task
        for name in task.fetches:
            self._fetching.setdefault(name, []).append(task)

    def _strand(self, task: Task, transfer: Task) -> None:
        """End a task one of whose inputs can't be brought."""
        task.failure = transfer.failure
        phase: Phase = "failed" if transfer.failure is not None else "cancelled"
        self._end(task, phase, f"`{transfer.name}` {transfer.phase}: {transfer.reason}")

    def _lacked(self, event: Lacked, commands: list[Command]) -> None:
        """Begin a transfer, or begin it again: its blob was lost since, or an earlier lease had given it up."""
        task = self.tasks.get(event.task)
        if task is None:
            task = self._add(event.task, node_of(event), stage_of(event))
        elif task.ended:
            task.failures = task.failure = task.out = None
            task.why = ""
        else:
            return
        self._live += 1
        task.move, task.region, task.reason = event, event.target, why(event)
        if self.cancelled is not None:
            self._end(task, "cancelled", self.cancelled.why)
        else:
            self._queue(task, commands)

    def _moved(self, event: Moved) -> None:
        task = self._running(event.task, event.attempt)
        if task is None or task.move is None:
            return
        task.out, task.started = task.move.ref, event.started
        task.spend(event.seconds)
        task.usd += event.usd
        self._end(task, "succeeded", task.why)

    def _arrived(self, transfer: Task, commands: list[Command]) -> None:
        """A transfer has ended: those that wait for no other go on."""
        name = transfer.name
        for task in self._fetching.pop(name, ()):
            if task.phase != "fetching" or task.fetches is None or name not in task.fetches:
                continue  # it was ended, or is tried anew
            task.fetches.remove(name)
            if not transfer.good:
                self._strand(task, transfer)
            elif not task.fetches:
                task.reason = task.why
                self._enqueue(task)
        _add(commands, self.dialogue.arrived(transfer))

    def _relocate(self, commands: list[Command]) -> None:
        """The run goes on in another region: look anew for what is needed there, and forget what was on its way."""
        self._fetching.clear()
        for task in list(self.tasks.values()):
            if task.move is not None and not task.ended and task.move.target != self.region:
                self._end(task, "skipped", "the run went on in another region")
            elif task.move is None and task.phase in ("ready", "fetching"):
                self._look_anew(task, commands)

    # -- the run's way -------------------------------------------------------------------------------------------

    def _cancel(self, event: Cancelled, commands: list[Command]) -> None:
        self.cancelled = event
        commands.extend(Stop(task.name, task.attempt, task.workers, event.now) for task in self.running())
        self._end_waiting(event.why)

    def _end_waiting(self, why: str) -> None:
        """End what doesn't run; a mapped task ends with the last of its elements."""
        for task in self.tasks.values():
            if task.phase in ("blocked", "probing", "fetching", "ready", "resting"):
                self._end(task, "cancelled", why)
        self._free.clear()
        self._due.clear()

    def _taken(self, event: Taken, commands: list[Command]) -> None:
        """A new driver: its tracer, if it needs one, asks anew; what had come to nothing may be tried again.

        What runs has been adopted before: an attempt of an earlier driver either counts or is lost.
        """
        self.dialogue.forget_question()
        if event.region != self.region:
            self.region = event.region
            self._relocate(commands)
        self.pool = event.pool
        self._woke(math.inf, commands)  # how long they still should rest was said by the clock of another driver
        if event.again:
            self.closed = self.cancelled = self.trace_failure = None
            self._begun = self._whole
            self._revive(commands)

    def _revive(self, commands: list[Command]) -> None:
        """Have what came to nothing tried again, and what went on without it asked for again."""
        revived: set[str] = set()
        for task in list(self.tasks.values()):
            if task.failures:
                task.failures.pop("lost", None)  # that drivers die goes to no task's account
            if task.move is not None and task.phase in ("failed", "cancelled"):
                task.phase, task.reason = "skipped", "it is tried again where a task needs it"
                self.changed[task.name] = task
            if task.move is not None or task.parent is not None or task.phase == "blocked":
                continue
            moved = _is_moved(task, revived) or self.outputs.is_damaged(task)
            if moved or task.phase in ("failed", "cancelled"):
                revived.add(task.name)
                self._reset(task, moved=moved)
            elif task.phase == "spread":
                self._revive_elements(task, commands)
        self._free.clear()
        for task in self.tasks.values():
            if task.phase == "blocked" and task.parent is None:
                task.waits = sum(not self.tasks[name].ended for name in names_needed(task.node))
                if task.waits == 0:
                    self._let_go(task)

    def _reset(self, task: Task, *, moved: bool) -> None:
        """Have a task wait again, as if it had never been tried. `moved`: what it depends on is tried again too."""
        self.outputs.forget_damaged(task)
        self.outputs.keep(task)
        if task.phase == "ready":
            self._ready.remove(task)
            task.forget_miss()
        self._live += task.ended
        task.phase, task.reason, task.why = "blocked", "", ""
        task.failures = task.failure = task.out = task.args = task.spread = task.fetches = None
        task.by_when = False
        task.waits = 0
        self.changed[task.name] = task
        for element in task.elements or ():
            if moved or not element.good:
                self._reset(element, moved=moved)

    def _revive_elements(self, task: Task, commands: list[Command]) -> None:
        """Try those elements again that have failed while others of the same mapped task still live."""
        for element in task.elements or ():
            if element.ended and not element.good:
                self._reset(element, moved=False)
                element.phase = "probing"
                task.waits += 1
                commands.append(Probe(element.name))

    def _renew(self, bundle: Bundle) -> None:
        """Forget the graph, keep what succeeded: a task of the same name and key never runs again.

        Attempts are counted on, as what they printed and logged goes by their numbers.
        """
        self.bundle = bundle
        for task in self.tasks.values():
            if task.attempt:
                self._tried[task.name] = task.attempt
            self.outputs.keep(task)
        for part in (self.tasks, self.stages, self.codes, self.nodes, self.changed, self._dependents, self._free):
            part.clear()
        self.dialogue.renew()
        self._ready = Ready()
        self._due.clear()
        self._whole = self._begun = False
        self.trace_failure = self.closed = self.cancelled = self._wanted = None
        self._fetching.clear()
        self._live = self._ordinal = 0

    # -- small moves ---------------------------------------------------------------------------------------------

    def _running(self, name: str, attempt: int) -> Task | None:
        """Give the task if this attempt of it is the one that runs; a late word of an older one counts for nothing."""
        task = self.tasks.get(name)
        return task if task is not None and task.phase == "running" and task.attempt == attempt else None

    def _queue(self, task: Task, commands: list[Command]) -> None:
        """Have a task be launched; should the run have changed its region, what it needs is looked for first."""
        if task.move is None and task.region != self.region:
            self._look_anew(task, commands)
        else:
            self._enqueue(task)

    def _look_anew(self, task: Task, commands: list[Command]) -> None:
        if task.phase == "ready":
            self._ready.remove(task)
        task.phase, task.workers, task.fetches = "probing", (), None
        self.changed[task.name] = task
        commands.append(Probe(task.name))

    def _enqueue(self, task: Task) -> None:
        task.phase = "ready"
        task.workers = ()
        self._ready.add(task)
        self.changed[task.name] = task

    def _end(self, task: Task, phase: Phase, reason: str) -> None:
        if task.phase == "ready":
            self._ready.remove(task)
            if phase != "reused":
                task.forget_miss()
        task.phase, task.reason = phase, reason
        task.workers, task.args, task.fetches = (), None, None
        self._live -= 1
        self.changed[task.name] = task
        self._ended.append(task)
        for element in task.elements or ():
            if element.phase == "blocked":  # it was to be tried again, and now is not
                self._end(element, phase, reason)


def _add(commands: list[Command], answer: Answer | None) -> None:
    """Have the tracer be answered, if there is something to say to it."""
    if answer is not None:
        commands.append(answer)


def _is_moved(task: Task, revived: Collection[str]) -> bool:
    """Whether a task that has begun or ended may come out otherwise, now that these others are tried again."""
    if not revived:
        return False
    if not task.good:
        return any(name in revived for name in names_needed(task.node))
    sources = [out.task for _, arg in task.node.args for out in outs(arg)]
    if task.node.when is not None:
        sources.append(task.node.when.task)
    return any(name in revived for name in sources)
