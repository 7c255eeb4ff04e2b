"""Turns an exception of a stage's code into a failure: its kind, and what to show to the user."""

from __future__ import annotations

from pathlib import Path

from headrace.errors import BlobDamaged, BlobMissing, CodecError, DataError, HeadraceError, StoreError, UsageError
from headrace.spec.failure import Failure, FailureKind
from headrace.work.user_code import describe, user_traceback


def failure_of(error: BaseException, bundle: Path) -> Failure:
    """Return an exception as a `Failure` with kind, message and hint. Secrets in the texts are not masked yet."""
    kind: FailureKind = "user"
    if isinstance(error, BlobDamaged | BlobMissing | StoreError):
        kind = "refused"
    elif isinstance(error, MemoryError):
        kind = "memory"
    if isinstance(error, BlobDamaged | BlobMissing) and error.generation:
        hint = "run the pipeline again to replace it; `headrace fsck --deep` checks whether other blobs are damaged too"
        return Failure(kind, error.message, hint=hint, damaged=(error.generation,))
    if isinstance(error, HeadraceError):
        message = error.message if kind == "refused" or isinstance(error, CodecError) else describe(error, bundle)
        return Failure(kind, message, hint=error.hint, lasting=_is_lasting(error))
    return Failure(kind, describe(error, bundle), user_traceback(error, bundle), _hint(error))


def _is_lasting(error: BaseException) -> bool:
    """Return whether the next attempt would fail in the same way.

    This is True only for a `UsageError` or `DataError` whose cause, if it has one, is such an error too. Their
    subclasses don't count: something that isn't found, or can't be built or read, may be there next time.
    """
    cause = error.__cause__
    return type(error) in (UsageError, DataError) and (cause is None or _is_lasting(cause))


def _hint(error: BaseException) -> str | None:
    if isinstance(error, MemoryError):
        return "raise `memory_gib` in the stage's resources, or let the stage work on less at a time"
    if isinstance(error, FileNotFoundError):
        return "a stage runs in an empty folder of its own: give it data as `hr.File(path)` from the pipeline"
    return None
