"""The courier: all that a tick has to send to workers, held back until what it follows from is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

from headrace.run.crew import Crew
from headrace.run.ports import Backend
from headrace.run.wire import Ack, Do, Down, Quit, Whisper
from headrace.spec.failure import FailureKind
from headrace.spec.graph import secrets

ACK_EVERY = 64


class Verdict(Struct, frozen=True):
    """Why a worker is being ended, and at which attempt it was then."""

    kind: FailureKind
    why: str
    of: tuple[str, int] | None


class Courier:
    """Posts messages, acknowledges reports, and ends workers, of which it remembers why."""

    def __init__(self, backend: Backend, secret: Callable[[str], str | None]) -> None:
        self._backend = backend
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
        """Send a message with the others of this tick."""
        self._outbox.setdefault(worker, []).append(message)

    def heard(self, worker: int, seq: int) -> None:
        """Acknowledge a worker's reports up to this number, once they are stored."""
        self._heard[worker] = seq
        self._loud.add(worker)

    def end(self, worker: int, verdict: Verdict, *, now: bool) -> None:
        """End a worker's process, for a reason that stays the first one."""
        self._verdicts.setdefault(worker, verdict)
        self._doomed[worker] = now or self._doomed.get(worker, False)

    def ends(self, worker: int) -> bool:
        """Whether a worker is being ended already."""
        return worker in self._verdicts

    def bury(self, worker: int) -> Verdict | None:
        """Forget a worker that died; say why it was ended, or None if it died by itself."""
        for known in (self._heard, self._acknowledged, self._doomed, self._outbox, self._whispered):
            known.pop(worker, None)
        self._loud.discard(worker)
        return self._verdicts.pop(worker, None)

    def dispatch(self, crew: Crew) -> None:
        """Send everything: workers that are hired begin, those that are dismissed quit."""
        jobs, leaving = crew.drain()
        if jobs:
            self._backend.start(jobs)
        self._acknowledge()
        outbox, self._outbox = self._outbox, {}
        for worker, messages in outbox.items():
            self._backend.tell(worker, [*self._whispers(worker, messages), *messages])
        for worker in leaving:
            self._backend.tell(worker, [Quit()])
        doomed, self._doomed = self._doomed, {}
        for worker, now in doomed.items():
            self._backend.close([worker], now=now)

    def _whispers(self, worker: int, messages: Sequence[Down]) -> Iterator[Whisper]:
        """Return the secrets that a worker needs for what it is told, each once: it alone is told them."""
        for message in messages:
            if isinstance(message, Do):
                known = self._whispered.setdefault(worker, set())
                for name in sorted({name for _, arg in message.args for name in secrets(arg)} - known):
                    if (value := self._secret(name)) is not None:
                        known.add(name)
                        yield Whisper(name, value)

    def _acknowledge(self) -> None:
        """Acknowledge together with what else goes to a worker; by itself only once many reports wait for it."""
        for worker in [*self._loud, *self._outbox]:
            heard = self._heard.get(worker, 0)
            waiting = heard - self._acknowledged.get(worker, 0)
            if waiting >= ACK_EVERY or (waiting and worker in self._outbox):
                self._acknowledged[worker] = heard
                self._outbox.setdefault(worker, []).insert(0, Ack(heard))
        self._loud.clear()
