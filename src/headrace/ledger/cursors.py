"""Advances a cursor outside of runs, for a user. The cursor gets a new version, as when a task advances it."""

from __future__ import annotations

from contextlib import closing

import msgspec

from headrace.errors import NotFoundError, UsageError
from headrace.ledger import generations, records
from headrace.ledger.database.database import Database
from headrace.ledger.ledger import Ledger
from headrace.ledger.registration import lock
from headrace.spec.artifact import Ref
from headrace.spec.intent import Advance

_encode_ref = msgspec.msgpack.Encoder().encode


def advance(ledger: Ledger, wanted: Advance, *, by: str) -> None:
    """Add the next version of a cursor outside of runs, if `wanted.version` is still the cursor's latest version.

    A run that has read `wanted.version` may still be active. If a task of that run advances the cursor later, the task
    succeeds, but the value that it sets is dropped, and the run shows a note.

    Raises:
        UsageError: the cursor has a newer version by now.
        NotFoundError: a part of the value was erased; or the garbage collector no longer keeps the value, and may be
            deleting it.
        LedgerError: the ledger can't be written.
    """
    name, version, value = wanted.name, wanted.version, _encode_ref(wanted.value)

    def work(db: Database) -> None:
        lock(db)  # so that a collector waits before it removes the last reference to the value
        latest, _ = db.execute(db.sql.CURSOR, (name,)).fetchone() or (0, b"")
        if latest != version:
            raise _moved(name, version)
        if not generations.kept(db, [wanted.value])[0]:
            is_erased = records.has_erased(wanted.value, records.erased(db))
            raise given_up(name, wanted.value, is_erased=is_erased)
        db.execute(db.sql.MOVE_CURSOR, (name, version + 1, value, None, None, ledger.now(), by))
        if not _is_stored(db):  # another process was quicker, after the check above
            raise _moved(name, version)

    def _is_stored(db: Database) -> bool:
        row = db.execute(db.sql.CURSOR_VALUE, (name, version + 1)).fetchone()
        return row is not None and row[0] == value and row[1] is None

    with closing(ledger.connect()) as db, db.troubles():
        db.atomically(lambda: work(db), done=lambda: True if _is_stored(db) else None)


def given_up(name: str, value: Ref, *, is_erased: bool) -> NotFoundError:
    """Return the error for a cursor's value that was erased, or that the garbage collector no longer keeps."""
    why = "`headrace erase` erased a part of it" if is_erased else "`headrace gc` deleted it"
    return NotFoundError(
        f"the value of cursor `{name}`, {value.digest[:12]}, is no longer kept: {why}",
        hint=f"name a version whose value is kept (`headrace cursors {name}` lists them), or give the value itself",
    )


def _moved(name: str, version: int) -> UsageError:
    return UsageError(
        f"cursor `{name}` has moved on from version {version} in the meantime; nothing was changed",
        hint=f"`headrace cursors {name}` shows who moved it",
    )
