"""Folders that only seem to be there: workers may run in a namespace that hides real folders behind empty ones in
memory, and a file that is written there is lost."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from headrace.errors import SourceError

_STATE = ".headrace"
"""The folder of a project's state. Workers see nothing of it but the store."""
_MOUNTS = Path("/proc/self/mountinfo")
_TEMPORARY = ("/tmp", "/var/tmp", "/run", "/dev/shm")
"""Folders that may be in memory on the machine itself."""


def check_real(folder: Path) -> None:
    """Raise if a folder, given without symbolic links, is hidden from workers.

    Raises:
        SourceError: it is in the project's state, or a folder in memory hides it.
    """
    if _STATE in folder.parts or _is_hidden(folder):
        raise SourceError(
            f"workers don't see the real folder `{folder}`, so a file there would be lost",
            hint='give a path elsewhere; in a pool with `namespace = "on"`, outside of the project',
        )


def _is_hidden(folder: Path) -> bool:
    mount = folder
    while not os.path.ismount(mount):
        mount = mount.parent
    if mount in {Path(each).resolve() for each in (*_TEMPORARY, tempfile.gettempdir())}:
        return False
    with suppress(OSError):  # not on Linux
        for line in _MOUNTS.read_text().splitlines():
            head, _, tail = line.partition(" - ")
            if head.split(" ")[4] == str(mount).replace(" ", "\\040") and tail.startswith("tmpfs "):
                return True
    return False
