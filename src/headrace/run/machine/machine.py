"""The state machine: it processes a run's events and returns what follows from them. Pure: no clock, file, socket or
random number.

Invariants (`headrace.run.machine.invariants` checks them):
- a task ends once and then never changes. There is one exception: a driver with a new lease may again try tasks that
  failed or were cancelled, and the tasks that depend on these;
- a task is launched only after all tasks that it waits for have ended, and never while another attempt of it runs;
- a task is launched only once its inputs are known to be in its region, and two transfers never copy the same blob to
  that region at the same time;
- a replay of the stored events gives the same state, whatever version of the state machine wrote them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from headrace.plan.resolve import LABELS, Unmappable
from headrace.plan.reuse import Before, Declared
from headrace.run.curves import Curves
from headrace.run.duration import Duration
from headrace.run.events import (
    Approved,
    Asked,
    Awaits,
    Cancelled,
    Checkpointed,
    Closed,
    Deferred,
    Event,
    Expired,
    Failed,
    Gone,
    Lacked,
    Launched,
    Logged,
    Moved,
    Noted,
    Opened,
    Placed,
    Pointed,
    Recalled,
    Rejected,
    Renewed,
    Reused,
    Submitted,
    Succeeded,
    Taken,
    Told,
    Traced,
    TraceEnded,
    TraceFailed,
    Woke,
)
from headrace.run.machine.approvals import Approvals, asked_of
from headrace.run.machine.attempts import Attempts
from headrace.run.machine.commands import Answer, Awaited, Command, Finish, Missed, Probe
from headrace.run.machine.dialogue import Dialogue
from headrace.run.machine.elements import Elements
from headrace.run.machine.graph import Graph
from headrace.run.machine.inputs import resolve
from headrace.run.machine.outputs import Outputs
from headrace.run.machine.phases import Phases
from headrace.run.machine.ready import Room
from headrace.run.machine.revival import Revival
from headrace.run.machine.skip import why_skip
from headrace.run.machine.task import MOVING, Inputs, Task
from headrace.run.machine.transfers import Transfers
from headrace.spec.bundle import Bundle
from headrace.spec.failure import Failure
from headrace.spec.graph import Node
from headrace.spec.policy import NOT_ASKED, Policy
from headrace.spec.stage import Resources, Stage

_BAD = ("failed", "cancelled")
"""The phases of a task that make the run fail. If a task was cancelled but its run wasn't, the task counts as
failed."""


class Machine:
    """The state of one run. `step` processes an event; `launches` proposes attempts; `changed` are tasks whose rows are
    to be written again.

    `phases` holds the tasks, and `graph` their dependencies. `pools` are the names of the pools that the last driver
    used, the one of its tracer first. `outputs` are what tasks made, `transfers` copy blobs to where they are needed,
    `approvals` makes tasks wait for people, and `curves` are what tasks logged. `dialogue` has the answers to the
    pipeline's body, and `duration` has the time that drivers have worked on the run. If the run got new code, `past`
    are the keys that tasks had when they last succeeded with older code.
    """

    def __init__(self) -> None:
        self.opened: Opened | None = None
        self.closed: Closed | None = None
        self.bundle: Bundle | None = None
        self.pools: tuple[str, ...] = ()
        self.duration = Duration()
        self.dialogue = Dialogue()
        self.curves = Curves()
        self.past: dict[str, Before] = {}
        self.phases = phases = Phases()
        self.graph = graph = Graph(phases)
        self.outputs = Outputs()
        self.transfers = Transfers(phases)
        self.approvals = Approvals(phases, graph)
        self._attempts = Attempts(phases, self.outputs, self.dialogue, self.curves)
        self._revival = Revival(phases, graph, self.outputs)
        self._elements = Elements(phases, self._revival)
        self.tasks, self.changed = phases.tasks, phases.changed
        self.stages, self.codes, self.nodes = graph.stages, graph.codes, graph.nodes

    # -- what others may ask -------------------------------------------------------------------------------------

    @property
    def policy(self) -> Policy:
        """The run's policy."""
        return self.opened.policy if self.opened else Policy()

    @property
    def platform(self) -> str | None:
        """The platform that the lock file in the run's bundle declares, or None."""
        return self.bundle.platform if self.bundle else None

    @property
    def cancelled(self) -> Cancelled | None:
        """The event that cancelled the run, or None."""
        return self.phases.cancelled

    @property
    def trace_ended(self) -> bool:
        """Whether nothing more is to be traced: the body has returned or raised, or the run is cancelled."""
        return self.graph.ended

    @property
    def may_launch(self) -> bool:
        """Whether attempts may start.

        The trace must have been good so far: it has ended, or waits for a value that it asked for. The run must be
        neither cancelled nor closed.
        """
        return self.graph.begun and self.phases.cancelled is None and self.closed is None

    @property
    def next_due(self) -> float | None:
        """The time when the next retry is due (Unix seconds), or None."""
        return self.phases.due[0][0] if self.phases.due else None

    @property
    def ready(self) -> int:
        """The number of tasks that could be launched now if there were room."""
        return len(self.phases.ready)

    @property
    def waits_for(self) -> str:
        """What the run waits for, if it waits only for something outside and so needs no driver; otherwise an empty
        text. The trace must be good so far, so that nothing is lost when the tracer ends."""
        asking = self.phases.asking
        tracing = not self.graph.ended and (self.dialogue.question is None or bool(self.dialogue.awaited))
        if not asking or self.closed is not None or not self.graph.begun or tracing or self.ready:
            return ""
        if any(task.phase in MOVING for task in self.tasks.values()):
            return ""
        first, *others = asking.values()
        more = f" and {len(others)} more wait" if others else " waits"
        return f"`{first.name}`{more} for {asked_of(first)}"

    def wanted(self, pool: str) -> list[tuple[Resources, int]]:
        """Return pairs of a need and the number of tasks with this need. The tasks are the ready ones that may start in
        `pool`, and those that are on their way there.

        The oldest ready task's need comes first.
        """
        under_way = [task for task in self.phases.placed.get(pool, {}).values() if task.phase != "ready"]
        return [*self.phases.ready.wanted(pool), *((task.stage.resources, 1) for task in under_way)]

    @property
    def last_worker(self) -> int:
        """The highest number that a worker of the run has had."""
        return self._attempts.last_worker

    def running(self) -> list[Task]:
        """Return the tasks that have a running attempt."""
        return self.phases.running()

    def expects(self, name: str, attempt: int) -> bool:
        """Return whether this attempt of a task is the one that runs."""
        return self.phases.current(name, attempt) is not None

    def probes(self) -> list[Probe]:
        """Return the probes without an answer. A driver handles these first after it has replayed the events."""
        return [Probe(task.name) for task in self.tasks.values() if task.phase == "probing"]

    def inputs(self, name: str) -> Inputs:
        """Return a task's arguments, with artifacts in place of the outputs of other tasks.
        Arguments that need the output of a skipped task are left out."""
        task = self.tasks[name]
        return resolve(task, self.tasks) if task.args is None else task.args

    def launches(self, rooms: Sequence[Room], at: float) -> list[Placed | Launched]:
        """Return a proposed attempt for each ready task that one of the run's pools has room for. Pass each of them to
        `step` before you call `launches` again. `rooms` are the pools in the order of the run.

        If the run uses several pools, an attempt is placed before it is launched. If it isn't known yet whether its
        inputs are in the pool's region, it is only placed.

        The list is empty while nothing may start: before the first good trace, and once the run is cancelled or closed.
        """
        phases = self.phases
        if not self.may_launch:
            return []
        return phases.ready.propose(rooms, at, phases.placed if phases.is_spread else None)

    # -- events --------------------------------------------------------------------------------------------------

    def step(self, event: Event | Missed | Awaited) -> list[Command]:
        """Process one event; return the commands that follow from it."""
        commands = self.phases.commands = []
        self.duration.hear(event)
        match event:
            case Succeeded():
                self._attempts.succeeded(event, self.platform)
            case Launched():
                self._attempts.launched(event)
            case Missed():
                self.phases.miss(event)
            case Deferred():
                self.transfers.deferred(event)
            case Lacked():
                self.transfers.lacked(event)
            case Moved():
                self.transfers.moved(event)
            case Awaited(transfers=names):
                self._say(self.dialogue.wait(event, [self.tasks[name] for name in names]))
            case Reused(key=key, out=out, run=run):
                if self.phases.reuse(event):
                    self.outputs.reused(key, out, run)
                    if not run:
                        self.curves.turn(event.task, key)
            case Failed():
                self._attempts.failed(event)
            case Traced():
                self.graph.add(event)
                if self.graph.begun:
                    self._begin()
            case TraceEnded():
                self.graph.whole = True
                self._begin()
            case Asked():
                self.dialogue.hear(event)
                self._begin()
            case Noted() | Pointed():
                self.dialogue.hear(event)
            case Woke(at=at):
                self.phases.wake(at)
            case Submitted():
                self.approvals.submitted(event)
            case Approved() | Rejected() | Expired():
                self.approvals.decided(event)
            case Awaits() | Checkpointed() | Logged() | Recalled():
                self._attempts.heard(event)
            case Placed():
                self.phases.place(event)
            case Gone(pool=pool, at=at):
                self.transfers.leave(pool, at)
            case Cancelled():
                self.phases.cancel(event)
                self.graph.free.clear()
            case Told():
                pass  # the attempt decides, and reports what it did
            case TraceFailed(failure=failure):
                self.graph.fail(failure)
            case Taken():
                self._taken(event)
            case Opened():
                self.opened, self.bundle = event, event.bundle
                self.approvals.authors.add(event.user)
            case Renewed():
                self._renew(event)
            case Closed():
                self.closed = event
        self._propagate()
        return commands

    def unseen(self, stages: tuple[Stage, ...], nodes: tuple[Node, ...], seen: int) -> Traced | None:
        """Compare a trace with the known part of the run's graph. Return what is new, or None if nothing is.

        `seen` is how many nodes of this trace were compared before.

        Raises:
            TraceError: the trace differs; the message names the node.
        """
        return self.graph.unseen(stages, nodes, seen)

    def _begin(self) -> None:
        self.graph.begin(self.policy.only, self.dialogue.asked_for)

    def _taken(self, event: Taken) -> None:
        """Handle a driver that took the lease. If it needs a tracer, the tracer asks its questions again. Failed tasks
        may be tried again.

        The attempts of the earlier driver were already adopted: each of them either counts or is lost.
        """
        self.dialogue.forget_question()
        self.approvals.holder = event.holder
        phases, before = self.phases, (self.phases.region, self.phases.is_spread)
        phases.pools = {event.pool: event.region, **dict(event.others)}
        phases.region, phases.is_spread = event.region, len(phases.pools) > 1
        if phases.is_spread or before != (event.region, False):
            self.transfers.relocate()
        self.pools = tuple(filter(None, phases.pools))
        phases.wake(math.inf)  # the end of their pause was computed with another driver's clock
        if event.again:
            self.closed = self.phases.cancelled = self.graph.failure = None
            self.graph.begun = self.graph.whole
            self._revival.revive()

    def _renew(self, event: Renewed) -> None:
        """Forget the graph, and keep the outputs of tasks that succeeded:
        a new task with the same name and key as one of them gets that output and doesn't run."""
        self.bundle, self.closed = event.bundle, None
        self.approvals.authors.add(self.approvals.holder)
        codes = dict(self.codes)
        for task in self.tasks.values():
            self.outputs.keep(task)
            if task.good and task.key:
                declared = Declared(task.node, task.stage, codes)
                self.past[task.name] = Before("", task.key, task.code or "", task.inputs or b"", declared)
        self.phases.renew(counted=event.counted)
        self.graph.renew()
        self.dialogue.renew()
        self.transfers.waiting.clear()
        self.curves.renew()

    # -- what follows --------------------------------------------------------------------------------------------

    def _propagate(self) -> None:
        """Handle all tasks that have ended or become free. This is done without recursion, since a chain of tasks may
        be long."""
        phases, graph = self.phases, self.graph
        while phases.ended or graph.freed:
            if phases.ended:
                self._pass_on(phases.ended.popleft())
            elif (task := graph.freed.popleft()).phase == "blocked":
                self._release(task)
        self._say(self.dialogue.answer(self.tasks))
        if phases.living == 0 and graph.ended and self.closed is None and self.opened is not None:
            phases.commands.append(_outcome(self.tasks.values(), phases.cancelled, graph.failure))

    def _pass_on(self, task: Task) -> None:
        """Handle a task that has ended: update the tasks that wait for it."""
        if task.move is not None:
            self.transfers.ended(task)
            self._say(self.dialogue.arrived(task))
        elif task.parent is not None:
            self._elements.ended(task, task.parent)
        else:
            self.graph.pass_on(task)

    def _release(self, task: Task) -> None:
        """Handle a task whose dependencies have all ended: skip it, make its elements, or ask whether its output
        exists."""
        if self.graph.leaves_out(task):
            self.phases.end(task, "skipped", NOT_ASKED)
            return
        node = task.node
        try:
            if not node.over:
                task.args = resolve(task, self.tasks)
            if node.over or len(task.args or ()) < len(node.args) or node.when is not None or node.after:
                skip = why_skip(task, self.tasks)
                if skip is not None:
                    task.by_when = skip.by_when
                    self.phases.end(task, "skipped", skip.why)
                    return
            if node.over:
                self._elements.spread(task, self.opened.labels if self.opened else LABELS)
            else:
                self.phases.probe(task)
        except Unmappable as problem:
            hint = "`.map()` takes lists of one length" if node.over else "annotate the stage with what it returns"
            task.failure = Failure("user", str(problem), hint=hint)
            self.phases.end(task, "failed", str(problem))

    def _say(self, answer: Answer | None) -> None:
        """If there is an answer for the tracer, append it to the list of commands."""
        if answer is not None:
            self.phases.commands.append(answer)


def _outcome(tasks: Collection[Task], cancelled: Cancelled | None, trace_failure: Failure | None) -> Finish:
    """Return the command that closes a run, once all its tasks have ended. The command has the run's final state and
    the reason for this state."""
    if cancelled is not None:
        return Finish("failed" if cancelled.by == "policy" else "cancelled", cancelled.why)
    if trace_failure is not None and trace_failure.kind == "refused":
        hint = f"\nhint: {trace_failure.hint}" if trace_failure.hint else ""
        return Finish("refused", trace_failure.message + hint)
    if trace_failure is not None:
        return Finish("failed", f"the pipeline's body raised: {trace_failure.message}")
    bad = [task for task in tasks if task.parent is None and task.move is None and task.phase in _BAD]
    refused = [task for task in tasks if task.refused and task.parent is None]
    if refused and not bad:
        more = f" and {len(refused) - 1} more were" if len(refused) > 1 else " was"
        return Finish("refused", f"task `{refused[0].name}`{more} skipped: {refused[0].reason}")
    if bad:
        more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
        return Finish("failed", f"task `{bad[0].name}`{more} {bad[0].phase}: {bad[0].reason}")
    return Finish("succeeded", "")
