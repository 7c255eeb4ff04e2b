"""Compares a run's rows with its events, and writes the rows again if they differ."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing

from msgspec import Struct
from msgspec.structs import replace

from headrace.errors import LeaseHeld, NotFoundError
from headrace.ledger import records
from headrace.ledger.database import scan
from headrace.ledger.database.database import Database
from headrace.ledger.ledger import Ledger
from headrace.ledger.records import RESULTS, RUN_ROWS, SUMMARIES
from headrace.ledger.standing import intents
from headrace.ledger.upkeep.rebuild import Difference, Rebuilt, Rows, differences, rebuild
from headrace.run.curves import Name, Summary
from headrace.run.ports import Batch, ResultRow
from headrace.spec.artifact import decode_ref
from headrace.spec.intent import Intent, Register

BY = "headrace replay"


class Replayed(Struct, frozen=True, kw_only=True):
    """The result of a replay. `mended` says what was repaired, or why nothing was repaired; it is None if no repair was
    tried."""

    run: str
    events: int
    tasks: int
    differences: tuple[Difference, ...]
    mended: str | None = None


def replay(ledger: Ledger, run: str, *, repair: bool = False) -> Replayed:
    """Compare a run's rows with its events, as of one moment. With `repair`, rows that differ are written again, unless
    the run has a live driver.

    Raises:
        NotFoundError: there is no such run.
        LedgerError: the run's events can't be read.
    """
    with closing(ledger.connect()) as db, db.troubles():
        found = db.execute(db.sql.RUN_BY_ID, (run,)).fetchone()
        if found is None:
            raise NotFoundError(f"there is no run `{run}`", hint="`headrace runs` lists them")
        rebuilt, different = compare(db, found[0], run)
    mended = _mend(ledger, run) if repair and different else None
    return Replayed(
        run=run, events=rebuilt.events, tasks=len(rebuilt.rows.tasks), differences=tuple(different), mended=mended
    )


def compare(db: Database, number: int, run: str) -> tuple[Rebuilt, list[Difference]]:
    """Return a run rebuilt from its events, and the differences from its rows, all as of one moment."""
    with db.snapshot():
        rebuilt = rebuild((body for _, body in scan.events(db, number)), run=run)
        found = list(differences(rebuilt, _stored(db, number, rebuilt.rows.results)))
        return rebuilt, found + [_unapplied(intent) for _, intent in _missing(db, run, rebuilt)]


def _stored(db: Database, number: int, keys: Iterable[str]) -> Rows:
    """Return a run's rows, and the results under these keys."""
    found = (row for key in keys for row in RESULTS.read(db.execute(db.sql.RESULT_ROW, (key,))))
    results = {row.key: ResultRow(key=row.key, task=row.task, out=decode_ref(row.out)) for row in found}
    return Rows(
        run=next(RUN_ROWS.read(db.execute(db.sql.RUN_ROW, (number,)))),
        tasks={row.name: row for row in records.tasks(db, number)},
        kept={(digest, nonce): size for digest, nonce, size, _ in scan.blobs(db, number)},
        results=results,
        metrics={Name(each.task, each.kind, each.name): each for each in _own(db, number)},
        logged={(task, seq) for task, seq in db.execute(db.sql.LOGGED, (number,)).fetchall()},
    )


def _own(db: Database, number: int) -> list[Summary]:
    """Return the summaries of what tasks have logged in this run. What reused tasks logged in an earlier run is left
    out."""
    rows = SUMMARIES.beside(db.execute(db.sql.METRICS, (number,)), "source_task")
    return [summary for summary, source in rows if source is None]


def _missing(db: Database, run: str, rebuilt: Rebuilt) -> list[tuple[str, Intent]]:
    """Return the changes that a run's tasks asked for but that the ledger lacks, each with the task that asked for
    it."""
    return [(task, intent) for task, intent in rebuilt.intents if not intents.is_applied(db, run, task, intent)]


def _without_known_aliases(db: Database, asked: Iterable[tuple[str, Intent]]) -> list[tuple[str, Intent]]:
    """Return the intents without the aliases that the ledger knows: these may have been moved or removed since the task
    asked for them."""
    known = {tuple(row) for row in db.execute(db.sql.ALIASES_KNOWN).fetchall()}
    found: list[tuple[str, Intent]] = []
    for task, intent in asked:
        if isinstance(intent, Register):
            kept = tuple(each for each in intent.aliases if (intent.kind, intent.name, each) not in known)
            found.append((task, replace(intent, aliases=kept)))
        else:
            found.append((task, intent))
    return found


def _unapplied(intent: Intent) -> Difference:
    about, subject, stored, rebuilt = intents.told(intent)
    return Difference(about=about, subject=subject, field="", stored=stored, rebuilt=rebuilt)


def _mend(ledger: Ledger, run: str) -> str:
    """Write a run's rows again from its events, under its lease; return what was done."""
    try:
        lease = ledger.take(run, BY)
    except LeaseHeld as error:
        return f"nothing was written: {error.message}"
    with lease, closing(ledger.connect()) as db, db.troubles():
        rebuilt = rebuild(lease.events(), run=run)
        offered = list(rebuilt.rows.results.values())
        there = db.lookups(db.sql.RESULT_ROW, [(row.key,) for row in offered])
        lease.commit(
            Batch(
                first=lease.next_seq,
                bodies=[],
                run=rebuilt.rows.run,
                tasks=list(rebuilt.rows.tasks.values()),
                results=[row for row, found in zip(offered, there, strict=True) if found is None],
                kept=list(rebuilt.artifacts),
                renewed=True,
                intents=_without_known_aliases(db, _missing(db, run, rebuilt)),
                metrics=list(rebuilt.rows.metrics.values()),
                logged=sorted(rebuilt.rows.logged),
            )
        )
    return "its rows were written anew from its events"
