"""The tables of this process that are already artifacts."""

from __future__ import annotations

from typing import Any
from weakref import ref as weak

from headrace.codec.ports import Blobs
from headrace.spec.artifact import Ref


class KnownTables:
    """Remembers tables that were loaded or saved, and the artifact of each, by identity and for as long as the table
    lives.

    Only values that can't change may be remembered. `forget` is called after each attempt: later, the blobs of
    artifacts that no run refers to may be gone.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[weak[Any], Ref, Blobs]] = {}

    def note(self, value: object, artifact: Ref, blobs: Blobs) -> None:
        """Remember that a value is saved as this artifact in this store."""
        place = id(value)
        self._known[place] = (weak(value, lambda gone: self._drop(place, gone)), artifact, blobs)

    def find(self, value: object, blobs: Blobs) -> Ref | None:
        """Return the artifact of a value in this store, or None if it isn't known."""
        known = self._known.get(id(value))
        if known is None or known[0]() is not value or known[2] is not blobs:
            return None
        return known[1]

    def take(self, other: KnownTables) -> None:
        """Remember everything that another `KnownTables` knows."""
        for reference, artifact, blobs in list(other._known.values()):
            value = reference()
            if value is not None:
                self.note(value, artifact, blobs)

    def forget(self) -> None:
        """Forget all tables."""
        self._known.clear()

    def _drop(self, place: int, gone: weak[Any]) -> None:
        known = self._known.get(place)
        if known is not None and known[0] is gone:
            del self._known[place]
