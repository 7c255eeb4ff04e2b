"""The ledger's file: opened, made, held against its version, and its troubles put into words.

SQLAlchemy and Alembic cost 0.2 s and more to import, so an empty ledger is made from the generated text, and only
an older one, which has to be migrated, loads them.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headrace.errors import LedgerError, LedgerVersionError
from headrace.record import statements

TIMEOUT_S = 10.0
"""How long a write waits for another process's transaction; ours take milliseconds."""

APPLICATION = 0x48524C47  # "HRLG" in the file's header


def connect(path: Path) -> sqlite3.Connection:
    """Open the ledger at `path`, making or migrating it where needed.

    Raises:
        LedgerVersionError: a newer Headrace wrote it.
        LedgerError: it can't be read or made, or isn't a ledger.
    """
    with troubles(path):
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
        db = _open(path)
        try:
            _check(db, path)
        except BaseException:
            db.close()
            raise
        return db


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open the ledger at `path` to look at it, even where it can't be written to and nobody does."""
    if (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)) or path.with_name(f"{path.name}-wal").exists():
        db = connect(path)
        db.execute("PRAGMA cache_size=-2048")  # most is read once: fresh memory for each page takes longer than reading
        return db
    with troubles(path):
        # SQLite wants to make its log beside the file, unless it is told that nothing will change.
        db = sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True, isolation_level=None, check_same_thread=False)
        try:
            _check(db, path)
        except BaseException:
            db.close()
            raise
        return db


@contextmanager
def troubles(path: Path) -> Iterator[None]:
    """Turn what SQLite raises into an error of ours with a hint."""
    try:
        yield
    except sqlite3.Error as error:
        raise trouble(error, path) from error
    except OSError as error:
        raise LedgerError(
            f"the ledger `{path}` can't be opened: {error.strerror}",
            hint="check that its folder is there and can be written to",
        ) from error


def trouble(error: sqlite3.Error, path: Path) -> LedgerError:
    """Say what an error of SQLite's means for the user."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest of it is detail
    what, hint = _TROUBLES.get(code, (f"failed: {error}", "`headrace fsck` checks it"))
    return LedgerError(f"the ledger `{path}` {what}", hint=hint)


_TROUBLES = {
    sqlite3.SQLITE_BUSY: (
        f"has been locked by another process for more than {TIMEOUT_S:g} s",
        "find what holds it (`fuser` names processes that have a file open), or try again",
    ),
    sqlite3.SQLITE_READONLY: (
        "can't be written to",
        "make the file and its folder writable, or move the state by HEADRACE_HOME",
    ),
    sqlite3.SQLITE_FULL: ("can't grow: the disk is full", "free some space there, then resume the run"),
    sqlite3.SQLITE_IOERR: (
        "can't be read or written: the disk gave an error",
        "check the disk and its free space, then resume the run",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "can't be opened",
        "check that its folder is there and can be written to",
    ),
    sqlite3.SQLITE_NOTADB: (
        "is damaged, or is no ledger: it is no SQLite database",
        "restore it from a backup, or move it away to begin a new one",
    ),
    sqlite3.SQLITE_CONSTRAINT: (
        "already holds what was to be added: another process was first",
        "try again",
    ),
    sqlite3.SQLITE_CORRUPT: (
        "is damaged",
        "restore it from a backup; `headrace fsck` says how much of it can be read",
    ),
}


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=256)
    # FULL: what was committed survives the loss of power. The cache takes the tasks of a large run (in KiB).
    db.execute("PRAGMA synchronous=FULL")
    db.execute("PRAGMA cache_size=-16384")
    return db


def _check(db: sqlite3.Connection, path: Path) -> None:
    version = _number(db, "user_version")
    if version == statements.SCHEMA and _number(db, "application_id") == APPLICATION:
        return
    if version == 0 and _is_empty(db):
        _create(db, path)
        return
    if _number(db, "application_id") != APPLICATION:
        raise LedgerError(
            f"`{path}` is a database of another program", hint="move it away, or the state by HEADRACE_HOME"
        )
    if version > statements.SCHEMA:
        raise LedgerVersionError(
            f"the ledger `{path}` was written by a newer Headrace (its version is {version}, ours {statements.SCHEMA})",
            hint="upgrade Headrace here: pip install --upgrade headrace",
        )
    # 0.3 s, and hardly ever needed.
    from headrace.record.migrate import migrate  # noqa: PLC0415

    migrate(path)


def _create(db: sqlite3.Connection, path: Path) -> None:
    """Make the tables of an empty ledger, once, whoever comes first."""
    _use_wal(db)
    db.execute("BEGIN IMMEDIATE")
    try:
        if _is_empty(db):
            for statement in statements.CREATE:
                db.execute(statement)
            db.execute(f"PRAGMA application_id={APPLICATION}")
            db.execute(f"PRAGMA user_version={statements.SCHEMA}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    for folder in (path.parent, path.parent.parent):
        _sync(folder)


def _use_wal(db: sqlite3.Connection) -> None:
    """Switch to a write-ahead log; SQLite doesn't wait for others here, so this does."""
    end = time.monotonic() + TIMEOUT_S
    while True:
        try:
            db.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(0.01)
        else:
            return


def _number(db: sqlite3.Connection, pragma: str) -> int:
    found: int = db.execute(f"PRAGMA {pragma}").fetchone()[0]
    return found


def _is_empty(db: sqlite3.Connection) -> bool:
    found: int = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    return found == 0


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
