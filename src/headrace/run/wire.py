"""What driver and workers say to each other: frames of a length and a msgpack body.

Down, a worker is told what to do; up, it reports events under consecutive numbers, as bytes that the driver stores as
they came. The driver acknowledges a number once everything up to it is stored; until then the worker keeps it, and
spills it to the store when no driver listens any more.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Literal

import msgspec
from msgspec import Struct

from headrace.spec.artifact import Ref
from headrace.spec.bundle import Bundle
from headrace.spec.graph import Arg

MAX_FRAME_BYTES = 1 << 30


class Do(Struct, frozen=True, array_like=True, tag="do"):
    """Run this attempt: call `function` with `args`, all of whose refs are known now.

    `verify` names the digests to check before first use. `code` is the digest that the key was made with. `rank` is
    this worker's place among the `nodes` that the attempt spans.
    """

    task: str
    attempt: int
    key: str
    function: str
    args: tuple[tuple[str, Arg], ...]
    code: str
    verify: tuple[str, ...] = ()
    checkpoint: Ref | None = None
    rank: int = 0
    nodes: int = 1
    meeting: str | None = None
    timeout_s: float | None = None


class Ack(Struct, frozen=True, array_like=True, tag="ack"):
    """All reports up to this number are stored."""

    seq: int


Word = Literal["stop", "prune", "checkpoint"]


class Tell(Struct, frozen=True, array_like=True, tag="tell"):
    """A word to the attempt that runs: stop early, prune, or keep a checkpoint now."""

    task: str
    attempt: int
    word: Word


class Drop(Struct, frozen=True, array_like=True, tag="drop"):
    """Don't begin this attempt, which waits behind another: somebody else runs it."""

    task: str
    attempt: int


class Trace(Struct, frozen=True, array_like=True, tag="trace"):
    """Trace the pipeline of this name, which one of these files of the bundle defines, with these raw parameters."""

    pipeline: str
    files: tuple[str, ...]
    params: tuple[tuple[str, str], ...]


class Answer(Struct, frozen=True, array_like=True, tag="answer"):
    """The answer to the tracer's question: a value's ref, a time, or why there is none."""

    question: int
    ref: Ref | None = None
    now: float | None = None
    error: str | None = None
    hint: str | None = None


class Quit(Struct, frozen=True, array_like=True, tag="quit"):
    """Leave when the present attempt has ended."""


Down = Do | Ack | Tell | Drop | Trace | Answer | Quit


class Report(Struct, frozen=True, array_like=True, tag="report"):
    """An event, as the bytes to store."""

    seq: int
    body: bytes


class Question(Struct, frozen=True, array_like=True, tag="question"):
    """The tracer wants to know the time (`now`) or the artifact of a file of the project (`file`)."""

    question: int
    about: Literal["now", "file", "folder"]
    path: str = ""


class Refused(Struct, frozen=True, array_like=True, tag="refused"):
    """The tracer can't trace: an error before the first good trace."""

    error: str
    message: str
    hint: str | None = None
    traceback: str | None = None


Up = Report | Question | Refused


class Hello(Struct, frozen=True, array_like=True, tag="hello"):
    """What the workers of a run need to know, told once to the process that begins them.

    `store` is the folder of their region's store; logs, scratch and spool lie in it too. `memory_gib` is what the pool
    holds: a worker whose task declares no limit ends there.
    """

    run: str
    bundle: Bundle
    store: str
    memory_gib: float


class Fork(Struct, frozen=True, array_like=True, tag="fork"):
    """Begin a worker; the socket that it speaks over comes beside this message."""

    worker: int
    tracer: bool
    cpu: float
    memory_gib: float
    gpus: int = 0


class Kill(Struct, frozen=True, array_like=True, tag="kill"):
    """Send a signal to a worker."""

    worker: int
    signal: int


class Ready(Struct, frozen=True, array_like=True, tag="ready"):
    """The zygote is there, and has read whose it is."""


class Ended(Struct, frozen=True, array_like=True, tag="ended"):
    """A worker's process has ended, and what it had begun with it. `status` is its exit code, or minus a signal."""

    worker: int
    status: int
    memory: str = ""


class Pulse(Struct, frozen=True, array_like=True, tag="pulse"):
    """A worker lives: it has finished `done` attempts and is at the next since `since` (Unix seconds)."""

    worker: int
    done: int
    since: float
    memory_gib: float


Order = Hello | Fork | Kill
News = Ready | Ended | Pulse


_encoder = msgspec.msgpack.Encoder()
decode_down = msgspec.msgpack.Decoder(Down).decode
decode_up = msgspec.msgpack.Decoder(Up).decode
decode_order = msgspec.msgpack.Decoder(Order).decode
decode_news = msgspec.msgpack.Decoder(News).decode


def frame(message: Struct) -> bytes:
    """Give a message as it goes over the wire."""
    body = _encoder.encode(message)
    return struct.pack("<I", len(body)) + body


class Frames:
    """Cuts a stream of bytes into the bodies of frames, however the bytes arrive."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes | memoryview) -> Iterator[bytes]:
        """Give each body that is whole now. `data` may be used again once the first is asked for.

        Raises:
            ValueError: the stream is not ours: a length is past all measure.
        """
        self._buffer += data
        start = 0
        try:
            while len(self._buffer) - start >= 4:
                (length,) = struct.unpack_from("<I", self._buffer, start)
                if length > MAX_FRAME_BYTES:
                    raise ValueError(f"a frame of {length} bytes")
                end = start + 4 + length
                if len(self._buffer) < end:
                    break
                body = bytes(self._buffer[start + 4 : end])
                start = end
                yield body
        finally:
            del self._buffer[:start]
