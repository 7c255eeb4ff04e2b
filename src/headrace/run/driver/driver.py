"""The drive loop, which runs in the one process that holds a run's lease. The driver receives what happened, steps the
state machine, stores the events, and then acts.

One tick has five steps: (1) receive what happened; (2) step the state machine with these events, and answer its probes
from the ledger; (3) propose launches; (4) store everything in one transaction; (5) send messages. An event that isn't
stored has no effect.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Literal

from msgspec import Struct

from headrace.errors import HeadraceError, LeaseLost
from headrace.plan.reuse import ChangedCode, ChangedGiven
from headrace.run.driver.adoption import Adoption
from headrace.run.driver.audience import Audience, Rows, Stored
from headrace.run.driver.courier import Courier
from headrace.run.driver.inbox import KINDS, Inbox, Kind
from headrace.run.driver.journal import Journal
from headrace.run.driver.orders import Orders
from headrace.run.driver.prober import Prober
from headrace.run.driver.queueing import Queueing
from headrace.run.driver.reports import Reports
from headrace.run.driver.sites import Ground, Site, Sites
from headrace.run.driver.steps import Steps
from headrace.run.driver.supervision import Supervision
from headrace.run.driver.tracer import Files, Tracer, refusal
from headrace.run.events import Closed, Event, Launched, Woke
from headrace.run.machine.machine import Machine
from headrace.run.machine.task import Task
from headrace.run.ports import (
    TRACER,
    AbsentRegions,
    Beat,
    Clock,
    Delayed,
    Died,
    Heard,
    Ledger,
    Left,
    Notice,
    RunRow,
    Signal,
)
from headrace.run.projection import notice_of, run_row
from headrace.run.wire import Progress, Question, Refused, Remark, Report, Waiting
from headrace.spec.fleet import Pool

BEAT_S = 0.2


def _ignore(_: object) -> None:
    """The default callback: does nothing."""


class Waits(Struct, frozen=True):
    """The run waits only for something outside, such as an approval, so its driver exits. `why` is the reason."""

    why: str
    state: Literal["waiting"] = "waiting"


class Driver:
    """Drives one run to its end. If `machine` has already processed events, the run is resumed.

    - `beat_s`: how often, in seconds, the driver reads the inbox and requests its grant again.
    - `grounds`: the pools that the run uses. The pipeline is traced in the first of them.
    - `absent`: the pools of the run that can't be reached, with the reasons. The run goes on without them.
    - `pins`: maps stages to the pools that the settings choose for them.
    - `spare`: the pools of the settings that the run doesn't use, for hints about stages that its own pools can't hold.
    - `files`: makes an artifact of a file or folder of the project.
    - `absent_regions`: finds regions that may have an output but aren't in the settings (None: there are none).
    - `secret`: returns the value of a secret. The value is sent only to the workers that need it.
    - `timeout_s`: the run's time limit. If it is None, the limit in the run's policy is used.
    - `opens_s`: the run is opened after this many seconds, or earlier: once its first trace has ended without an error,
      or waits for a value. Once the run is open, an error in the pipeline fails the run instead of raising.
    - `run`: the name by which hints refer to the run.
    - `signals`: the kinds of signals from outside that this driver knows.
    """

    def __init__(
        self,
        *,
        machine: Machine,
        ledger: Ledger,
        grounds: Sequence[Ground],
        clock: Clock,
        next_seq: int = 0,
        beat_s: float = BEAT_S,
        files: Files | None = None,
        opened: Callable[[], None] = lambda: None,
        rows: Rows = _ignore,
        closed: Callable[[RunRow], None] = _ignore,
        changed_code: ChangedCode = lambda *_: (),
        changed_given: ChangedGiven = lambda *_: (),
        absent: Mapping[str, str] | None = None,
        pins: Mapping[str, str] | None = None,
        spare: Sequence[Pool] = (),
        note: Callable[[str], None] = _ignore,
        absent_regions: AbsentRegions | None = None,
        secret: Callable[[str], str | None] = lambda _: None,
        timeout_s: float | None = None,
        opens_s: float = math.inf,
        run: str = "latest",
        signals: Mapping[str, Kind] = KINDS,
    ) -> None:
        self._machine = machine
        self._ledger = ledger
        self._clock = clock
        self._beat_s = beat_s
        self._sites = sites = Sites(grounds, machine.last_worker)
        self._journal = Journal(ledger, next_seq)
        self._courier = Courier(sites, secret)
        self._orders = Orders(machine, sites)
        self._audience = Audience(opened, rows, closed, note, self._stored_before())
        self._steps = Steps(
            machine=machine,
            journal=self._journal,
            courier=self._courier,
            prober=Prober(machine, ledger, sites, changed_code, changed_given, pins, absent_regions),
            clock=clock,
            absent_regions=absent_regions,
        )
        self._tracer = Tracer(
            machine=machine,
            steps=self._steps,
            journal=self._journal,
            courier=self._courier,
            sites=sites,
            pins=pins or {},
            spare=spare,
            ledger=ledger,
            clock=clock,
            files=files,
            note=note,
        )
        self._reports = Reports(
            machine=machine,
            steps=self._steps,
            sites=sites,
            courier=self._courier,
            tracer=self._tracer,
            clock=clock,
            audience=self._audience,
        )
        self._supervision = Supervision(
            machine=machine, steps=self._steps, sites=sites, courier=self._courier, clock=clock, run=run
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
            kinds=signals,
        )
        self._absent = absent or {}
        self._queueing = Queueing(machine)
        self._opens_at = clock.monotonic() + opens_s
        self._looked = -beat_s
        self._is_new = True  # nothing was stored yet under this lease
        self._said = f"waiting: {machine.waits_for}"  # the state of which people were told last

    # -- before the loop -----------------------------------------------------------------------------------------

    @property
    def absent(self) -> Mapping[str, str]:
        """The pools of the run that couldn't be reached when it was opened, with the reasons."""
        return self._absent

    @property
    def is_open(self) -> bool:
        """Whether the run is in the ledger."""
        return self._journal.is_open

    def adopt(self, *, keep: bool = True, left: Sequence[Left] = ()) -> None:
        """Take over the unstored reports and the living workers that an earlier driver left. Call this before all other
        methods.

        An attempt continues if all its workers are alive; otherwise it is lost. If the run is to get new code, or the
        user wants it, `keep` is False: then living workers are ended. Their reports are stored, even if the new code is
        refused later. `left` are the pools that the run no longer uses: workers there are always ended.
        """
        Adoption(
            machine=self._machine,
            steps=self._steps,
            reports=self._reports,
            sites=self._sites,
            courier=self._courier,
            clock=self._clock,
            audience=self._audience,
        ).adopt(keep=keep, left=left)
        if not keep:
            self._commit()
            self._is_new = True

    def open(self, first: Iterable[Event], stale: Sequence[Signal] = ()) -> None:
        """Process the first events of this lease: `Opened` and `Taken` for a new run, `Taken` for a resumed run.

        `stale` are the signals that were in the inbox when the lease was taken. Those that were meant for an earlier
        driver are discarded. All other signals are obeyed.
        """
        had_ended = self._machine.closed is not None
        for event in first:
            self._steps.absorb(event)
        for pool, why in self._absent.items():
            self._steps.leave(pool, why)
        self._inbox.discard(stale, had_ended=had_ended)
        self._steps.obey([*self._machine.probes()])

    def trace(self) -> None:
        """Start the tracer, which sends the graph. Do nothing if the whole graph is known already."""
        self._tracer.begin()

    # -- the loop ------------------------------------------------------------------------------------------------

    def drive(self) -> Closed | Waits:
        """Run ticks until the run has ended, and return the event that closed it. If the run waits only for something
        outside, return a `Waits` instead: everything is stored, and a later driver can resume the run.

        Raises:
            UsageError: the pipeline can't be traced. A new run is then not stored at all. A run that was to get new
                code stays as it was.
            RunCancelled: somebody cancelled the run before its new code was traced; the run stays as it was.
            LeaseLost: another driver took the run.
        """
        try:
            while not self._is_over():
                self.tick(self._patience())
        except LeaseLost:
            for site in self._sites.living:
                with suppress(HeadraceError):  # whatever a pool says, the lease is lost
                    site.backend.close([*site.crew.workers, TRACER], now=True)
            self._sites.abandon()  # everything else of the run belongs to another driver now
            raise
        except BaseException:
            if self._journal.is_open:
                if self._journal.is_tentative:
                    self._sites.end(TRACER, now=True)
                self._sites.abandon()  # running attempts may end by themselves; the next driver adopts them
            else:
                self._sites.close(now=True)
            raise
        try:
            self._sites.close()
        except HeadraceError as error:  # the run's end is stored, and this does not change it
            self._audience.note(f"the run has ended, but its workers could not be closed: {error.message}")
        return self._machine.closed or Waits(self._machine.waits_for)

    def tick(self, timeout_s: float) -> None:
        """Run one tick: receive, step the state machine, propose launches, store once, send."""
        notices = self._sites.events(timeout_s)
        self._leave_gone()
        self._hear(notices)
        self._look()
        self._launch()
        self._supervision.withdraw()  # the room that is left now is needed by no other task
        if self._machine.closed is not None:
            self._inbox.read(leaving=True)  # what comes later has no effect
        stored = self._commit()
        self._courier.dispatch()
        if stored is not None:  # after the messages: workers need not wait for the callbacks
            self._audience.tell(stored, self._machine.tasks)
            for dropped in self._journal.dropped():
                self._audience.note(dropped)

    def interrupt(self) -> None:
        """Note that the user wants to stop the run.

        The first call cancels the run and lets its attempts stop by themselves. A second call ends the attempts at
        once. A signal handler may call this method.
        """
        self._inbox.interrupt()

    def _leave_gone(self) -> None:
        """Stop using the pools that don't answer any more.

        Raises:
            BackendError: the pool in which the pipeline is being traced is gone.
        """
        gone, self._sites.gone = self._sites.gone, []
        for site, error in gone:
            if site is self._sites.first and not self._machine.trace_ended:
                raise error
            self._audience.note(f"{error.message}; the run goes on without pool `{site.pool.name}`")
            self._steps.leave(site.pool.name, error.message)

    def _hear(self, notices: Sequence[Notice]) -> None:
        """Pass each notice on to the part of the driver that handles it."""
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
                    self._sites.forget(notice.worker)
                case Beat():
                    self._supervision.beat(notice)
                case Delayed(worker=worker, why=why):
                    self._reports.waits(worker, why)
                    self._supervision.delayed(notice)
                case Heard(worker=worker, message=Waiting(why=why)):
                    self._reports.waits(worker, why)

    def _look(self) -> None:
        """At each tick, check interrupts and due times.
        Every `beat_s` seconds, check late attempts, the inbox and the grant."""
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
            self._inbox.expire()
            for site in self._sites.living:
                self._ask_grant(site)
            if self._journal.is_open:
                self._queueing.look(now, [site.crew.pool for site in self._sites.living])

    def _launch(self) -> None:
        """Launch the tasks for which there is room. Request a grant of a further pool only if the pools before it have
        no room."""
        machine = self._machine
        for site in self._sites.living:
            if not machine.may_launch or not machine.ready:
                return
            is_first = site is self._sites.living[0]
            asks = site.crew.grant.cpu <= 0 and (is_first or not site.was_asked)
            if asks:
                self._ask_grant(site)
            if asks or is_first:
                while self._start():
                    pass

    def _start(self) -> bool:
        """Launch or place the tasks for which there is room. Return whether a placed task is ready to be launched,
        because its inputs turned out to be in the region of its pool."""
        machine, placed = self._machine, set()
        for event in machine.launches(self._sites.crews, self._clock.now()):
            self._steps.absorb(event)
            if isinstance(event, Launched):
                placed.discard(event.task)
                for worker, order in self._orders.of(event):
                    self._courier.post(worker, order)
            else:
                placed.add(event.task)
        return any(machine.tasks[name].phase == "ready" for name in placed)

    def _commit(self) -> Stored | None:
        """Store what this tick gathered. Return what was stored, or None if nothing was.

        The commit that opens the run, or gives it new code, waits until the first trace is good. A commit that opens
        the run waits at most `opens_s` seconds.
        """
        machine, journal = self._machine, self._journal
        first = not journal.is_open
        waits = journal.is_tentative and not machine.may_launch and not machine.trace_ended
        overdue = first and waits and self._clock.monotonic() >= self._opens_at
        if not journal.is_empty:
            self._queueing.go_on()
        if (journal.is_empty and not self._queueing.is_news) or (waits and not overdue):
            return None
        self._tracer.late |= overdue
        rows = machine.phases.changed_rows()
        is_still = machine.closed is not None or machine.cancelled is not None or machine.waits_for != ""
        changed = self._is_new or is_still or self._queueing.is_news
        run = run_row(machine, self._clock.now(), queued=self._queueing.why) if changed else None
        self._announce(run)
        curves = machine.curves
        journal.commit(run, rows, [curves.summary(name) for name in curves.changed])
        machine.changed.clear()
        curves.changed.clear()
        self._is_new = False
        self._queueing.stored(self._clock.monotonic())
        return Stored(rows, opened=first, closed=run if machine.closed is not None else None)

    def _announce(self, run: RunRow | None) -> None:
        """Add a notice to the commit if the run has a new state that people must be told of."""
        said = "" if run is None else f"{run.state}: {run.why}"
        notice = None if run is None or said == self._said else notice_of(self._machine, run, self._clock.now())
        if notice is not None:
            self._journal.announce(notice)
        self._said = said

    def _is_over(self) -> bool:
        """Return whether this driver has nothing more to do. If the run waits for something outside, first read the
        inbox once more."""
        if not self._journal.is_empty:
            return False
        if self._machine.closed is not None or not self._machine.waits_for:
            return self._machine.closed is not None
        self._inbox.heed()
        self._inbox.read(leaving=True)
        self._inbox.expire()
        return self._journal.is_empty

    # -- what the loop needs -------------------------------------------------------------------------------------

    def _stored_before(self) -> dict[str, Task]:
        """Return the tasks that have a row in the ledger already, if the run is resumed. Mark these tasks as
        unchanged."""
        if not self._journal.is_open:
            return {}
        tasks = dict(self._machine.changed)
        self._machine.changed.clear()
        self._machine.curves.changed.clear()
        return tasks

    def _ask_grant(self, site: Site) -> None:
        crew, wanted = site.crew, self._machine.wanted(site.pool.name) + self._supervision.wanted(site.pool.name)
        site.was_asked = bool(wanted)
        if site is self._sites.living[0] or wanted or crew.grant.cpu > 0:
            crew.grant = self._ledger.grant(crew.want(wanted))
            crew.shrink()

    def _patience(self) -> float:
        """Return how many seconds the driver may wait for events."""
        if not self._courier.is_empty or not (self._journal.is_tentative or self._journal.is_empty):
            return 0.0
        pauses = [self._beat_s]
        if (due := self._machine.next_due) is not None:
            pauses.append(due - self._clock.now())
        if (ends_at := self._inbox.ends_at) is not None and self._machine.cancelled is None:
            pauses.append(ends_at - self._clock.monotonic())
        if not self._journal.is_open:
            pauses.append(self._opens_at - self._clock.monotonic())
        return max(0.0, min(pauses))
