"""The Ray backend: a pool that is a Ray cluster, an actor for each worker. Implements `run.ports.Backend`."""

from __future__ import annotations

import os
import re
import threading
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from queue import Empty, SimpleQueue

from ray.exceptions import ActorDiedError, ActorUnavailableError, OutOfMemoryError, RayTaskError

from headrace.backends.ray.actor import remote
from headrace.backends.ray.adoption import end_all, take_over
from headrace.backends.ray.channel import HEARING, Answered, Channel
from headrace.backends.ray.cluster import Cluster
from headrace.backends.ray.messages import Charge, DeathKind, decode_heard, encode
from headrace.backends.ray.messages import Heard as News
from headrace.backends.ray.needs import Needs, amounts
from headrace.errors import BackendError
from headrace.run.ports import Alive, Beat, Delayed, Died, Heard, Job, Notice, Spool
from headrace.run.spilled import spilled
from headrace.run.wire import Down, Hello, Report, Up, decode_up, frame
from headrace.spec.fleet import Pool

AHEAD_S = 0.050
"""A call to an actor and its answer take some ms, and more where all cpus are busy."""
GRACE_S = 5.0
PATIENCE_S = 60.0
CLOSE_S = 10.0
REPEAT_S = 30.0
SLOW_S = 3.0
"""How long a worker may take to begin before it is said what it waits for."""
HEADLESS_S = 20.0
"""How long the cluster's head may be out of reach. Ray itself ends this process after 60 s of that."""


class RayBackend:
    """Workers of one run on a cluster.

    `epoch` is that of the run's lease: actors heed the driver with the highest. `hidden` are folders that no worker may
    see, but for those `shown` inside of them. `needs` is what nodes must have besides. `grace_s` is how long an attempt
    may take to stop, `patience_s` how long an idle worker waits for a driver, `headless_s` how long the cluster's head
    may be out of reach. `release` is the Headrace that nodes must have: this one.
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
        self._namespace, self._hidden, self._shown = namespace, tuple(hidden), tuple(shown)
        self._needs = needs or Needs()
        self._grace_s, self._patience_s, self._headless_s = grace_s, patience_s, headless_s
        self._release = release or version("headrace")
        self._kind = remote()
        self._lines: dict[int, Channel] = {}
        self._answers: SimpleQueue[Answered | None] = SimpleQueue()
        self._notices: list[Notice] = []
        self._leaving: list[Channel] = []
        self._unbegun: list[Job] = []
        self._early: dict[int, list[Down]] = {}
        self._headless = False
        self._watch: Watch | None = None

    # -- the port ------------------------------------------------------------------------------------------------

    def start(self, jobs: Sequence[Job]) -> None:
        """Begin an actor for each worker. What is told to one that is not there yet waits for it."""
        self._unbegun += jobs
        self._begin()
        self._begin_watch()

    def tell(self, worker: int, messages: Sequence[Down]) -> None:
        """Send messages to a worker; to one that is gone they mean nothing."""
        line = self._lines.get(worker)
        if line is None and any(job.worker == worker for job in self._unbegun):
            self._early.setdefault(worker, []).extend(messages)
        if line is not None:
            line.send(b"".join([frame(message) for message in messages]))

    def events(self, timeout_s: float) -> list[Notice]:
        """Wait for something to happen, up to `timeout_s`; return all that has.

        Raises:
            BackendError: the cluster is gone.
        """
        self._let_leave()  # what they had to say has been stored by now
        wait_s = 0.0 if self._notices else timeout_s
        try:
            answer = self._answers.get(timeout=wait_s) if wait_s > 0 else self._answers.get_nowait()
            while True:
                if answer is not None:
                    self._answered(answer)
                answer = self._answers.get_nowait()
        except Empty:
            pass
        for line in self._lines.values():
            line.go_on()
        self._begin()
        self._look()
        notices, self._notices = self._notices, []
        return notices

    def adopt(self) -> Iterator[Heard | Alive]:
        """Take over the workers that live, with what nobody has stored of theirs; return what others had spilled."""
        found = take_over(self._cluster, self._hello.run, self._epoch)
        heard: dict[int, int] = {}
        for name, (handle, taken) in found.items():
            worker = taken.job.worker
            line = Channel(taken.job, name, handle, self._epoch, self._answers, told=taken.told)
            line.up = True
            for message in self._taken_in(line, taken.heard):
                yield Heard(worker, message)
            heard[worker] = max(line.seq, heard.get(worker, 0))
            if not taken.leaving and not taken.job.tracer:
                self._lines[worker] = line
                line.hear()
                yield Alive(taken.job, taken.attempts, taken.done)
        if self._lines:
            self._begin_watch()
        for spill in spilled(self._spool, self._hello.run):
            if _seq(spill) > heard.get(spill.worker, 0):
                yield spill

    def close(self, workers: Sequence[int] | None = None, *, now: bool = False) -> None:
        """End some workers, or everything. Unless `now`, an attempt is asked to stop first, and given a little time."""
        if self._headless:
            return self.abandon()  # nobody can be told
        for job in [job for job in self._unbegun if workers is None or job.worker in workers]:
            self._unbegun.remove(job)
            self._notices.append(Died(job.worker, "cancelled", "it was stopped before it had begun"))
        for worker in list(self._lines if workers is None else workers):
            if (line := self._lines.get(worker)) is None:
                continue
            if line.up:
                line.end(now=now)
            else:
                self._cluster.kill(line.handle)
                self._bury(line, "cancelled", "it was stopped before it had begun")
        if workers is not None:
            return None
        due = time.monotonic() + self._grace_s + CLOSE_S
        with suppress(BackendError):  # the head went away meanwhile: what ran there ends by itself
            while self._lines and time.monotonic() < due:
                self.events(0.05)
        if self._cluster.answers():
            self._let_leave()
            end_all(self._cluster, self._hello.run)
        if not now:
            self._spool.forget(self._hello.run)
        return self.abandon()

    def abandon(self) -> None:
        """Let go of everything without a word, as a driver does that is killed."""
        self._lines.clear()
        if self._watch is not None:
            self._watch.stop()
        self._cluster.leave()

    # -- inside --------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Begin what waits to be begun, unless the head is out of reach: Ray would wait, and then end this process."""
        if not self._unbegun or not self._cluster.answers():
            return
        for job in self._unbegun:
            charge = Charge(
                job=job,
                hello=self._hello,
                epoch=self._epoch,
                namespace=self._namespace,
                hidden=self._hidden,
                shown=self._shown,
                grace_s=self._grace_s,
                patience_s=self._patience_s,
            )
            name = f"{self._hello.run}/{job.worker}-{os.urandom(4).hex()}"
            handle = self._cluster.begin(self._kind, name, self._needs.options(job), self._release, encode(charge))
            line = Channel(job, name, handle, self._epoch, self._answers)
            self._lines[job.worker] = line
            line.hear()
            if early := self._early.pop(job.worker, None):
                self.tell(job.worker, early)
        self._unbegun.clear()

    def _answered(self, answer: Answered) -> None:
        """Take in what an actor has answered, and ask it for more."""
        line, error = answer.line, answer.error
        worker = line.job.worker
        if self._lines.get(worker) is not line:
            return  # its end has been told
        line.answered(answer)
        if error is not None:
            if not line.retry(error):
                self._bury(line, *cause(error))
        elif answer.given is None:
            del self._lines[worker]  # it is another driver's: this one learns so from the ledger
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
        """Return the messages of an answer that have not been heard before."""
        found = []
        for number, body in enumerate(news.bodies, news.first):
            if number > line.heard:
                line.heard = number
                found.append(message := decode_up(body))
                if isinstance(message, Report):
                    line.seq = message.seq
        return found

    def _bury(self, line: Channel, kind: DeathKind, why: str, hint: str | None = None) -> None:
        """Tell of a worker's end; what it could not say to us it may have spilled."""
        worker = line.job.worker
        del self._lines[worker]
        if kind == "lost" and line.up:
            spills = [each for each in spilled(self._spool, self._hello.run) if each.worker == worker]
            self._notices += [each for each in spills if _seq(each) > line.seq]
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
        """Say which workers wait, and for what; and give up where the cluster is gone."""
        watch = self._watch
        if watch is None:
            return
        if watch.unheard_s > self._headless_s:
            self._headless = True
            raise BackendError(
                f"pool `{self.pool.name}`: the head of the Ray cluster has not answered for {self._headless_s:g} s",
                hint="`headrace resume` goes on once the cluster, or another, can be reached",
            )
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
            if not line.delayed or now - line.delayed_at > REPEAT_S:  # each is an event, and what is free changes often
                line.delayed, line.delayed_at = why, now
                self._notices.append(Delayed(worker, why))


def _seq(heard: Heard) -> int:
    return heard.message.seq if isinstance(heard.message, Report) else 0


_MEMORY = re.compile(r"running low on memory|NODE_OUT_OF_MEMORY|memory monitor", re.IGNORECASE)
_NODE = re.compile(r"node (has )?(died|failed|was terminated|is dead)|node.*(death|preempt)", re.IGNORECASE)
_IP = re.compile(r"\bip: (\S+)")


def cause(error: BaseException) -> tuple[DeathKind, str]:
    """Return the kind of a worker's end, and why in a line."""
    text = str(error)
    where = f" on node {found.group(1)}" if (found := _IP.search(text)) else ""
    if isinstance(error, ActorUnavailableError):
        return "lost", f"its actor{where} could not be reached any more"
    if isinstance(error, OutOfMemoryError):
        return "memory", "Ray ended its process, since its node ran low on memory"
    if not isinstance(error, ActorDiedError):
        return "lost", _last(error)
    if error.actor_init_failed:
        if "No module named 'headrace" in text:
            return "lost", "the nodes of the cluster have no Headrace: install it there, the version that is here"
        return "lost", f"its actor can't begin: {_last(error)}"
    detail = _short("\n".join([line for line in text.splitlines()[1:] if not line.startswith("\t")]))
    if _MEMORY.search(detail):
        return "memory", f"Ray ended its process{where}, since the node ran low on memory"
    if error.preempted or _NODE.search(detail):
        return "lost", f"its node{where} has died" if where else "its node has died"
    return "lost", f"its actor{where} has died: {detail}"


def _last(error: BaseException) -> str:
    """Return the last line of an error: what was raised, where it tells a traceback."""
    cause = error.cause if isinstance(error, RayTaskError) else error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _short(detail: str) -> str:
    """Return what Ray says without its advice."""
    return " ".join(detail.partition("Some common causes")[0].split())[:400]


EVERY_S = 1.0


class Watch:
    """A thread of its own, since such questions take as long as the network likes."""

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
        """How long the head has not answered. One that is stopped takes connections still, and answers nothing."""
        now = self._looked_at if self._since is None else time.monotonic()
        return now - self._answered_at

    def ask(self, needs: Mapping[int, Mapping[str, float]]) -> None:
        """Ask what these workers wait for, which need this much of Ray's resources each."""
        self._asked = needs

    def told(self) -> dict[int, str]:
        """Return what has been found out since the last time."""
        told, self._told = self._told, {}
        return told

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(EVERY_S):
            self._since = time.monotonic()
            if self._cluster.answers():
                with suppress(Exception):  # whatever Ray raises as the cluster goes: the next look tells that it has
                    self._cluster.ping()
                    self._answered_at = time.monotonic()
                    asked = self._asked
                    self._told = {worker: self._cluster.lacking(each, self._labels) for worker, each in asked.items()}
            self._looked_at, self._since = time.monotonic(), None
