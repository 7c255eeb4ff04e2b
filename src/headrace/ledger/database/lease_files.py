"""The lease of a run on one machine: a lock on a file. The kernel frees the lock when the driver's process ends.

No clock is used, so a clock that jumps ends no lease. The lock prevents two drivers from driving the same run. If the
lock fails, the run's epoch protects the run: every write checks the epoch. If the driver forks a process while it holds
the lock, the new process holds the lock too, until it ends or calls `exec`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from headrace.errors import NO_PLACE, LeaseHeld, LedgerError, LedgerUnreachable
from headrace.ledger.database.leases import Holder, refusal
from headrace.spec.noun import UNREADABLE

PATIENCE_S = 0.1
"""How many seconds a driver tries to take a lock. One try isn't enough, since a process that only checks a lock also
holds it, for some microseconds."""


class FileLease:
    """The lock that this process holds on one run's file. `FileLeases.acquire` makes it."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    def renew(self) -> None:
        """Do nothing: the kernel knows that this process is alive."""

    def check(self) -> None:
        """Do nothing: while this process lives, the kernel gives the lock to no other process."""

    def release(self) -> None:
        """Free the lock and remove its file. A second call does nothing."""
        if self._descriptor < 0:
            return
        with contextlib.suppress(OSError):
            if _is_at(self._descriptor, self._path):
                self._path.unlink()  # still locked: a process that has it open will see that the path is gone
        os.close(self._descriptor)
        self._descriptor = -1


class FileLeases:
    """The leases of a ledger, kept as locked files in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def acquire(self, run: str, name: str = "", *, is_patient: bool = True) -> FileLease:
        """Take a run's lease for this process, and return it. If another process holds the lease, raise `LeaseHeld`: at
        once if `is_patient` is False, otherwise after `PATIENCE_S`."""
        path = self._path(run)
        try:
            while True:
                descriptor = _open(path)
                if not _lock(descriptor, PATIENCE_S if is_patient else 0):
                    holder = _read(descriptor)
                    os.close(descriptor)
                    raise refusal(run, holder)
                if _is_at(descriptor, path):
                    _write(descriptor, Holder(os.getpid(), os.uname().nodename, time.time(), name))
                    return FileLease(path, descriptor)
                os.close(descriptor)  # the previous holder has removed this file meanwhile
        except OSError as error:
            kind = LedgerUnreachable if error.errno in NO_PLACE else LedgerError
            raise kind(
                f"the lock `{path}` can't be taken: {error.strerror}",
                hint="check that the folder can be written to and that its disk has room",
            ) from error

    def holder(self, run: str) -> Holder | None:
        """Return the holder of a run's lease, or None if nobody holds it."""
        try:
            descriptor = os.open(self._path(run), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError:
            return Holder(0, "", 0.0)  # unknown, so the lease must not count as free
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _read(descriptor) or Holder(0, "", 0.0)
        else:
            return None
        finally:
            os.close(descriptor)

    def held(self, runs: Iterable[str]) -> set[str]:
        """Return which of the given runs have a held lease."""
        return {run for run in runs if self.holder(run) is not None}

    def all(self) -> Iterator[str]:
        """Yield the names of all held leases."""
        return (name for name in self._names() if self.holder(name) is not None)

    def tidy(self) -> None:
        """Delete the lock files of holders that have ended."""
        for name in self._names():
            with contextlib.suppress(LeaseHeld):
                self.acquire(name, is_patient=False).release()

    def _path(self, run: str) -> Path:
        return self.folder / f"{run}.lock"

    def _names(self) -> list[str]:
        return [path.stem for path in self.folder.glob("*.lock")] if self.folder.is_dir() else []


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o644)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, flags, 0o644)


def _lock(descriptor: int, patience_s: float) -> bool:
    end = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            time.sleep(0.005)
        else:
            return True


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _write(descriptor: int, holder: Holder) -> None:
    """Write the holder into its lock file. If the disk is full, write nothing, but keep the lock: `headrace gc`, which
    frees space, needs a lock too."""
    os.ftruncate(descriptor, 0)
    try:
        os.pwrite(descriptor, msgspec.json.encode(holder), 0)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise


def _read(descriptor: int) -> Holder | None:
    try:
        return msgspec.json.decode(os.pread(descriptor, 4096, 0), type=Holder)
    except (OSError, *UNREADABLE):
        return None  # another process is writing the file
