"""Connects the web workers of a server, so that each of them can find out what all have counted."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

import msgspec

from headrace.serve.metrics import UP, Labels, Metrics, Reading
from headrace.spec.noun import UNREADABLE

WITHIN_S = 1.0
"""How long a worker may take to answer another one, in seconds."""
_PIECE_BYTES = 1 << 16
_decode = msgspec.msgpack.Decoder(Reading).decode


class Peers:
    """Connects the web workers of a server. Make it before the workers are forked: they inherit a line to each other.

    A question carries the socket on which its answer is to come. So no other process can ask, no file is left behind,
    and an answer that comes too late goes nowhere.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.lines = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(count)]
        for line in self.lines:
            for end in line:
                end.setblocking(False)

    def join(self, number: int, metrics: Metrics) -> Peer:
        """Return the worker with this number, counted from 1. From now on it answers the others, in this event loop,
        with what `metrics` has counted."""
        peer = Peer(self, number, metrics)
        asyncio.get_running_loop().add_reader(self.lines[number - 1][1], peer.answer)
        return peer

    def close(self) -> None:
        """Close this process's ends of all lines."""
        for line in self.lines:
            for end in line:
                end.close()


class Peer:
    """One of the web workers of a server, which asks the others and answers them. `Peers.join` makes it."""

    def __init__(self, peers: Peers, number: int, metrics: Metrics) -> None:
        self._peers = peers
        self._number = number
        self._metrics = metrics
        self._answers: set[asyncio.Task[None]] = set()

    async def reading(self) -> Reading:
        """Return what all workers have counted. Each series has one more label, the number of the worker. If a worker
        doesn't answer in time, its numbers are missing, and the metric `UP` is 0 for it.

        The workers' numbers aren't summed. The sum would fall when a worker is missing or is started again. Prometheus
        takes a counter that falls for one that was reset to 0, and would count all that is left in the sum once more.
        """
        numbers = range(1, self._peers.count + 1)
        others = [number for number in numbers if number != self._number]
        found = dict(zip(others, await asyncio.gather(*map(self._ask, others)), strict=True))
        found[self._number] = self._metrics.reading()
        up: dict[Labels, float] = {(str(number),): float(found[number] is not None) for number in numbers}
        total = Reading(numbers={UP.name: up}, spreads={})
        for number, reading in found.items():
            if reading is not None:
                total += reading.of_worker(str(number))
        return total

    def answer(self) -> None:
        """Answer a question of another worker that has come."""
        line, loop = self._peers.lines[self._number - 1][1], asyncio.get_running_loop()
        with suppress(BlockingIOError):
            _, sockets, _, _ = socket.recv_fds(line, 1, 1, socket.MSG_CMSG_CLOEXEC)
            for each in sockets:
                answer = loop.create_task(self._tell(socket.socket(fileno=each)))
                self._answers.add(answer)
                answer.add_done_callback(self._answers.discard)

    async def _ask(self, number: int) -> Reading | None:
        loop, pieces = asyncio.get_running_loop(), list[bytes]()
        mine, theirs = socket.socketpair()
        with mine:
            with theirs, suppress(OSError):  # too many questions wait for it already
                socket.send_fds(self._peers.lines[number - 1][0], [b"?"], [theirs.fileno()])
            mine.setblocking(False)
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(WITHIN_S):
                    while piece := await loop.sock_recv(mine, _PIECE_BYTES):
                        pieces.append(piece)
        try:
            return _decode(b"".join(pieces))
        except UNREADABLE:  # nothing came, or not all
            return None

    async def _tell(self, asks: socket.socket) -> None:
        with asks, suppress(OSError, TimeoutError):  # who asked has left, or doesn't read
            asks.setblocking(False)
            async with asyncio.timeout(WITHIN_S):
                data = msgspec.msgpack.encode(self._metrics.reading())
                await asyncio.get_running_loop().sock_sendall(asks, data)
