"""What an attempt does in a simulation, written as a generator: each `yield` takes virtual time, or sends a message.

    def fit(order: Do) -> Behaviour:
        yield Wait(1800)
        yield Keep(number(1))            # a checkpoint
        yield Wait(1800)
        return number(2)                 # the output

If the generator raises `Death`, the worker's process ends. Any other exception is an error of the stage. A graceful
stop raises `Stopped` at the attempt's current `yield`. So `finally` blocks run, and a generator that catches `Stopped`
goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Literal

from msgspec import Struct

from headrace.run.events import Asked, Event
from headrace.run.wire import Answer, Do, Move, Question, Refused, Trace, Word
from headrace.spec.artifact import Ref


class Wait(Struct, frozen=True):
    """A step that takes `seconds` of virtual time."""

    seconds: float


class Listen(Struct, frozen=True):
    """A step that waits for a message from the driver. The `yield` returns the message."""


class Keep(Struct, frozen=True):
    """A step that saves a checkpoint."""

    ref: Ref


class Say(Struct, frozen=True):
    """A step that reports an event. With such steps, a tracer reports the graph."""

    event: Event


class Ask(Struct, frozen=True):
    """A step that asks the driver a question and waits for the answer. The `yield` returns the answer.

    Both attempts and tracers may ask.
    """

    question: Asked | Question


class Decline(Struct, frozen=True):
    """The step of a tracer that refuses to trace the pipeline."""

    refused: Refused


class Stopped(BaseException):
    """The attempt has been told to stop."""


class Death(BaseException):
    """A script raises this exception to end the worker's process. `kind` is the kind of failure, and `why` is the
    reason."""

    def __init__(self, kind: Literal["crash", "memory", "lost"], why: str = "it died") -> None:
        super().__init__(why)
        self.kind: Literal["crash", "memory", "lost"] = kind
        self.why = why


Step = Wait | Listen | Keep | Say | Ask | Decline
Behaviour = Generator[Step, Word | Answer | None, Ref | None]
Script = Callable[[Do], Behaviour]
"""A function from an attempt's order to the behaviour of the attempt. If an attempt runs on several nodes, each of its
workers gets a separate order."""
Tracing = Callable[[Trace], Behaviour]
"""A function from a tracer's order to the behaviour of the tracer."""
Moving = Callable[[Move], Behaviour]
"""A function from a transfer's order to the behaviour of the transfer. The behaviour returns None."""


def lasting(seconds: float | Callable[[Do], float], out: Ref | Callable[[Do], Ref]) -> Script:
    """Return a script for attempts that take `seconds` of virtual time and return `out`.

    Both `seconds` and `out` may be functions of the attempt's order.
    """

    def script(order: Do) -> Behaviour:
        yield Wait(seconds(order) if callable(seconds) else seconds)
        return out(order) if callable(out) else out

    return script


def moving(bits_per_s: float = 1e9, arrive: Callable[[Move], None] | None = None) -> Moving:
    """Return a behaviour of transfers. A transfer takes the time that sending its bytes at `bits_per_s` would take.

    `arrive` is called with the order of each transfer when its bytes have arrived (None: no call).
    """

    def move(order: Move) -> Behaviour:
        yield Wait(order.size * 8 / bits_per_s)
        if arrive is not None:
            arrive(order)
        return None

    return move


def tracing(events: Iterable[Event]) -> Tracing:
    """Return a tracer that reports the given events. After each question (`Asked`), it waits for the answer."""
    reported = tuple(events)

    def trace(_: Trace) -> Behaviour:
        for event in reported:
            yield Ask(event) if isinstance(event, Asked) else Say(event)
        return None

    return trace
