"""The tables of this process that are already artifacts."""

from __future__ import annotations

from typing import Any
from weakref import ref as weak

from headrace.codec.ports import Blobs
from headrace.spec.artifact import Ref


class KnownTables:
    """Remembers the artifact of each table that was loaded or saved. A table is recognized only as the same object, and
    remembered only while the object exists.

    Only values that can't change may be remembered. `forget` is called after each attempt, since blobs that no run
    refers to may be deleted after it.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[weak[Any], Ref, Blobs]] = {}

    def note(self, value: object, artifact: Ref, blobs: Blobs) -> None:
        """Remember that `value` is saved as `artifact` in the store `blobs`."""
        place = id(value)
        self._known[place] = (weak(value, lambda gone: self._drop(place, gone)), artifact, blobs)

    def find(self, value: object, blobs: Blobs) -> Ref | None:
        """Return the artifact of `value` in the store `blobs`, or None if no such artifact is known."""
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
