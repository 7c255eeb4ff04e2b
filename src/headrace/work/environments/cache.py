"""Remembers which interpreter was chosen for a lock on this machine. So if nothing has to be built for a run, only one
file is read."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Literal

from blake3 import blake3
from msgspec import Struct

Policy = Literal["auto", "present", "lock"]
CACHE = "HEADRACE_CACHE"
_PRESENT = "present"


def cache_folder() -> Path:
    """Return the folder of this machine's caches: `~/.cache/headrace`, unless HEADRACE_CACHE names another."""
    folder = os.environ.get(CACHE)
    if folder:
        return Path(folder).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "headrace"


def environments_folder(cache: Path) -> Path:
    """Return the folder that holds the environments that were built."""
    return cache / "environments"


class Choice(Struct, frozen=True):
    """The interpreter to use. `python` is None for the present interpreter."""

    python: Path | None


class Memo:
    """The interpreter that was chosen for a lock's group. It is valid until the lock or the installed packages
    change."""

    def __init__(self, cache: Path, lock: str, group: str | None, policy: Policy) -> None:
        key = "\0".join([lock, group or "", policy, sys.executable, *_installed()])
        self._file = environments_folder(cache) / ".chosen" / blake3(key.encode()).hexdigest()

    def get(self) -> Choice | None:
        """Return the stored interpreter. Return None if none is stored, or if the interpreter no longer exists."""
        try:
            text = self._file.read_text()
        except OSError:
            return None
        if text == _PRESENT:
            return Choice(None)
        python = Path(text)
        return Choice(python) if text and python.exists() else None

    def put(self, python: Path | None) -> None:
        """Store `python` as the chosen interpreter (None: the present one). If the file can't be written, nothing is
        stored, and the interpreter is chosen again next time."""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            aside = self._file.with_name(f".{self._file.name}-{os.getpid()}")
            aside.write_text(_PRESENT if python is None else str(python))
            os.replace(aside, self._file)
        except OSError:
            return


def _installed() -> list[str]:
    """Return the modification times of the folders of installed packages. These times change when a package is
    installed or removed."""
    times = []
    for folder in sys.path:
        if folder.endswith("-packages"):
            try:
                times.append(f"{folder} {os.stat(folder).st_mtime_ns}")
            except OSError:
                continue
    return times
