"""A clean state for each attempt: an empty folder, the original environment variables, and random seeds from the
task's key."""

from __future__ import annotations

import os
import random
import shutil
import sys
from pathlib import Path
from typing import Any


class CleanState:
    """Restores a worker's process to its original state after each attempt, when the attempt's end has been
    reported."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._count = 0
        self._environment = dict(os.environ)
        self._encoded = dict(_encoded(os.environ))
        self._path = list(sys.path)
        self._folder = self._make()
        self.clean()

    def enter(self, key: str) -> Path:
        """Prepare the process for an attempt with this key. Return the attempt's own folder, which is now the current
        folder."""
        _seed(key)
        return self._folder

    def clean(self) -> None:
        """Restore the process to its original state, with a new empty folder as the current folder."""
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
        """Set an environment variable. It keeps this value when the process is restored to its original state."""
        os.environ[name] = value
        self._environment[name] = value
        self._encoded[os.fsencode(name)] = os.fsencode(value)

    def close(self) -> None:
        """Remove all folders of the attempts."""
        os.chdir("/")
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _make(self) -> Path:
        self._count += 1
        folder = self._scratch / str(self._count)
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def _encoded(environment: Any) -> dict[bytes, bytes]:
    """Return the dictionary of encoded names and values inside `os.environ`. It can be compared in 1 us, but
    `os.environ` itself only in 100 us."""
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
    """Seed the random generators of the loaded libraries from the task's key, so that a repeated attempt draws the same
    numbers."""
    number = int(key[:8] or "0", 16)
    random.seed(number)
    numpy = sys.modules.get("numpy.random")
    if numpy is not None:
        numpy.seed(number)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(number)
