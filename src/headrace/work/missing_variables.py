"""Finds missing environment variables: those that are set where the driver runs but are not passed to stages, although
code asks for them."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

_OURS = f"{Path(__file__).parents[1]}{os.sep}"
_BETWEEN = (os.__file__, "<frozen os>", "<frozen _collections_abc>")


class Absent:
    """Records which of the variables `names` are asked for, and at which places of the project's code (the files in
    `folder`)."""

    def __init__(self, names: Collection[str], folder: Path) -> None:
        self._names = frozenset(names)
        self._folder = f"{folder.resolve()}{os.sep}"
        self._asked: dict[str, str] = {}
        self._told: set[str] = set()

    def watch(self) -> None:
        """Begin to record which missing variables are read through `os.environ` and `os.getenv`."""
        if not self._names or not hasattr(os.environ, "_data"):
            return
        environments: list[Any] = [os.environ, os.environb]
        watched = _Watched(environments[0]._data)
        watched.note = self._note
        for environment in environments:
            environment._data = watched

    def remarks(self) -> list[str]:
        """Return a remark for each missing variable that the project's code has asked for. A variable gets only one
        remark. Without the remark, code with a default value would go on, and nobody would notice."""
        fresh = [name for name, place in self._asked.items() if place and name not in self._told]
        self._told.update(fresh)
        return [
            f"{self._asked[name]} asks for `{name}`, which is set here but isn't visible to stages and pipelines:"
            " name it under `[run] variables`, or pass it with `hr.secret` if it is secret"
            for name in fresh
        ]

    def hint(self, text: str) -> str | None:
        """If a missing variable is the cause of an error with the message `text`, return what to do about it; else
        return None."""
        names = [name for name in self._asked if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text)]
        if not names:
            return None
        self._told.update(names)
        quoted = ", ".join(f'"{name}"' for name in names)
        return (
            f"stages see `{names[0]}` once headrace.toml says `[run] variables = [{quoted}]`; pass a secret with"
            f' `hr.secret("{names[0]}")`'
        )

    def forget(self) -> None:
        """Forget which variables were asked for. This is called before another attempt."""
        self._asked.clear()

    def _note(self, key: bytes) -> None:
        name = os.fsdecode(key)
        if name in self._names and name not in self._asked:
            file, line = _asker()
            if not file.startswith(_OURS):
                is_theirs = file.startswith(self._folder)
                self._asked[name] = f"{file.removeprefix(self._folder)}:{line}" if is_theirs else ""


class _Watched(dict[bytes, bytes]):
    """The dictionary inside `os.environ`, which reports each missing key that is read."""

    note: Callable[[bytes], None]

    def __missing__(self, key: bytes) -> bytes:
        self.note(key)
        raise KeyError(key)

    def __reduce__(self) -> tuple[type, tuple[dict[bytes, bytes]]]:
        return dict, (dict(self),)


def _asker() -> tuple[str, int]:
    """Return the file and line of the code that asked for a variable. Frames of `os` and of this module are skipped."""
    frame = sys._getframe(2)
    while frame.f_back is not None and (frame.f_code.co_filename in _BETWEEN or frame.f_code.co_filename == __file__):
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno
