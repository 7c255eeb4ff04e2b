"""Steps of the state machine: each event is added to the journal and passed to the state machine, and the resulting
commands are carried out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from msgspec.structs import replace

from headrace.errors import absent
from headrace.run.driver.courier import Courier
from headrace.run.driver.journal import Journal
from headrace.run.driver.prober import Prober
from headrace.run.events import (
    Closed,
    Deferred,
    Event,
    Failed,
    Gone,
    Lacked,
    Logged,
    Placed,
    Renewed,
    Reused,
    Submitted,
    Succeeded,
    TraceEnded,
    TraceFailed,
)
from headrace.run.machine.commands import Answer, Ask, Awaited, Command, Finish, Missed, Probe, Stop
from headrace.run.machine.machine import Machine
from headrace.run.ports import TRACER, AbsentRegions, Clock, Doubt
from headrace.run.projection import kept_by, result_of
from headrace.run.wire import Answer as Reply
from headrace.run.wire import Quit
from headrace.spec.artifact import Ref, generations
from headrace.spec.failure import Failure

ERASED_HINT = (
    "start a new run, which reads or makes the erased data again; if a version of a dataset was erased, register a new"
    " version, or name another one"
)
"""What to do about a task that needs an erased artifact."""


class Steps:
    """Steps the state machine with events that are stored by the end of the tick, and carries out its commands.

    Nothing is sent to a worker or the ledger here: the courier holds messages back,
    and the journal holds what is to be stored.
    """

    def __init__(
        self,
        *,
        machine: Machine,
        journal: Journal,
        courier: Courier,
        prober: Prober,
        clock: Clock,
        absent_regions: AbsentRegions | None = None,
    ) -> None:
        self._machine = machine
        self._journal = journal
        self._courier = courier
        self._prober = prober
        self._clock = clock
        self._absent_regions = absent_regions

    def absorb(self, event: Event, body: bytes | None = None) -> None:
        """Step the state machine with an event, which is stored by the end of this tick. `body` is the encoded event if
        the driver received it as bytes, otherwise None."""
        self._journal.note(event, body)
        self._journal.keep(kept_by(event))
        match event:
            case Succeeded():
                if (result := result_of(self._machine, event)) is not None:
                    self._journal.offer(result)
                if event.intents:
                    self._journal.intend(event.task, event.intents)
            case Logged(task=task):
                self._journal.log(task)
            case Failed(failure=Failure(damaged=damaged, message=why)) if damaged:
                self._doubt(damaged, why)
            case TraceEnded() | TraceFailed():
                self._courier.post(TRACER, Quit())  # the modules that it imported may take much memory
            case Renewed():
                self._journal.renew()
                self._prober.forget()
            case _:
                pass
        self.obey(self._machine.step(event))
        if isinstance(event, Placed) and self._machine.tasks[event.task].phase == "probing":
            self.obey([command for each in self._prober.locate(event.task) for command in self._take(each)])

    def leave(self, pool: str, why: str) -> None:
        """Stop using a pool that is gone."""
        self._prober.forget()
        self.absorb(Gone(pool, why, self._clock.now()))

    def fail(self, event: Failed) -> None:
        """Step the state machine with a failure. The time of the failure is set by this driver's clock, since retries
        are timed by that clock.

        If the attempt was cancelled and the run was not, somebody else ended the worker, so the attempt counts as lost.
        """
        failure = self.explained(event.failure)
        if failure.kind == "cancelled" and self._machine.cancelled is None:
            failure = Failure("lost", "something other than this run told its worker to end (SIGTERM)")
        self.absorb(replace(event, failure=failure, at=self._clock.now()))

    def explained(self, failure: Failure) -> Failure:
        """Return a failure as it should be recorded. If a missing blob was erased together with a person's data, or may
        be in a region that isn't in the settings, the failure says so, and the blob doesn't count as damaged."""
        if self._absent_regions is None:
            return failure
        for each in failure.damaged:
            if (erased := self._absent_regions.erased(each)) is not None:
                return replace(failure, message=erased, hint=ERASED_HINT, damaged=(), lasting=True)
        regions = {each: self._absent_regions.may_have(each) for each in failure.damaged}
        if not any(regions.values()):
            return failure
        message, hint = absent(failure.message, set().union(*regions.values()))
        damaged = tuple([each for each in failure.damaged if not regions[each]])
        return replace(failure, message=message, hint=hint, damaged=damaged, lasting=True)

    def obey(self, commands: list[Command]) -> None:
        """Carry out the state machine's commands, and the commands that follow from them, without recursion."""
        rest = commands
        rest.reverse()
        while rest:
            match rest.pop():
                case Probe(task=task):
                    self._foresee(task, rest)
                    rest.extend(reversed(self._probe(task)))
                case Ask(task=task):
                    rest.extend(reversed(self._submit(task)))
                case Answer(question=question, ref=Ref() as ref):
                    rest.extend(reversed(self._answer(question, ref)))
                case Answer(question=question, error=error):
                    self._courier.post(TRACER, Reply(question, error=error))
                case Stop(workers=workers, now=now):
                    cancelled = self._machine.cancelled
                    ended = "the run was cancelled" if cancelled is None or cancelled.by != "policy" else cancelled.why
                    for worker in workers:
                        self._courier.end(worker, "cancelled", ended, now=now)
                case Finish(state=state, why=why):
                    closed = Closed(state, self._clock.now(), why)
                    self._journal.note(closed)
                    rest.extend(reversed(self._machine.step(closed)))

    def _foresee(self, name: str, rest: Sequence[Command]) -> None:
        """Ask the ledger, in one query, about all tasks that are probed next."""
        if rest and isinstance(rest[-1], Probe) and not self._prober.foresees(name):
            others = takewhile(lambda command: isinstance(command, Probe), reversed(rest))
            self._prober.foresee([name, *(command.task for command in others if isinstance(command, Probe))])

    def _probe(self, name: str) -> list[Command]:
        """Find out whether a task's output exists, and step the state machine with the answer. A miss is not stored."""
        return [command for event in self._prober.probe(name) for command in self._take(event)]

    def _take(self, event: Reused | Placed | Missed | Lacked | Deferred) -> list[Command]:
        """Step the state machine with the answer to a probe, and add the answer to the journal unless it is a miss."""
        if not isinstance(event, Missed):
            self._journal.note(event)
            self._journal.keep(kept_by(event))
            if isinstance(event, Reused) and self._prober.has_logged(event):
                self._journal.inherit(event.task, event.key)
        return self._machine.step(event)

    def _submit(self, name: str) -> list[Command]:
        """Record that a task waits for somebody's approval from now on."""
        task = self._machine.tasks[name]
        if task.phase != "asking":
            return []
        why = task.why or task.reason
        event = Submitted(name, task.key or "", task.inputs or b"", why, self._clock.now())
        self._journal.note(event)
        return self._machine.step(event)

    def _answer(self, question: int, ref: Ref) -> list[Command]:
        """Send the tracer a value, once the run's region has all of the value's blobs."""
        wanted, transfers = self._prober.missing(ref)
        if not transfers:
            self._courier.post(TRACER, Reply(question, ref=ref))
            return []
        commands = [command for lack in wanted for command in self._take(lack)]
        return [*commands, *self._machine.step(Awaited(question, transfers))]

    def _doubt(self, damaged: Sequence[str], why: str) -> None:
        """Prevent damaged outputs from being reused, so that the next run makes them again."""
        for task in self._machine.tasks.values():
            if task.key and task.good and task.out is not None:
                for generation in generations(task.out).intersection(damaged):
                    self._journal.doubt(Doubt(key=task.key, generation=generation, why=why))
