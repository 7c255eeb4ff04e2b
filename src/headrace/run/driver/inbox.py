"""The inbox: what comes to a run from outside, namely signals in the ledger, interrupts, and the end of the run's
time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from headrace.errors import Interrupted, RefusedError, RunCancelled
from headrace.run.driver.audience import Audience
from headrace.run.driver.courier import Courier
from headrace.run.driver.journal import Journal
from headrace.run.driver.steps import Steps
from headrace.run.events import Approved, Cancelled, Expired, Rejected, Told
from headrace.run.machine.approvals import read_decision
from headrace.run.machine.machine import Machine
from headrace.run.ports import Clock, Ledger, Signal
from headrace.run.wire import Tell
from headrace.spec.policy import TOO_LONG

USER = "the user"
"""Who cancels a run by an interrupt."""


class Kind(NamedTuple):
    """What a driver does with signals of one kind.

    `obey` does what a signal asks for. `told` returns a text that names the command that sent a signal. `until` says
    which drivers may obey a signal: `driver`: only the one that is active when the signal is sent; `end`: any driver of
    the run, until the run has ended; `ever`: any driver of the run. As long as `is_early` returns True for a signal,
    the signal stays in the ledger.
    """

    obey: Callable[[Inbox, Signal], None]
    told: Callable[[Signal], str]
    until: Literal["driver", "end", "ever"] = "driver"
    is_early: Callable[[Inbox, Signal], bool] = lambda *_: False


class Inbox:
    """Turns signals, interrupts and the end of the run's time into events.

    `timeout_s` is the run's time limit. If it is None, the limit in the run's policy is used. `kinds` are the kinds of
    signals that this driver knows. A signal of any other kind stays in the ledger, and the user is told.
    """

    def __init__(
        self,
        *,
        machine: Machine,
        ledger: Ledger,
        journal: Journal,
        steps: Steps,
        courier: Courier,
        clock: Clock,
        audience: Audience,
        timeout_s: float | None,
        kinds: Mapping[str, Kind],
    ) -> None:
        self._machine = machine
        self._ledger = ledger
        self._journal = journal
        self._steps = steps
        self._courier = courier
        self._clock = clock
        self._audience = audience
        self._timeout_s = timeout_s
        self._kinds = kinds
        self._began = clock.monotonic()
        self._interrupts = 0
        self._heeded = 0
        self._read: set[int] = set()  # signals that the next commit removes, or that stay because nobody knows them

    @property
    def ends_at(self) -> float | None:
        """The time on the monotonic clock at which this driver reaches the run's time limit, or None if there is no
        limit. Time that earlier drivers took does not count."""
        limit = self._limit_s
        return None if limit is None else self._began + limit

    def interrupt(self) -> None:
        """Note that the user wants to stop the run.

        The first call cancels the run and lets its attempts stop by themselves. A second call ends the attempts at
        once. A signal handler may call this method.
        """
        self._interrupts += 1

    def heed(self) -> None:
        """Cancel the run if the user has interrupted it."""
        if self._interrupts > self._heeded:
            self._heeded = self._interrupts
            self.cancel(USER, "interrupted", now=self._interrupts > 1)

    def watch(self, now: float) -> None:
        """Cancel the run if its time limit is reached."""
        limit = self._limit_s
        if limit is not None and now - self._began >= limit:
            self.cancel("policy", f"{TOO_LONG} {limit:g} s", now=True)

    def discard(self, stale: Sequence[Signal], *, had_ended: bool) -> None:
        """Delete from the ledger, without obeying them, those signals in `stale` that came too late. `stale` are the
        signals that were in the ledger when this driver took the run. A signal came too late if only an earlier driver
        may obey it. `had_ended` says whether the run had ended by then. If so, signals that count only until the run's
        end came too late, too."""
        for signal in stale:
            kind = self._kinds.get(signal.kind)
            if kind is not None and (kind.until == "driver" or (kind.until == "end" and had_ended)):
                self._absorb(signal)
                reader = "a run that was ending" if kind.until == "end" else "an earlier driver of this run"
                self._audience.note(f"{kind.told(signal)} has no effect: it was meant for {reader}")

    def read(self, *, leaving: bool = False) -> None:
        """Do what the new signals ask for. A run that is not open yet has no signals. A signal that came too early
        (`is_early`) stays in the ledger. If the driver is `leaving`, it obeys this signal too."""
        if not self._journal.is_open:
            return
        for signal in self._ledger.inbox():
            if signal.id in self._read:
                continue
            kind = self._kinds.get(signal.kind)
            if kind is None:
                self._hold(signal)
            elif leaving or not kind.is_early(self, signal):
                self._absorb(signal)
                kind.obey(self, signal)

    def _hold(self, signal: Signal) -> None:
        """Leave a signal of an unknown kind in the ledger, and tell the user."""
        self._read.add(signal.id)
        self._audience.note(
            f"the signal `{signal.kind:.40}` by {signal.by:.40} is kept: this Headrace doesn't know it."
            " To act on it, resume the run with the release of Headrace that sent it"
        )

    def _absorb(self, signal: Signal) -> None:
        """Let the next commit remove a signal from the ledger."""
        self._read.add(signal.id)
        self._journal.absorb(signal.id)

    def stop(self, by: str, name: str) -> None:
        """Ask the running attempts of a task, or of a mapped task's elements, to end early."""
        for task in self._machine.running():
            if name in (task.name, task.parent and task.parent.name):
                self._steps.absorb(Told(task.name, task.attempt, by, self._clock.now()))
                for worker in task.workers:
                    self._courier.post(worker, Tell(task.name, task.attempt, "stop"))
                self._audience.note(f"`{task.name}` was told to stop by {by}")

    def decide(self, signal: Signal) -> None:
        """Record what somebody decided about a task that waits for an approval. If the decision isn't allowed or can't
        be read, it has no effect, and the user is told why."""
        event = self._decision(signal)
        if event is None:
            self._audience.note(f"a signal `{signal.kind}` by {signal.by:.40} has no effect: it can't be read")
        elif why := self._machine.approvals.objection(event, self._machine.policy):
            self._audience.note(f"`headrace {signal.kind}` of `{event.task}` by {signal.by} has no effect: {why}")
        else:
            self._steps.absorb(event)

    def is_early(self, signal: Signal) -> bool:
        """Return whether a decision came too early: its task hasn't asked for approval yet, but may still do so."""
        event = self._decision(signal)
        return event is not None and self._machine.approvals.may_ask(event.task)

    def _decision(self, signal: Signal) -> Approved | Rejected | None:
        return read_decision(signal.kind, signal.by, signal.body, signal.at or self._clock.now())

    def expire(self) -> None:
        """Refuse the tasks that nobody approved in time. Call `read` first: the inbox may have a decision that was made
        in time."""
        now = self._clock.now()
        for task in self._machine.approvals.overdue(now):
            self._steps.absorb(Expired(task.name, task.key or "", now))

    def cancel(self, by: str, why: str, *, now: bool) -> None:
        """Cancel the run. If `now` is True, end its running attempts at once."""
        before = self._machine.cancelled
        if self._machine.closed is None and (before is None or (now and not before.now)):
            if self._journal.is_tentative:
                raise self._early_end(by, why)
            running = [worker for task in self._machine.running() for worker in task.workers]
            self._steps.absorb(Cancelled(by, why, self._clock.now(), now))
            if running and not now:
                self._audience.note(
                    f"{why}: running attempts have {self._courier.grace_s(running):g} s to clean up and end, and are"
                    " killed after that; a second ^C, or `headrace cancel --now`, kills them at once"
                )

    def _early_end(self, by: str, why: str) -> BaseException:
        """Return the exception with which this driver ends if the run is cancelled before the pipeline's first trace is
        good."""
        code = "the new code" if self._journal.is_open else "the pipeline"
        message = f"{why}, and {code} wasn't traced yet"
        if by == USER:
            return Interrupted(f"{message}: {'the run is as it was' if self._journal.is_open else 'no run began'}")
        if by == "policy":
            return RefusedError(message, hint="give it more time with `--timeout`")
        return RunCancelled(message, hint="the run is as it was: resume it once more")

    @property
    def _limit_s(self) -> float | None:
        return self._machine.policy.timeout_s if self._timeout_s is None else self._timeout_s


def _cancelled(inbox: Inbox, signal: Signal) -> None:
    inbox.cancel(signal.by, f"cancelled by {signal.by}", now=signal.body == "now")


def _stopped(inbox: Inbox, signal: Signal) -> None:
    inbox.stop(signal.by, signal.body)


def _command(signal: Signal) -> str:
    return f"`headrace {signal.kind}` by {signal.by}"


KINDS: Mapping[str, Kind] = {
    "approve": Kind(Inbox.decide, _command, until="end", is_early=Inbox.is_early),
    "reject": Kind(Inbox.decide, _command, until="end", is_early=Inbox.is_early),
    "cancel": Kind(_cancelled, _command),
    "stop": Kind(_stopped, lambda signal: f"`headrace stop` of `{signal.body}` by {signal.by}"),
}
"""The kinds of signals that this release knows (`run.ports.KNOWN_SIGNALS`)."""
