"""Why an attempt failed. Each kind of failure has its own retry rule."""

from __future__ import annotations

from typing import Literal

from headrace.spec.noun import Row

FailureKind = Literal["user", "timeout", "memory", "crash", "lost", "refused", "cancelled"]
"""The kinds of failures.

- `user`: the stage's function raised an exception.
- `timeout`: the attempt ran longer than its limit.
- `memory`: the attempt used more memory than its share.
- `crash`: the attempt's process died.
- `lost`: the worker or node went away through no fault of the task, or the attempt waited behind another attempt that
  died.
- `refused`: an input could not be read, or an output could not be saved.
- `cancelled`: the attempt was told to stop.
"""


class Failure(Row, frozen=True):
    """The reason why one attempt failed, for people.

    `traceback` holds the user's frames only. `hint` says what to do. `damaged` names the generations in the store
    (`DIGEST.NONCE`) that could not be read, if that was the reason. `lasting` is true if the cause is in the arguments
    or the data, so that each attempt with the same arguments would fail.
    """

    kind: FailureKind
    message: str
    traceback: str | None = None
    hint: str | None = None
    damaged: tuple[str, ...] = ()
    lasting: bool = False
