"""The errors of a store as a user sees them: errors of the operating system, and blobs that are missing or damaged."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Literal

from headrace.errors import NO_ACCESS, BlobDamaged, BlobMissing, StoreError, StoreUnreachable, repair

Place = Literal["store", "cache"]
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
FULL_BELOW_BYTES = 1 << 20


def trouble(error: BaseException, path: Path, place: Place = "store") -> StoreError | None:
    """Return our error if `error` means that the store is full or can't be written. `error` was raised while `path` was
    written.

    Return None if the error has another cause. Libraries report a full disk in different ways (a short write, or a
    message without an error number). So the free space of the file system is checked too.
    """
    code = error.errno if isinstance(error, OSError) else None
    if code in FULL or (not isinstance(error, StoreError) and code is None and _is_full(path)):
        return StoreError(
            f"no room left in the {place} `{path.parent.parent}`",
            hint="free some space there (`headrace gc`), or move the store with HEADRACE_HOME"
            if place == "store"
            else "free some space there, lower `cache_gib` of the store, or move the cache with HEADRACE_HOME",
        )
    if code in NO_ACCESS and isinstance(error, OSError) and _is_ours(error, path):
        return StoreUnreachable(
            f"the {place} `{path.parent.parent}` can't be written to: {error.strerror}",
            hint="check its owner, its mode and how it is mounted",
        )
    return None


def _is_full(path: Path) -> bool:
    try:
        room = os.statvfs(path.parent)
    except OSError:
        return False
    return room.f_bavail * room.f_frsize < FULL_BELOW_BYTES


def _is_ours(error: OSError, path: Path) -> bool:
    """Return whether the error is about a file of the store, rather than about another file that the caller was
    reading."""
    return error.filename is None or Path(os.fsdecode(error.filename)).is_relative_to(path.parent.parent)


def missing(digest: str, nonce: str, url: str) -> BlobMissing:
    """Return the error for a blob that a store doesn't have."""
    return BlobMissing(
        f"the store `{url}` has no blob `{digest[:12]}` (generation `{nonce}`)",
        hint=repair("--repair"),
        generation=f"{digest}.{nonce}",
    )


def damaged(digest: str, nonce: str, why: str) -> BlobDamaged:
    """Return the error for a blob whose bytes don't have its digest. `why` says how the damage was found."""
    return BlobDamaged(
        f"the blob `{digest[:12]}` (generation `{nonce}`) is damaged: {why}",
        hint=repair("--deep --repair"),
        generation=f"{digest}.{nonce}",
    )
