"""The ledger in an SQLite file: opens and creates it, checks its version, and turns SQLite's errors into ours.

SQLAlchemy and Alembic take 0.2 s and more to import. So an empty ledger is created with the statements of `ledger.sql`,
and SQLAlchemy and Alembic are imported only to migrate an older ledger.
"""

from __future__ import annotations

import os
import pwd
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from headrace.errors import NO_PLACE, LedgerDamaged, LedgerError, LedgerUnreachable, LedgerVersionError
from headrace.ledger.database.address import refuse_other
from headrace.ledger.database.database import Unmet
from headrace.ledger.database.lease_files import FileLeases
from headrace.ledger.database.schema import SCHEMA
from headrace.ledger.database.statements import statements

T = TypeVar("T")

TIMEOUT_S = 10.0
"""How many seconds a write waits for another process's transaction. Transactions of Headrace take milliseconds, except
an import, which is one transaction: 200,000 rows take 0.4 s of processor time (`docs/upkeep.md`)."""

APPLICATION = 0x48524C47  # "HRLG" in the file's header


class SqliteDatabase:
    """A connection to a ledger's file (`ledger.database.database.Database`). Its lease files are in a folder next to
    the file."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self.path = path
        self.name = str(path)
        self.sql = statements("sqlite")
        self.leases = FileLeases(path.parent / "leases")
        self.execute = db.execute
        self.executemany = db.executemany
        self._db = db
        self._troubles = Troubles(path)

    def lookups(self, text: str, rows: Sequence[Sequence[Any]], /) -> list[Any]:
        """Run a query once for each row of parameters. Return the first row of each result, or None for a result
        without rows."""
        return [self._db.execute(text, row).fetchone() for row in rows]

    def require(self, text: str, parameters: Sequence[Any] = (), /) -> None:
        """Run a statement; raise `Unmet` if it finds or changes no row."""
        found = self._db.execute(text, parameters)
        if found.rowcount < 1 and found.fetchone() is None:
            raise Unmet

    def transaction(self, *, durable: bool = True) -> _Transaction:
        """Return a context in which all statements take effect together or not at all. SQLite lets one transaction
        write at a time."""
        return _Transaction(self._db, durable=durable)

    def atomically(
        self, work: Callable[[], T], *, durable: bool = True, done: Callable[[], T | None] | None = None
    ) -> T:
        """Run `work` in a transaction and return its value. `work` runs only once, since the connection to a file
        doesn't break."""
        del done
        with _Transaction(self._db, durable=durable):
            return work()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Return a context in which all reads see the database at one moment."""
        self.end_reading()
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self.end_reading()

    def begin_reading(self) -> None:
        """Begin a transaction that lookups share. If each lookup had its own transaction, lookups would take twice as
        long."""
        if not self._db.in_transaction:
            self._db.execute("BEGIN")

    def end_reading(self) -> None:
        """End the transaction that `begin_reading` began."""
        if self._db.in_transaction:
            self._db.execute("COMMIT")

    def troubles(self) -> AbstractContextManager[None]:
        """Return a context that turns SQLite's exceptions into our errors, with a hint."""
        return self._troubles

    def is_there(self) -> bool:
        """Return whether the file still exists. Writes to a removed file that is still open would be lost."""
        return self.path.exists()

    def user(self) -> str:
        """Return the name of the operating system's user."""
        return os_user()

    def now(self) -> float:
        """Return this machine's time, in Unix seconds."""
        return time.time()

    def problems(self, *, deep: bool) -> list[str]:
        """Return the faults that SQLite's integrity check finds in the file, and the tables that can't be read."""
        try:
            rows = self._db.execute("PRAGMA integrity_check" if deep else "PRAGMA quick_check").fetchall()
        except sqlite3.DatabaseError as error:
            return [str(error), *unreadable(self.path)]
        texts = [text for (text,) in rows if text != "ok"]
        return [*texts, *unreadable(self.path)] if texts else []

    def purge(self) -> str | None:
        """Write the file anew, without the bytes of deleted and overwritten rows, and empty its log of changes."""
        end = time.monotonic() + TIMEOUT_S
        self.end_reading()
        self._db.execute("VACUUM")
        while self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:  # somebody reads an older state
            if time.monotonic() > end:
                return f"another process reads the ledger `{self.name}`, so its file has old rows until it ends"
            time.sleep(0.05)
        return None

    def hurry(self) -> None:
        """Do nothing: access to a file has no wait to cut short."""

    def close(self) -> None:
        """Close the file."""
        self._db.close()


class _Transaction:
    """A context for one transaction: it commits at the end, or rolls back on an exception."""

    def __init__(self, db: sqlite3.Connection, *, durable: bool) -> None:
        self._db = db
        self._durable = durable

    def __enter__(self) -> None:
        db = self._db
        if db.in_transaction:
            db.execute("COMMIT")  # the transaction that lookups shared
        if not self._durable:
            db.execute("PRAGMA synchronous=NORMAL")
        db.execute("BEGIN IMMEDIATE")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        db = self._db
        try:
            if kind is None:
                db.execute("COMMIT")
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")
            if not self._durable:
                db.execute("PRAGMA synchronous=FULL")


def connect(path: Path, *, project: str = "") -> SqliteDatabase:
    """Return a connection to the ledger at `path`. A missing ledger is created, an older one is migrated.

    Raises:
        LedgerVersionError: a newer Headrace wrote the ledger.
        LedgerError: the ledger can't be read or created, or the file isn't a ledger.
    """
    with Troubles(path):
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))  # SQLite gives its extra files the same mode
        return _checked(_open(path), path, project)


def connect_to_read(path: Path, *, project: str = "") -> SqliteDatabase:
    """Return a connection to read the ledger at `path`. This works even if the user may not write the file and no other
    process has it open."""
    if (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)) or path.with_name(f"{path.name}-wal").exists():
        found = connect(path, project=project)
        # A small cache: most pages are read once, and getting fresh memory for a page takes longer than reading it.
        found.execute("PRAGMA cache_size=-2048")
        return found
    with Troubles(path):
        # Without `immutable`, which says that the file never changes, SQLite would create its log beside the file.
        db = sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True, isolation_level=None, check_same_thread=False)
        return _checked(db, path, project)


def nothing(path: Path = Path()) -> SqliteDatabase:
    """Return an empty ledger in memory, to be shown in place of a ledger that doesn't exist."""
    db = sqlite3.connect(":memory:", isolation_level=None)
    for statement in statements("sqlite").create:
        db.execute(statement)
    return SqliteDatabase(db, path)


def _checked(db: sqlite3.Connection, path: Path, project: str) -> SqliteDatabase:
    try:
        _check(db, path)
        if project:
            _check_project(db, path, project)
    except BaseException:
        db.close()
        raise
    return SqliteDatabase(db, path)


def unreadable(path: Path) -> list[str]:
    """Return a text for each table of a damaged ledger that can't be read to its end: the table's name and the
    reason."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")]
            return [f"table `{each}` can't be read: {why}" for each in tables if (why := _why_unreadable(db, each))]
    except _UNREADABLE as error:
        return [f"no table can be read: {error}"]


def _why_unreadable(db: sqlite3.Connection, table: str) -> str | None:
    try:
        for _ in db.execute(f'SELECT * FROM "{table}" NOT INDEXED'):
            pass
    except _UNREADABLE as error:
        return _said(error)
    return None


def _said(error: Exception) -> str:
    return str(error).partition(" with text")[0]  # the bytes themselves follow


_UNREADABLE = (sqlite3.Error, UnicodeDecodeError)
"""The exceptions that a damaged file causes. `UnicodeDecodeError` comes when SQLite's message quotes damaged bytes."""


class Troubles:
    """A context that turns SQLite's exceptions into our errors, with a hint. The context is used for every lookup, so
    one object may be entered many times."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, _UNREADABLE):
            raise trouble(error, self._path) from error
        if isinstance(error, OSError):
            kind = LedgerUnreachable if error.errno in NO_PLACE else LedgerError
            raise kind(
                f"the ledger `{self._path}` can't be opened: {error.strerror}",
                hint="check that its folder is there and can be written to",
            ) from error


def trouble(error: sqlite3.Error | UnicodeDecodeError, path: Path) -> LedgerError:
    """Return our error for an SQLite exception, with a message and a hint for the user."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the higher bits only add detail
    if code == sqlite3.SQLITE_ERROR:  # our statements are right, so a table is missing or has other columns
        return LedgerDamaged(
            f"the ledger `{path}` isn't in the expected form: {_said(error)}",
            hint="`headrace fsck` says whether it is damaged; if another release has changed it, use that release",
        )
    if code == sqlite3.SQLITE_CORRUPT or _NO_TEXT in str(error):
        return LedgerDamaged(
            f"the ledger `{path}` is damaged: {_said(error)}",
            hint=f"move `{path}*` away, then restore a backup (`headrace restore`);"
            " `headrace fsck` names what can't be read",
        )
    what, hint = _TROUBLES.get(code, (f"failed: {error}", "`headrace fsck` checks it"))
    kind = LedgerUnreachable if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY) else LedgerError
    return kind(f"the ledger `{path}` {what}", hint=hint)


_NO_TEXT = "decode"
"""A word in the message of the exception that Python raises if stored text can't be decoded. This exception has no
error code."""

_TROUBLES = {
    sqlite3.SQLITE_BUSY: (
        f"has been locked by another process for more than {TIMEOUT_S:g} s",
        "wait for that process, such as a large `headrace ledger import`; `fuser` lists those that have the file open",
    ),
    sqlite3.SQLITE_READONLY: (
        "can't be written to",
        "make the file and its folder writable, or set HEADRACE_HOME to a writable folder",
    ),
    sqlite3.SQLITE_FULL: ("can't grow: the disk is full", "free some space there, then try again, or resume the run"),
    sqlite3.SQLITE_IOERR: (
        "can't be read or written: the disk gave an error",
        "check the disk and its free space, then try again, or resume the run",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "can't be opened",
        "check that its folder is there and can be written to",
    ),
    sqlite3.SQLITE_NOTADB: (
        "is damaged, or isn't a ledger: it is not an SQLite database",
        "move it away; then restore a backup (`headrace restore`), or begin a new one",
    ),
    sqlite3.SQLITE_CONSTRAINT: (
        "already has the row that this process wanted to add: another process added it first",
        "try again",
    ),
}


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=256)
    try:
        # FULL: committed data survives a power failure. The cache (16 MiB, given in KiB) holds a large run's tasks.
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA cache_size=-16384")
    except BaseException:
        db.close()
        raise
    return db


def _check(db: sqlite3.Connection, path: Path) -> None:
    version = _number(db, "user_version")
    if version == SCHEMA and _number(db, "application_id") == APPLICATION:
        return
    if version == 0 and _is_empty(db):
        _create(db, path)
        return
    if _number(db, "application_id") != APPLICATION:
        raise LedgerError(
            f"`{path}` is a database of another program", hint="move it away, or set HEADRACE_HOME to another folder"
        )
    if version > SCHEMA:
        raise LedgerVersionError(
            f"the ledger `{path}` was written by a newer Headrace (its version is {version}, ours {SCHEMA})",
            hint="upgrade Headrace here: pip install --upgrade headrace",
        )
    # Imported here because it takes 0.3 s and is rarely needed.
    from headrace.ledger.database.migrate import migrate_file  # noqa: PLC0415

    migrate_file(path)


def _check_project(db: sqlite3.Connection, path: Path, project: str) -> None:
    """Record this project as the ledger's owner if the ledger has none; refuse any other owner."""
    sql = statements("sqlite")
    about = dict(db.execute(sql.ABOUT))
    if "project" not in about:
        with suppress(sqlite3.OperationalError):  # a read-only ledger stays without an owner
            db.execute(sql.PUT_ABOUT, ("project", project))
    refuse_other(str(path), about.get("project", project), project)


def _create(db: sqlite3.Connection, path: Path) -> None:
    """Create the tables of an empty ledger. If several processes try at the same time, only the first one creates the
    tables."""
    _use_wal(db)
    db.execute("BEGIN IMMEDIATE")
    try:
        if _is_empty(db):
            for statement in statements("sqlite").create:
                db.execute(statement)
            db.execute(f"PRAGMA application_id={APPLICATION}")
            db.execute(f"PRAGMA user_version={SCHEMA}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    for folder in (path.parent, path.parent.parent):
        _sync(folder)


def _use_wal(db: sqlite3.Connection) -> None:
    """Switch to a write-ahead log. For the statement that does this, SQLite doesn't wait for other processes, so the
    statement is tried again for up to `TIMEOUT_S`."""
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


def os_user() -> str:
    """Return the name of the operating system's user that this process runs as."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # as in a container, for a number that has no name there
        return f"uid {os.geteuid()}"
