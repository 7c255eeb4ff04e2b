"""The attempt that runs, for stages that checkpoint, span nodes or can stop early."""

from __future__ import annotations

from headrace.define.ports import Attempt, running


class Alone:
    """What a stage sees when it is called as a plain function: a first attempt, alone, that nobody tells anything."""

    number = 1
    rank = 0
    nodes = 1

    def checkpoint(self) -> None:
        """There is none."""

    def keep(self, checkpoint: object) -> None:
        """Nobody keeps it."""

    def told(self) -> None:
        """Nobody says a word."""


def attempt() -> Attempt:
    """Give the attempt that runs this code: its number, its checkpoint, and what it has been told."""
    return running.get() or Alone()
