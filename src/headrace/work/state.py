"""A clean state for each attempt: an empty folder, the environment as it was, seeds from the task's key."""

from __future__ import annotations

import os
import random
import shutil
import sys
from pathlib import Path
from typing import Any


class CleanState:
    """Puts a worker's process back as it was before the last attempt."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._count = 0
        self._folder: Path | None = None
        self._environment = dict(os.environ)
        self._encoded = dict(_encoded(os.environ))
        self._path = list(sys.path)

    def enter(self, key: str) -> Path:
        """Make the process ready for an attempt with this key; give the attempt's own folder, the current one now."""
        folder = self._folder
        if folder is None or not _is_empty(folder):
            folder = self._renew()
        os.chdir(folder)
        if _encoded(os.environ) != self._encoded:
            _restore(self._environment)
        if sys.path != self._path:
            sys.path[:] = self._path
        _seed(key)
        return folder

    def close(self) -> None:
        """Remove what is left."""
        os.chdir("/")
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _renew(self) -> Path:
        if self._folder is not None:
            os.chdir("/")
            shutil.rmtree(self._folder, ignore_errors=True)
        self._count += 1
        self._folder = self._scratch / str(self._count)
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder


def _encoded(environment: Any) -> dict[bytes, bytes]:
    """Give what is behind `os.environ`: to compare that takes a microsecond, and a hundred to compare it decoded."""
    inner: dict[bytes, bytes] = getattr(environment, "_data", {})
    return inner


def _is_empty(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is None
    except OSError:
        return False


def _restore(environment: dict[str, str]) -> None:
    for name in [name for name in os.environ if name not in environment]:
        del os.environ[name]
    for name, value in environment.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def _seed(key: str) -> None:
    """Seed what is loaded from the task's key, so that an attempt that is repeated draws the same numbers."""
    number = int(key[:8] or "0", 16)
    random.seed(number)
    numpy = sys.modules.get("numpy.random")
    if numpy is not None:
        numpy.seed(number)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(number)
