"""A simulated worker: its queue, its current attempt, and its reports that no driver has acknowledged."""

from __future__ import annotations

from collections import deque
from itertools import count
from typing import Protocol

from headrace.backends.simulated.behaviour import (
    Ask,
    Behaviour,
    Death,
    Decline,
    Keep,
    Listen,
    Moving,
    Say,
    Script,
    Step,
    Stopped,
    Tracing,
    Wait,
)
from headrace.run.events import Asked, Checkpointed, Event, Failed, Moved, Succeeded, encode_event
from headrace.run.ports import STOPPED, Died, Heard, Job
from headrace.run.wire import Ack, Answer, Do, Down, Drop, Move, Quit, Report, Tell, Trace, Up, Whisper, Word
from headrace.spec.artifact import Ref
from headrace.spec.failure import Failure


class Place(Protocol):
    """The cluster that a worker runs on, as the worker uses it."""

    script: Script
    tracer: Tracing
    mover: Moving

    def now(self) -> float: ...
    def later(self, worker: Worker, seconds: float) -> None: ...
    def say(self, worker: Worker, message: Up) -> None: ...
    def begun(self, worker: Worker) -> None: ...
    def gone(self, worker: Worker, died: Died) -> None: ...


class Worker:
    """A simulated worker. It acts when it gets a message, and when a time that it waits for has come.

    `turn` counts the worker's actions. If it has changed since a wake-up was scheduled, the wake-up is dropped.
    """

    __slots__ = (
        "_early",
        "_kept",
        "_place",
        "_play",
        "_queue",
        "_seq",
        "_waits_for",
        "_words",
        "alive",
        "done",
        "job",
        "node",
        "order",
        "ready",
        "since",
        "stopping",
        "turn",
        "unacknowledged",
    )

    def __init__(self, place: Place, job: Job, node: int) -> None:
        self.job = job
        self.node = node
        self.alive = True
        self.ready = False
        self.stopping = False
        self.done = 0
        self.since = 0.0
        self.turn = 0
        self.order: Do | Move | None = None
        self.unacknowledged: deque[Report] = deque()
        self._place = place
        self._play: Behaviour | None = None
        self._kept = count(1)
        self._queue: deque[Do | Move | Trace | Quit] = deque()
        self._words: deque[Word | Answer] = deque()
        self._early: list[Tell] = []  # messages for an attempt that hasn't begun
        self._waits_for: type[Listen | Ask] | None = None
        self._seq = 0

    @property
    def number(self) -> int:
        """The number of the worker, which the driver has chosen."""
        return self.job.worker

    @property
    def spilled(self) -> list[Heard]:
        """The worker's reports that no driver has acknowledged."""
        return [Heard(self.number, report) for report in self.unacknowledged]

    # -- what the cluster and the backend call -----------------------------------------------------------------------

    def hear(self, message: Down) -> None:
        """Take a message from the driver."""
        match message:
            case Ack(seq=seq):
                while self.unacknowledged and self.unacknowledged[0].seq <= seq:
                    self.unacknowledged.popleft()
            case Tell(task=task, attempt=attempt, word=word):
                if self.order is not None and (self.order.task, self.order.attempt) == (task, attempt):
                    self._hear(word, Listen)
                else:
                    self._early.append(message)
            case Answer():
                self._hear(message, Ask)
            case Drop(task=task, attempt=attempt):
                orders = [queued for queued in self._queue if isinstance(queued, Do | Move)]
                for order in orders:
                    if (order.task, order.attempt) == (task, attempt):
                        self._queue.remove(order)
            case Whisper():
                pass  # no script asks for a secret
            case _:
                self._queue.append(message)
                self.go_on()

    def wake(self) -> None:
        """Continue, because the worker has started, or because the time that its attempt waits for has come."""
        self.ready = True
        self._act(None)
        self.go_on()

    def stop(self) -> None:
        """Stop gracefully: tell the attempt to stop, then leave."""
        self.stopping = True
        self._queue.clear()
        self._act(Stopped("it was told to stop"))
        self.go_on()

    def unheard(self) -> None:
        """Finish the orders in the queue and leave, because the driver is gone."""
        self._queue.append(Quit())
        if self._waits_for is Ask:
            self.die(Died(self.number, "cancelled", "nobody answers"))
        self.go_on()

    def stay(self) -> None:
        """Continue with the present attempt, and forget the other orders: a new driver has taken over the worker."""
        self._queue.clear()

    def die(self, died: Died) -> None:
        """End at once, and report `died` to the cluster."""
        if self.alive:
            self.alive = False
            self.turn += 1
            self._play = None
            self._place.gone(self, died)

    # -- what the worker does ------------------------------------------------------------------------------------

    def go_on(self) -> None:
        """Start one order after another from the queue, until an order takes time or the queue is empty."""
        while self.alive and self.ready and self._play is None and self._queue:
            match self._queue.popleft():
                case Do() as order:
                    self._begin(order, self._place.script(order))
                case Move() as order:
                    self._begin(order, self._place.mover(order))
                case Trace() as order:
                    self._begin(None, self._place.tracer(order))
                case Quit():
                    self.die(Died(self.number, "cancelled", "it left as it was told to"))
        if self.alive and self.stopping and self._play is None:
            self.die(Died(self.number, "cancelled", STOPPED))

    def _begin(self, order: Do | Move | None, play: Behaviour) -> None:
        self._play, self.order, self._kept = play, order, count(1)
        self.since = self._place.now()
        if order is not None:
            mine = order.task, order.attempt
            self._words += [tell.word for tell in self._early if (tell.task, tell.attempt) == mine]
            self._early.clear()
            self._place.begun(self)
        self._act(None)

    def _hear(self, word: Word | Answer, kind: type[Listen | Ask]) -> None:
        self._words.append(word)
        if self._waits_for is kind:
            self._act(None)
            self.go_on()

    def _act(self, stop: Stopped | None) -> None:
        """Run the behaviour up to its next step that takes time or waits. If `stop` isn't None, raise it in the
        behaviour."""
        self.turn += 1  # wake-ups that were scheduled before are dropped
        while self._play is not None:
            step = self._step(self._play, stop)
            stop = None
            match step:
                case None:
                    return
                case Wait(seconds=seconds):
                    self._place.later(self, seconds)
                    return
                case Keep(ref=ref):
                    if self.order is not None:
                        self._report(Checkpointed(self.order.task, self.order.attempt, ref, next(self._kept)))
                case Say(event=event):
                    self._report(event)
                case Decline(refused=refused):
                    self._place.say(self, refused)
                case Ask(question=question):
                    if isinstance(question, Asked):
                        self._report(question)
                    else:
                        self._place.say(self, question)
                    self._waits_for = Ask
                case Listen():
                    self._waits_for = Listen
            if self._waits_for is not None and not self._words:
                return

    def _step(self, play: Behaviour, stop: Stopped | None) -> Step | None:
        """Return the next step of the behaviour, or None if the behaviour has ended."""
        heard = self._words.popleft() if self._waits_for is not None and stop is None else None
        self._waits_for = None
        try:
            return play.throw(stop) if stop is not None else play.send(heard)
        except StopIteration as end:
            self._ended(end.value)
        except Death as death:
            self.die(Died(self.number, death.kind, death.why))
        except Stopped as stopped:
            self._failed(Failure("cancelled", str(stopped)))
        except Exception as error:  # noqa: BLE001  the script stands for user code
            self._failed(Failure("user", f"{type(error).__name__}: {error}"))
        return None

    def _ended(self, out: Ref | None) -> None:
        order, now = self.order, self._place.now()
        if isinstance(order, Move):
            self._free(Moved(order.task, order.attempt, order.size, self.since, now - self.since, order.usd))
        elif order is not None and out is not None:
            self._free(Succeeded(order.task, order.attempt, out, started=self.since, seconds=now - self.since))
        elif order is not None:
            self._failed(Failure("user", f"the script of `{order.function}` gave nothing"))
        else:
            self._free(None)

    def _failed(self, failure: Failure) -> None:
        order, now = self.order, self._place.now()
        if order is None:
            self.die(Died(self.number, "crash", failure.message))
            return
        seconds = now - self.since
        self._free(Failed(order.task, order.attempt, failure, at=now, started=self.since, seconds=seconds))

    def _free(self, event: Event | None) -> None:
        self._play = self.order = None
        self._words.clear()
        if event is not None:
            self.done += 1
            self._report(event)

    def _report(self, event: Event) -> None:
        self._seq += 1
        report = Report(self._seq, encode_event(event))
        self.unacknowledged.append(report)
        self._place.say(self, report)
