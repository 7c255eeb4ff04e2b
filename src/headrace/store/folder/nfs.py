"""What a file system that many machines share does differently, and what is done about it.

Written for NFS as Linux's client speaks it, from its manual (nfs(5), "Data and metadata coherence"); nothing here costs
anything on a disk of one's own, where no look misses.

- A client remembers for up to a minute (`acdirmax`) what a folder holds, and what it doesn't. So a file that another
  machine made may look missing: whoever misses one looks again, at a folder that it has just changed (`refresh`), since
  its own change is what a client can't overlook; what is needed is looked for during `LAG_S`.
- A file that another machine removed may answer `ESTALE` instead of being missing: the same here.
- A rename whose answer was lost is sent again, and then finds nothing: names are given once, so what lies at its place
  is what was to come there.
- Folders can't be synced everywhere (`EINVAL`, `ENOTSUP`): such servers make names durable before they answer.
- What is open here and removed by another process of this machine stays as `.nfs…` until it is closed.

Nothing relies on locks, nor on appending from two machines: a file of the spool or of the logs has one writer.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

LAG_S = 5.0
LOOK_S = 0.25
"""So often it is looked again."""

GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ESTALE})
UNSYNCED = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP})
SILLY = ".nfs"

TYPES = frozenset(
    {
        "nfs",
        "nfs4",
        "lustre",
        "gpfs",
        "beegfs",
        "ceph",
        "cifs",
        "smb3",
        "afs",
        "9p",
        "pvfs2",
        "ocfs2",
        "gfs2",
        "virtiofs",
    }
)
FUSES = ("fuse.",)
MOUNTS = Path("/proc/self/mountinfo")


def is_gone(error: OSError) -> bool:
    """Return whether a file isn't there, or not any more."""
    return error.errno in GONE


def remove(path: Path) -> None:
    """Delete a file; one that is gone already is no error."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        if not is_gone(error):
            raise


def refresh(folder: Path) -> None:
    """Make this machine's client forget what it remembers of a folder, by a change, where one may be made."""
    with suppress(OSError):
        path = folder / f".look-{os.urandom(4).hex()}"
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        path.unlink()


def appears(path: Path, *, patience_s: float = LAG_S, wait: Callable[[float], None] = time.sleep) -> bool:
    """Return whether a file of a shared file system that looked missing is there after all, at a later look."""
    rest = patience_s
    while True:
        for folder in (path.parent.parent, path.parent):
            refresh(folder)
        if size_of(path) is not None:
            return True
        if rest <= 0:
            return False
        wait(LOOK_S)
        rest -= LOOK_S


def is_shared(folder: Path, mounts: Path = MOUNTS) -> bool:
    """Return whether a folder lies on a file system that other machines may change."""
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return False
    place, kind = "", ""
    for line in lines:
        before, _, after = line.partition(" - ")
        point = os.fsdecode(before.split()[4].encode().decode("unicode_escape").encode("latin-1"))  # bytes as `\\040`
        if len(point) >= len(place) and (folder == Path(point) or Path(point) in folder.parents):
            place, kind = point, after.split()[0]
    return kind in TYPES or kind.startswith(FUSES)


def size_of(path: Path) -> int | None:
    """Return a file's size, or None if it isn't there."""
    try:
        return os.stat(path).st_size
    except OSError as error:
        if is_gone(error):
            return None
        raise
