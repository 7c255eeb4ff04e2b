"""Where answers may be written. A relative path stays in the project's folder. A folder may only seem to be there:
workers may run in a namespace that hides real folders behind empty ones in memory, and a file that is written there is
lost."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from headrace.define.attempt import attempt
from headrace.errors import SourceError

_STATE = ".headrace"
"""The folder of a project's state. Workers see nothing of it but the store."""
_MOUNTS = Path("/proc/self/mountinfo")
_TEMPORARY = ("/tmp", "/var/tmp", "/run", "/dev/shm")
"""Folders that may be in memory on the machine itself."""


def place_of(path: Path) -> Path:
    """Return the full path of a file to write. A relative path begins at the project's folder, and stays in it.

    Raises:
        SourceError: the path leads out of the project, or workers don't see the project's folder.
    """
    if path.is_absolute():
        return Path(os.path.normpath(path))
    project = attempt().project
    if project is None:
        raise SourceError(
            f"`{path}` is relative to the project's folder, which workers of this pool don't see",
            hint="give a full path that they see, or run the stage in a pool on the project's machine, without"
            ' `namespace = "on"`',
        )
    place = Path(os.path.normpath(project / path))
    if not place.is_relative_to(os.path.normpath(project)):
        raise SourceError(f"`{path}` leads out of the project's folder", hint="give a full path, or one inside of it")
    return place


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
