"""The interface through which a training reports values and stores checkpoints, and its implementation for an
attempt."""

from __future__ import annotations

import sys
from typing import Any, Literal, Protocol

from headrace.define.attempt import Alone, attempt
from headrace.errors import BlobDamaged, BlobMissing

Word = Literal["stop", "prune", "checkpoint"]


class Host(Protocol):
    """What a training needs from the process that runs it. `save` may be called in any thread. All other methods are
    called in the loop's own thread."""

    def log(self, name: str, value: float, step: int) -> None:
        """Log a number."""
        ...

    def say(self, text: str) -> None:
        """Write a line to the task's log."""
        ...

    def told(self) -> Word | None:
        """Return the driver's next request, or None if there is none."""
        ...

    def checkpoint(self) -> dict[str, Any] | None:
        """Return the last checkpoint that was kept, or None."""
        ...

    def save(self, checkpoint: dict[str, Any]) -> Any:
        """Store a checkpoint durably, and return the argument for `keep`."""
        ...

    def keep(self, saved: Any) -> None:
        """From now on, let an interrupted training continue from a saved checkpoint. `saved` is what `save`
        returned."""
        ...


class AttemptHost:
    """The host of a training in an attempt: checkpoints go to the attempt's store. Outside of a run, no checkpoints are
    stored."""

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
        """Return the last checkpoint, or None. A damaged checkpoint is ignored, since training from the start gives the
        same weights."""
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
