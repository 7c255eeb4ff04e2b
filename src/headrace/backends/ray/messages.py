"""What an actor is charged with, and what it answers: all that passes between driver and actor by Ray's calls."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Struct

from headrace.run.ports import Job
from headrace.run.wire import Hello

DeathKind = Literal["crash", "memory", "lost", "timeout", "cancelled", "refused"]
NAMESPACE = "headrace"
"""Ray's namespace that all actors are named in, whatever the project."""


class Charge(Struct, frozen=True, kw_only=True):
    """The worker that an actor begins, and how.

    `hidden` are folders that workers must not see, where the node has them, but for `shown`; `namespace` is that of the
    pool's settings. `grace_s` is how long an attempt may take to stop, `patience_s` how long the actor goes without a
    driver before it ends a worker that has nothing to do.
    """

    job: Job
    hello: Hello
    epoch: int
    namespace: str = "auto"
    hidden: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    grace_s: float = 5.0
    patience_s: float = 60.0


class Heard(Struct, frozen=True):
    """What an actor has to say: bodies of messages, the first of which has this number, and how its worker is.

    `beat` is attempts done, since when at the next, GiB; `died` is kind, cause and hint, once all else has been said.
    """

    first: int
    bodies: list[bytes]
    beat: tuple[int, float, float] | None
    died: tuple[DeathKind, str, str | None] | None


class Taken(Struct, frozen=True):
    """An actor as its new driver finds it.

    `attempts` are those that its worker has been told and not ended, `done` counts those that it has, `told` the
    messages down. `heard` has what nobody has acknowledged.
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
"""An actor's handle: Ray gives it no type that says more."""
