"""A clean state for each attempt: an empty folder, the environment as it was, seeds from the task's key."""

from __future__ import annotations

import os
import random
import shutil
import sys
from pathlib import Path


class CleanState:
    """Puts a worker's process back as it was before the last attempt."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._count = 0
        self._folder = ""
        self._environment = dict(os.environ)
        self._path = list(sys.path)

    def enter(self, key: str) -> str:
        """Make the process ready for an attempt with this key; give the attempt's own folder, the current one now."""
        if not self._folder or not _is_empty(self._folder):
            self._leave()
            self._count += 1
            self._folder = str(self._scratch / str(self._count))
            os.makedirs(self._folder, exist_ok=True)
        os.chdir(self._folder)
        if os.environ != self._environment:
            _restore(self._environment)
        if sys.path != self._path:
            sys.path[:] = self._path
        _seed(key)
        return self._folder

    def close(self) -> None:
        """Remove what is left."""
        os.chdir("/")
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _leave(self) -> None:
        if self._folder:
            os.chdir("/")
            shutil.rmtree(self._folder, ignore_errors=True)


def _is_empty(folder: str) -> bool:
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
