"""Facts about the values in this process: which tables are already artifacts, and the signatures of models."""

from __future__ import annotations

from typing import Any
from weakref import ref as weak

from msgspec.structs import replace

from headrace.codec.ports import Blobs
from headrace.spec.artifact import Ref


class KnownTables:
    """Remembers the artifact of each table that was loaded or saved. A table is recognized only as the same object, and
    remembered only while the object exists.

    Only values that can't change may be remembered. `forget` is called after each attempt: from then on, blobs that no
    run refers to may be deleted.
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


class KnownSignatures:
    """Remembers the signature of each model that was trained or loaded, until `forget` is called after the attempt.

    A model is recognized only as the same object. So a model that a stage passes on keeps its signature. If the stage
    changes a loaded model, the signature may be wrong, and is left out.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[object, bytes, str | None]] = {}

    def note(self, model: object, signature: bytes, artifact: Ref | None = None) -> None:
        """Remember the signature of a model, and the artifact that the model was loaded from."""
        identity = None if artifact is None else artifact.identity
        self._known[id(model)] = (model, signature, identity)  # holds the model, so that no other gets its `id`

    def signed(self, artifact: Ref, model: object) -> Ref:
        """Return the artifact that a model was saved as, with the model's signature if it is known."""
        known = self._known.get(id(model))
        if known is None or known[2] not in (None, artifact.identity):
            return artifact
        return replace(artifact, signature=known[1])

    def forget(self) -> None:
        """Forget all models."""
        self._known.clear()
