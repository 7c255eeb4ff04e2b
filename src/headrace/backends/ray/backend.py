"""The Ray backend: a pool that is a Ray cluster, with one actor for each worker. Implements `run.ports.Backend`."""

from __future__ import annotations

import os
import re
import threading
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version

from ray.exceptions import ActorDiedError, ActorUnavailableError, OutOfMemoryError, RayError, RayTaskError

from headrace.backends.ray.actor import remote
from headrace.backends.ray.adoption import end_all, take_over
from headrace.backends.ray.channel import HEARING, Answered, Channel, Mailbox
from headrace.backends.ray.cluster import Cluster
from headrace.backends.ray.messages import Charge, DeathKind, Handle, decode_heard, encode
from headrace.backends.ray.messages import Heard as News
from headrace.backends.ray.needs import Needs, amounts
from headrace.errors import BackendError
from headrace.run.ports import Alive, Beat, Delayed, Died, Heard, Job, Notice, Spool
from headrace.run.spilled import spilled
from headrace.run.wire import Down, Hello, Report, Up, decode_up, frame
from headrace.spec.fleet import Pool

AHEAD_S = 0.050
"""How many seconds of work should wait in a worker's queue. The next work arrives by a call to the actor, which takes
some ms, or more if all cpus are busy."""
GRACE_S = 5.0
PATIENCE_S = 60.0
CLOSE_S = 10.0
REPEAT_S = 30.0
SLOW_S = 3.0
"""How long a worker may take to start, in seconds, before the user is told what it waits for."""
FRESH_S = 3.0
"""The cluster's head is asked to do something only if it has answered within the last `FRESH_S` seconds."""
HEADLESS_S = 20.0
"""How long the cluster's head may be unreachable, in seconds. After 60 s, Ray itself would end this process."""


class RayBackend:
    """The workers of one run on a Ray cluster.

    `epoch` is the epoch of the run's lease: actors obey only the driver with the highest epoch. Workers can't see the
    folders of `hidden`, except for folders of `shown` and `readable` inside them. Workers can't write to the folders of
    `readable`. `needs` are the labels and custom resources that nodes must have. `grace_s` is how long an attempt may
    take to stop, `patience_s` how long an idle worker waits for a driver, and `headless_s` how long the cluster's head
    may be unreachable, all in seconds. `release` is the version of Headrace that nodes must have (None: the version of
    this process).
    """

    def __init__(
        self,
        pool: Pool,
        hello: Hello,
        spool: Spool,
        cluster: Cluster,
        *,
        epoch: int = 0,
        namespace: str = "auto",
        hidden: Sequence[str] = (),
        shown: Sequence[str] = (),
        readable: Sequence[str] = (),
        needs: Needs | None = None,
        grace_s: float = GRACE_S,
        patience_s: float = PATIENCE_S,
        headless_s: float = HEADLESS_S,
        release: str | None = None,
    ) -> None:
        self.pool = pool
        self.ahead_s = AHEAD_S
        self._hello = hello
        self._spool = spool
        self._cluster = cluster
        self._epoch = epoch
        self._namespace, self._hidden = namespace, tuple(hidden)
        self._shown, self._readable = tuple(shown), tuple(readable)
        self._needs = needs or Needs()
        self.grace_s, self._patience_s, self._headless_s = grace_s, patience_s, headless_s
        self._release = release or version("headrace")
        self._kind = remote()
        self._lines: dict[int, Channel] = {}
        self._answers = Mailbox()
        weakref.finalize(self, self._answers.close)  # a driver may forget its backend without closing it
        self._notices: list[Notice] = []
        self._leaving: list[Channel] = []
        self._unbegun: list[Job] = []
        self._unwanted: list[Handle] = []
        self._early: dict[int, list[Down]] = {}
        self._watch: Watch | None = None

    # -- the port ------------------------------------------------------------------------------------------------

    def fileno(self) -> int:
        """Return a descriptor that is readable if actors have answered."""
        return self._answers.descriptor

    def start(self, jobs: Sequence[Job]) -> None:
        """Start an actor for each worker. Messages to a worker whose actor hasn't started are kept until the actor has
        started."""
        self._unbegun += jobs
        self._begin()
        self._begin_watch()

    def tell(self, worker: int, messages: Sequence[Down]) -> None:
        """Send messages to a worker. Do nothing if the worker has ended."""
        line = self._lines.get(worker)
        if line is None and any(job.worker == worker for job in self._unbegun):
            self._early.setdefault(worker, []).extend(messages)
        if line is not None:
            line.send(b"".join([frame(message) for message in messages]))

    def events(self, timeout_s: float) -> list[Notice]:
        """Return what has happened to workers since the last call. If nothing has happened, wait up to `timeout_s` for
        news.

        Raises:
            BackendError: the cluster's head can't be reached.
        """
        self._let_leave()  # their last messages have been stored by now
        for answer in self._answers.take(0.0 if self._notices else timeout_s):
            self._answered(answer)
        for line in self._lines.values():
            line.go_on()
        self._begin()
        self._look()
        notices, self._notices = self._notices, []
        return notices

    def adopt(self) -> Iterator[Heard | Alive]:
        """Take over the workers that an earlier driver left alive.

        For each of these workers, yield its reports that no driver has stored, then an `Alive`, except if the worker is
        ended. At the end, yield the reports that other workers spilled.
        """
        actors = take_over(self._cluster, self._hello.run, self._epoch)
        heard: dict[int, int] = {}
        for name, (handle, taken) in actors.items():
            worker = taken.job.worker
            line = Channel(taken.job, name, handle, self._epoch, self._answers, told=taken.told)
            line.up = True
            for message in self._taken_in(line, taken.heard):
                yield Heard(worker, message)
            heard[worker] = max(line.seq, heard.get(worker, 0))
            if not taken.leaving and taken.job.role != "tracer":
                self._lines[worker] = line
                line.hear()
                yield Alive(taken.job, taken.attempts, taken.done)
        if self._lines:
            self._begin_watch()
        for spill in spilled(self._spool, self._hello.run):
            if _seq(spill) > heard.get(spill.worker, 0):
                yield spill

    def close(self, workers: Sequence[int] | None = None, *, now: bool = False) -> None:
        """End the given workers, or (None) all workers and the connection to the cluster.

        If `now` is false, running attempts are asked to stop. Those that haven't stopped after `grace_s` are killed.
        """
        if self._cluster.is_lost:
            return self.abandon()  # no actor can be reached
        for job in [job for job in self._unbegun if workers is None or job.worker in workers]:
            self._unbegun.remove(job)
            self._notices.append(Died(job.worker, "cancelled", "it was stopped before it had begun"))
        for worker in list(self._lines if workers is None else workers):
            if (line := self._lines.get(worker)) is None:
                continue
            if line.up:
                line.end(now=now)
            else:
                self._unwanted.append(line.handle)  # its messages are under way: once it had room, it would run them
                self._bury(line, "cancelled", "it was stopped before it had begun")
        self._begin()
        if workers is not None:
            return None
        due = time.monotonic() + self.grace_s + CLOSE_S
        with suppress(BackendError):  # the head went away meanwhile: the actors end by themselves
            while self._lines and time.monotonic() < due:
                self.events(0.05)
        if self._cluster.answers():
            self._let_leave()
            end_all(self._cluster, self._hello.run)
        if not now:
            self._spool.forget(self._hello.run)
        return self.abandon()

    def abandon(self) -> None:
        """Leave the cluster without ending workers, as if the driver had been killed."""
        self._lines.clear()
        if self._watch is not None:
            self._watch.stop()
        self._cluster.leave()
        self._answers.close()

    # -- inside --------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Start the actors of all workers that wait for one, and kill the actors that aren't wanted any more.

        If the cluster's head can't be reached, do nothing: the next call tries again.
        """
        if not (self._unbegun or self._unwanted) or not self._is_heard():
            return
        while self._unwanted:
            with suppress(RayError):  # the actor has ended meanwhile
                self._cluster.kill(self._unwanted.pop())
        for job in self._unbegun:
            charge = Charge(
                job=job,
                hello=self._hello,
                epoch=self._epoch,
                namespace=self._namespace,
                hidden=self._hidden,
                shown=self._shown,
                readable=self._readable,
                grace_s=self.grace_s,
                patience_s=self._patience_s,
            )
            name = f"{self._hello.run}/{self.pool.name}/{job.worker}-{os.urandom(4).hex()}"
            handle = self._cluster.begin(self._kind, name, self._needs.options(job), self._release, encode(charge))
            line = Channel(job, name, handle, self._epoch, self._answers)
            self._lines[job.worker] = line
            line.hear()
            if early := self._early.pop(job.worker, None):
                self.tell(job.worker, early)
        self._unbegun.clear()

    def _is_heard(self) -> bool:
        """Return whether the cluster's head answers. If it doesn't, most calls of Ray would block, and Ray would then
        end this process."""
        return (self._watch is None or self._watch.unheard_s < FRESH_S) and self._cluster.answers()

    def _answered(self, answer: Answered) -> None:
        """Handle an actor's answer to a call, and ask the actor for more messages."""
        line, error = answer.line, answer.error
        worker = line.job.worker
        if self._lines.get(worker) is not line:
            return  # the end of this worker has been reported
        line.answered(answer)
        if error is not None:
            if not line.retry(error):
                self._bury(line, *cause(error))
        elif answer.given is None:
            del self._lines[worker]  # a newer driver has the actor; this driver will learn so from the ledger
        elif answer.number == HEARING:
            assert isinstance(answer.given, bytes)
            self._heard(line, decode_heard(answer.given))

    def _heard(self, line: Channel, news: News) -> None:
        worker = line.job.worker
        if not line.up:
            line.up = True
            if line.delayed:
                self._notices.append(Delayed(worker, ""))
        self._notices += [Heard(worker, message) for message in self._taken_in(line, news)]
        if news.beat is not None:
            done, since, memory_gib = news.beat
            self._notices.append(Beat(worker, done, since, memory_gib, 0.0))
        if news.died is None:
            line.hear()
            return
        self._leaving.append(line)
        self._bury(line, *news.died)

    def _taken_in(self, line: Channel, news: News) -> list[Up]:
        """Return those messages of an answer that are new."""
        messages = []
        for number, body in enumerate(news.bodies, news.first):
            if number > line.heard:
                line.heard = number
                messages.append(message := decode_up(body))
                if isinstance(message, Report):
                    line.seq = message.seq
        return messages

    def _bury(self, line: Channel, kind: DeathKind, why: str, hint: str | None = None) -> None:
        """Add the notice that a worker has ended. If the worker was lost and has spilled reports, first add these
        reports."""
        worker = line.job.worker
        del self._lines[worker]
        if kind == "lost" and line.up:
            spills = [spill for spill in spilled(self._spool, self._hello.run) if spill.worker == worker]
            self._notices += [spill for spill in spills if _seq(spill) > line.seq]
        self._notices.append(Died(worker, kind, why, hint))

    def _let_leave(self) -> None:
        """End the actors whose workers have ended."""
        for line in self._leaving:
            line.leave()
        self._leaving.clear()

    def _begin_watch(self) -> None:
        if self._watch is None:
            self._watch = Watch(self._cluster, self._needs.labels)
            weakref.finalize(self, self._watch.stop)  # a driver that forgets its backend leaves no thread behind

    def _look(self) -> None:
        """Add notices that say which workers wait to start, and what they wait for.

        Raises:
            BackendError: the cluster's head has not answered for `headless_s`.
        """
        watch = self._watch
        if watch is None:
            return
        if watch.unheard_s > self._headless_s:
            raise self._cluster.lost(self._headless_s)
        now = time.monotonic()
        waiting = {line.job.worker: line for line in self._lines.values() if not line.up}
        watch.ask({
            worker: amounts(self._needs.options(line.job))
            for worker, line in waiting.items()
            if now - line.asked_at > SLOW_S
        })  # fmt: skip
        for worker, why in watch.told().items():
            line = waiting.get(worker)
            if line is None or not why or why == line.delayed:
                continue
            if not line.delayed or now - line.delayed_at > REPEAT_S:  # the reason changes often, and each is an event
                line.delayed, line.delayed_at = why, now
                self._notices.append(Delayed(worker, why, is_full=True))


def _seq(heard: Heard) -> int:
    return heard.message.seq if isinstance(heard.message, Report) else 0


_MEMORY = re.compile(r"running low on memory|NODE_OUT_OF_MEMORY|memory monitor", re.IGNORECASE)
_NODE = re.compile(r"node (has )?(died|failed|was terminated|is dead)|node.*(death|preempt)", re.IGNORECASE)
_IP = re.compile(r"\bip: (\S+)")


def cause(error: BaseException) -> tuple[DeathKind, str]:
    """Return the kind of failure and the reason, in one line, for an error of Ray that ended a worker."""
    text = str(error)
    where = f" on node {matched.group(1)}" if (matched := _IP.search(text)) else ""
    if isinstance(error, ActorUnavailableError):
        return "lost", f"its actor{where} could not be reached any more"
    if isinstance(error, OutOfMemoryError):
        return "memory", "Ray ended its process, since its node ran low on memory"
    if not isinstance(error, ActorDiedError):
        return "lost", _last(error)
    if error.actor_init_failed:
        if "No module named 'headrace" in text:
            return "lost", "the nodes of the cluster have no Headrace: install the same version there as here"
        return "lost", f"its actor can't start: {_last(error)}"
    detail = _short("\n".join([line for line in text.splitlines()[1:] if not line.startswith("\t")]))
    if _MEMORY.search(detail):
        return "memory", f"Ray ended its process{where}, since the node ran low on memory"
    if error.preempted or _NODE.search(detail):
        return "lost", f"its node{where} has died" if where else "its node has died"
    return "lost", f"its actor{where} has died: {detail}"


def _last(error: BaseException) -> str:
    """Return the last line of an error's text. If the text is a traceback, that line is the exception."""
    cause = error.cause if isinstance(error, RayTaskError) else error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _short(detail: str) -> str:
    """Return Ray's message without the advice that follows it, 400 characters at most."""
    return " ".join(detail.partition("Some common causes")[0].split())[:400]


EVERY_S = 1.0


class Watch:
    """A background thread that asks the cluster each second whether its head answers, and what workers wait for.

    The questions are asked in a separate thread because the answers may take long.
    """

    def __init__(self, cluster: Cluster, labels: Mapping[str, str]) -> None:
        self._cluster = cluster
        self._labels = labels
        self._asked: Mapping[int, Mapping[str, float]] = {}
        self._told: dict[int, str] = {}
        self._stopped = threading.Event()
        self._answered_at = self._looked_at = time.monotonic()
        self._since: float | None = None
        threading.Thread(target=self._run, name="headrace-ray-watch", daemon=True).start()

    @property
    def unheard_s(self) -> float:
        """The number of seconds since the cluster's head last answered.

        A head that is stopped still accepts connections, but doesn't answer.
        """
        now = self._looked_at if self._since is None else time.monotonic()
        return now - self._answered_at

    def ask(self, needs: Mapping[int, Mapping[str, float]]) -> None:
        """From now on, ask what each of these workers waits for.

        `needs` maps a worker's number to the amounts of Ray's resources that it needs.
        """
        self._asked = needs

    def told(self) -> dict[int, str]:
        """Return the answers since the last call, by worker. Each answer says what the worker waits for; it is "" if a
        node has room for the worker."""
        answers, self._told = self._told, {}
        return answers

    def stop(self) -> None:
        """Stop the thread."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(EVERY_S):
            self._since = time.monotonic()
            if self._cluster.answers():
                with suppress(Exception):  # Ray may raise anything if the cluster goes away: the next round notices
                    self._ping()
                    self._told = self._cluster.lacking(self._asked, self._labels)
                    self._ping()  # the answer may have taken seconds, and a head that answers isn't silent
            self._looked_at, self._since = time.monotonic(), None

    def _ping(self) -> None:
        self._cluster.ping()
        self._answered_at = time.monotonic()
