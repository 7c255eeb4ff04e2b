"""The attempt that runs, for stages that checkpoint, span nodes or can stop early."""

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
    """What a stage sees when it is called as a plain function: a first attempt, alone, that nobody tells anything."""

    folder: Path | None = None
    """The project's folder, where it isn't the current one."""

    number = 1
    rank = 0
    nodes = 1

    def meet(self, said: str) -> tuple[str, ...]:
        """There is nobody else."""
        return (said,)

    def checkpoint(self) -> None:
        """There is none."""

    def keep(self, checkpoint: object) -> None:
        """Nobody keeps it."""

    def told(self) -> None:
        """Nobody says a word."""

    def log(self, name: str, value: object, step: int | None = None) -> None:
        """Nobody looks on."""

    def saw(self, **inputs: object) -> None:
        """Nothing is stored, so under no key."""

    def shortened(self, why: str) -> None:
        """Nothing is reused."""

    def ref(self, parameter: str) -> Ref | None:
        """The arguments are values."""

    @property
    def credentials(self) -> Mapping[str, str]:
        """Those of this process's own environment."""
        return os.environ

    @property
    def project(self) -> Path | None:
        """The current folder, as Python itself would have it, unless another was told."""
        return self.folder or Path.cwd()

    def artifact(self, value: object) -> Ref:
        """There is no store.

        Raises:
            UsageError: always.
        """
        del value
        raise UsageError("there is no run to keep an artifact for", hint="call it in a stage that a pipeline runs")

    def stored(self, value: T) -> T:
        """There is no store: it stays as it is."""
        return value

    def intend(self, intent: Intent) -> None:
        """There is no ledger."""


def attempt() -> Attempt:
    """Return the attempt that runs this code: its number, its checkpoint, and what it has been told."""
    return current() or Alone()
