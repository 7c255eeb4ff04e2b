"""Finds and checks the folders where answers are written. A relative path must stay in the project's folder. Workers
may run in a namespace that hides a real folder behind an empty folder in memory. Such folders are refused, because a
file that is written there is lost."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from headrace.define.attempt import attempt
from headrace.errors import SourceError

_STATE = ".headrace"
"""The name of the folder with a project's state. In this folder, workers see only the store."""
_MOUNTS = Path("/proc/self/mountinfo")
_TEMPORARY = ("/tmp", "/var/tmp", "/run", "/dev/shm")
"""Folders that are in memory on many machines, without a namespace. These folders are not refused."""


def place_of(path: Path) -> Path:
    """Return the full path of a file to write. A relative path starts at the project's folder, and must stay in it.

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
    """Raise if workers don't see a real folder. `folder` is its path without symbolic links.

    Raises:
        SourceError: the folder is part of the project's state, or a folder in memory hides it.
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
