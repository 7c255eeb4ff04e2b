"""The checker: whether ledger and store hold what they should, as findings with a reason.

    found = Checker(ledger, store).check(repair=True)
    [problem.what for problem in found.problems]

Repair keeps results whose blobs are missing or damaged from being reused, so that what made them runs again. What a run
itself holds of them stays as it is: nobody can give it back.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import msgspec
from msgspec import Struct

from headrace.errors import BlobDamaged, BlobMissing, LeaseHeld, LedgerError
from headrace.record import lease
from headrace.record import statements as sql
from headrace.record.database import connect, troubles
from headrace.record.gc import COLLECTOR, GRACE_S
from headrace.record.names import Generation, Names, RunRecord
from headrace.record.ports import Blobs
from headrace.record.sqlite import SqliteLedger
from headrace.run.events import Renewed, Reused, Succeeded, decode_event

GOOD = frozenset(("succeeded", "reused"))
SHOWN = 3


class Problem(Struct, frozen=True, kw_only=True):
    """Something is not as it should be. `about` is `ledger`, `run`, `blob` or `result`; `mended` says what was done."""

    about: str
    subject: str
    what: str
    hint: str
    mended: str | None = None


class Checked(Struct, frozen=True, kw_only=True):
    """What was looked at, and what is wrong. Drafts and orphans are no fault: the collector deletes them."""

    problems: tuple[Problem, ...]
    runs: int
    blobs: int
    bytes: int
    is_deep: bool
    drafts: int
    draft_bytes: int
    orphans: int
    orphan_bytes: int


class Checker:
    """Checks a ledger and a store. Drivers may go on meanwhile; the collector may not."""

    def __init__(self, ledger: SqliteLedger, store: Blobs) -> None:
        self._ledger = ledger
        self._store = store

    def check(self, *, deep: bool = False, repair: bool = False, now: float) -> Checked:
        """Check what the ledger says of itself, and that each blob it names is there with its size; `deep` reads them
        all and holds their bytes against their digests."""
        try:
            held = lease.acquire(self._ledger.leases, COLLECTOR)
        except LeaseHeld as error:
            raise LedgerError("the collector is at work", hint="wait until it ends") from error
        try:
            with troubles(self._ledger.path):
                db = connect(self._ledger.path)
                try:
                    return self._check(db, deep=deep, repair=repair, now=now)
                finally:
                    db.close()
        finally:
            held.release()

    def _check(self, db: sqlite3.Connection, *, deep: bool, repair: bool, now: float) -> Checked:
        problems = list(_integrity(db, deep=deep))
        if problems:  # its pages can't be trusted, so neither can what they name
            return _checked(problems, is_deep=deep)
        names = Names(db)
        for run in names.runs:
            problems += _check_run(db, run)
        sizes = names.sizes
        bad = dict(self._bad(sizes, deep=deep))
        problems += [*_blobs(names, bad), *_results(db, names, bad, repair=repair)]
        edge = now - GRACE_S
        found = self._store.blobs()
        orphans = [blob.size for blob in found if (blob.digest, blob.nonce) not in sizes and blob.modified < edge]
        drafts = [stray.size for stray in self._store.strays() if stray.modified < edge]
        return _checked(
            problems, is_deep=deep, runs=len(names.runs), sizes=list(sizes.values()), orphans=orphans, drafts=drafts
        )

    def _bad(self, sizes: Mapping[Generation, int], *, deep: bool) -> Iterator[tuple[Generation, str]]:
        """Give the generations that runs name and that are missing or damaged, each with what is wrong."""
        for (digest, nonce), size in sizes.items():
            found = self._store.size(digest, nonce)
            if found is None:
                yield (digest, nonce), "it is missing from the store"
            elif found != size:
                yield (digest, nonce), f"it has {found} bytes in the store, and had {size}"
            elif deep:
                try:
                    self._store.verify(digest, nonce)
                except (BlobDamaged, BlobMissing) as error:
                    yield (digest, nonce), error.message


def _checked(
    problems: Sequence[Problem],
    *,
    is_deep: bool,
    runs: int = 0,
    sizes: Sequence[int] = (),
    orphans: Sequence[int] = (),
    drafts: Sequence[int] = (),
) -> Checked:
    return Checked(
        problems=tuple(problems),
        runs=runs,
        blobs=len(sizes),
        bytes=sum(sizes),
        is_deep=is_deep,
        drafts=len(drafts),
        draft_bytes=sum(drafts),
        orphans=len(orphans),
        orphan_bytes=sum(orphans),
    )


def _integrity(db: sqlite3.Connection, *, deep: bool) -> Iterator[Problem]:
    """Ask SQLite whether its file is whole."""
    try:
        found = [text for (text,) in db.execute("PRAGMA integrity_check" if deep else "PRAGMA quick_check")]
    except sqlite3.DatabaseError as error:
        found = [str(error)]
    for text in found:
        if text != "ok":
            yield Problem(
                about="ledger", subject="its file", what=f"is damaged: {text}", hint="restore it from a backup"
            )


def _check_run(db: sqlite3.Connection, run: RunRecord) -> Iterator[Problem]:
    """Hold a run's events against their numbers and its rows against its events, in one snapshot."""
    db.execute("BEGIN")
    try:
        count, first, last = db.execute(sql.EVENT_SPAN, (run.number,)).fetchone()
        if count and (first, last) != (0, count - 1):
            yield Problem(
                about="run",
                subject=run.id,
                what=f"holds {count} events, numbered {first} to {last}: some are lost",
                hint="it can be looked at, but not resumed: run its pipeline again",
            )
        ended = {}
        try:
            ended = _endings(db, run.number)
        except msgspec.MsgspecError as error:
            yield Problem(
                about="run",
                subject=run.id,
                what=f"has an event that can't be read: {error}",
                hint="it can be looked at, but not resumed: run its pipeline again",
            )
        rows = {row[1]: (row[5], row[15]) for row in db.execute(sql.TASK_ROWS, (run.number,)).fetchall()}
    finally:
        db.execute("ROLLBACK")
    for task, digest in ended.items():
        state, has = rows.get(task, ("missing", None))
        if state not in GOOD or has != digest:
            yield Problem(
                about="run",
                subject=f"{run.id} {task}",
                what=f"has the row of a {state} task, while its events say that it gave `{digest[:12]}`",
                hint="`headrace resume` writes its rows anew",
            )


def _endings(db: sqlite3.Connection, run: int) -> dict[str, str]:
    """Give the tasks that have an output by the events of the latest trace, each with its digest."""
    found: dict[str, str] = {}
    for _, body in db.execute(sql.EVENTS_FROM, (run, 0, -1)):
        event = decode_event(body)
        if isinstance(event, Succeeded | Reused):
            found[event.task] = event.out.digest
        elif isinstance(event, Renewed):
            found.clear()
    return found


def _blobs(names: Names, bad: Mapping[Generation, str]) -> Iterator[Problem]:
    runs = {run.number: run.id for run in names.runs}
    users: dict[Generation, list[str]] = defaultdict(list)
    for number, named in names.by_run.items():
        for generation in named.keys() & bad.keys():
            users[generation].append(runs.get(number, "a run that is gone"))
    for (digest, nonce), what in bad.items():
        by = users[digest, nonce]
        more = f" and {len(by) - SHOWN} more" if len(by) > SHOWN else ""
        yield Problem(
            about="blob",
            subject=f"{digest}.{nonce}",
            what=f"{what}; named by {', '.join(f'`{run}`' for run in by[:SHOWN])}{more}",
            hint="run what made it again",
        )


def _results(db: sqlite3.Connection, names: Names, bad: Mapping[Generation, str], *, repair: bool) -> Iterator[Problem]:
    for result in names.results:
        why = next((bad[each] for each in result.needs if each in bad), None)
        if why is not None and result.unusable is None:
            if repair:
                db.execute(sql.DOUBT_RESULT, (why, result.key))
            yield Problem(
                about="result",
                subject=result.task,
                what=f"its output can't be reused: of a blob that it needs, {why}",
                hint="`headrace fsck --repair` marks it, so that the task runs again",
                mended="marked: the task runs again when it is needed" if repair else None,
            )
