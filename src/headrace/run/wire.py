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

from headrace.spec.address import StoreAddress
from headrace.spec.artifact import Ref
from headrace.spec.bundle import Bundle
from headrace.spec.graph import Arg

MAX_FRAME_BYTES = 1 << 30


class Do(Struct, frozen=True, array_like=True, tag="do"):
    """Run this attempt: call `function` with `args`, all of whose refs are known now.

    `verify` names the digests to check before first use. `code` is the digest that the key was made with. `rank` is
    this worker's place among the `nodes` that the attempt spans. `earlier` is the checkpoint before the last,
    should that be damaged.
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
    earlier: Ref | None = None


class Move(Struct, frozen=True, array_like=True, tag="move"):
    """Bring a blob from another region's store to the worker's own, under the same digest and nonce.

    `usd` is what the link asks for it, to be told back.
    """

    task: str
    attempt: int
    digest: str
    nonce: str
    size: int
    source: StoreAddress
    usd: float = 0.0


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
    """The answer to the tracer's question: a value's ref, a time, a cursor's version and value, or why none."""

    question: int
    ref: Ref | None = None
    now: float | None = None
    error: str | None = None
    hint: str | None = None
    version: int = 0


class Quit(Struct, frozen=True, array_like=True, tag="quit"):
    """Leave when the present attempt has ended."""


class Whisper(Struct, frozen=True, array_like=True, tag="whisper"):
    """The value of a secret that an attempt may ask for by name. It is written down nowhere."""

    name: str
    value: str

    def __repr__(self) -> str:
        return f"Whisper({self.name!r}, ***)"


Down = Do | Move | Ack | Tell | Drop | Trace | Answer | Quit | Whisper


class Report(Struct, frozen=True, array_like=True, tag="report"):
    """An event, as the bytes to store."""

    seq: int
    body: bytes


class Question(Struct, frozen=True, array_like=True, tag="question"):
    """The tracer wants to know the time (`now`), the artifact of a file of the project, or a cursor or the version of a
    model or dataset, which `path` names then."""

    question: int
    about: Literal["now", "file", "folder", "cursor", "model", "dataset"]
    path: str = ""


class Refused(Struct, frozen=True, array_like=True, tag="refused"):
    """The tracer can't trace, or can't even begin: an error before the first good trace."""

    error: str
    message: str
    hint: str | None = None
    traceback: str | None = None


class Progress(Struct, frozen=True, array_like=True, tag="progress"):
    """A transfer under way has brought so many bytes."""

    task: str
    attempt: int
    done: int


class Waiting(Struct, frozen=True, array_like=True, tag="waiting"):
    """Something takes long before what was asked for can begin: an environment is being built. Empty: no longer."""

    why: str


class Remark(Struct, frozen=True, array_like=True, tag="remark"):
    """Something that the user should know of a stage or pipeline, and that is no event."""

    text: str


Up = Report | Question | Refused | Progress | Waiting | Remark


class Hello(Struct, frozen=True, array_like=True, tag="hello"):
    """What the workers of a run need to know, told once to the process that begins them.

    `store` is the address of their region's store, `local` the folder of their machine that logs, scratch, unpacked
    bundles and notes of processes lie in. `memory_gib` is what the pool holds: a worker whose task declares no limit
    ends there. `bound`: workers are ended when whoever began that process is gone; others may finish their attempt.
    `group` is the group of the lock that they are for, and `environment` whether that may be the present interpreter's,
    must be, or is built from the lock always.

    `project` is the project's folder on the driver's host, empty where workers are not to see it, and `project_inode`
    the number by which a worker tells whether what it finds there is the same folder.

    `guarded`: what stages are given is held against its digest in each attempt anew, since other stages' code may have
    changed it. `variables` are names of environment variables that stages see beside the usual ones, and `told` are
    their values where the driver is. `withheld` names those that are set there and that no stage sees. `own` are values
    for Headrace's own code alone, such as what stores are opened with: they are in no environment.
    """

    run: str
    bundle: Bundle
    store: StoreAddress
    local: str
    memory_gib: float
    bound: bool = False
    group: str | None = None
    environment: Literal["auto", "present", "lock"] = "auto"
    project: str = ""
    project_inode: int = 0
    guarded: bool = False
    variables: tuple[str, ...] = ()
    told: dict[str, str] = {}
    withheld: tuple[str, ...] = ()
    own: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"Hello({self.run!r}, {self.store.url!r})"


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
    """The zygote is there, and has read whose it is; `pid` is its number, which a namespace's own process hasn't."""

    pid: int = 0


class Ended(Struct, frozen=True, array_like=True, tag="ended"):
    """A worker's process has ended, and what it had begun with it. `status` is its exit code, or minus a signal.

    `unfit` says why it never began: its environment, its store or its code can't be had here, about which `hint` says
    what to do.
    """

    worker: int
    status: int
    memory: str = ""
    unfit: str = ""
    hint: str | None = None


class Pulse(Struct, frozen=True, array_like=True, tag="pulse"):
    """A worker lives: it has finished `done` attempts and is at the next since `since` (Unix seconds)."""

    worker: int
    done: int
    since: float
    memory_gib: float


Order = Hello | Fork | Kill
News = Ready | Waiting | Ended | Pulse


_encoder = msgspec.msgpack.Encoder()
decode_down = msgspec.msgpack.Decoder(Down).decode
decode_up = msgspec.msgpack.Decoder(Up).decode
decode_order = msgspec.msgpack.Decoder(Order).decode
decode_news = msgspec.msgpack.Decoder(News).decode


def frame(message: Struct) -> bytes:
    """Return a message as it goes over the wire."""
    body = _encoder.encode(message)
    return struct.pack("<I", len(body)) + body


class Frames:
    """Cuts a stream of bytes into the bodies of frames, however the bytes arrive."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes | memoryview) -> Iterator[bytes]:
        """Yield each body that is whole now. `data` may be used again once the first is asked for.

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
