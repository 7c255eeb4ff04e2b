"""Scratch files: some loaded values need a file outside the store, with the file's original name and suffix."""

from __future__ import annotations

import atexit
import os
import shutil
from pathlib import Path

from headrace.errors import CodecError


class Scratch:
    """A folder that is made when it is first needed. It is the attempt's own folder, or a temporary folder that is
    deleted when this process ends."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._made = False

    def folder(self, digest: str) -> Path:
        """Return a new empty folder for the files of an artifact."""
        return _made(f"{digest[:12]}-", self._root())

    def lay(self, folder: Path, name: str, content: Path | bytes) -> Path:
        """Put a read-only file called `name` into a folder, and return its path. If `content` is a file of the store,
        the new file is a link to it; else it contains the bytes `content`.

        A hard link is used where possible: the store may evict `content` from its cache while the attempt still needs
        the file.
        """
        path = folder.joinpath(*steps(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            try:
                path.hardlink_to(content)
            except OSError:  # another file system or mount, or no permission to link
                path.symlink_to(content)
        else:
            path.write_bytes(content)
            path.chmod(0o444)
        return path

    def _root(self) -> Path:
        if self._path is None:
            self._path = _made("headrace-", None)
            atexit.register(_remove, self._path, os.getpid())
        elif not self._made:
            self._path.mkdir(parents=True, exist_ok=True)
        self._made = True
        return self._path


def _made(prefix: str, inside: Path | None) -> Path:
    """Return a new folder inside of another, or of the system's folder for temporary files."""
    import tempfile  # noqa: PLC0415  1 ms, and few workers need a scratch file

    return Path(tempfile.mkdtemp(prefix=prefix, dir=inside))


def steps(name: str) -> list[str]:
    """Return the steps of a relative path; raise `CodecError` if the path would leave its folder.

    >>> steps("logs/train.txt")
    ['logs', 'train.txt']
    """
    parts = name.split("/")
    if "\0" in name or any(part in {"", ".", ".."} for part in parts):
        raise CodecError(f"`{name}` is not a name for a file in a folder", hint="the artifact is damaged, or forged")
    return parts


def _remove(path: Path, owner: int) -> None:
    if os.getpid() == owner:  # a forked child must not remove what its parent still uses
        shutil.rmtree(path, ignore_errors=True)
