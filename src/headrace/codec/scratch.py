"""Scratch: files that loaded values need beside the store, under names and suffixes of their own."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path


class Scratch:
    """A folder made when it is first needed: the attempt's own, or a temporary one that goes with this process."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._made = False

    def link(self, digest: str, stored: Path, name: str) -> Path:
        """Give a link of this name to a file of the store."""
        path = self._place(digest) / name
        path.symlink_to(stored)
        return path

    def write(self, digest: str, data: bytes, name: str = "value") -> Path:
        """Give a read-only file of this name that holds these bytes."""
        path = self._place(digest) / name
        path.write_bytes(data)
        path.chmod(0o444)
        return path

    def folder(self, digest: str) -> Path:
        """Give a folder of its own."""
        return self._place(digest)

    def _place(self, digest: str) -> Path:
        return Path(tempfile.mkdtemp(prefix=f"{digest[:12]}-", dir=self._root()))

    def _root(self) -> Path:
        if self._path is None:
            self._path = Path(tempfile.mkdtemp(prefix="headrace-"))
            atexit.register(_remove, self._path, os.getpid())
        elif not self._made:
            self._path.mkdir(parents=True, exist_ok=True)
        self._made = True
        return self._path


def _remove(path: Path, owner: int) -> None:
    if os.getpid() == owner:  # a forked child must not remove what its parent still uses
        shutil.rmtree(path, ignore_errors=True)
