"""The messages that driver and actor exchange by Ray's calls: the `Charge` of an actor, and the actor's answers."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Struct

from headrace.run.ports import Job
from headrace.run.wire import Hello

DeathKind = Literal["crash", "memory", "lost", "timeout", "cancelled", "refused"]
NAMESPACE = "headrace"
"""Ray's namespace for the names of all actors, of all projects."""


class Charge(Struct, frozen=True, kw_only=True):
    """The order to an actor: which worker it starts, and how.

    Workers must not see the folders of `hidden`, except for folders of `shown` and `readable` inside them. They must
    not write to the folders of `readable`. `namespace` is the pool's setting of that name. `grace_s` is how long an
    attempt may take to stop, and `patience_s` how long the actor waits for a driver before it ends an idle worker, both
    in seconds.
    """

    job: Job
    hello: Hello
    epoch: int
    namespace: str = "auto"
    hidden: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    readable: tuple[str, ...] = ()
    grace_s: float = 5.0
    patience_s: float = 60.0


class Heard(Struct, frozen=True):
    """An actor's answer to a call for messages: the messages, and the state of its worker.

    `first` is the number of the first message in `bodies`. `beat` is the last heartbeat: the number of ended attempts,
    when the current attempt began, and the memory in GiB (None: no new heartbeat). `died` is the kind, cause and hint
    of the worker's death (None: it is alive).
    """

    first: int
    bodies: list[bytes]
    beat: tuple[int, float, float] | None
    died: tuple[DeathKind, str, str | None] | None


class Taken(Struct, frozen=True):
    """The state of an actor, for a new driver that takes it over.

    `attempts` are the attempts (task and number) that its worker was ordered to run and has not ended. `done` is the
    number of ended attempts, and `told` is the number of calls that carried messages to the worker. `leaving` is true
    if the worker is about to end. `heard` holds the messages that no driver has acknowledged.
    """

    job: Job
    attempts: tuple[tuple[str, int], ...]
    done: int
    told: int
    leaving: bool
    heard: Heard


encode = msgspec.msgpack.Encoder().encode
decode_charge = msgspec.msgpack.Decoder(Charge).decode
decode_heard = msgspec.msgpack.Decoder(Heard).decode
decode_taken = msgspec.msgpack.Decoder(Taken).decode
Handle = Any
"""The handle of an actor. Ray has no more precise type for it."""
