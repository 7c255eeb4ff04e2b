"""What an attempt does in a simulation, written as a generator: each `yield` takes virtual time, or talks.

    def fit(order: Do) -> Behaviour:
        yield Wait(1800)
        yield Keep(number(1))            # a checkpoint
        yield Wait(1800)
        return number(2)                 # the output

An exception is the stage's own error, `Death` ends the worker's process. A graceful stop raises `Stopped` at the
`yield` that the attempt is at, so `finally` blocks run, and whoever catches it goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Literal

from msgspec import Struct

from headrace.run.events import Asked, Event
from headrace.run.wire import Answer, Do, Move, Question, Refused, Trace, Word
from headrace.spec.artifact import Ref


class Wait(Struct, frozen=True):
    """Take so many seconds."""

    seconds: float


class Listen(Struct, frozen=True):
    """Wait for a word from the driver, which is what the `yield` gives."""


class Keep(Struct, frozen=True):
    """Keep a checkpoint."""

    ref: Ref


class Say(Struct, frozen=True):
    """Report an event; a tracer's way to tell of the graph."""

    event: Event


class Ask(Struct, frozen=True):
    """Ask the driver, and wait for its answer, which is what the `yield` gives; a tracer's, too."""

    question: Asked | Question


class Decline(Struct, frozen=True):
    """Refuse to trace; a tracer's, too."""

    refused: Refused


class Stopped(BaseException):
    """The attempt is told to end."""


class Death(BaseException):
    """The worker's process ends, for a reason of this kind."""

    def __init__(self, kind: Literal["crash", "memory", "lost"], why: str = "it died") -> None:
        super().__init__(why)
        self.kind: Literal["crash", "memory", "lost"] = kind
        self.why = why


Step = Wait | Listen | Keep | Say | Ask | Decline
Behaviour = Generator[Step, Word | Answer | None, Ref | None]
Script = Callable[[Do], Behaviour]
"""What each attempt does, by its order; a gang's workers get one each."""
Tracing = Callable[[Trace], Behaviour]
Moving = Callable[[Move], Behaviour]
"""What each transfer does, by its order; it gives nothing back."""


def lasting(seconds: float | Callable[[Do], float], out: Ref | Callable[[Do], Ref]) -> Script:
    """Return a script by which each attempt takes so long and gives this."""

    def script(order: Do) -> Behaviour:
        yield Wait(seconds(order) if callable(seconds) else seconds)
        return out(order) if callable(out) else out

    return script


def moving(bits_per_s: float = 1e9, arrive: Callable[[Move], None] | None = None) -> Moving:
    """Return the way of transfers by which bytes travel that fast; `arrive` is told of each that has come."""

    def move(order: Move) -> Behaviour:
        yield Wait(order.size * 8 / bits_per_s)
        if arrive is not None:
            arrive(order)
        return None

    return move


def tracing(events: Iterable[Event]) -> Tracing:
    """Return a tracer that reports these events, and waits for the answer where it asks."""
    told = tuple(events)

    def trace(_: Trace) -> Behaviour:
        for event in told:
            yield Ask(event) if isinstance(event, Asked) else Say(event)
        return None

    return trace
