"""Advances: which of the cursors that tasks asked to advance have kept what they were given."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from headrace.run.ports import Ledger
from headrace.spec.intent import Advance, Intent

_encode_ref = msgspec.msgpack.Encoder().encode


class Advances:
    """The advances that a tick has stored; the ledger applies one only where no other task was quicker."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._asked: list[tuple[str, Advance]] = []

    def ask(self, task: str, intents: Iterable[Intent]) -> None:
        """Take note of the cursors that a task asks to advance."""
        self._asked += ((task, each) for each in intents if isinstance(each, Advance))

    def dropped(self) -> list[str]:
        """Say which of those that were asked for came too late, and forget them all; they have to be stored by now."""
        if not self._asked:
            return []
        told = [
            f"cursor `{advance.name}` was moved on from version {advance.version} by {self._mover(advance)} meanwhile,"
            f" so what `{task}` would have set was dropped"
            for task, advance in self._asked
            if not self._is_kept(advance)
        ]
        self._asked.clear()
        return told

    def _mover(self, advance: Advance) -> str:
        found = self._ledger.set_here(advance.name, advance.version + 1)
        is_own = found is not None and found[0]
        return "another task of this run" if is_own else "another run, or by hand,"

    def _is_kept(self, advance: Advance) -> bool:
        """Whether a version after the one that a task has read is what it has set; an equal value of another isn't."""
        value, version = _encode_ref(advance.value), advance.version + 1
        while (found := self._ledger.set_here(advance.name, version)) is not None:
            if found == (True, value):
                return True
            version += 1
        return False
