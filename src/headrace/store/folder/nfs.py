"""How a shared file system differs from a local disk, and how a folder store handles the differences.

Written for the NFS client of Linux, from its manual (nfs(5), "Data and metadata coherence"). On a local disk, all of
this costs nothing, because no existing file ever seems missing there.

- For up to a minute (`acdirmax`), a client caches which files a folder has. So a file that another machine made may
  seem missing. A client reads a folder again after the client itself has changed the folder. So `refresh` makes a
  change in the folder. Then the missing file is looked for again, for up to `LAG_S` seconds.
- Using a file that another machine deleted may raise `ESTALE`. This error is treated like that of a missing file.
- If the answer to a rename is lost, a client repeats the rename, and this fails because the file is gone. Names are
  unique, so a file at the target is the right file.
- Some servers can't sync folders (`EINVAL`, `ENOTSUP`). But such servers make names durable before they answer.
- If one process has a file open, and another process of the same machine deletes it, the file stays as `.nfs…` until it
  is closed.

The store relies neither on locks nor on appending from two machines: each file of the spool or the logs has only one
writer.
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
"""The pause in seconds between two checks for a file that seems missing."""

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
    """Return whether an error means that a file doesn't exist, or was deleted."""
    return error.errno in GONE


def remove(path: Path) -> None:
    """Delete a file. It is no error if the file doesn't exist."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        if not is_gone(error):
            raise


def refresh(folder: Path) -> None:
    """Make this machine's NFS client drop its cached list of the files in a folder. To do so, make and delete a file in
    the folder.

    Do nothing if this process may not write to the folder.
    """
    with suppress(OSError):
        path = folder / f".look-{os.urandom(4).hex()}"
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        path.unlink()


def appears(path: Path, *, patience_s: float = LAG_S, wait: Callable[[float], None] = time.sleep) -> bool:
    """Wait up to `patience_s` seconds for a file of a shared file system that seemed missing. Return whether it has
    appeared."""
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
    """Return whether other machines may change the file system on which a folder is. `mounts` lists the file
    systems."""
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
    """Return the size of a file in bytes, or None if it doesn't exist."""
    try:
        return os.stat(path).st_size
    except OSError as error:
        if is_gone(error):
            return None
        raise
