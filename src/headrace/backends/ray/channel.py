"""The driver's end of a channel to an actor. Calls never block, and their answers go into one queue."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue

from msgspec import Struct
from ray.exceptions import ActorUnavailableError

from headrace.backends.ray.messages import Handle
from headrace.run.ports import Job

HEARING = 0
WAIT_S = 10.0
AT_ONCE = 4
"""How many calls that carry messages may be unanswered. Further messages wait, and go together in the next call."""
RETRY_S = 0.5
LOST_S = 60.0
"""How long an actor may be unreachable, in seconds, before its worker is reported as lost."""


class Mailbox:
    """The answers of actors that the driver has not read. They are put in by Ray's threads.

    `descriptor` is readable if there may be answers.
    """

    def __init__(self) -> None:
        self._answers: SimpleQueue[Answered] = SimpleQueue()
        self._ours, self._bell = socket.socketpair()
        self._ours.setblocking(False)
        self._bell.setblocking(False)
        self.descriptor = self._ours.fileno()

    def put(self, answer: Answered) -> None:
        """Add an answer, and make the descriptor readable."""
        self._answers.put(answer)
        with suppress(OSError):  # it is readable already, or closed
            self._bell.send(b"!")

    def take(self, timeout_s: float) -> Iterator[Answered]:
        """Wait up to `timeout_s` for answers, and yield all that have come."""
        if timeout_s > 0 and self._answers.empty():
            bell = select.poll()
            bell.register(self.descriptor, select.POLLIN)
            bell.poll(timeout_s * 1000)
        with suppress(BlockingIOError):
            while self._ours.recv(65536):
                pass
        with suppress(Empty):
            while True:
                yield self._answers.get_nowait()

    def close(self) -> None:
        """Close the descriptor. Answers that come later are ignored."""
        self._ours.close()
        self._bell.close()


class Answered(Struct, frozen=True):
    """The result of a call to the actor of the channel `line`.

    `number` is the sequence number of the messages that the call carried, or 0 (`HEARING`) if the call asked for
    messages. `given` is the actor's answer. It is None if the actor has another driver, or if the call failed with the
    exception `error`.
    """

    line: Channel
    number: int
    given: bytes | bool | None
    error: BaseException | None


class Channel:
    """The channel to one actor. Messages are numbered, and sent again if it isn't known whether they arrived.

    `up` is true once the actor has started. `heard` is the number of the last message from the worker, and `seq` the
    number of its last report. As long as the worker hasn't started, `delayed` says what the worker waits for (empty:
    this isn't known), and `delayed_at` is when `delayed` was reported. `told` is the sequence number of the last
    messages that an earlier driver sent.
    """

    def __init__(self, job: Job, name: str, handle: Handle, epoch: int, answers: Mailbox, *, told: int = 0) -> None:
        self.job = job
        self.name = name
        self.handle = handle
        self.asked_at = time.monotonic()
        self.up = False
        self.heard = 0
        self.seq = 0
        self.delayed = ""
        self.delayed_at = 0.0
        self._epoch = epoch
        self._answers = answers
        self._told = told
        self._unsent: list[bytes] = []
        self._under_way: dict[int, bytes] = {}
        self._listens = False
        self._out_of_reach_since: float | None = None
        self._again_at: float | None = None

    def hear(self) -> None:
        """Ask the actor for new messages. The actor answers the first such call at once. Its answer shows that the
        actor has started."""
        wait_s = WAIT_S if self.up else 0.0
        self._listens = True
        self._call(HEARING, lambda: self.handle.hear.remote(self._epoch, self.heard, wait_s))

    def send(self, data: bytes) -> None:
        """Send messages now. If too many calls are unanswered, send the messages with a later call."""
        self._unsent.append(data)
        self._flush()

    def end(self, *, now: bool) -> None:
        """End the worker: kill it if `now`, otherwise ask it to stop first."""
        with suppress(ConnectionError):
            self.handle.end.remote(self._epoch, now)

    def leave(self) -> None:
        """End the actor."""
        with suppress(ConnectionError):
            self.handle.leave.remote(self._epoch)

    def answered(self, answer: Answered) -> None:
        """Record that a call has been answered or has failed, and send the messages that wait."""
        if answer.number == HEARING:
            self._listens = False
        if answer.error is None:
            self._out_of_reach_since = None
            if self._under_way.pop(answer.number, None) is not None:
                self._flush()

    def retry(self, error: BaseException) -> bool:
        """Decide whether to repeat a failed call. If so, schedule the repetition and return True; otherwise return
        False.

        A call is repeated if the actor was unreachable, and has been so for less than `LOST_S` seconds.
        """
        if not isinstance(error, ActorUnavailableError | ConnectionError):
            return False
        now = time.monotonic()
        self._out_of_reach_since = self._out_of_reach_since or now
        self._again_at = self._again_at or now + RETRY_S
        return now - self._out_of_reach_since < LOST_S

    def go_on(self) -> None:
        """Repeat the failed calls if the scheduled time has come."""
        if self._again_at is not None and time.monotonic() >= self._again_at:
            self._again_at = None
            for number, data in self._under_way.items():
                self._tell(number, data)
            if not self._listens:
                self.hear()
            self._flush()

    def _flush(self) -> None:
        if self._unsent and len(self._under_way) < AT_ONCE and self._again_at is None:
            self._told += 1
            data = b"".join(self._unsent)
            self._unsent.clear()
            self._under_way[self._told] = data
            self._tell(self._told, data)

    def _tell(self, number: int, data: bytes) -> None:
        self._call(number, lambda: self.handle.tell.remote(self._epoch, number, data))

    def _call(self, number: int, begin: Callable[[], Handle]) -> None:
        try:
            future = begin().future()
        except ConnectionError as error:  # Ray's client has lost its server
            self._answers.put(Answered(self, number, None, error))
            return

        def put(done: Handle) -> None:
            error = done.exception()
            self._answers.put(Answered(self, number, None if error else done.result(), error))

        future.add_done_callback(put)
