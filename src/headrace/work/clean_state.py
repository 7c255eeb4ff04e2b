"""A clean state for each attempt: an empty folder, the environment as it was, seeds from the task's key."""

from __future__ import annotations

import os
import random
import shutil
import sys
from pathlib import Path
from typing import Any


class CleanState:
    """Puts a worker's process back as it was: right after an attempt, when its driver has heard of its end."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._count = 0
        self._environment = dict(os.environ)
        self._encoded = dict(_encoded(os.environ))
        self._path = list(sys.path)
        self._folder = self._make()
        self.clean()

    def enter(self, key: str) -> Path:
        """Make the process ready for an attempt with this key; return the attempt's own folder, the current one now."""
        _seed(key)
        return self._folder

    def clean(self) -> None:
        """Put the process back as it was, in an empty folder."""
        if not _is_empty(self._folder):
            os.chdir("/")
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = self._make()
        os.chdir(self._folder)
        if _encoded(os.environ) != self._encoded:
            _restore(self._environment)
        if sys.path != self._path:
            sys.path[:] = self._path

    def let(self, name: str, value: str) -> None:
        """Set a variable of the environment as it is to be from now on, while the process is clean."""
        os.environ[name] = value
        self._environment[name] = value
        self._encoded[os.fsencode(name)] = os.fsencode(value)

    def close(self) -> None:
        """Remove what is left."""
        os.chdir("/")
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _make(self) -> Path:
        self._count += 1
        folder = self._scratch / str(self._count)
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def _encoded(environment: Any) -> dict[bytes, bytes]:
    """Return what is behind `os.environ`: to compare that takes a microsecond, and a hundred to compare it decoded."""
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
