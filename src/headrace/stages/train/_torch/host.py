"""Whom training reports to, and where its checkpoints go."""

from __future__ import annotations

import sys
from typing import Any, Literal, Protocol

from headrace.define.attempt import Alone, attempt
from headrace.errors import BlobDamaged, BlobMissing

Word = Literal["stop", "prune", "checkpoint"]


class Host(Protocol):
    """What a training needs of whoever runs it. `save` may be called in a thread, the rest in the loop's own."""

    def log(self, name: str, value: float, step: int) -> None:
        """Show a number."""
        ...

    def say(self, text: str) -> None:
        """Say something in the task's log."""
        ...

    def told(self) -> Word | None:
        """Return the next word from the driver, if there is one."""
        ...

    def checkpoint(self) -> dict[str, Any] | None:
        """Return the last checkpoint that was kept, or None."""
        ...

    def save(self, checkpoint: dict[str, Any]) -> Any:
        """Make a checkpoint durable, and return what `keep` takes."""
        ...

    def keep(self, saved: Any) -> None:
        """From now on a training that begins again begins there."""
        ...


class AttemptHost:
    """The attempt that runs: checkpoints go to its store. Outside of a run nobody keeps any."""

    def __init__(self) -> None:
        self._attempt = attempt()
        self._is_alone = isinstance(self._attempt, Alone)

    def log(self, name: str, value: float, step: int) -> None:
        self._attempt.log(name, value, step)

    def say(self, text: str) -> None:
        sys.stderr.write(f"{text}\n")

    def told(self) -> Word | None:
        return self._attempt.told()

    def checkpoint(self) -> dict[str, Any] | None:
        """Return the last checkpoint; one that is damaged is none, since to train anew gives the same weights."""
        try:
            found = self._attempt.checkpoint()
        except (BlobDamaged, BlobMissing) as error:
            self.say(f"the checkpoint can't be used, so training begins anew: {error.message}")
            return None
        return found if isinstance(found, dict) else None

    def save(self, checkpoint: dict[str, Any]) -> Any:
        return None if self._is_alone else self._attempt.artifact(checkpoint)

    def keep(self, saved: Any) -> None:
        self._attempt.keep(saved)
