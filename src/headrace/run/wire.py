"""The messages between the driver and workers. Each message is a frame: a length and a msgpack body.

The driver tells a worker what to do. The worker reports events under consecutive numbers, as the bytes that the driver
stores unchanged. The driver acknowledges a number once it has stored everything up to it. Until then the worker keeps
the report, and writes it to the store if no driver listens any more.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Literal
from urllib.parse import quote

import msgspec
from msgspec import Struct

from headrace.spec.address import StoreAddress
from headrace.spec.artifact import Ref
from headrace.spec.bundle import Bundle
from headrace.spec.graph import Arg
from headrace.spec.stage import Resources

MAX_FRAME_BYTES = 1 << 30


class Do(Struct, frozen=True, array_like=True, tag="do"):
    """Run an attempt: call `function` with `args`, in which artifacts have replaced the outputs of other tasks.

    `verify` are the digests of blobs to check before they are first used. `code` is the digest of the code that the key
    was made with. `rank` is this worker's place among the `nodes` workers of the attempt. `checkpoint` is the
    checkpoint to start from. `earlier` is the one before it, to be used if `checkpoint` is damaged.
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
    """Copy a blob from another region's store to the worker's own store, with the same digest and nonce.

    `usd` is the price of the copy on the link; the worker repeats it in its report.
    """

    task: str
    attempt: int
    digest: str
    nonce: str
    size: int
    source: StoreAddress
    usd: float = 0.0


class Ack(Struct, frozen=True, array_like=True, tag="ack"):
    """All reports up to the number `seq` are stored."""

    seq: int


Role = Literal["attempt", "tracer"]
"""What a worker process is for: it runs attempts, those of transfers too, or it traces the pipeline."""

Word = Literal["stop", "prune", "checkpoint"]


class Tell(Struct, frozen=True, array_like=True, tag="tell"):
    """A request to the attempt that runs: stop early (`stop`), give up the trial of a search (`prune`), or keep a
    checkpoint now (`checkpoint`)."""

    task: str
    attempt: int
    word: Word


class Drop(Struct, frozen=True, array_like=True, tag="drop"):
    """Do not begin this attempt, which waits in the worker's queue: another worker runs it."""

    task: str
    attempt: int


class Trace(Struct, frozen=True, array_like=True, tag="trace"):
    """Trace the pipeline of this name with these parameters, which are texts still to be converted. `files` are files
    in the bundle; one of them defines the pipeline."""

    pipeline: str
    files: tuple[str, ...]
    params: tuple[tuple[str, str], ...]


class Answer(Struct, frozen=True, array_like=True, tag="answer"):
    """The answer to a question of the tracer: a value's reference, a time, or a cursor's version and value.

    `error` says why there is no answer, and is None if there is one.
    """

    question: int
    ref: Ref | None = None
    now: float | None = None
    error: str | None = None
    hint: str | None = None
    version: int = 0


class Quit(Struct, frozen=True, array_like=True, tag="quit"):
    """Exit when the present attempt has ended."""


class Whisper(Struct, frozen=True, array_like=True, tag="whisper"):
    """The value of a secret that an attempt may ask for by name. It is never written to a file or log."""

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
    """A question of the tracer.

    It asks for the time (`now`), for a file or folder of the project as an artifact, for a cursor, for the version of a
    model or dataset, or for sealed predictions of an endpoint. `path` is the path or the name; it is empty for `now`.
    """

    question: int
    about: Literal["now", "file", "folder", "cursor", "model", "dataset", "predictions"]
    path: str = ""


class Refused(Struct, frozen=True, array_like=True, tag="refused"):
    """The tracer failed before its first good trace, or could not start at all."""

    error: str
    message: str
    hint: str | None = None
    traceback: str | None = None


class Progress(Struct, frozen=True, array_like=True, tag="progress"):
    """A transfer that is under way has copied `done` bytes so far."""

    task: str
    attempt: int
    done: int


class Waiting(Struct, frozen=True, array_like=True, tag="waiting"):
    """The requested work can't begin yet, because something else takes long, such as the build of an environment.

    `why` says what takes long. An empty `why` means that the wait is over.
    """

    why: str


class Remark(Struct, frozen=True, array_like=True, tag="remark"):
    """A remark about a stage or pipeline to show to the user. It is not stored as an event."""

    text: str


Up = Report | Question | Refused | Progress | Waiting | Remark


class Hello(Struct, frozen=True, array_like=True, tag="hello"):
    """The facts that the workers of a run need, sent once to the process that starts them.

    `store` is the address of their region's store. `local` is the folder on their machine for logs, scratch files,
    unpacked bundles and notes about processes. `memory_gib` is the memory of the pool: a worker whose task declares no
    limit is ended when it uses more. If `bound` is True, workers are ended when the process that started the zygote is
    gone; otherwise they may finish their attempt. `group` is the workers' environment, by its name in
    `@stage(environment=...)` (None: the project's own). `environment` says whether they may use the present
    interpreter's environment, must use it, or always use one that is built from the lock.

    `project` is the path of the project's folder on the driver's host, empty if workers are not to see it.
    `project_inode` is the inode number of this folder: a worker uses it to check that the path leads to the same folder
    on its own host.

    If `guarded` is True, each attempt checks the bytes of its inputs against their digests again, since the code of
    other stages may have changed them. `variables` are names of environment variables that stages see in addition to
    the usual ones, and `told` are their values on the driver's host. `withheld` are names of variables that are set on
    the driver's host but that no stage sees. `own` are values for Headrace's own code only, such as credentials for
    stores; stages don't have them as environment variables. `pool` is the name of the workers' pool. `gpus` is how many
    accelerators the machine has for all local pools together; 0 if the backend gives each worker its own.
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
    pool: str = ""
    gpus: int = 0

    def __repr__(self) -> str:
        return f"Hello({self.run!r}, {self.store.url!r})"

    def notes(self, local: str | None = None) -> str:
        """Return the path of the folder with the notes about the processes that work for this run and pool on one
        machine. `local` is the local folder of that machine; if it is None, the folder in this message is used."""
        return f"{local or self.local}/workers/{self.run}/{quote(self.pool, safe='') or 'pool'}"


class Fork(Struct, frozen=True, array_like=True, tag="fork"):
    """Start a worker that may use the resources `need`. The socket for the worker's messages is sent along with this
    message."""

    worker: int
    role: Role
    need: Resources


class Listen(Struct, frozen=True, array_like=True, tag="listen"):
    """Let the next driver of the run connect to the socket that is sent along with this message, and take over the
    workers. `epoch` is the epoch of the present driver: only a driver with a higher one may take them over."""

    epoch: int


class Kill(Struct, frozen=True, array_like=True, tag="kill"):
    """Send a signal to a worker."""

    worker: int
    signal: int


class Ready(Struct, frozen=True, array_like=True, tag="ready"):
    """The zygote has started and has read its `Hello`. `pid` is the zygote's own process id. The process that the
    backend started may have another id, since it may run the zygote as a child in a namespace."""

    pid: int = 0


class Ended(Struct, frozen=True, array_like=True, tag="ended"):
    """A worker's process has ended, together with the processes that it had started. `status` is its exit code, or the
    negative number of the signal that ended it.

    `unfit` says why the worker never began: its environment, store or code is not available on its machine. `hint` says
    what to do about it.
    """

    worker: int
    status: int
    memory: str = ""
    unfit: str = ""
    hint: str | None = None


class Pulse(Struct, frozen=True, array_like=True, tag="pulse"):
    """A sign that a worker is alive: it has finished `done` attempts,
    and has worked on the next one since `since` (Unix seconds)."""

    worker: int
    done: int
    since: float
    memory_gib: float


Order = Hello | Fork | Listen | Kill
News = Ready | Waiting | Ended | Pulse


_encoder = msgspec.msgpack.Encoder()
decode_down = msgspec.msgpack.Decoder(Down).decode
decode_up = msgspec.msgpack.Decoder(Up).decode
decode_order = msgspec.msgpack.Decoder(Order).decode
decode_news = msgspec.msgpack.Decoder(News).decode


def frame(message: Struct) -> bytes:
    """Return a message as the bytes to send: its length, then its body."""
    body = _encoder.encode(message)
    return struct.pack("<I", len(body)) + body


class Frames:
    """Splits a stream of bytes into the bodies of frames. The bytes may arrive in pieces of any length. `most_bytes` is
    the limit for the length of a body."""

    def __init__(self, most_bytes: int = MAX_FRAME_BYTES) -> None:
        self._buffer = bytearray()
        self._most_bytes = most_bytes

    def feed(self, data: bytes | memoryview) -> Iterator[bytes]:
        """Yield each body that is complete. The caller may overwrite `data` once the first body has been requested.

        Raises:
            ValueError: a frame's length is above the limit, so the stream is not one of Headrace's.
        """
        self._buffer += data
        start = 0
        try:
            while len(self._buffer) - start >= 4:
                (length,) = struct.unpack_from("<I", self._buffer, start)
                if length > self._most_bytes:
                    raise ValueError(f"a frame of {length} bytes")
                end = start + 4 + length
                if len(self._buffer) < end:
                    break
                body = bytes(self._buffer[start + 4 : end])
                start = end
                yield body
        finally:
            del self._buffer[:start]
