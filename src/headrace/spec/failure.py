"""Why an attempt failed, told apart by kind, since each kind has its own retry rule."""

from __future__ import annotations

from typing import Literal

from headrace.spec.noun import Row

FailureKind = Literal["user", "timeout", "memory", "crash", "lost", "refused", "cancelled"]
"""`user`: the stage raised. `timeout`: it ran past its limit. `memory`: it took more than its share. `crash`: its
process died. `lost`: the worker or node went away through no fault of the task, or it waited behind one that died.
`refused`: an input or output could not be read or kept. `cancelled`: it was told to stop."""


class Failure(Row, frozen=True):
    """What went wrong with one attempt, for people: message, traceback (the user's frames), and what to do.

    `damaged` names the generations in the store (`DIGEST.NONCE`) that could not be read, if that is what went wrong.
    What is `lasting` is wrong with the arguments or the data, and so with each attempt that is given the same.
    """

    kind: FailureKind
    message: str
    traceback: str | None = None
    hint: str | None = None
    damaged: tuple[str, ...] = ()
    lasting: bool = False
