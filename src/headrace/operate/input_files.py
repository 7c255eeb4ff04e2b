"""Files and folders that a pipeline takes as inputs. The driver, which sees the project's folder, stores them as
artifacts."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec

from headrace.errors import ProjectError, StoreError
from headrace.project.project import Project
from headrace.spec.artifact import Ref, blobs
from headrace.spec.fleet import HOME
from headrace.spec.noun import UNREADABLE
from headrace.store.store import Store

MEMORY = "inputs.msgpack"
TYPES = {"file": "headrace.File", "folder": "headrace.Folder"}
"""The types of the artifacts of files and folders. If a remembered artifact has another type, an older release made it.
Such an artifact isn't used, because keys depend on the type."""


def keep_path(project: Project, region: str, store: Store, about: str, path: str) -> Ref:
    """Store a file or folder as it is now in a region's store, and return its artifact.

    `about` is `file` or `folder`. A relative path starts from the project's folder. If the file or folder was stored
    before and hasn't changed since, the earlier artifact is returned.

    Raises:
        ProjectError: there is no such file or folder.
    """
    from headrace.codec.codecs import Codecs  # noqa: PLC0415  30 ms that only pipelines with files need
    from headrace.codec.values import File, Folder  # noqa: PLC0415  as above

    root = project.root
    location = root / Path(path).expanduser()
    there = location.is_file() if about == "file" else location.is_dir()
    if not there:
        raise ProjectError(
            f"there is no {about} `{path}`", hint=f"paths are relative to the project's folder, `{root}`"
        )
    inputs = Inputs(project.home / (MEMORY if region == HOME else f"inputs-{region}.msgpack"), store)
    known = inputs.recall(location)
    if known is not None and known.type == TYPES[about]:
        return known
    marks = marks_of(location)
    ref = Codecs().save(File(location) if about == "file" else Folder(location), store)
    inputs.remember(location, marks, ref)
    return ref


_FRESH_S = 2.0
"""A file changed less than this many seconds ago may change again without a new time stamp, so it isn't remembered."""

Mark = tuple[str, int, int, int, int]
"""A file's metadata: path, size, inode, and the times (ns) when its content and its metadata last changed."""
Memory = dict[str, tuple[list[Mark], Ref]]
_decode = msgspec.msgpack.Decoder(Memory).decode
_encode = msgspec.msgpack.Encoder().encode


class Inputs:
    """A memory of stored input files, in a file of the state folder. If it is lost, inputs are stored again."""

    def __init__(self, file: Path, store: Store) -> None:
        self._file = file
        self._store = store

    def recall(self, path: Path) -> Ref | None:
        """Return the artifact of a file or folder, or None if the file or folder has changed since it was stored or the
        store has lost the artifact."""
        marks, ref = self._read().get(str(path), ([], None))
        if ref is None or marks != marks_of(path):
            return None
        return ref if all(self._renew(each) for each in blobs(ref)) else None

    def remember(self, path: Path, marks: list[Mark], ref: Ref) -> None:
        """Remember the artifact of a file or folder. `marks` are its metadata, taken before it was read.

        Nothing is remembered if the file changed while it was read or shortly before.
        """
        newest = max((mark[3] for mark in marks), default=0) / 1e9
        if time.time() - newest < _FRESH_S or marks != marks_of(path):
            return
        memory = self._read()
        memory[str(path)] = marks, ref
        aside = self._file.with_suffix(f".{os.getpid()}")
        aside.write_bytes(_encode(memory))
        aside.replace(self._file)

    def _renew(self, ref: Ref) -> bool:
        """Set a blob's time to now, so that the garbage collector doesn't delete the blob before this driver's run
        names it. Return whether the store has the blob.

        For a bucket, only this machine's cached copy gets the new time. A garbage collection that has begun already may
        still delete the blob.
        """
        try:
            os.utime(self._store.path(ref.digest, ref.nonce or ""))
        except (OSError, StoreError):
            return False
        return self._store.size(ref.digest, ref.nonce or "") == ref.size

    def _read(self) -> Memory:
        try:
            return _decode(self._file.read_bytes())
        except (OSError, *UNREADABLE):
            return {}


def marks_of(path: Path) -> list[Mark]:
    """Return the metadata of a file, or of all files in a folder, without reading their content."""
    files = [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
    marks = []
    for file in files:
        state = file.stat()
        marks.append((str(file), state.st_size, state.st_ino, state.st_mtime_ns, state.st_ctime_ns))
    return marks
