"""Which tables of this process already are artifacts."""

from __future__ import annotations

from typing import Any
from weakref import ref as weak

from headrace.codec.ports import Blobs
from headrace.spec.artifact import Ref


class KnownTables:
    """Knows tables that were loaded or saved, by identity and for as long as they live, and the artifact of each.

    Only what can't change may be known here. It holds for one attempt (`forget`): beyond that, the blobs of what no
    run names may be gone.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[weak[Any], Ref, Blobs]] = {}

    def note(self, value: object, artifact: Ref, blobs: Blobs) -> None:
        """Remember that a value is this artifact in this store."""
        place = id(value)
        self._known[place] = (weak(value, lambda gone: self._drop(place, gone)), artifact, blobs)

    def find(self, value: object, blobs: Blobs) -> Ref | None:
        """Return the artifact that a value is in this store, if it is known."""
        known = self._known.get(id(value))
        if known is None or known[0]() is not value or known[2] is not blobs:
            return None
        return known[1]

    def take(self, other: KnownTables) -> None:
        """Remember all that another one knows."""
        for reference, artifact, blobs in list(other._known.values()):
            value = reference()
            if value is not None:
                self.note(value, artifact, blobs)

    def forget(self) -> None:
        """Forget all."""
        self._known.clear()

    def _drop(self, place: int, gone: weak[Any]) -> None:
        known = self._known.get(place)
        if known is not None and known[0] is gone:
            del self._known[place]
