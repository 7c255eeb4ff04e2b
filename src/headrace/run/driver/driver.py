"""The drive loop: the one process that holds a run's lease hears, steps the machine, stores, then acts.

One tick: hear what happened; absorb it, answering probes from the ledger; propose launches; store all of it in one
transaction; and only then send. What was stored happened; what was not stored had no effect.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterable, Sequence
from itertools import takewhile

from msgspec import Struct
from msgspec.structs import replace

from headrace.errors import (
    BackendError,
    HeadraceError,
    LeaseLost,
    RefusedError,
)
from headrace.plan.reuse import ChangedGiven
from headrace.run.driver.advances import Advances
from headrace.run.driver.courier import Courier, Verdict
from headrace.run.driver.crew import Crew
from headrace.run.driver.journal import Journal
from headrace.run.driver.orders import Orders
from headrace.run.driver.prober import ChangedCode, Prober
from headrace.run.driver.regions import Elsewhere, Places
from headrace.run.driver.tracing import TRACER, Files, Tracing, refusal
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
    Logged,
    Moved,
    Recalled,
    Renewed,
    Reused,
    Succeeded,
    Told,
    Traced,
    TraceEnded,
    TraceFailed,
    Woke,
    decode_event,
)
from headrace.run.machine.commands import Answer, Awaited, Command, Finish, Missed, Probe, Stop
from headrace.run.machine.machine import Machine
from headrace.run.machine.task import Task
from headrace.run.ports import (
    Alive,
    Backend,
    Beat,
    Blobs,
    Clock,
    Delayed,
    Died,
    Doubt,
    Heard,
    Ledger,
    Left,
    Notice,
    RunRow,
    TaskRow,
)
from headrace.run.projection import kept_by, result_of, run_row
from headrace.run.wire import Answer as Reply
from headrace.run.wire import Drop, Progress, Question, Quit, Refused, Remark, Report, Tell, Waiting
from headrace.spec.artifact import Ref, generations
from headrace.spec.failure import Failure, FailureKind
from headrace.spec.policy import TOO_LONG
from headrace.spec.stage import Stage

BEAT_S = 0.2
RECALL_S = 0.5
"""How long an attempt may keep others waiting that were queued behind it because it was thought to be short."""
SHOWN = 5
"""So many tasks are named in a note."""

Rows = Callable[[Sequence[TaskRow]], None]


class Stored(Struct, frozen=True, gc=False):
    """What a tick has stored, for whoever looks on: rows of tasks, and whether the run has been opened or closed."""

    rows: list[TaskRow]
    opened: bool
    closed: RunRow | None


def _ignore(_: object) -> None:
    """Nobody looks on."""


def _unknown(_run: str, _stage: Stage) -> Sequence[str]:
    """Nobody knows what the code was."""
    return ()


class Driver:
    """Drives one run to its end. `machine` may have absorbed earlier events already: then this is a resumed run.

    Every `beat_s` seconds it looks into the inbox and asks for its grant anew. `store` is that of the region that the
    backend's pool stands in, `elsewhere` are the other regions: what is needed of them is brought by transfers. `far`:
    the store takes a while to answer, and is asked for much at once. `secret` gives the value of a secret, which goes
    to the workers that need it and nowhere else. `timeout_s` goes before the limit of the run's policy. A run is opened
    once its trace has begun well, or after `opens_s` seconds for whoever waits no longer: then what is wrong with the
    pipeline fails the run. `run` is what its hints call the run.
    """

    def __init__(
        self,
        *,
        machine: Machine,
        ledger: Ledger,
        store: Blobs,
        backend: Backend,
        clock: Clock,
        next_seq: int = 0,
        beat_s: float = BEAT_S,
        files: Files | None = None,
        opened: Callable[[], None] = lambda: None,
        rows: Rows = _ignore,
        closed: Callable[[RunRow], None] = _ignore,
        changed_code: ChangedCode = _unknown,
        changed_given: ChangedGiven = lambda *_: (),
        elsewhere: Sequence[Elsewhere] = (),
        far: bool = False,
        note: Callable[[str], None] = _ignore,
        secret: Callable[[str], str | None] = lambda _: None,
        timeout_s: float | None = None,
        opens_s: float = math.inf,
        run: str = "latest",
    ) -> None:
        self._run = run
        self._machine = machine
        self._ledger = ledger
        self._backend = backend
        self._clock = clock
        self._beat_s = beat_s
        self._tell_opened = opened
        self._show = rows
        self._tell_closed = closed
        self._note = note
        self._timeout_s = timeout_s
        self._crew = Crew(backend.pool, machine.last_worker + 1, backend.ahead_s)
        self._journal = Journal(ledger, next_seq)
        self._courier = Courier(backend, secret)
        self._places = Places(backend.pool, store, elsewhere, far=far)
        self._tracing = Tracing(
            machine=machine,
            journal=self._journal,
            courier=self._courier,
            backend=backend,
            ledger=ledger,
            clock=clock,
            files=files,
            absorb=self._absorb,
        )
        self._prober = Prober(machine, ledger, self._places, changed_code, changed_given)
        self._orders = Orders(machine, self._places)
        self._stood = self._as_stored() if self._journal.is_open else {}
        self._began = clock.monotonic()
        self._opens_at = self._began + opens_s
        self._looked = -beat_s
        self._interrupts = 0
        self._heeded = 0
        self._remarks: set[str] = set()
        self._since: dict[int, tuple[int, float]] = {}
        self._advances = Advances(ledger)
        self._is_new = True  # nothing was stored yet under this lease

    # -- from outside ------------------------------------------------------------------------------------------

    def open(self, first: Iterable[Event]) -> None:
        """Absorb the first events of this lease: `Opened` and `Taken` of a new run, `Taken` of one that was adopted."""
        for event in first:
            self._absorb(event)
        if self._journal.is_open:
            for signal in self._ledger.inbox():
                self._journal.absorb(signal.id)  # it was meant for the driver before
        self._obey([*self._machine.probes()])

    def trace(self) -> None:
        """Start the tracer: unless all is traced already, the graph comes from it."""
        self._tracing.begin()

    def adopt(self, *, keep: bool = True, left: Left | None = None) -> None:
        """Take over what an earlier driver left, before all else: reports that nobody has stored, workers that live.

        What no living worker has is lost. Unless `keep`, as where the code is to change, the workers are ended too, and
        so are those of `left`, the pool that the run was in before it goes on in this one.
        """
        alive: dict[int, Alive] = {}
        if left is not None:
            self._end_left(left)
        for found in self._backend.adopt():
            if isinstance(found, Heard):
                self._inherit(found)
            elif keep:
                alive[found.job.worker] = found
                fresh = any(self._is_fresh(task) for task, _ in found.attempts)
                self._crew.adopt(found.job, found.attempts, done=found.done, fresh=fresh)
            else:
                self._backend.close([found.job.worker], now=True)
        lost = []
        for task in self._machine.running():
            attempt = task.name, task.attempt
            if all(worker in alive and attempt in alive[worker].attempts for worker in task.workers):
                continue
            for worker in task.workers:
                if self._crew.holds(worker, *attempt):
                    self._end(worker, "lost", "another node of it is gone", now=True)
            failure = Failure("lost", "the driver that had launched it is gone")
            self._absorb(Failed(task.name, task.attempt, failure, self._clock.now()))
            lost.append(f"`{task.name}`")
        if lost:
            more = f" and {len(lost) - SHOWN} more" if len(lost) > SHOWN else ""
            self._note(
                "not done when this driver took the run over, so ended, and begun anew from the last checkpoint, if"
                f" there is one: {', '.join(lost[:SHOWN])}{more}"
            )
        for worker in alive:
            if (present := self._crew.present(worker)) is not None and self._is_over(*present):
                self._end(worker, "lost", "what it was at is for nobody", now=True)

    def _inherit(self, heard: Heard) -> None:
        """Absorb what a worker had reported that the driver before has not stored."""
        if not isinstance(heard.message, Report):
            return
        self._courier.heard(heard.worker, heard.message.seq)
        body = heard.message.body
        event = decode_event(body)
        if isinstance(event, Failed) and self._counts(heard.worker, event):
            self._absorb(self._of_run(event))
        elif isinstance(event, Logged):
            self._logged(event, body)
        elif isinstance(event, Succeeded) and self._counts(heard.worker, event):
            self._succeeded(event, body)
        elif isinstance(event, Moved | Checkpointed) and self._counts(heard.worker, event):
            self._absorb(event, body)

    def _end_left(self, left: Left) -> None:
        """Hear what workers of another pool have said, and end those that live."""
        for found in left.adopt():
            if isinstance(found, Heard):
                self._inherit(found)
            else:
                left.close([found.job.worker], now=True)

    def _is_fresh(self, task: str) -> bool:
        known = self._machine.tasks.get(task)
        return known is not None and known.stage.isolation == "fresh"

    @property
    def is_open(self) -> bool:
        """Whether the run is in the ledger."""
        return self._journal.is_open

    def interrupt(self) -> None:
        """Note that the user wants to stop: once gracefully, twice now. Safe to call from a signal handler."""
        self._interrupts += 1

    def drive(self) -> Closed:
        """Tick until the run has ended and give how it did.

        Raises:
            UsageError: the pipeline can't be traced; no run was opened.
            LeaseLost: another driver took the run.
        """
        try:
            while self._machine.closed is None or not self._journal.is_empty:
                self.tick(self._patience())
        except LeaseLost:
            self._backend.close([*self._crew.workers, TRACER], now=True)
            self._backend.abandon()  # what else there is of the run is another driver's now
            raise
        except BaseException:
            if self._journal.is_open:
                self._backend.abandon()  # what runs may end, and is found by the next driver: this one has no say now
            else:
                self._backend.close(now=True)
            raise
        try:
            self._backend.close()
        except HeadraceError as error:  # how the run ended is stored, and stays so
            self._note(f"the run has ended, and what it leaves could not be put away: {error.message}")
        return self._machine.closed

    def tick(self, timeout_s: float) -> None:
        """Hear, step, propose, store once, send."""
        self._hear(self._backend.events(timeout_s))
        self._look()
        self._launch()
        stored = self._commit()
        self._courier.dispatch(self._crew)
        if stored is not None:
            self._tell(stored)  # after the workers, who need not wait for whoever looks on
            for told in self._advances.dropped():
                self._note(told)

    # -- hear ----------------------------------------------------------------------------------------------------

    def _hear(self, notices: Sequence[Notice]) -> None:
        for notice in notices:
            match notice:
                case Heard(worker=worker, message=Report(seq=seq, body=body)):
                    self._heard(worker, body)
                    self._courier.heard(worker, seq)
                case Heard(message=Question() as question):
                    self._tracing.asked(question)
                case Heard(message=Progress() as progress):
                    self._progress(progress)
                case Heard(message=Remark(text=text)):
                    if text not in self._remarks:
                        self._remarks.add(text)
                        self._note(text)
                case Heard(message=Refused() as refused):
                    self._tracing.refused(refusal(refused))
                case Died():
                    self._died(notice)
                case Beat():
                    self._beat(notice)
                case Delayed(worker=worker, why=why) | Heard(worker=worker, message=Waiting(why=why)):
                    self._delayed(worker, why)

    def _delayed(self, worker: int, why: str) -> None:
        """Note what a worker waits for; of the tracer there is no task yet to say it of."""
        if worker == TRACER and why:
            self._note(why)
        for task, attempt in self._crew.queued(worker):
            if self._expects(task, attempt):
                self._absorb(Awaits(task, attempt, why))

    def _heard(self, worker: int, body: bytes) -> None:
        event = decode_event(body)
        match event:
            case Succeeded(task=task, attempt=attempt):
                stage = self._machine.tasks[task].stage.function if task in self._machine.tasks else ""
                took = event.seconds + event.load_s + event.save_s
                self._crew.finished(worker, task, attempt, stage, took)
                if self._counts(worker, event):
                    self._succeeded(event, body)
            case Moved(task=task, attempt=attempt):
                stage = self._machine.tasks[task].stage.function if task in self._machine.tasks else ""
                self._crew.finished(worker, task, attempt, stage, event.seconds)
                if self._counts(worker, event):
                    self._absorb(event, body)
            case Failed(task=task, attempt=attempt, failure=failure):
                self._crew.finished(worker, task, attempt, "", None)
                if failure.kind == "cancelled":
                    self._crew.retire(worker)  # whoever told it so, it leaves now
                if self._counts(worker, event):
                    self._end_gang(worker, task, attempt)
                    self._absorb(self._of_run(event))
            case Checkpointed():
                if self._counts(worker, event):
                    self._absorb(event, body)
            case Logged():
                self._logged(event, body)
            case Traced() | TraceEnded() | TraceFailed() | Asked() if worker == TRACER:
                self._tracing.heard(event, body)
            case _:
                raise BackendError(f"worker {worker} reported `{type(event).__name__}`, which is not its to say")

    def _logged(self, event: Logged, body: bytes) -> None:
        """Take what an attempt that runs has logged; each of the workers that it spans may."""
        if self._expects(event.task, event.attempt) and not self._machine.curves.knows(event):
            self._absorb(event, body)

    def _succeeded(self, event: Succeeded, body: bytes) -> None:
        """Take a success, if the store has all that it names: a blob that somebody took meanwhile is a lost attempt."""
        now = self._clock.now()
        took_s = max(event.seconds + event.load_s + event.save_s, now - self._machine.tasks[event.task].started)
        if (lost := self._places.lost(kept_by(event), took_s)) is None:
            self._absorb(event, body)
            return
        why = f"`{lost.digest[:12]}`, which it had stored, was gone from the store before its success was recorded"
        failure = Failure("lost", why, hint="look for what deletes there beside `headrace gc`: a rule of the bucket's?")
        self._absorb(
            Failed(event.task, event.attempt, failure, now, event.started, event.seconds, event.log, event.use)
        )

    def _of_run(self, event: Failed) -> Failed:
        """Give a failure as it is for this run.

        By its clock, by which the task may be tried again: a worker's may be another. And if the run wasn't cancelled,
        somebody else has told the worker to end.
        """
        failure = event.failure
        if failure.kind == "cancelled" and self._machine.cancelled is None:
            failure = Failure("lost", "its worker was told to end, and not by this run (SIGTERM)")
        return replace(event, failure=failure, at=self._clock.now())

    def _progress(self, progress: Progress) -> None:
        """Show how far a transfer has come; that is not stored."""
        if self._expects(progress.task, progress.attempt):
            task = self._machine.tasks[progress.task]
            size = 0 if task.move is None else task.move.ref.size
            told = f"{progress.done / 1e6:.0f} of {size / 1e6:.0f} MB; {task.reason}"
            self._show([replace(task.row(), reason=told)])

    def _died(self, notice: Died) -> None:
        if notice.worker == TRACER:
            self._courier.bury(TRACER)  # the next one has its number, and is told nothing that was meant for this one
            self._tracing.died(notice)
            return
        queue = self._crew.lost(notice.worker)
        self._since.pop(notice.worker, None)
        verdict = self._courier.bury(notice.worker)
        for place, (task, attempt) in enumerate(queue):
            if not self._expects(task, attempt):
                continue
            self._end_gang(notice.worker, task, attempt)
            if verdict is not None and verdict.of == (task, attempt):
                failure = Failure(verdict.kind, verdict.why, hint=self._hint(verdict.kind, task))
            elif verdict is None and place == 0:
                failure = Failure(notice.kind, notice.why, hint=notice.hint or self._hint(notice.kind, task))
            else:
                failure = Failure("lost", f"its worker ended while another task ran: {notice.why}")
            now, started = self._clock.now(), self._machine.tasks[task].started
            took = max(0.0, now - started) if place == 0 else 0.0
            jitter = self._clock.jitter()
            failed = Failed(task, attempt, failure, now, started=started, seconds=took, jitter=jitter)
            self._absorb(self._of_run(failed))

    def _beat(self, beat: Beat) -> None:
        """Look how long a worker is at its attempt already."""
        present = self._crew.present(beat.worker)
        if present is None or self._courier.ends(beat.worker) or beat.at != self._crew.workers[beat.worker].done:
            return
        task = self._machine.tasks.get(present[0])
        limit = None if task is None else task.stage.timeout_s
        if limit is None and not self._crew.waiting(beat.worker):
            return
        now = self._clock.monotonic()
        at, since = self._since.get(beat.worker, (-1, now))
        if at != beat.at:  # by the clock that never goes back, from when it was first heard of
            self._since[beat.worker] = beat.at, now
        elif not self._time_out(beat.worker, limit, now - since) and now - since > RECALL_S:
            self._recall(beat.worker)

    def _time_out(self, worker: int, limit: float | None, took_s: float) -> bool:
        """End a worker's attempt that is past its limit; say whether it was."""
        if limit is None or took_s <= limit:
            return False
        self._end(worker, "timeout", f"it ran longer than its timeout of {limit:g} s", now=True)
        return True

    def _look_for_late(self, now: float) -> None:
        """Time out attempts of which nothing is heard any more: who would tell of them may be stopped itself."""
        for worker, (at, since) in list(self._since.items()):
            present = self._crew.present(worker)
            if present is None or self._courier.ends(worker):
                continue
            if at == self._crew.workers[worker].done:
                task = self._machine.tasks.get(present[0])
                self._time_out(worker, None if task is None else task.stage.timeout_s, now - since)

    def _recall(self, worker: int) -> None:
        """Have what waits behind an attempt that takes longer than was thought go to other workers."""
        for task, attempt in self._crew.recall(worker):
            if self._expects(task, attempt):
                self._courier.post(worker, Drop(task, attempt))
                self._absorb(Recalled(task, attempt))

    # -- look about ----------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """At each tick the time; several times a second the inbox and the grant."""
        now = self._clock.monotonic()
        if self._interrupts > self._heeded:
            self._heeded = self._interrupts
            self._cancel("the user", "interrupted", now=self._interrupts > 1)
        due = self._machine.next_due
        if due is not None and due <= self._clock.now():
            self._absorb(Woke(self._clock.now()))
        limit = self._limit_s
        if limit is not None and now - self._began >= limit:
            self._cancel("policy", f"{TOO_LONG} {limit:g} s", now=True)
        if now - self._looked < self._beat_s:
            return
        self._looked = now
        self._look_for_late(now)
        if self._journal.is_open:
            for signal in self._ledger.inbox():
                self._journal.absorb(signal.id)
                match signal.kind:
                    case "cancel":
                        self._cancel(signal.by, f"cancelled by {signal.by}", now=signal.body == "now")
                    case "stop":
                        self._stop(signal.by, signal.body)
        self._ask_grant()

    def _stop(self, by: str, name: str) -> None:
        """Tell the attempt of a task, or those of a map's elements, to end early; one that runs no more has ended."""
        for task in self._machine.running():
            if name in (task.name, task.parent and task.parent.name):
                self._absorb(Told(task.name, task.attempt, by, self._clock.now()))
                for worker in task.workers:
                    self._courier.post(worker, Tell(task.name, task.attempt, "stop"))
                self._note(f"`{task.name}` was told to stop by {by}")

    def _cancel(self, by: str, why: str, *, now: bool) -> None:
        before = self._machine.cancelled
        if self._machine.closed is None and (before is None or (now and not before.now)):
            if not self._journal.is_open and by == "policy":
                raise RefusedError(f"{why}, and nothing had begun", hint="give it more time by `--timeout`")
            if not self._journal.is_open:
                raise KeyboardInterrupt
            self._absorb(Cancelled(by, why, self._clock.now(), now))

    @property
    def _limit_s(self) -> float | None:
        """How long this driver goes on; the time of those before it doesn't count."""
        return self._machine.policy.timeout_s if self._timeout_s is None else self._timeout_s

    def _ask_grant(self) -> None:
        self._crew.grant = self._ledger.grant(self._crew.want(self._machine.wanted))
        self._crew.shrink()

    def _patience(self) -> float:
        """How long there is nothing to do but listen."""
        if not self._courier.is_empty or (self._journal.is_open and not self._journal.is_empty):
            return 0.0
        pauses = [self._beat_s]
        if (due := self._machine.next_due) is not None:
            pauses.append(due - self._clock.now())
        if (limit := self._limit_s) is not None and self._machine.cancelled is None:
            pauses.append(self._began + limit - self._clock.monotonic())
        if not self._journal.is_open:
            pauses.append(self._opens_at - self._clock.monotonic())
        return max(0.0, min(pauses))

    # -- step ----------------------------------------------------------------------------------------------------

    def _absorb(self, event: Event, body: bytes | None = None) -> None:
        """Step the machine with an event that is stored by the end of this tick."""
        self._journal.note(event, body)
        self._journal.keep(kept_by(event))
        match event:
            case Succeeded():
                if (result := result_of(self._machine, event)) is not None:
                    self._journal.offer(result)
                if event.intents:
                    self._journal.intend(event.task, event.intents)
                    self._advances.ask(event.task, event.intents)
            case Logged(task=task):
                self._journal.log(task)
            case Failed(failure=Failure(damaged=damaged, message=why)) if damaged:
                self._doubt(damaged, why)
            case TraceEnded() | TraceFailed():
                self._courier.post(TRACER, Quit())  # what it has imported may be large
            case Renewed():
                self._journal.renew()
                self._prober.forget()
                self._tracing.anew()
            case _:
                pass
        self._obey(self._machine.step(event))

    def _obey(self, commands: list[Command]) -> None:
        """Do what the machine says, and what follows from that, without recursion."""
        rest = commands
        rest.reverse()
        while rest:
            match rest.pop():
                case Probe(task=task):
                    self._foresee(task, rest)
                    rest.extend(reversed(self._probe(task)))
                case Answer(question=question, ref=Ref() as ref):
                    rest.extend(reversed(self._answer(question, ref)))
                case Answer(question=question, error=error):
                    self._courier.post(TRACER, Reply(question, error=error))
                case Stop(workers=workers, now=now):
                    cancelled = self._machine.cancelled
                    ended = "the run was cancelled" if cancelled is None or cancelled.by != "policy" else cancelled.why
                    for worker in workers:
                        self._end(worker, "cancelled", ended, now=now)
                case Finish(state=state, why=why):
                    closed = Closed(state, self._clock.now(), why)
                    self._journal.note(closed)
                    rest.extend(reversed(self._machine.step(closed)))

    def _foresee(self, name: str, rest: Sequence[Command]) -> None:
        """Have the ledger asked once for all that is probed from here on."""
        if rest and isinstance(rest[-1], Probe) and not self._prober.foresees(name):
            others = takewhile(lambda command: isinstance(command, Probe), reversed(rest))
            self._prober.foresee([name, *(command.task for command in others if isinstance(command, Probe))])

    def _probe(self, name: str) -> list[Command]:
        """Find out whether a task's output is there, and tell the machine; a miss is not stored."""
        return [command for event in self._prober.probe(name) for command in self._take(event)]

    def _take(self, event: Reused | Missed | Lacked | Deferred) -> list[Command]:
        """Step the machine with what was found out, and store it if it is to be stored."""
        if not isinstance(event, Missed):
            self._journal.note(event)
            self._journal.keep(kept_by(event))
            if isinstance(event, Reused) and self._prober.has_logged(event):
                self._journal.inherit(event.task, event.key)
        return self._machine.step(event)

    def _answer(self, question: int, ref: Ref) -> list[Command]:
        """Give the tracer a value, once its region has all of it."""
        wanted, transfers = self._prober.missing(ref)
        if not transfers:
            self._courier.post(TRACER, Reply(question, ref=ref))
            return []
        commands = [command for lack in wanted for command in self._take(lack)]
        return [*commands, *self._machine.step(Awaited(question, transfers))]

    def _doubt(self, damaged: Sequence[str], why: str) -> None:
        """Keep what has turned out to be damaged from being reused, so that the next run makes it anew."""
        for task in self._machine.tasks.values():
            if task.key and task.good and task.out is not None:
                for generation in generations(task.out).intersection(damaged):
                    self._journal.doubt(Doubt(key=task.key, generation=generation, why=why))

    def _counts(self, worker: int, event: Succeeded | Moved | Failed | Checkpointed) -> bool:
        """Whether a report counts: it is of the attempt that runs, if it is good, of the first of its workers, and no
        checkpoint that was reported to the driver before."""
        if not self._expects(event.task, event.attempt):
            return False
        task = self._machine.tasks[event.task]
        if isinstance(event, Checkpointed) and task.knows(event):
            return False
        workers = task.workers
        return worker in workers if isinstance(event, Failed) else worker == workers[0]

    def _is_over(self, task: str, attempt: int) -> bool:
        """Whether an attempt has come to nothing, so that what its workers still do is for nobody."""
        known = self._machine.tasks.get(task)
        return not self._expects(task, attempt) and not (known is not None and known.good)

    def _expects(self, task: str, attempt: int) -> bool:
        known = self._machine.tasks.get(task)
        return known is not None and known.phase == "running" and known.attempt == attempt

    # -- propose and store ---------------------------------------------------------------------------------------

    def _launch(self) -> None:
        machine = self._machine
        if not machine.may_launch or not machine.ready:
            return
        if self._crew.grant.cpu <= 0:
            self._ask_grant()
        for launch in machine.launches(self._crew, self._clock.now()):
            self._absorb(launch)
            for worker, order in self._orders.of(launch):
                self._courier.post(worker, order)

    def _commit(self) -> Stored | None:
        """Store all of this tick, once the run is open: its first good trace opens it, or the end of our patience."""
        machine, journal = self._machine, self._journal
        first = not journal.is_open
        traced = machine.may_launch or machine.trace_ended
        overdue = first and not traced and self._clock.monotonic() >= self._opens_at
        if journal.is_empty or (first and not traced and not overdue):
            return None
        self._tracing.late |= overdue
        rows = [task.row() for task in machine.changed.values()]
        changed = self._is_new or machine.closed is not None or machine.cancelled is not None
        run = run_row(machine, self._clock.now()) if changed else None
        curves = machine.curves
        journal.commit(run, rows, [curves.summary(name) for name in curves.changed])
        machine.changed.clear()
        curves.changed.clear()
        self._is_new = False
        return Stored(rows, opened=first, closed=run if machine.closed is not None else None)

    def _as_stored(self) -> dict[str, Task]:
        """Take the tasks of a run that is gone on with as they stand: the ledger has their rows, with their events."""
        found = dict(self._machine.changed)
        self._machine.changed.clear()
        self._machine.curves.changed.clear()
        return found

    def _tell(self, stored: Stored) -> None:
        if stored.opened:
            self._tell_opened()
        if self._stood:  # whoever looks on has not seen them, and need not before the first launch
            fresh, tasks = {row.name for row in stored.rows}, self._machine.tasks
            rest = [task for name, task in self._stood.items() if name not in fresh and tasks.get(name) is task]
            self._show([*(task.row() for task in rest), *stored.rows])
            self._stood = {}
        elif stored.rows:
            self._show(stored.rows)
        if stored.closed is not None:
            self._tell_closed(stored.closed)

    def _end(self, worker: int, kind: FailureKind, why: str, *, now: bool) -> None:
        """End a worker for the sake of the attempt that it is at."""
        self._courier.end(worker, Verdict(kind, why, self._crew.present(worker)), now=now)
        self._crew.retire(worker)

    def _end_gang(self, worker: int, task: str, attempt: int) -> None:
        """One worker of an attempt failed, so those that still are at it are ended too."""
        for other in self._machine.tasks[task].workers:
            if other != worker and self._crew.holds(other, task, attempt):
                self._end(other, "lost", f"another node of `{task}` failed", now=True)

    def _hint(self, kind: FailureKind, task: str) -> str | None:
        """Say what helps against a failure of this kind."""
        words = shlex.join([self._run, task])
        return {
            "memory": "raise `memory_gib` in its resources, or let it work on less at a time",
            "timeout": "raise `timeout`, or let it do less",
            "crash": f"`headrace logs {words}` has its last words; `headrace debug {words}` runs it in one process",
        }.get(kind)
