"""The codecs together: any value to an artifact, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from headrace.codec.classes import describe as name_of
from headrace.codec.classes import resolve as class_of
from headrace.codec.codec import Codec
from headrace.codec.loading import Loading
from headrace.codec.misfit import CallerFailed, Misfit
from headrace.codec.ports import Blobs
from headrace.codec.registry import Registry
from headrace.codec.saving import SCALARS, Saving
from headrace.codec.scratch import Scratch
from headrace.errors import CodecError
from headrace.spec.artifact import Ref


class Codecs:
    """Saves and loads any value that some codec takes; `extra` codecs are asked before ours."""

    def __init__(self, extra: Sequence[Codec] = ()) -> None:
        self._registry = Registry(extra)
        self._scratch = Scratch()

    def save(self, value: object, blobs: Blobs, *, describe: Callable[[type], str] = name_of) -> Ref:
        """Make a value an artifact: inside the reference if it is small, else in the store, where it is durable.

        `describe` names a class as the artifact records it. Raises `CodecError` where no codec takes the value, or a
        value inside of it.
        """
        scalar = SCALARS.get(type(value))
        if scalar is not None and (ref := scalar(value)) is not None:
            return ref
        try:
            with Saving(self._registry, blobs, describe) as saving:
                return saving.ref(value)
        except Misfit as misfit:
            raise misfit.error() from misfit.__cause__
        except CallerFailed as failed:
            raise failed.error from None
        except RecursionError as error:
            raise CodecError(
                f"a `{describe(type(value))}` is nested too deep to be saved", hint="give out something flatter"
            ) from error

    def load(
        self,
        ref: Ref,
        blobs: Blobs,
        *,
        verify: bool = False,
        safe_only: bool = False,
        scratch: Path | None = None,
        resolve: Callable[[str], type] = class_of,
    ) -> object:
        """Give the value of an artifact.

        With `verify`, its bytes are read and held against its digest first. With `safe_only`, forms that run code when
        read are refused. Files that need a name of their own are linked in `scratch`, by default a temporary folder
        that lasts as long as the process. `resolve` finds a class by the name that `describe` gave it. Raises
        `CodecError`, `BlobMissing`, `BlobDamaged`.
        """
        loading = Loading(
            self._registry,
            blobs,
            verify=verify,
            safe_only=safe_only,
            scratch=self._scratch if scratch is None else Scratch(scratch),
            resolve=resolve,
        )
        return loading.value(ref)
