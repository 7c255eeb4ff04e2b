"""A segment of the prediction log: what one writer logged for a while (answers, and feedback), in one SQLite file.

SQLite is used because it recovers from crashes. A batch is one transaction with a full sync (`synchronous=FULL`). If a
crash or a loss of power interrupts a transaction, its changes are undone when the file is opened next. Segments can be
read while they are written.

In a *buffered* segment, a batch is a transaction without a sync (`synchronous=NORMAL`), and `sync` is called from time
to time. A process that is killed loses nothing. A loss of power may lose the last batches since the last sync; the file
stays readable. See https://sqlite.org/pragma.html#pragma_synchronous.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import struct
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from headrace.errors import LogError
from headrace.serve.predictions.feedback import Feedback
from headrace.serve.predictions.prediction import Answered
from headrace.spec.endpoint import Label

FORMAT = 2
"""The number of the file format, which is stored in the file's `user_version`. Format 1 had no feedback."""
NO_END = (1 << 63) - 1
"""An offset that is larger than that of any prediction."""
SALTS = 1 << 63
"""A salt is stored minus this number, because SQLite's integers are signed."""

_FULL_SYNC: int | None = getattr(fcntl, "F_FULLFSYNC", None)
"""The command that syncs a file on macOS. `fsync` leaves the bytes in the disk's own cache there. None elsewhere."""
_OFD_LOCK: int | None = getattr(fcntl, "F_OFD_SETLK", None)
_SHARED = 0x40000002, 510
"""The bytes of a file that SQLite locks (https://sqlite.org/src/file/src/os.h): the first, and how many."""

_SCHEMA = f"""
CREATE TABLE about (writer TEXT NOT NULL, segment INTEGER NOT NULL, begun REAL NOT NULL);
CREATE TABLE answered (
    offset INTEGER PRIMARY KEY, count INTEGER NOT NULL, at REAL NOT NULL, endpoint TEXT NOT NULL,
    variant TEXT NOT NULL, version TEXT NOT NULL, form TEXT NOT NULL, given BLOB NOT NULL, answers BLOB,
    latency_s REAL NOT NULL, salt INTEGER NOT NULL, names BLOB, trace TEXT NOT NULL, why TEXT NOT NULL
);
CREATE TABLE feedback (
    number INTEGER PRIMARY KEY, at REAL NOT NULL, endpoint TEXT NOT NULL, source TEXT NOT NULL, labels BLOB NOT NULL
);
PRAGMA user_version = {FORMAT};
"""
_ADD = "INSERT INTO answered VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_READ = "SELECT * FROM answered WHERE offset >= ? ORDER BY offset"
_ADD_FEEDBACK = "INSERT INTO feedback (at, endpoint, source, labels) VALUES (?, ?, ?, ?)"
_READ_FEEDBACK = "SELECT at, endpoint, source, labels FROM feedback ORDER BY number"

_encode = msgspec.msgpack.Encoder().encode
_decode_names = msgspec.msgpack.Decoder(tuple[str, ...]).decode
_decode_labels = msgspec.msgpack.Decoder(tuple[tuple[str, Label], ...]).decode


class Logged(NamedTuple):
    """Answers in the log, and the offset of the first of them."""

    offset: int
    answered: Answered


class Segment:
    """One file of the log, as its only writer uses it. Only one thread may use it at a time."""

    def __init__(self, db: sqlite3.Connection, path: Path, writer: str, number: int, changes: int | None) -> None:
        self._db = db
        self._changes = changes
        self.path = path
        self.writer = writer
        self.number = number
        self.end = 0

    @classmethod
    def begin(cls, folder: Path, writer: str, number: int, *, now: float, is_buffered: bool = False) -> Segment:
        """Make an empty segment in a folder, as the file `NUMBER.db`. `now` is in Unix seconds. If it `is_buffered`, a
        batch is on disk only after the next `sync`; a process that is killed loses nothing.

        Raises:
            LogError: the file can't be made.
        """
        path, db = folder / f"{number:09}.db", None
        try:
            db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            db.execute("PRAGMA fullfsync=ON")  # for macOS, see `_FULL_SYNC`
            db.execute("BEGIN")
            for statement in filter(str.strip, _SCHEMA.split(";\n")):
                db.execute(statement)
            db.execute("INSERT INTO about VALUES (?, ?, ?)", (writer, number, now))
            db.execute("COMMIT")  # with a sync: the names of the file and of its log of changes are on disk
            changes = None
            if is_buffered:
                db.execute("PRAGMA synchronous=NORMAL")
                changes = os.open(f"{path}-wal", os.O_RDONLY | os.O_CLOEXEC)  # SQLite has no locks on this file
        except (sqlite3.Error, OSError) as error:
            _remove(path, db)
            raise _trouble(path, error) from error
        return cls(db, path, writer, number, changes)

    def append(self, batch: Sequence[Answered | Feedback]) -> list[int]:
        """Log answers and feedback, and return when all are on disk, or written if the segment is buffered. Return an
        offset for each entry of the batch: for answers, that of their first prediction; for feedback, that of the next
        prediction.

        Raises:
            LogError: the batch can't be written, and it isn't known which entries are on disk. Nothing more may be
                appended to this file, since a sync that failed can't be tried again: call `abandon`.
        """
        offsets, rows, told, end = [], [], [], self.end
        for each in batch:
            offsets.append(end)
            if isinstance(each, Feedback):
                told.append((each.at, each.endpoint, each.source, _encode(each.labels)))
                continue
            names = _encode(each.names) if each.names else None
            rows.append((
                end, each.count, each.at, each.endpoint, each.variant, each.version, each.form, each.given,
                each.answers, each.latency_s, each.salt - SALTS, names, each.trace, each.why,
            ))  # fmt: skip
            end += each.count
        try:
            self._db.execute("BEGIN")
            self._db.executemany(_ADD, rows)
            self._db.executemany(_ADD_FEEDBACK, told)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise _trouble(self.path, error) from error
        self.end = end
        return offsets

    def sync(self) -> None:
        """Return once all that was appended to a buffered segment is on disk.

        Raises:
            LogError: the sync failed. Nothing more may be appended, see `append`.
        """
        assert self._changes is not None, "only a buffered segment is synced apart"
        try:
            _sync(self._changes)  # what is in the file itself was synced by the checkpoint that put it there
        except OSError as error:
            raise _trouble(self.path, error) from error

    def close(self) -> bool:
        """Close the file, so that nothing more is appended. Return whether the file itself contains everything that was
        appended. If it doesn't, some entries are in SQLite's log of changes (the file `-wal`), so the file must keep
        its name."""
        try:
            busy, *_ = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error:  # the disk is full, say
            self.abandon()
            return False
        self._end()
        return not busy  # busy: somebody reads the log of changes

    def abandon(self) -> None:
        """Close the file as it is, after something failed. SQLite would sync its log of changes again and copy changes
        from there without a look, but after a failed sync it isn't known which of them are on the disk. Who opens the
        file next looks at each change, and takes those that are whole."""
        with _unchanged(self._db, self.path):
            self._end()

    def _end(self) -> None:
        with suppress(sqlite3.Error):
            self._db.close()
        if self._changes is not None:
            with suppress(OSError):
                os.close(self._changes)


class Contents(NamedTuple):
    """The contents of a segment's file. `begun` is when the segment was begun, in Unix seconds."""

    writer: str
    number: int
    begun: float
    logged: tuple[Logged, ...]
    feedback: tuple[Feedback, ...] = ()


def read(path: Path, *, first: int = 0) -> Contents:
    """Return a segment's predictions from the offset `first` on, and all of its feedback. The segment may still be
    written to. If nothing was ever written to it, the contents are empty.

    Raises:
        LogError: the file can't be read, or isn't a segment in a format that this release knows.
    """
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as db:
            (form,) = db.execute("PRAGMA user_version").fetchone()
            if form == 0 and db.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
                return Contents("", 0, 0.0, ())  # its writer was stopped, or the disk was full, before it had begun
            if form not in (1, FORMAT):
                raise _trouble(path, f"its format is {form}, and this release reads formats 1 to {FORMAT}")
            db.execute("BEGIN")  # all of it as it is at one moment
            writer, number, begun = db.execute("SELECT writer, segment, begun FROM about").fetchone()
            logged = tuple(_logged(db.execute(_READ, (first,))))
            told = () if form == 1 else tuple(_feedback(db.execute(_READ_FEEDBACK)))
            return Contents(writer, number, begun, logged, told)
    except sqlite3.Error as error:
        raise _trouble(path, error) from error


def _logged(rows: sqlite3.Cursor) -> Iterator[Logged]:
    for offset, count, at, endpoint, variant, version, form, given, answers, latency_s, salt, names, trace, why in rows:
        yield Logged(
            offset,
            Answered(
                count=count,
                at=at,
                endpoint=endpoint,
                variant=variant,
                version=version,
                form=form,
                given=given,
                answers=answers,
                latency_s=latency_s,
                salt=salt + SALTS,
                names=_decode_names(names) if names else (),
                trace=trace,
                why=why,
            ),
        )


def _feedback(rows: sqlite3.Cursor) -> Iterator[Feedback]:
    for at, endpoint, source, labels in rows:
        yield Feedback(endpoint=endpoint, source=source, at=at, labels=_decode_labels(labels))


def _sync(descriptor: int) -> None:
    if _FULL_SYNC is None:
        os.fsync(descriptor)
    else:
        fcntl.fcntl(descriptor, _FULL_SYNC)


def _remove(path: Path, db: sqlite3.Connection | None) -> None:
    """Delete a file that couldn't be made. While a disk is full, each batch tries to make one."""
    if db is not None:
        with suppress(sqlite3.Error):
            db.close()
    for beside in ("", "-wal", "-shm"):
        with suppress(OSError):
            path.with_name(path.name + beside).unlink()


@contextmanager
def _unchanged(db: sqlite3.Connection, path: Path) -> Iterator[None]:
    """Let the caller close a file so that SQLite doesn't copy the log of changes into it. Python 3.11 has no setting
    for this. There, SQLite is told by a lock that somebody else uses the file, if the system has such locks."""
    with ExitStack() as held:
        with suppress(sqlite3.Error, OSError):
            if sys.version_info >= (3, 12):
                db.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE)
            elif _OFD_LOCK is not None:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                held.callback(os.close, descriptor)
                fcntl.fcntl(descriptor, _OFD_LOCK, struct.pack("hhqqi", fcntl.F_RDLCK, os.SEEK_SET, *_SHARED, 0))
        yield


def _trouble(path: Path, why: object) -> LogError:
    return LogError(
        f"the prediction log `{path}` can't be used: {why}",
        hint="check the folder's rights and the free space of its disk",
    )
