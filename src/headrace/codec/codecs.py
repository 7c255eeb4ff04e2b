"""The codecs together: any value to an artifact, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from headrace.codec.classes import name_of
from headrace.codec.classes import resolve as class_of
from headrace.codec.codec import Codec
from headrace.codec.known_tables import KnownTables
from headrace.codec.loader import Loader
from headrace.codec.misfit import CallerFailed, Misfit
from headrace.codec.ports import Blobs
from headrace.codec.registry import Registry
from headrace.codec.saver import SCALARS, Saver
from headrace.codec.scratch import Scratch
from headrace.errors import CodecError
from headrace.spec.artifact import Ref
from headrace.spec.artifact import blobs as blobs_of

PREFETCH_BYTES = 1 << 24
"""Parts smaller than this are fetched side by side; a bigger one comes by many requests of its own."""


class Codecs:
    """Saves and loads any value that some codec takes; `extra` codecs are asked before ours."""

    def __init__(self, extra: Sequence[Codec] = ()) -> None:
        self._registry = Registry(extra)
        self._scratch = Scratch()
        self._origins = KnownTables()

    def save(
        self,
        value: object,
        blobs: Blobs,
        *,
        describe: Callable[[type], str] = name_of,
        digest: Callable[[object], str] | None = None,
    ) -> Ref:
        """Make a value an artifact: inside the reference if it is small, else in the store, where it is durable.

        `describe` names a class as the artifact records it. Functions and classes are saved by their names where
        `digest` gives what stands for their code: as arguments of stages, that is. Raises `CodecError` where no codec
        takes the value, or a value inside of it.
        """
        scalar = SCALARS.get(type(value))
        if scalar is not None and (ref := scalar(value)) is not None:
            return ref
        try:
            with Saver(self._registry, blobs, describe, digest, self._origins) as saving:
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
        verify: bool = False,
        safe_only: bool = True,
        scratch: Path | None = None,
        resolve: Callable[[str], type] = class_of,
        columns: Sequence[str] | None = None,
    ) -> object:
        """Return the value of an artifact; of a table, only these `columns` where some are named.

        With `verify`, its bytes are read and held against its digest first (not with `columns`: it is that of all).
        Forms that run code when read are refused, in parts too, unless `safe_only` is False: that is for what runs the
        project's code anyway (stages, pipelines, `headrace.load`). Files that need a name of their own are linked in
        `scratch`, by default a temporary folder that lasts as long as the process. `resolve` finds a class by the name
        that `describe` gave it. Raises `CodecError`, `BlobMissing`, `BlobDamaged`.
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
            needed = [(each.digest, each.nonce or "", each.size) for each in blobs_of(ref)]
            if small := [each for each in needed if each[2] < PREFETCH_BYTES]:
                blobs.prefetch(small)
        return loading.value(ref)

    def check(self, ref: Ref, blobs: Blobs) -> None:
        """Check the bytes of a table that came from elsewhere against what they claim to hold.

        Raises:
            CodecError: they lead out of themselves, so that a reader would read what isn't theirs.
            BlobMissing, BlobDamaged: they can't be had.
        """
        self._loading(blobs).check(ref)

    def forget(self) -> None:
        """Forget which tables are artifacts already: from here on their blobs may go."""
        self._origins.forget()

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
        )
