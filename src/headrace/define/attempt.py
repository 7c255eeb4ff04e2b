"""The running attempt, for stages that keep checkpoints, span several nodes or can stop early."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from headrace.define.ports import Attempt, current
from headrace.errors import UsageError
from headrace.spec.artifact import Ref
from headrace.spec.intent import Intent

T = TypeVar("T")


class Alone:
    """The attempt that a stage sees when it is called as a plain function: number 1, on one node, without a driver."""

    folder: Path | None = None
    """The project's folder; None means the current folder."""

    task = ""
    number = 1
    rank = 0
    nodes = 1

    def meet(self, said: str) -> tuple[str, ...]:
        """Return this node's own message: there are no other nodes."""
        return (said,)

    def checkpoint(self) -> None:
        """Return None: there is no earlier attempt."""

    def keep(self, checkpoint: object) -> None:
        """Do nothing: there is no store to keep a checkpoint in."""

    def told(self) -> None:
        """Return None: there is no driver that could ask for anything."""

    def log(self, name: str, value: object, step: int | None = None) -> None:
        """Do nothing: values are logged in runs only."""

    def saw(self, **inputs: object) -> None:
        """Do nothing: these values would go into the output's key, but an output that isn't stored has no key."""

    def shortened(self, why: str) -> None:
        """Do nothing: no run may reuse the output of a shortened attempt, but this output isn't stored anyway."""

    def ref(self, parameter: str) -> Ref | None:
        """Return None: the arguments are plain values, not artifacts."""

    def load(self, ref: Ref) -> object:
        """Raise an error: there is no store that has artifacts.

        Raises:
            UsageError: always.
        """
        raise UsageError(
            f"the artifact `{ref.digest[:12]}` can't be loaded outside of a run",
            hint="load it in a stage that a pipeline runs",
        )

    @property
    def credentials(self) -> Mapping[str, str]:
        """The environment variables of this process, which hold the credentials."""
        return os.environ

    @property
    def project(self) -> Path | None:
        """The project's folder: the attribute `folder`, or the current folder if `folder` is None."""
        return self.folder or Path.cwd()

    def artifact(self, value: object) -> Ref:
        """Raise an error: there is no store to keep an artifact in.

        Raises:
            UsageError: always.
        """
        del value
        raise UsageError("a value can't be stored outside of a run", hint="store it in a stage that a pipeline runs")

    def stored(self, value: T) -> T:
        """Return the value unchanged: there is no store to put it in."""
        return value

    def sign(self, model: object, signature: bytes) -> None:
        """Do nothing: the model isn't stored."""

    def intend(self, intent: Intent) -> None:
        """Do nothing: there is no ledger to change."""


def attempt() -> Attempt:
    """Return the attempt that runs this code, or an `Alone` outside of a run."""
    return current() or Alone()
