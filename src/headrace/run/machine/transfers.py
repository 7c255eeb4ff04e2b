"""Transfers: the tasks that copy blobs from one region's store to another's, and the tasks that wait for them."""

from __future__ import annotations

from collections.abc import Mapping

from headrace.errors import listed
from headrace.plan.transfers import STAGE, transfer_name
from headrace.run.events import Deferred, Lacked, Moved
from headrace.run.machine.phases import Phases
from headrace.run.machine.task import Phase, Task
from headrace.spec.artifact import Ref
from headrace.spec.graph import Node
from headrace.spec.stage import Resources, Stage

TRIES = 3
"""How often a transfer is tried again after a crash or a lack of memory. Other failures follow the usual rules."""


class Transfers:
    """Starts transfers, and makes tasks wait for them. `waiting` has, for the name of each transfer, the tasks that
    wait for it."""

    def __init__(self, phases: Phases) -> None:
        self._phases = phases
        self.waiting: dict[str, list[Task]] = {}

    def is_wanted(self, lack: Lacked) -> bool:
        """Return whether a blob's transfer is to begin. Return False if the transfer has begun already, or has failed
        under this lease."""
        transfer = self._phases.tasks.get(lack.task)
        return transfer is None or transfer.phase in ("succeeded", "skipped")

    def lacked(self, event: Lacked) -> None:
        """Start a transfer, or start it again after its blob was lost or after it failed under an earlier lease."""
        phases = self._phases
        task = phases.tasks.get(event.task)
        if task is None:
            task = phases.add(event.task, _node_of(event), _stage_of(event))
        elif task.ended:
            task.failures = task.failure = task.out = None
            task.why = ""
            phases.move(task, "blocked")
        else:
            return
        task.move, task.region = event, event.target
        task.reason = f"its blob is in `{event.source}`, and tasks in `{event.target}` need it"
        if phases.cancelled is not None:
            phases.end(task, "cancelled", phases.cancelled.why)
        else:
            phases.queue(task)

    def moved(self, event: Moved) -> None:
        """Handle the success of a transfer."""
        task = self._phases.current(event.task, event.attempt)
        if task is None or task.move is None:
            return
        task.out, task.started = task.move.ref, event.started
        task.spend(event.seconds)
        task.usd += event.usd
        self._phases.end(task, "succeeded", task.why)

    def deferred(self, event: Deferred) -> None:
        """Make a task wait for the transfers of the inputs that its region lacks.
        If one of them has failed, the task fails too."""
        phases = self._phases
        task = phases.tasks[event.task]
        if task.phase != "probing":
            return
        task.identify(event.key, event.inputs)
        task.reason, task.region = event.why, phases.region_of(task.placed)
        transfers = [phases.tasks[name] for name in event.transfers]
        failed = next((transfer for transfer in transfers if transfer.ended and not transfer.good), None)
        if failed is not None:
            self._strand(task, failed)
            return
        task.fetches = {transfer.name for transfer in transfers if not transfer.ended}
        if not task.fetches:
            phases.enqueue(task)
            return
        phases.move(task, "fetching")
        task.why = task.why or task.reason
        task.reason = f"waits for {listed(sorted(task.fetches), 3)}"
        for name in task.fetches:
            self.waiting.setdefault(name, []).append(task)

    def ended(self, transfer: Task) -> None:
        """Handle the end of a transfer: tasks that waited for this transfer alone go on."""
        name = transfer.name
        for task in self.waiting.pop(name, ()):
            if task.phase != "fetching" or task.fetches is None or name not in task.fetches:
                continue  # it has ended, or is tried again
            task.fetches.remove(name)
            if not transfer.good:
                self._strand(task, transfer)
            elif not task.fetches:
                task.reason = task.why
                self._phases.enqueue(task)

    def relocate(self, at: float = 0.0) -> None:
        """Handle a change of the run's pools: ask again where tasks may start and where their inputs are, and end
        transfers to regions in which the run has no pool any more. `at` is the present time, in Unix seconds."""
        phases = self._phases
        self.waiting.clear()
        for task in list(phases.tasks.values()):
            if task.ended:
                continue
            if task.move is None:
                if task.phase in ("ready", "fetching"):
                    phases.probe_again(task, at)
                phases.unplace(task)
                task.where = None
            elif task.move.target not in phases.pools.values():
                phases.end(task, "skipped", "the run went on in another region")
            elif task.phase == "ready":
                phases.ready.remove(task)
                phases.queue(task)

    def leave(self, pool: str, at: float) -> None:
        """Stop using a pool that is gone; `at` is the present time (Unix seconds). Tasks that were to start there may
        start in other pools. After this call, the driver reports the attempts that ran there as failed."""
        phases = self._phases
        if len(phases.pools) > 1 and phases.pools.pop(pool, None) is not None:
            phases.region = next(iter(phases.pools.values()))
            running = [(task, task.where) for task in phases.running() if task.where and task.pool != pool]
            self.relocate(at)
            for task, where in running:  # it may wait in a full pool, and then goes where there is room
                task.where = tuple([name for name in where if name != pool])

    def _strand(self, task: Task, transfer: Task) -> None:
        """End a task because one of its inputs can't be copied."""
        task.failure = transfer.failure
        phase: Phase = "failed" if transfer.failure is not None else "cancelled"
        self._phases.end(task, phase, f"`{transfer.name}` {transfer.phase}: {transfer.reason}")


def name_of(ref: Ref, source: str, target: str, tasks: Mapping[str, Task]) -> str:
    """Return the name of a blob's transfer: `transfer[ab12cd34 eu->us]`,
    or a longer one if another generation has that name."""
    short = transfer_name(ref.digest, source, target)
    known = tasks.get(short)
    if known is None or known.move is None or generation(known.move.ref) == generation(ref):
        return short
    return transfer_name(ref.digest, source, target, ref.nonce or "")


def generation(ref: Ref) -> str:
    """Return the name of a blob's generation, `DIGEST.NONCE`."""
    return f"{ref.digest}.{ref.nonce}"


def _stage_of(lacked: Lacked) -> Stage:
    """Return the stage of a transfer. Transfers of similar size share a stage, since they take a similar time."""
    size = lacked.ref.size.bit_length()
    return Stage(name=STAGE, function=f"{STAGE}:{size}", resources=Resources(cpu=lacked.cpu), retries=TRIES)


def _node_of(lacked: Lacked) -> Node:
    """Return the node of a transfer, which depends on no task."""
    return Node(name=lacked.task, stage=_stage_of(lacked).function, args=())
