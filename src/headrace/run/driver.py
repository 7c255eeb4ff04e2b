"""The drive loop: the one process that holds a run's lease hears, steps the machine, stores, then acts.

One tick: hear what happened; absorb it, answering probes from the ledger; propose launches; store all of it in one
transaction; and only then send. What was stored happened; what was not stored had no effect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from headrace import errors
from headrace.errors import BackendError, HeadraceError, PlacementError, TraceError, UsageError
from headrace.plan.keys import key_of
from headrace.plan.reuse import Before, barred, why_run, within_run
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
    Renewed,
    Reused,
    Succeeded,
    Traced,
    TraceEnded,
    TraceFailed,
    Woke,
    decode_event,
    encode_event,
)
from headrace.run.machine import Answer, Command, Finish, Machine, Missed, Probe, Stop
from headrace.run.ports import (
    Backend,
    Batch,
    Beat,
    Blobs,
    Clock,
    Died,
    Heard,
    Job,
    Ledger,
    Notice,
    ResultRow,
    RunRow,
    TaskRow,
    Want,
)
from headrace.run.wire import Ack, Do, Down, Question, Quit, Refused, Report, Tell, Trace
from headrace.run.wire import Answer as Reply
from headrace.spec.artifact import Ref, blobs
from headrace.spec.bundle import Bundle
from headrace.spec.failure import Failure
from headrace.spec.graph import Arg, Const, Many
from headrace.spec.stage import Resources, Stage

TRACER = 0
BEAT_S = 0.2
ACK_EVERY = 64
GRACE_S = 10.0
TRACER_TRIES = 3

Files = Callable[[str, str], Ref]
"""Keeps a file or folder of the project as an artifact: `(about, path)` to its ref."""
Rows = Callable[[Sequence[TaskRow]], None]
ChangedCode = Callable[[str, Stage], Sequence[str]]
"""Names the parts of a stage's code that differ from what they were in an earlier run."""


def _ignore(_: object) -> None:
    """Nobody looks on."""


def _unknown(_run: str, _stage: Stage) -> Sequence[str]:
    """Nobody knows what the code was."""
    return ()


class Driver:
    """Drives one run to its end. `machine` may have absorbed earlier events already: then this is a resumed run."""

    def __init__(
        self,
        *,
        machine: Machine,
        ledger: Ledger,
        store: Blobs,
        backend: Backend,
        clock: Clock,
        next_seq: int = 0,
        files: Files | None = None,
        opened: Callable[[], None] = lambda: None,
        rows: Rows = _ignore,
        closed: Callable[[RunRow], None] = _ignore,
        changed_code: ChangedCode = _unknown,
    ) -> None:
        self._machine = machine
        self._ledger = ledger
        self._store = store
        self._backend = backend
        self._clock = clock
        self._seq = next_seq
        self._files = files
        self._tell_opened = opened
        self._show = rows
        self._tell_closed = closed
        self._changed_code = changed_code
        self._crew = Crew(backend.pool)
        self._bodies: list[bytes] = []
        self._results: list[ResultRow] = []
        self._kept: list[Ref] = []
        self._absorbed: list[int] = []
        self._renewed = False
        self._outbox: dict[int, list[Down]] = {}
        self._kill: dict[int, bool] = {}
        self._verdicts: dict[int, tuple[str, str]] = {}
        self._foreign: set[str] = set()
        self._barred: dict[str, str | None] = {}
        self._acked: dict[int, tuple[int, int]] = {}
        self._seen = 0
        self._tracer_deaths = 0
        self._began = clock.monotonic()
        self._looked = -BEAT_S
        self._deadline: float | None = None
        self._spent_before = 0.0
        self._interrupts = 0
        self._opened = next_seq > 0

    # -- from outside ------------------------------------------------------------------------------------------

    def open(self, first: Iterable[Event]) -> None:
        """Absorb the first events of this lease: a new run's `Opened` and `Taken`, or `Taken` of one resumed."""
        for event in first:
            self._absorb(event)

    def trace(self) -> None:
        """Start the tracer: unless all is traced already, the graph comes from it."""
        opened = self._machine.opened
        assert opened is not None
        self._backend.start([Job(worker=TRACER, resources=Resources(), tracer=True)])
        self._backend.tell(TRACER, [Trace(opened.pipeline, opened.files, opened.params)])

    def adopt(self) -> None:
        """Take over what an earlier driver left: what its workers spilled counts, what they didn't is lost."""
        for body in self._backend.adopt():
            event = decode_event(body)
            if isinstance(event, Succeeded | Failed | Checkpointed) and self._expects(event.task, event.attempt):
                self._absorb(event, body)
        for task in self._machine.running():
            failure = Failure("lost", "the driver that had launched it is gone")
            self._absorb(Failed(task.name, task.attempt, failure, self._clock.now()))
        self._obey([*self._machine.probes()])

    def interrupt(self) -> None:
        """Note that the user wants to stop: once gracefully, twice now. Safe to call from a signal handler."""
        self._interrupts += 1

    def drive(self) -> Closed:
        """Tick until the run has ended and give how it did.

        Raises:
            UsageError: the pipeline can't be traced; no run was opened.
            LeaseLost: another driver took the run.
        """
        self._deadline = self._run_deadline()
        try:
            while self._machine.closed is None:
                self.tick(self._patience())
        finally:
            self._backend.close(now=self._machine.closed is None)
        return self._machine.closed

    def tick(self, timeout_s: float) -> None:
        """Hear, step, propose, store once, send."""
        self._hear(self._backend.events(timeout_s))
        self._look()
        self._launch()
        self._commit()
        self._send()

    # -- hear ----------------------------------------------------------------------------------------------------

    def _hear(self, notices: Sequence[Notice]) -> None:
        for notice in notices:
            match notice:
                case Heard(worker=worker, message=Report(seq=seq, body=body)):
                    self._heard(worker, body)
                    self._note_ack(worker, seq)
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
                current = self._machine.tasks.get(task)
                first = current is not None and current.workers[:1] == (worker,)
                if first and self._expects(task, attempt):
                    self._absorb(event, body)
            case Failed(task=task, attempt=attempt):
                self._crew.finished(worker, task, attempt, "", None)
                if self._expects(task, attempt):
                    self._end_gang(worker, task)
                    self._absorb(event, body)
            case Checkpointed(task=task, attempt=attempt):
                if self._expects(task, attempt):
                    self._absorb(event, body)
            case Traced() | TraceEnded() | TraceFailed() | Asked() if worker == TRACER:
                self._traced(event, body)
            case _:
                raise BackendError(f"worker {worker} reported `{type(event).__name__}`, which is not its to say")

    def _traced(self, event: Event, body: bytes) -> None:
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
            self._post(TRACER, Reply(number, now=now))
            return
        try:
            if self._files is None:
                raise UsageError("there is no project folder here", hint="give files by an absolute path")
            ref = self._files(question.about, question.path)
            self._kept.append(ref)
            self._post(TRACER, Reply(number, ref=ref))
        except HeadraceError as error:
            self._post(TRACER, Reply(number, error=error.message, hint=error.hint))

    def _died(self, notice: Died) -> None:
        if notice.worker == TRACER:
            self._tracer_died(notice)
            return
        queue = self._crew.lost(notice.worker)
        kind, why = self._verdicts.pop(notice.worker, (notice.kind, notice.why))
        for place, (task, attempt) in enumerate(queue):
            if not self._expects(task, attempt):
                continue
            self._end_gang(notice.worker, task)
            if place == 0:
                failure = Failure(kind, why, hint=_HINTS.get(kind))  # type: ignore[arg-type]
            else:
                failure = Failure("lost", f"its worker ended while another task ran: {why}")
            self._absorb(Failed(task, attempt, failure, self._clock.now(), jitter=self._clock.jitter()))

    def _tracer_died(self, notice: Died) -> None:
        if self._machine.trace_ended or self._machine.closed is not None:
            return
        self._tracer_deaths += 1
        if self._tracer_deaths >= TRACER_TRIES or not self._opened:
            problem = f"the process that traces the pipeline died: {notice.why}"
            if not self._opened:
                raise UsageError(problem, hint="look for what its module does when imported")
            self._absorb(TraceFailed(Failure(notice.kind, problem)))
            return
        self._seen = 0
        self._machine.forget_question()
        self.trace()

    def _beat(self, beat: Beat) -> None:
        """End the attempt that a worker is at if it has run past its timeout."""
        worker = self._crew.workers.get(beat.worker)
        if worker is None or not worker.queue or beat.at != worker.done or beat.worker in self._verdicts:
            return
        task = self._machine.tasks.get(worker.queue[0][0])
        limit = None if task is None else task.stage.timeout_s
        if limit is not None and self._clock.now() - beat.since > limit:
            self._end_worker(beat.worker, "timeout", f"it ran longer than its timeout of {limit:g} s", now=True)

    # -- look about ----------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Several times a second: the inbox, the time, the grant."""
        now = self._clock.monotonic()
        if self._interrupts:
            self._cancel("the user", "interrupted", now=self._interrupts > 1)
        due = self._machine.next_due
        if due is not None and due <= self._clock.now():
            self._absorb(Woke(self._clock.now()))
        if now - self._looked < BEAT_S:
            return
        self._looked = now
        if self._opened:
            for signal in self._ledger.inbox():
                self._absorbed.append(signal.id)
                if signal.kind == "cancel":
                    self._cancel(signal.by, f"cancelled by {signal.by}", now=signal.body == "now")
        if self._deadline is not None and now > self._deadline:
            self._deadline = None
            self._cancel("policy", f"the run took longer than {self._machine.policy.timeout_s:g} s", now=True)
        self._ask_grant()

    def _cancel(self, by: str, why: str, *, now: bool) -> None:
        self._interrupts = 0 if not now else self._interrupts
        before = self._machine.cancelled
        if self._machine.closed is None and (before is None or (now and not before.now)):
            if not self._opened:
                raise KeyboardInterrupt
            self._absorb(Cancelled(by, why, self._clock.now(), now))

    def _ask_grant(self) -> None:
        cpu, memory, gpus = self._crew.used()
        want_cpu, want_memory, want_gpus = cpu, memory, gpus
        least = next((need for need, _ in self._machine.wanted), _NOTHING)
        for need, count in self._machine.wanted:
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

    def _run_deadline(self) -> float | None:
        limit = self._machine.policy.timeout_s
        return None if limit is None else self._began + limit

    def _patience(self) -> float:
        """How long there is nothing to do but listen."""
        if self._bodies or self._outbox:
            return 0.0
        due = self._machine.next_due
        until_due = BEAT_S if due is None else max(0.0, due - self._clock.now())
        return min(BEAT_S, until_due)

    # -- step ----------------------------------------------------------------------------------------------------

    def _absorb(self, event: Event, body: bytes | None = None) -> None:
        """Step the machine with an event that is stored by the end of this tick."""
        self._bodies.append(encode_event(event) if body is None else body)
        match event:
            case Succeeded():
                self._keep_output(event)
            case Reused(out=out):
                self._foreign.update(ref.digest for ref in blobs(out))
            case Checkpointed(out=out):
                self._kept.append(out)
            case Traced(nodes=nodes):
                self._kept.extend(ref for node in nodes for _, arg in node.args for ref in _constants(arg))
            case Opened(bundle=bundle):
                self._kept.append(_archive(bundle))
            case Renewed(bundle=bundle):
                self._kept.append(_archive(bundle))
                self._renewed, self._seen = True, 0
                self._barred.clear()
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
                    self._post(TRACER, Reply(question, ref=ref, error=error))
                case Stop(workers=workers, now=now):
                    for worker in workers:
                        self._end_worker(worker, "cancelled", "the run was cancelled", now=now)
                case Finish(state=state, why=why):
                    closed = Closed(state, self._clock.now(), why)
                    self._bodies.append(encode_event(closed))
                    rest.extend(reversed(self._machine.step(closed)))

    def _probe(self, name: str) -> list[Command]:
        """Look whether a task's output is there; store it if so, and have the task run if not."""
        machine = self._machine
        task = machine.tasks[name]
        stage = task.stage
        platform = machine.bundle.platform if machine.bundle else None
        key, told = key_of(stage, machine.inputs(name), platform)
        out, run, why = machine.kept.get((name, key)), "", "it had succeeded in this run"
        if out is None and within_run(stage):
            out, why = machine.made.get(key), "another task of this run gave it, under the same key"
        if out is None:
            if stage.function not in self._barred:
                self._barred[stage.function] = barred(stage, machine.policy)
            bar = self._barred[stage.function]
            found = self._ledger.result(key) if bar is None else None
            if found is None:
                return machine.step(Missed(name, key, told, bar or self._why_run(name, key, told)))
            if not self._there(found.out):
                return machine.step(Missed(name, key, told, f"its output of run {found.run} is gone from the store"))
            out, run, why = found.out, found.run, f"nothing that determines it has changed since run {found.run}"
        event = Reused(name, key, out, run, why, told)
        self._bodies.append(encode_event(event))
        self._kept.append(out)
        self._foreign.update(ref.digest for ref in blobs(out))
        return machine.step(event)

    def _why_run(self, name: str, key: str, told: bytes) -> str:
        earlier = self._ledger.earlier(name)
        if earlier is None:
            return "no earlier result"
        stage = self._machine.tasks[name].stage
        parts = self._changed_code(earlier.run, stage) if earlier.code != stage.code.digest else ()
        return why_run(stage, key, told, Before(earlier.run, earlier.key, earlier.code, earlier.inputs), parts)

    def _there(self, out: Ref) -> bool:
        return all(self._store.size(ref.digest, ref.nonce or "") == ref.size for ref in blobs(out))

    def _keep_output(self, event: Succeeded) -> None:
        self._kept.append(event.out)
        task = self._machine.tasks[event.task]
        if task.key and event.unreusable is None and task.stage.cache == "always" and within_run(task.stage):
            self._results.append(ResultRow(key=task.key, task=event.task, out=event.out))

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
                verify=self._to_verify(inputs) if self._foreign else (),
                checkpoint=task.checkpoint,
                rank=rank,
                nodes=len(launch.workers),
                meeting=f"{launch.task}#{launch.attempt}" if len(launch.workers) > 1 else None,
                timeout_s=task.stage.timeout_s,
            )
            self._post(worker, order)

    def _to_verify(self, inputs: tuple[tuple[str, Arg], ...]) -> tuple[str, ...]:
        found = {ref.digest for _, arg in inputs for each in _constants(arg) for ref in blobs(each)}
        return tuple(found & self._foreign)

    def _commit(self) -> None:
        """Store all of this tick, once the run is open: its first good trace opens it."""
        machine = self._machine
        if not self._bodies and not self._absorbed:
            return
        if not self._opened and not (machine.may_launch or machine.trace_ended):
            return
        rows = [task.row() for task in machine.changed.values()]
        first = not self._opened
        state_changed = first or machine.closed is not None or machine.cancelled is not None
        run = self._run_row() if state_changed else None
        batch = Batch(
            first=self._seq,
            bodies=self._bodies,
            run=run,
            tasks=rows,
            results=self._results,
            kept=self._kept,
            absorbed=self._absorbed,
            renewed=self._renewed,
        )
        self._ledger.commit(batch)
        self._seq += len(self._bodies)
        self._bodies, self._results, self._kept, self._absorbed = [], [], [], []
        self._renewed, self._opened = False, True
        machine.changed.clear()
        if first:
            self._tell_opened()
        if rows:
            self._show(rows)
        if run is not None and machine.closed is not None:
            self._tell_closed(run)

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

    # -- send ----------------------------------------------------------------------------------------------------

    def _post(self, worker: int, message: Down) -> None:
        self._outbox.setdefault(worker, []).append(message)

    def _send(self) -> None:
        jobs, leaving = self._crew.drain()
        if jobs:
            self._backend.start(jobs)
        for worker, (heard, sent) in self._acked.items():
            if heard - sent >= ACK_EVERY or (heard > sent and worker in self._outbox):
                self._acked[worker] = heard, heard
                self._outbox.setdefault(worker, []).insert(0, Ack(heard))
        outbox, self._outbox = self._outbox, {}
        for worker, messages in outbox.items():
            self._backend.tell(worker, messages)
        for worker in leaving:
            self._backend.tell(worker, [Quit()])
        kill, self._kill = self._kill, {}
        for worker, now in kill.items():
            self._backend.close([worker], now=now)

    def _note_ack(self, worker: int, seq: int) -> None:
        self._acked[worker] = seq, self._acked.get(worker, (0, 0))[1]

    def _end_worker(self, worker: int, kind: str, why: str, *, now: bool) -> None:
        self._verdicts.setdefault(worker, (kind, why))
        self._kill[worker] = now or self._kill.get(worker, False)

    def _end_gang(self, worker: int, task: str) -> None:
        """One worker of an attempt failed, so its others are ended too."""
        known = self._machine.tasks.get(task)
        for other in known.workers if known is not None else ():
            if other != worker:
                self._end_worker(other, "lost", f"another node of `{task}` failed", now=True)

    def say(self, task: str, word: str) -> None:
        """Send a word down to the attempt of a task that runs."""
        known = self._machine.tasks.get(task)
        if known is not None and known.phase == "running":
            for worker in known.workers:
                self._post(worker, Tell(task, known.attempt, word))  # type: ignore[arg-type]


_NOTHING = Resources(cpu=1e-9)
_HINTS = {
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
