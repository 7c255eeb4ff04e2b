"""The courier: all messages of a tick to workers. A message is sent only after the events that caused it are stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from msgspec import Struct
from msgspec.structs import replace

from headrace.run.driver.sites import Sites
from headrace.run.wire import Ack, Do, Down, Quit, Whisper
from headrace.spec.failure import FailureKind
from headrace.spec.graph import secrets

ACK_EVERY = 64


class Verdict(Struct, frozen=True):
    """The reason why a worker is being ended, and the attempt that it was running at that time. `now` is False if the
    attempt was told to stop and may end by itself."""

    kind: FailureKind
    why: str
    of: tuple[str, int] | None
    now: bool


class Courier:
    """Sends messages, acknowledges reports, and ends workers. It remembers why each worker was ended."""

    def __init__(self, sites: Sites, secret: Callable[[str], str | None]) -> None:
        self._sites = sites
        self._secret = secret
        self._whispered: dict[int, set[str]] = {}
        self._outbox: dict[int, list[Down]] = {}
        self._doomed: dict[int, bool] = {}
        self._verdicts: dict[int, Verdict] = {}
        self._heard: dict[int, int] = {}
        self._acknowledged: dict[int, int] = {}
        self._loud: set[int] = set()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to send."""
        return not self._outbox and not self._doomed

    def post(self, worker: int, message: Down) -> None:
        """Add a message to those that this tick sends."""
        self._outbox.setdefault(worker, []).append(message)

    def heard(self, worker: int, seq: int) -> None:
        """Record that all reports of a worker up to number `seq` have arrived. They are acknowledged once this tick has
        stored them."""
        self._heard[worker] = seq
        self._loud.add(worker)

    def grace_s(self, workers: Iterable[int]) -> float:
        """Return how many seconds the attempts of these workers have to end after they were told to stop."""
        return max([self._sites.of(worker).backend.grace_s for worker in workers], default=0.0)

    def end(self, worker: int, kind: FailureKind, why: str, *, now: bool) -> None:
        """End a worker because of the attempt that it runs. The worker gets no other attempt. `kind` and `why` are the
        kind of failure and the reason. If `end` is called twice for a worker, the kind and reason of the first call are
        kept. If `now` is False, the attempt is first asked to stop."""
        verdict = self._verdicts.get(worker) or Verdict(kind, why, self._sites.crew(worker).present(worker), now)
        self._verdicts[worker] = replace(verdict, now=now or verdict.now)
        self._doomed[worker] = now or self._doomed.get(worker, False)
        self._sites.crew(worker).retire(worker)

    def end_gang(self, workers: Sequence[int], failed: int, task: str, attempt: int) -> None:
        """End the workers that still run an attempt, after the attempt failed on the worker `failed`."""
        for other in workers:
            if other != failed and self._sites.crew(other).holds(other, task, attempt):
                self.end(other, "lost", f"another node of `{task}` failed", now=True)

    def ends(self, worker: int) -> bool:
        """Return whether a worker is being ended already."""
        return worker in self._verdicts

    def bury(self, worker: int) -> Verdict | None:
        """Forget a worker that died. Return why Headrace ended it, or None if it died by itself."""
        for known in (self._heard, self._acknowledged, self._doomed, self._outbox, self._whispered):
            known.pop(worker, None)
        self._loud.discard(worker)
        return self._verdicts.pop(worker, None)

    def dispatch(self) -> None:
        """Carry out everything that this tick asked for: start the hired workers, send the messages, let the dismissed
        workers quit, and end those that `end` was called for."""
        leaving = self._sites.staff()
        self._acknowledge()
        outbox, self._outbox = self._outbox, {}
        for worker, messages in outbox.items():
            self._sites.tell(worker, [*self._whispers(worker, messages), *messages])
        for worker in leaving:
            self._sites.tell(worker, [Quit()])
        doomed, self._doomed = self._doomed, {}
        for worker, now in doomed.items():
            self._sites.end(worker, now=now)

    def _whispers(self, worker: int, messages: Sequence[Down]) -> Iterator[Whisper]:
        """Yield the secrets that `messages` need, except those that were already sent to `worker`."""
        for message in messages:
            if isinstance(message, Do):
                known = self._whispered.setdefault(worker, set())
                for name in sorted({name for _, arg in message.args for name in secrets(arg)} - known):
                    if (value := self._secret(name)) is not None:
                        known.add(name)
                        yield Whisper(name, value)

    def _acknowledge(self) -> None:
        """Add acknowledgements to messages that are sent anyway. An acknowledgement is sent by itself only if many
        reports wait for it."""
        for worker in [*self._loud, *self._outbox]:
            heard = self._heard.get(worker, 0)
            waiting = heard - self._acknowledged.get(worker, 0)
            if waiting >= ACK_EVERY or (waiting and worker in self._outbox):
                self._acknowledged[worker] = heard
                self._outbox.setdefault(worker, []).insert(0, Ack(heard))
        self._loud.clear()
