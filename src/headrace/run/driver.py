"""The drive loop: the one process that holds a run's lease hears, steps the machine, stores, then acts.

One tick: hear what happened; absorb it, answering probes from the ledger; propose launches; store all of it in one
transaction; and only then send. What was stored happened; what was not stored had no effect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from headrace import errors
from headrace.errors import BackendError, HeadraceError, LeaseLost, PlacementError, RefusedError, TraceError, UsageError
from headrace.plan.planner import check_policy
from headrace.plan.reuse import within_run
from headrace.run.courier import Courier, Verdict
from headrace.run.crew import Crew
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
    Recalled,
    Renewed,
    Reused,
    Succeeded,
    Traced,
    TraceEnded,
    TraceFailed,
    Woke,
    decode_event,
)
from headrace.run.journal import Journal
from headrace.run.machine import Answer, Command, Finish, Machine, Probe, Stop
from headrace.run.ports import (
    Backend,
    Beat,
    Blobs,
    Clock,
    Died,
    Doubt,
    Heard,
    Job,
    Ledger,
    Notice,
    ResultRow,
    RunRow,
    TaskRow,
    Want,
)
from headrace.run.prober import ChangedCode, Prober
from headrace.run.wire import Answer as Reply
from headrace.run.wire import Do, Drop, Question, Quit, Refused, Report, Tell, Trace, Word
from headrace.spec.artifact import Ref, blobs, generations
from headrace.spec.bundle import Bundle
from headrace.spec.failure import Failure, FailureKind
from headrace.spec.graph import Arg, Const, Many
from headrace.spec.stage import Resources, Stage

TRACER = 0
BEAT_S = 0.2
TRACER_TRIES = 3
RECALL_S = 0.5
"""How long an attempt may keep others waiting that were queued behind it because it was thought to be short."""

Files = Callable[[str, str], Ref]
"""Keeps a file or folder of the project as an artifact: `(about, path)` to its ref."""
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

    Every `beat_s` seconds it looks into the inbox and asks for its grant anew.
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
    ) -> None:
        self._machine = machine
        self._ledger = ledger
        self._backend = backend
        self._clock = clock
        self._beat_s = beat_s
        self._files = files
        self._tell_opened = opened
        self._show = rows
        self._tell_closed = closed
        self._crew = Crew(backend.pool, first=machine.last_worker + 1)
        self._journal = Journal(ledger, next_seq)
        self._courier = Courier(backend)
        self._prober = Prober(machine, ledger, store, changed_code)
        self._seen = 0
        self._tracer_deaths = 0
        self._began = clock.monotonic()
        self._looked = -beat_s
        self._interrupts = 0
        self._heeded = 0
        self._since: dict[int, tuple[int, float]] = {}

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
        opened = self._machine.opened
        assert opened is not None
        self._backend.start([Job(worker=TRACER, resources=Resources(), tracer=True)])
        self._backend.tell(TRACER, [Trace(opened.pipeline, opened.files, opened.params)])

    def adopt(self) -> None:
        """Take over what an earlier driver left, before all else: what its workers spilled counts, the rest is lost."""
        for heard in self._backend.adopt():
            if isinstance(heard.message, Report):
                body = heard.message.body
                event = decode_event(body)
                if isinstance(event, Failed) and self._counts(heard.worker, event):
                    self._absorb(self._timed(event))
                elif isinstance(event, Succeeded | Checkpointed) and self._counts(heard.worker, event):
                    self._absorb(event, body)
        for task in self._machine.running():
            failure = Failure("lost", "the driver that had launched it is gone")
            self._absorb(Failed(task.name, task.attempt, failure, self._clock.now()))

    def interrupt(self) -> None:
        """Note that the user wants to stop: once gracefully, twice now. Safe to call from a signal handler."""
        self._interrupts += 1

    def say(self, task: str, word: Word) -> None:
        """Send a word down to the attempt of a task that runs."""
        known = self._machine.tasks.get(task)
        if known is not None and known.phase == "running":
            for worker in known.workers:
                self._courier.post(worker, Tell(task, known.attempt, word))

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
        self._backend.close()
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

    # -- hear ----------------------------------------------------------------------------------------------------

    def _hear(self, notices: Sequence[Notice]) -> None:
        for notice in notices:
            match notice:
                case Heard(worker=worker, message=Report(seq=seq, body=body)):
                    self._heard(worker, body)
                    self._courier.heard(worker, seq)
                case Heard(message=Question() as question):
                    self._question(question)
                case Heard(message=Refused() as refused):
                    raise refusal(refused)
                case Died():
                    self._died(notice)
                case Beat():
                    self._beat(notice)

    def _heard(self, worker: int, body: bytes) -> None:
        event = decode_event(body)
        match event:
            case Succeeded(task=task, attempt=attempt):
                stage = self._machine.tasks[task].stage.function if task in self._machine.tasks else ""
                took = event.seconds + event.load_s + event.save_s
                self._crew.finished(worker, task, attempt, stage, took)
                if self._counts(worker, event):
                    self._absorb(event, body)
            case Failed(task=task, attempt=attempt):
                self._crew.finished(worker, task, attempt, "", None)
                if self._counts(worker, event):
                    self._end_gang(worker, task, attempt)
                    self._absorb(self._timed(event))
            case Checkpointed():
                if self._counts(worker, event):
                    self._absorb(event, body)
            case Traced() | TraceEnded() | TraceFailed() | Asked() if worker == TRACER:
                try:
                    self._traced(event, body)
                except PlacementError as error:
                    self._refuse(error)
            case _:
                raise BackendError(f"worker {worker} reported `{type(event).__name__}`, which is not its to say")

    def _timed(self, event: Failed) -> Failed:
        """Give a failure the time of this clock, by which its task may be tried again: a worker's may be another."""
        return replace(event, at=self._clock.now())

    def _refuse(self, error: PlacementError) -> None:
        """A task fits nowhere: no run begins then, and one that has begun (it asked for a value) is refused.

        Raises:
            PlacementError: the run isn't open.
        """
        if not self._journal.is_open:
            raise error
        self._absorb(TraceFailed(Failure("refused", error.message, hint=error.hint)))

    def _traced(self, event: Event, body: bytes) -> None:
        if self._machine.trace_ended:
            return  # the run was cancelled meanwhile: should it be resumed, it is traced again
        match event:
            case Traced(stages=stages, nodes=nodes):
                known = len(self._machine.nodes)
                fresh = self._machine.unseen(stages, nodes, self._seen)
                self._seen += len(nodes)
                if fresh is not None:
                    self._check_places(fresh)
                    self._absorb(fresh, body if known == self._seen - len(nodes) else None)
            case TraceEnded():
                if self._seen < len(self._machine.nodes):
                    missing = self._machine.nodes[self._seen]
                    raise TraceError(
                        f"the pipeline no longer traces `{missing.name}` ({missing.line})",
                        hint="a pipeline's body must do the same each time; `--new-code` starts from the code as it is",
                    )
                if not self._journal.is_open:
                    check_policy(self._machine.policy, self._machine.nodes, self._machine.stages)
                self._absorb(event, body)
            case _:
                self._absorb(event, body)

    def _question(self, question: Question) -> None:
        number = question.question
        if question.about == "now":
            now = self._machine.notes.get(number)
            if now is None:
                now = self._clock.now()
                self._absorb(Noted(number, now))
            self._courier.post(TRACER, Reply(number, now=now))
            return
        try:
            if self._files is None:
                raise UsageError("there is no project folder here", hint="give files by an absolute path")
            ref = self._files(question.about, question.path)
            self._journal.keep((ref,))
            self._courier.post(TRACER, Reply(number, ref=ref))
        except HeadraceError as error:
            self._courier.post(TRACER, Reply(number, error=error.message, hint=error.hint))
        except OSError as error:
            self._courier.post(TRACER, Reply(number, error=f"can't read `{question.path}`: {error.strerror}"))

    def _died(self, notice: Died) -> None:
        if notice.worker == TRACER:
            self._tracer_died(notice)
            return
        queue = self._crew.lost(notice.worker)
        self._since.pop(notice.worker, None)
        verdict = self._courier.bury(notice.worker)
        for place, (task, attempt) in enumerate(queue):
            if not self._expects(task, attempt):
                continue
            self._end_gang(notice.worker, task, attempt)
            if verdict is not None and verdict.of == (task, attempt):
                failure = Failure(verdict.kind, verdict.why, hint=_HINTS.get(verdict.kind))
            elif verdict is None and place == 0:
                failure = Failure(notice.kind, notice.why, hint=_HINTS.get(notice.kind))
            else:
                failure = Failure("lost", f"its worker ended while another task ran: {notice.why}")
            now, started = self._clock.now(), self._machine.tasks[task].started
            took = max(0.0, now - started) if place == 0 else 0.0
            jitter = self._clock.jitter()
            self._absorb(Failed(task, attempt, failure, now, started=started, seconds=took, jitter=jitter))

    def _tracer_died(self, notice: Died) -> None:
        if self._machine.trace_ended or self._machine.closed is not None:
            return
        self._tracer_deaths += 1
        if self._tracer_deaths >= TRACER_TRIES:
            problem = f"the process that traces the pipeline died: {notice.why}"
            if not self._journal.is_open:
                if notice.kind == "lost":
                    raise BackendError(problem, hint="`headrace doctor` checks this machine")
                raise UsageError(problem, hint="look for what its module does when imported")
            self._absorb(TraceFailed(Failure(notice.kind, problem)))
            return
        self._seen = 0
        self._machine.forget_question()
        self.trace()

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
        elif limit is not None and now - since > limit:
            self._end(beat.worker, "timeout", f"it ran longer than its timeout of {limit:g} s", now=True)
        elif now - since > RECALL_S:
            self._recall(beat.worker)

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
        limit = self._machine.policy.timeout_s
        if limit is not None and now - self._began >= limit:
            self._cancel("policy", f"the run took longer than {limit:g} s", now=True)
        if now - self._looked < self._beat_s:
            return
        self._looked = now
        if self._journal.is_open:
            for signal in self._ledger.inbox():
                self._journal.absorb(signal.id)
                if signal.kind == "cancel":
                    self._cancel(signal.by, f"cancelled by {signal.by}", now=signal.body == "now")
        self._ask_grant()

    def _cancel(self, by: str, why: str, *, now: bool) -> None:
        before = self._machine.cancelled
        if self._machine.closed is None and (before is None or (now and not before.now)):
            if not self._journal.is_open and by == "policy":
                raise RefusedError(f"{why}, and nothing had begun", hint="give it more time by `--timeout`")
            if not self._journal.is_open:
                raise KeyboardInterrupt
            self._absorb(Cancelled(by, why, self._clock.now(), now))

    def _ask_grant(self) -> None:
        cpu, memory, gpus = self._crew.used()
        want_cpu, want_memory, want_gpus = cpu, memory, gpus
        wanted = self._machine.wanted
        least = wanted[0][0] if wanted else _NOTHING
        for need, count in wanted:
            want_cpu += need.cpu * need.nodes * count
            want_memory += need.memory_gib * need.nodes * count
            want_gpus += need.gpus * need.nodes * count
        pool = self._backend.pool
        want = Want(
            pool=pool.name,
            cpu=min(want_cpu, pool.cpu),
            memory_gib=min(want_memory, pool.memory_gib),
            gpus=min(want_gpus, pool.gpus),
            used_cpu=cpu,
            used_memory_gib=memory,
            used_gpus=gpus,
            least_cpu=least.cpu * least.nodes,
            least_memory_gib=least.memory_gib * least.nodes,
            least_gpus=least.gpus * least.nodes,
        )
        self._crew.grant = self._ledger.grant(want)
        self._crew.shrink()

    def _patience(self) -> float:
        """How long there is nothing to do but listen."""
        if not self._courier.is_empty or (self._journal.is_open and not self._journal.is_empty):
            return 0.0
        pauses = [self._beat_s]
        if (due := self._machine.next_due) is not None:
            pauses.append(due - self._clock.now())
        if (limit := self._machine.policy.timeout_s) is not None and self._machine.cancelled is None:
            pauses.append(self._began + limit - self._clock.monotonic())
        return max(0.0, min(pauses))

    # -- step ----------------------------------------------------------------------------------------------------

    def _absorb(self, event: Event, body: bytes | None = None) -> None:
        """Step the machine with an event that is stored by the end of this tick."""
        self._journal.note(event, body)
        match event:
            case Succeeded():
                self._keep_output(event)
            case Reused(out=out):
                self._journal.keep((out,))
            case Failed(failure=Failure(damaged=damaged, message=why)) if damaged:
                self._doubt(damaged, why)
            case Checkpointed(out=out):
                self._journal.keep((out,))
            case Traced(nodes=nodes):
                self._journal.keep(ref for node in nodes for _, arg in node.args for ref in _constants(arg))
            case TraceEnded() | TraceFailed():
                self._courier.post(TRACER, Quit())  # what it has imported may be large
            case Opened(bundle=bundle):
                self._journal.keep((_archive(bundle),))
            case Renewed(bundle=bundle):
                self._journal.keep((_archive(bundle),))
                self._journal.renew()
                self._prober.forget()
                self._seen = 0
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
                    rest.extend(reversed(self._probe(task)))
                case Answer(question=question, ref=ref, error=error):
                    self._courier.post(TRACER, Reply(question, ref=ref, error=error))
                case Stop(workers=workers, now=now):
                    for worker in workers:
                        self._end(worker, "cancelled", "the run was cancelled", now=now)
                case Finish(state=state, why=why):
                    closed = Closed(state, self._clock.now(), why)
                    self._journal.note(closed)
                    rest.extend(reversed(self._machine.step(closed)))

    def _probe(self, name: str) -> list[Command]:
        """Find out whether a task's output is there, and tell the machine; a miss is not stored."""
        found = self._prober.probe(name)
        if isinstance(found, Reused):
            self._journal.note(found)
            self._journal.keep((found.out,))
        return self._machine.step(found)

    def _doubt(self, damaged: Sequence[str], why: str) -> None:
        """Keep what has turned out to be damaged from being reused, so that the next run makes it anew."""
        for task in self._machine.tasks.values():
            if task.key and task.good and task.out is not None:
                for generation in generations(task.out).intersection(damaged):
                    self._journal.doubt(Doubt(key=task.key, generation=generation, why=why))

    def _keep_output(self, event: Succeeded) -> None:
        self._journal.keep((event.out,))
        task = self._machine.tasks[event.task]
        if task.key and event.unreusable is None and task.stage.cache == "always" and within_run(task.stage):
            self._journal.offer(ResultRow(key=task.key, task=event.task, out=event.out))

    def _check_places(self, traced: Traced) -> None:
        """Refuse a stage that the pool can never hold, before anything runs."""
        for stage in traced.stages:
            why = self._backend.pool.holds(stage.resources)
            if why is not None:
                name = self._backend.pool.name
                raise PlacementError(
                    f"no pool can hold stage `{stage.name}` ({stage.resources}): pool `{name}`: {why}",
                    hint="lower its resources, or describe a larger pool under `[pool.NAME]` in headrace.toml",
                )

    def _counts(self, worker: int, event: Succeeded | Failed | Checkpointed) -> bool:
        """Whether a report counts: it is of the attempt that runs, and if it is good, of the first of its workers."""
        if not self._expects(event.task, event.attempt):
            return False
        workers = self._machine.tasks[event.task].workers
        return worker in workers if isinstance(event, Failed) else worker == workers[0]

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
            self._order(launch)

    def _order(self, launch: Launched) -> None:
        """Write the messages that begin an attempt, one for each of its workers."""
        task = self._machine.tasks[launch.task]
        inputs = self._machine.inputs(launch.task)
        for rank, worker in enumerate(launch.workers):
            order = Do(
                task=launch.task,
                attempt=launch.attempt,
                key=launch.key,
                function=task.stage.function,
                args=inputs,
                code=task.stage.code.digest,
                verify=self._to_verify(inputs) if self._machine.foreign else (),
                checkpoint=task.checkpoint,
                rank=rank,
                nodes=len(launch.workers),
                meeting=f"{launch.task}#{launch.attempt}" if len(launch.workers) > 1 else None,
                timeout_s=task.stage.timeout_s,
            )
            self._courier.post(worker, order)

    def _to_verify(self, inputs: tuple[tuple[str, Arg], ...]) -> tuple[str, ...]:
        found = {ref.digest for _, arg in inputs for each in _constants(arg) for ref in blobs(each)}
        return tuple(found & self._machine.foreign)

    def _commit(self) -> Stored | None:
        """Store all of this tick, once the run is open: its first good trace opens it."""
        machine, journal = self._machine, self._journal
        first = not journal.is_open
        if journal.is_empty or (first and not (machine.may_launch or machine.trace_ended)):
            return None
        rows = [task.row() for task in machine.changed.values()]
        changed = first or machine.closed is not None or machine.cancelled is not None
        run = self._run_row() if changed else None
        journal.commit(run, rows)
        machine.changed.clear()
        return Stored(rows, opened=first, closed=run if machine.closed is not None else None)

    def _tell(self, stored: Stored) -> None:
        if stored.opened:
            self._tell_opened()
        if stored.rows:
            self._show(stored.rows)
        if stored.closed is not None:
            self._tell_closed(stored.closed)

    def _run_row(self) -> RunRow:
        machine = self._machine
        opened, closed, bundle = machine.opened, machine.closed, machine.bundle
        assert opened is not None
        assert bundle is not None
        at = self._clock.now() if closed is None else closed.at
        return RunRow(
            pipeline=opened.pipeline,
            state="running" if closed is None else closed.state,
            created=opened.at,
            bundle=bundle.digest,
            seconds=max(0.0, at - opened.at),
            usd=sum(task.usd for task in machine.tasks.values() if task.parent is None),
            params=msgspec.json.encode(dict(opened.params)).decode(),
            why="" if closed is None else closed.why,
            ended=None if closed is None else closed.at,
        )

    def _end(self, worker: int, kind: FailureKind, why: str, *, now: bool) -> None:
        """End a worker for the sake of the attempt that it is at."""
        self._courier.end(worker, Verdict(kind, why, self._crew.present(worker)), now=now)

    def _end_gang(self, worker: int, task: str, attempt: int) -> None:
        """One worker of an attempt failed, so those that still are at it are ended too."""
        for other in self._machine.tasks[task].workers:
            if other != worker and self._crew.holds(other, task, attempt):
                self._end(other, "lost", f"another node of `{task}` failed", now=True)


_NOTHING = Resources(cpu=1e-9)
_HINTS: dict[FailureKind, str] = {
    "memory": "raise `memory_gib` in its resources, or let it work on less at a time",
    "timeout": "raise `timeout`, or let it do less",
    "crash": "`headrace logs RUN TASK` shows what it printed last; `headrace debug RUN TASK` runs it in one process",
}


def _archive(bundle: Bundle) -> Ref:
    """Name a bundle's archive as an artifact, so that its generation is kept while a run names it."""
    return Ref(digest=bundle.digest, size=bundle.size, codec="bundle", type="bundle", nonce=bundle.nonce)


def _constants(arg: Arg) -> list[Ref]:
    match arg:
        case Const(ref=ref):
            return [ref]
        case Many(items=items):
            return [ref for item in items for ref in _constants(item)]
        case _:
            return []


def refusal(refused: Refused) -> HeadraceError:
    """Give the tracer's error, as the class that it had there where that is one of ours."""
    kind = getattr(errors, refused.error, UsageError)
    known = isinstance(kind, type) and issubclass(kind, HeadraceError)
    return (kind if known else UsageError)(refused.message, hint=refused.hint)
