"""The drive loop: the one process that holds a run's lease hears, steps the machine, stores, then acts.

One tick: hear what happened; absorb it, answering probes from the ledger; propose launches; store all of it in one
transaction; and only then send. What was stored happened; what was not stored had no effect.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from headrace.errors import HeadraceError, LeaseLost
from headrace.plan.reuse import ChangedGiven
from headrace.run.driver.adoption import Adoption
from headrace.run.driver.audience import Audience, Rows, Stored
from headrace.run.driver.courier import Courier
from headrace.run.driver.crew import Crew
from headrace.run.driver.inbox import Inbox
from headrace.run.driver.journal import Journal
from headrace.run.driver.orders import Orders
from headrace.run.driver.prober import ChangedCode, Prober
from headrace.run.driver.regions import Elsewhere, Places
from headrace.run.driver.reports import Reports
from headrace.run.driver.steps import Steps
from headrace.run.driver.supervision import Supervision
from headrace.run.driver.tracer import Files, Tracer, refusal
from headrace.run.events import Closed, Event, Woke
from headrace.run.machine.machine import Machine
from headrace.run.machine.task import Task
from headrace.run.ports import (
    TRACER,
    Backend,
    Beat,
    Blobs,
    Clock,
    Delayed,
    Died,
    Heard,
    Ledger,
    Left,
    Notice,
    RunRow,
)
from headrace.run.projection import run_row
from headrace.run.wire import Progress, Question, Refused, Remark, Report, Waiting
from headrace.spec.stage import Stage

BEAT_S = 0.2


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
        self._machine = machine
        self._ledger = ledger
        self._backend = backend
        self._clock = clock
        self._beat_s = beat_s
        self._crew = Crew(backend.pool, machine.last_worker + 1, backend.ahead_s)
        self._journal = Journal(ledger, next_seq)
        self._courier = Courier(backend, self._crew, secret)
        places = Places(backend.pool, store, elsewhere, far=far)
        self._orders = Orders(machine, places)
        self._audience = Audience(opened, rows, closed, note, self._stored_before())
        self._steps = Steps(
            machine=machine,
            journal=self._journal,
            courier=self._courier,
            prober=Prober(machine, ledger, places, changed_code, changed_given),
            clock=clock,
        )
        self._tracer = Tracer(
            machine=machine,
            steps=self._steps,
            journal=self._journal,
            courier=self._courier,
            backend=backend,
            ledger=ledger,
            clock=clock,
            files=files,
        )
        self._reports = Reports(
            machine=machine,
            steps=self._steps,
            crew=self._crew,
            courier=self._courier,
            places=places,
            tracer=self._tracer,
            clock=clock,
            audience=self._audience,
        )
        self._supervision = Supervision(
            machine=machine, steps=self._steps, crew=self._crew, courier=self._courier, clock=clock, run=run
        )
        self._inbox = Inbox(
            machine=machine,
            ledger=ledger,
            journal=self._journal,
            steps=self._steps,
            courier=self._courier,
            clock=clock,
            audience=self._audience,
            timeout_s=timeout_s,
        )
        self._opens_at = clock.monotonic() + opens_s
        self._looked = -beat_s
        self._is_new = True  # nothing was stored yet under this lease

    # -- before the loop -----------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether the run is in the ledger."""
        return self._journal.is_open

    def adopt(self, *, keep: bool = True, left: Left | None = None) -> None:
        """Take over what an earlier driver left, before all else: reports that nobody has stored, workers that live.

        What no living worker has is lost. Unless `keep`, as where the code is to change, the workers are ended too, and
        so are those of `left`, the pool that the run was in before it goes on in this one.
        """
        Adoption(
            machine=self._machine,
            steps=self._steps,
            reports=self._reports,
            crew=self._crew,
            courier=self._courier,
            backend=self._backend,
            clock=self._clock,
            audience=self._audience,
        ).adopt(keep=keep, left=left)

    def open(self, first: Iterable[Event]) -> None:
        """Absorb the first events of this lease: `Opened` and `Taken` of a new run, `Taken` of one that was adopted."""
        for event in first:
            self._steps.absorb(event)
        if self._journal.is_open:
            self._inbox.discard()
        self._steps.obey([*self._machine.probes()])

    def trace(self) -> None:
        """Start the tracer: unless all is traced already, the graph comes from it."""
        self._tracer.begin()

    # -- the loop ------------------------------------------------------------------------------------------------

    def drive(self) -> Closed:
        """Tick until the run has ended and return how it did.

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
            self._audience.note(f"the run has ended, and what it leaves could not be put away: {error.message}")
        return self._machine.closed

    def tick(self, timeout_s: float) -> None:
        """Hear, step, propose, store once, send."""
        self._hear(self._backend.events(timeout_s))
        self._look()
        self._launch()
        stored = self._commit()
        self._courier.dispatch()
        if stored is not None:  # told after the workers, who need not wait for whoever looks on
            self._audience.tell(stored, self._machine.tasks)
            for dropped in self._journal.dropped():
                self._audience.note(dropped)

    def interrupt(self) -> None:
        """Note that the user wants to stop: once gracefully, twice now. Safe to call from a signal handler."""
        self._inbox.interrupt()

    def _hear(self, notices: Sequence[Notice]) -> None:
        """Pass on what happened to whoever it concerns."""
        for notice in notices:
            match notice:
                case Heard(worker=worker, message=Report(seq=seq, body=body)):
                    self._reports.heard(worker, body)
                    self._courier.heard(worker, seq)
                case Heard(message=Question() as question):
                    self._tracer.asked(question)
                case Heard(message=Progress() as progress):
                    self._reports.progress(progress)
                case Heard(message=Remark(text=text)):
                    self._audience.remark(text)
                case Heard(message=Refused() as refused):
                    self._tracer.refused(refusal(refused))
                case Died() if notice.worker == TRACER:
                    self._tracer.died(notice)
                case Died():
                    self._supervision.died(notice)
                case Beat():
                    self._supervision.beat(notice)
                case Delayed(worker=worker, why=why) | Heard(worker=worker, message=Waiting(why=why)):
                    self._reports.waits(worker, why)

    def _look(self) -> None:
        """At each tick look at the time; several times a second at late attempts, the inbox and the grant."""
        now = self._clock.monotonic()
        self._inbox.heed()
        due = self._machine.next_due
        if due is not None and due <= self._clock.now():
            self._steps.absorb(Woke(self._clock.now()))
        self._inbox.watch(now)
        if now - self._looked >= self._beat_s:
            self._looked = now
            self._supervision.look()
            self._inbox.read()
            self._ask_grant()

    def _launch(self) -> None:
        """Launch what there is room for."""
        machine = self._machine
        if not machine.may_launch or not machine.ready:
            return
        if self._crew.grant.cpu <= 0:
            self._ask_grant()
        for launch in machine.launches(self._crew, self._clock.now()):
            self._steps.absorb(launch)
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
        self._tracer.late |= overdue
        rows = [task.row() for task in machine.changed.values()]
        changed = self._is_new or machine.closed is not None or machine.cancelled is not None
        run = run_row(machine, self._clock.now()) if changed else None
        curves = machine.curves
        journal.commit(run, rows, [curves.summary(name) for name in curves.changed])
        machine.changed.clear()
        curves.changed.clear()
        self._is_new = False
        return Stored(rows, opened=first, closed=run if machine.closed is not None else None)

    # -- what the loop needs -------------------------------------------------------------------------------------

    def _stored_before(self) -> dict[str, Task]:
        """Take the tasks of a run that is gone on with as they stand: the ledger has their rows, with their events."""
        if not self._journal.is_open:
            return {}
        tasks = dict(self._machine.changed)
        self._machine.changed.clear()
        self._machine.curves.changed.clear()
        return tasks

    def _ask_grant(self) -> None:
        self._crew.grant = self._ledger.grant(self._crew.want(self._machine.wanted))
        self._crew.shrink()

    def _patience(self) -> float:
        """Return how many seconds there is nothing to do but listen."""
        if not self._courier.is_empty or (self._journal.is_open and not self._journal.is_empty):
            return 0.0
        pauses = [self._beat_s]
        if (due := self._machine.next_due) is not None:
            pauses.append(due - self._clock.now())
        if (ends_at := self._inbox.ends_at) is not None and self._machine.cancelled is None:
            pauses.append(ends_at - self._clock.monotonic())
        if not self._journal.is_open:
            pauses.append(self._opens_at - self._clock.monotonic())
        return max(0.0, min(pauses))
