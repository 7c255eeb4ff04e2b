"""A worker's channel to its driver. The worker gets messages from the driver, and sends numbered reports to it. Each
report is kept until the driver acknowledges it. If the driver is gone, or another driver has taken over the worker, the
channel switches to a connection to the next driver as soon as there is one."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from msgspec import Struct

from headrace.errors import StoreError
from headrace.run.events import Event, Failed, encode_event
from headrace.run.wire import Ack, Do, Down, Drop, Frames, Move, Report, Tell, Whisper, Word, decode_down, frame
from headrace.spec.failure import Failure
from headrace.work.adoption.successor import DECIDED_S, PATIENCE_S, Given, Successor
from headrace.work.stop import Stop

_READ_BYTES = 1 << 16


class Gone(Exception):
    """The driver no longer listens."""


class Channel:
    """Reads the driver's messages, and sends reports to it. When the driver is gone, each new report is appended at
    once to the spool, a file in the store, together with all unacknowledged ones, since this process may be killed
    before its attempt ends.

    `successor` brings the connection to the run's next driver. If it is None, a worker without a driver ends as soon as
    it is idle.
    """

    def __init__(
        self,
        line: socket.socket,
        spill: Callable[[bytes], None],
        stop: Stop,
        successor: Successor | None = None,
    ) -> None:
        self._line = line
        self._stop = stop
        self._spill = spill
        self._frames = Frames()
        self._read_into = memoryview(bytearray(_READ_BYTES))  # one buffer for all reads: a new one costs 30 us each
        self._heard: deque[Down] = deque()
        self._dropped: set[tuple[str, int]] = set()
        self._unacknowledged: deque[tuple[int, bytes]] = deque()
        self._seq = self._acknowledged = self._spilled = 0
        self._begun = 0
        self._pending: tuple[str, int] | None = None
        self._given_up: set[tuple[str, int]] = set()
        self._successor = successor
        self._pid = os.getpid()
        self._reading = threading.Lock()
        self._reporting = threading.Lock()
        self.gone = False

    def next(self) -> Down:
        """Wait for the next message, and return it.

        Raises:
            Gone: the driver has left, and no other has taken over this worker within `PATIENCE_S` seconds.
        """
        while True:
            while not self._heard:
                try:
                    self._read()
                except Gone:
                    if not self._go_over(PATIENCE_S):
                        raise
            message = self._heard.popleft()
            if not isinstance(message, Do | Move) or (not self._is_dropped(message) and self._may_begin(message)):
                return message

    def wait_for(self, other: socket.socket) -> None:
        """Wait until the socket `other` has something to read, or has been closed by its other side.

        Raises:
            Gone: the driver has left.
        """
        while other not in select.select([other, self._line], [], [])[0]:
            self._read(socket.MSG_DONTWAIT)

    def look(self) -> None:
        """Read the messages that have arrived, without waiting. Any thread may call this while an attempt runs."""
        with self._reading:
            self._take_in()
        if self.gone:
            self._go_over(0.0)

    def word(self, task: str, attempt: int) -> Word | None:
        """Return the driver's next instruction for an attempt, even if other messages came before this instruction. If
        there is no instruction, return None. Instructions for other attempts stay in the queue."""
        with self._stop.shield:
            self.look()
            return self._word(task, attempt)

    def _word(self, task: str, attempt: int) -> Word | None:
        with self._reading:
            for message in self._heard:
                if isinstance(message, Tell) and (message.task, message.attempt) == (task, attempt):
                    self._heard.remove(message)
                    return message.word
            return None

    def report(self, event: Event) -> None:
        """Report an event under the next number.

        The event is sent at once, which has no measurable cost. If the event were held back until the next one, the
        next attempt could end the process before both are sent. The driver would then think that the attempt of this
        event had ended the process.
        """
        with self._stop.shield:
            self.report_beside(event)

    def report_beside(self, event: Event) -> None:
        """Report an event from a thread other than the main one. The signal to stop can't interrupt this, since only
        the main thread gets it."""
        with self._reporting:
            self._report(event)
        if self.gone:
            self._go_over(0.0)
        if self.gone:
            with suppress(StoreError):  # the reports stay in memory, and are written with the next one or at the end
                self.spill()

    def send(self, message: Struct) -> None:
        """Send a message that isn't an event."""
        self._send(frame(message))

    def spill(self) -> None:
        """Append all unacknowledged reports to the spool, except those that are there already."""
        with self._reporting:
            reports = [Report(seq, body) for seq, body in self._unacknowledged if seq > self._spilled]
            if reports:
                self._spill(b"".join(map(frame, reports)))
                self._spilled = reports[-1].seq

    def _report(self, event: Event) -> None:
        body = encode_event(event)
        self._seq += 1
        self._unacknowledged.append((self._seq, body))
        framed = frame(Report(self._seq, body))
        if self._successor is not None and self._successor.journal.report(framed):
            self._successor.journal.rewrite(list(self._unacknowledged), self._acknowledged)
        self._send(framed)

    def _send(self, data: bytes) -> None:
        """Send bytes, unless the driver is gone."""
        self._end_forked()
        if not self.gone:
            try:
                self._line.sendall(data)
            except OSError:
                self.gone = True

    def _is_dropped(self, order: Do | Move) -> bool:
        """Return whether the driver has taken back the message `order` after sending it."""
        self.look()
        attempt = order.task, order.attempt
        if attempt not in self._dropped:
            return False
        self._dropped.remove(attempt)
        return True

    def _take_in(self) -> None:
        with suppress(BlockingIOError, Gone):
            self._read(socket.MSG_DONTWAIT)

    def _end_forked(self) -> None:
        """If this process was forked by the user's code, end it: the connection belongs to its parent."""
        if os.getpid() != self._pid:
            os._exit(0)

    def _read(self, flags: int = 0) -> None:
        self._end_forked()
        try:
            count = self._line.recv_into(self._read_into, 0, flags)
        except ConnectionError:
            count = 0
        if count == 0:
            self.gone = True
            raise Gone
        for body in self._frames.feed(self._read_into[:count]):
            message = decode_down(body)
            if isinstance(message, Ack):
                self._acknowledge(message.seq)
            elif isinstance(message, Drop):
                self._dropped.add((message.task, message.attempt))
            else:
                self._heard.append(message)

    # -- the next driver -------------------------------------------------------------------------------------------

    def _may_begin(self, order: Do | Move) -> bool:
        """Return whether an attempt may begin, and note that it does. It may not if a new driver has taken over this
        worker and doesn't know of the attempt, which an earlier driver ordered.

        Raises:
            Gone: a takeover was announced, but the connection to the new driver didn't arrive.
        """
        if (successor := self._successor) is None:
            return True
        self._pending = (order.task, order.attempt)
        with self._reporting:
            successor.journal.begin(order.task, order.attempt, self._begun, self._acknowledged)
        while successor.is_near:
            if not self._go_over(DECIDED_S):
                raise Gone
        begins = self._pending is not None
        self._begun += begins
        self._pending = None
        return begins

    def _go_over(self, patience_s: float) -> bool:
        """Switch to the connection to the next driver. Return False if there is none within `patience_s` seconds."""
        if self._successor is None:
            return False
        found = self._successor.wait(patience_s)
        if found is None and patience_s:
            found = self._successor.refuse()
        if found is None:
            return False
        with self._reading, self._reporting:
            self._switch(*found)
        return True

    def _switch(self, line: socket.socket, given: Given) -> None:
        """Read what the earlier driver had sent, then send all unacknowledged reports over the new connection. Of the
        earlier driver's messages, only secrets and instructions to attempts still count."""
        with suppress(BlockingIOError, Gone):
            while True:
                self._read(socket.MSG_DONTWAIT)
        self._line.close()
        self._line, self._frames, self.gone = line, Frames(), False
        self._heard = deque([message for message in self._heard if isinstance(message, Whisper | Tell)])
        self._dropped.clear()
        for seq, body in self._unacknowledged:
            self._send(frame(Report(seq, body)))
        if self._pending is not None and given.attempt != self._pending:
            self._give_up(self._pending)
        if given.attempt is not None and given.attempt in self._given_up:  # the driver was told that it runs
            lost = Failure("lost", "another driver had taken over its worker")
            self._report(Failed(*given.attempt, lost, time.time()))

    def _give_up(self, attempt: tuple[str, int]) -> None:
        """Record that an attempt that was about to begin won't begin."""
        self._given_up.add(attempt)
        self._pending = None
        if self._successor is not None:
            self._successor.journal.begin("", 0, self._begun, self._acknowledged)

    def _acknowledge(self, seq: int) -> None:
        self._acknowledged = max(self._acknowledged, seq)
        while self._unacknowledged and self._unacknowledged[0][0] <= seq:
            self._unacknowledged.popleft()
