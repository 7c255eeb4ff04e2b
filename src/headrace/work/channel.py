"""A worker's channel to its driver. The worker gets messages from the driver, and sends numbered reports to it. Each
report is kept until the driver acknowledges it."""

from __future__ import annotations

import os
import select
import socket
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from msgspec import Struct

from headrace.errors import StoreError
from headrace.run.events import Event, encode_event
from headrace.run.wire import Ack, Do, Down, Drop, Frames, Move, Report, Tell, Word, decode_down, frame
from headrace.work.stop import Stop

_READ_BYTES = 1 << 16


class Gone(Exception):
    """The driver no longer listens."""


class Channel:
    """Reads the driver's messages, and sends reports to it. When the driver is gone, each new report is appended at
    once to the spool in the store, with all unacknowledged ones: this process may be killed before its attempt ends."""

    def __init__(self, line: socket.socket, spill: Callable[[bytes], None], stop: Stop) -> None:
        self._line = line
        self._stop = stop
        self._spill = spill
        self._frames = Frames()
        self._read_into = memoryview(bytearray(_READ_BYTES))  # one buffer for all reads: a new one costs 30 us each
        self._heard: deque[Down] = deque()
        self._dropped: set[tuple[str, int]] = set()
        self._unacknowledged: deque[tuple[int, bytes]] = deque()
        self._seq = 0
        self._pid = os.getpid()
        self._reading = threading.Lock()
        self._reporting = threading.Lock()
        self.gone = False

    def next(self) -> Down:
        """Wait for the next message, and return it.

        Raises:
            Gone: the driver has left.
        """
        while True:
            while not self._heard:
                self._read()
            message = self._heard.popleft()
            if not isinstance(message, Do | Move) or not self._is_dropped(message):
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

    def word(self, task: str, attempt: int) -> Word | None:
        """Return the driver's next instruction for an attempt, even if other messages came before this instruction. If
        there is no instruction, return None. Instructions for other attempts stay in the queue."""
        with self._stop.shield, self._reading:
            self._take_in()
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
        body = encode_event(event)
        with self._reporting:
            self._seq += 1
            self._unacknowledged.append((self._seq, body))
            self._send(frame(Report(self._seq, body)))
            if self.gone:
                with suppress(
                    StoreError
                ):  # the reports stay in memory, and are written with the next one or at the end
                    self._write_reports()

    def send(self, message: Struct) -> None:
        """Send a message that isn't an event."""
        self._send(frame(message))

    def spill(self) -> None:
        """Append all unacknowledged reports to the spool."""
        with self._reporting:
            self._write_reports()

    def _write_reports(self) -> None:
        if self._unacknowledged:
            self._spill(b"".join(frame(Report(seq, body)) for seq, body in self._unacknowledged))
            self._unacknowledged.clear()

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

    def _acknowledge(self, seq: int) -> None:
        while self._unacknowledged and self._unacknowledged[0][0] <= seq:
            self._unacknowledged.popleft()
