"""All codecs together: save any value as an artifact, and load it again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from headrace.codec.classes import name_of
from headrace.codec.classes import resolve as class_of
from headrace.codec.codec import Codec
from headrace.codec.known_tables import KnownSignatures, KnownTables
from headrace.codec.loader import Loader, is_safe
from headrace.codec.misfit import CallerFailed, Misfit
from headrace.codec.ports import Blobs
from headrace.codec.registry import Registry
from headrace.codec.saver import SCALARS, Saver
from headrace.codec.scratch import Scratch
from headrace.errors import CodecError
from headrace.spec.artifact import Ref, within
from headrace.spec.artifact import blobs as blobs_of

PREFETCH_BYTES = 1 << 24
"""Parts smaller than this are fetched at the same time as others. A bigger part is fetched alone, by many requests."""


class Codecs:
    """Saves and loads any value that some codec takes. The codecs in `extra` are asked before Headrace's own codecs."""

    def __init__(self, extra: Sequence[Codec] = ()) -> None:
        self._registry = Registry(extra)
        self._scratch = Scratch()
        self._origins = KnownTables()
        self._signatures = KnownSignatures()

    def save(
        self,
        value: object,
        blobs: Blobs,
        *,
        describe: Callable[[type], str] = name_of,
        digest: Callable[[object], str] | None = None,
    ) -> Ref:
        """Save a value and return its artifact. The bytes of a small value are in the returned `Ref` itself. Those of
        a larger value are in the store, where they are already durable.

        `describe` returns the name that the artifact records for a class. `digest` returns the digest of a function's
        or class's code. If `digest` is given (it is given for arguments of stages), functions and classes are saved by
        their names. Raises `CodecError` if no codec takes the value or a value inside it.
        """
        scalar = SCALARS.get(type(value))
        if scalar is not None and (ref := scalar(value)) is not None:
            return ref
        try:
            with Saver(self._registry, blobs, describe, digest, self._origins, self._signatures) as saving:
                return saving.ref(value)
        except Misfit as misfit:
            raise misfit.error() from misfit.__cause__
        except CallerFailed as failed:
            raise failed.error from None
        except RecursionError as error:
            raise CodecError(
                f"a `{describe(type(value))}` is nested too deep to be saved", hint="return a flatter value"
            ) from error

    def load(
        self,
        ref: Ref,
        blobs: Blobs,
        *,
        verify: bool = True,
        safe_only: bool = True,
        scratch: Path | None = None,
        resolve: Callable[[str], type] = class_of,
        columns: Sequence[str] | None = None,
    ) -> object:
        """Return the value of an artifact. If `columns` is given, return only these columns of the table.

        The bytes are first checked against their digest, unless `verify` is False (workers know inputs that need no
        check) or `columns` is given (the digest is that of the whole table, so a part of it can't be checked).
        With `safe_only`, a class or function that the artifact names is used only if it is in a list of safe ones that
        is a part of Headrace.
        So forms that run code, and networks that are made by code of the project, are refused. Only callers that run
        the project's code anyway (stages, pipelines, `headrace.load`) pass `safe_only=False`. Files that need their own
        name are linked in the folder `scratch`. If `scratch` is None, a temporary folder is used that lasts as long as
        the process. `resolve` finds a class by the name that `describe` returned when the value was saved. Raises
        `CodecError`, `BlobMissing`, `BlobDamaged`.
        """
        loading = self._loading(
            blobs,
            verify=verify,
            safe_only=safe_only,
            scratch=self._scratch if scratch is None else Scratch(scratch),
            resolve=resolve,
        )
        if columns is not None:
            return loading.columns(ref, columns)
        if ref.parts:
            needed = [(blob.digest, blob.nonce or "", blob.size) for blob in blobs_of(ref)]
            if small := [blob for blob in needed if blob[2] < PREFETCH_BYTES]:
                blobs.prefetch(small)
        try:
            return loading.value(ref)
        except RecursionError as error:
            raise CodecError(f"the artifact `{ref.digest[:12]}` is nested too deep to be loaded") from error

    def check(self, ref: Ref, blobs: Blobs) -> None:
        """Check the bytes of a table that came from outside this project: no offset or length may point outside of
        them.

        Raises:
            CodecError: an offset or length points outside of the bytes, so a reader would read other memory.
            BlobMissing, BlobDamaged: the bytes can't be read from the store.
        """
        self._loading(blobs).check(ref)

    def unsafe(self, ref: Ref) -> Ref | None:
        """Return the first artifact, of `ref` and its parts, that `load` refuses because reading it would run code.
        Return None if there is none."""
        read = (each for each in within(ref) if each.codec != "parts")
        return next((each for each in read if not is_safe(self._registry.named(each.codec), each)), None)

    def sign(self, model: object, signature: bytes) -> None:
        """Remember the signature of a model. When the model is saved, the signature is recorded beside the artifact. A
        loaded model has its signature already."""
        self._signatures.note(model, signature)

    def forget(self) -> None:
        """Forget which tables are already artifacts, and the signatures of models. From now on, the blobs of these
        artifacts may be deleted."""
        self._origins.forget()
        self._signatures.forget()

    def _loading(
        self,
        blobs: Blobs,
        *,
        verify: bool = False,
        safe_only: bool = True,
        scratch: Scratch | None = None,
        resolve: Callable[[str], type] = class_of,
    ) -> Loader:
        return Loader(
            self._registry,
            blobs,
            verify=verify,
            safe_only=safe_only,
            scratch=scratch or self._scratch,
            resolve=resolve,
            origins=self._origins,
            signatures=self._signatures,
        )
