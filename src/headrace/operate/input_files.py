"""Files and folders that a pipeline names, kept as artifacts by the driver, who sees the project's folder."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec

from headrace.errors import ProjectError, StoreError
from headrace.project.project import Project
from headrace.spec.artifact import Ref, blobs
from headrace.spec.fleet import HOME
from headrace.store.store import Store

MEMORY = "inputs.msgpack"
TYPES = {"file": "headrace.File", "folder": "headrace.Folder"}
"""As what they are kept. An older release may have remembered another name, by which keys and traces would differ."""


def keep_path(project: Project, region: str, store: Store, about: str, path: str) -> Ref:
    """Keep a file or folder as it is now, in a region's store; a relative path is seen from the project's folder.

    What was kept before and hasn't changed since is not kept again.

    Raises:
        ProjectError: it isn't there.
    """
    from headrace.codec.codecs import Codecs  # noqa: PLC0415  30 ms that only pipelines with files need
    from headrace.codec.values import File, Folder  # noqa: PLC0415  as above

    root = project.root
    found = root / Path(path).expanduser()
    there = found.is_file() if about == "file" else found.is_dir()
    if not there:
        raise ProjectError(
            f"there is no {about} `{path}`", hint=f"paths are relative to the project's folder, `{root}`"
        )
    inputs = Inputs(project.home / (MEMORY if region == HOME else f"inputs-{region}.msgpack"), store)
    known = inputs.recall(found)
    if known is not None and known.type == TYPES[about]:
        return known
    marks = marks_of(found)
    ref = Codecs().save(File(found) if about == "file" else Folder(found), store)
    inputs.remember(found, marks, ref)
    return ref


_FRESH_S = 2.0
"""A file that changed this shortly before it was kept may have changed since within one tick of its clock."""

Mark = tuple[str, int, int, int, int]
"""A file as the system describes it: its path, size, inode, and when its bytes and its entry changed (ns)."""
Memory = dict[str, tuple[list[Mark], Ref]]
_decode = msgspec.msgpack.Decoder(Memory).decode
_encode = msgspec.msgpack.Encoder().encode


class Inputs:
    """Remembers what was kept, in a file of the state folder; losing it costs a second copy, and no more."""

    def __init__(self, file: Path, store: Store) -> None:
        self._file = file
        self._store = store

    def recall(self, path: Path) -> Ref | None:
        """Return what a file or folder was kept as, if it is as it was then and the store still has it."""
        marks, ref = self._read().get(str(path), ([], None))
        if ref is None or marks != marks_of(path):
            return None
        return ref if all(self._renew(each) for each in blobs(ref)) else None

    def remember(self, path: Path, marks: list[Mark], ref: Ref) -> None:
        """Note what a file or folder was kept as; `marks` were taken before it was read."""
        newest = max((mark[3] for mark in marks), default=0) / 1e9
        if time.time() - newest < _FRESH_S or marks != marks_of(path):
            return
        memory = self._read()
        memory[str(path)] = marks, ref
        aside = self._file.with_suffix(f".{os.getpid()}")
        aside.write_bytes(_encode(memory))
        aside.replace(self._file)

    def _renew(self, ref: Ref) -> bool:
        """Make a blob young, so that the collector leaves it to the run that will name it; return whether it is there.

        In a bucket only the copy of this machine gets younger: a collector that is at work may still take what no run
        named when it began.
        """
        try:
            os.utime(self._store.path(ref.digest, ref.nonce or ""))
        except (OSError, StoreError):
            return False
        return self._store.size(ref.digest, ref.nonce or "") == ref.size

    def _read(self) -> Memory:
        try:
            return _decode(self._file.read_bytes())
        except (OSError, msgspec.MsgspecError):
            return {}


def marks_of(path: Path) -> list[Mark]:
    """Describe a file, or all files of a folder, without reading them."""
    files = [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
    found = []
    for file in files:
        state = file.stat()
        found.append((str(file), state.st_size, state.st_ino, state.st_mtime_ns, state.st_ctime_ns))
    return found
