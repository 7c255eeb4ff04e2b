"""Records erasures of persons, and removes the erased bytes from the ledger's rows.

The rows that name an erased generation still name it after the erasure. A row in the table `erased` says that the
generation's bytes are gone for good, and why. So the collector deletes the generation, exports and backups leave it
out, the checker doesn't report it as missing, and no result that needs it is reused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from contextlib import closing, suppress
from functools import partial
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import asdict, replace

from headrace.errors import LeaseHeld
from headrace.ledger import parts as logs
from headrace.ledger import records
from headrace.ledger.database import scan
from headrace.ledger.database.database import Database, Unmet
from headrace.ledger.database.leases import Lease
from headrace.ledger.exclusive import COLLECTOR
from headrace.ledger.inventory import Generation
from headrace.ledger.ledger import Ledger
from headrace.ledger.records import ERASURES, PREDICTION_PARTS, ErasureRecord, PredictionPartRecord, RunRecord
from headrace.ledger.upkeep import merge
from headrace.spec.artifact import ERASED, Ref, decode_ref, within
from headrace.spec.endpoint import CLOCKS_S, Erasure
from headrace.spec.noun import UNREADABLE

UNUSABLE = "it was erased together with a person's data"
"""Why a result that needs an erased artifact can't be reused."""

PART = "part "
"""The beginning of the text that describes an erased part of a log."""

_encode_ref = msgspec.msgpack.Encoder().encode


class Rewritten(Struct, frozen=True, kw_only=True):
    """A part of a log, rewritten without the rows about a person. If the part is a slice of a table, all slices of this
    table are rewritten, also those that have no such row.

    `part` is the part's old row in the ledger. `out` is the new artifact, and `count` is the number of its rows.
    `is_labels` is True for a part with labels. `unreadable` is how many of the removed rows belong to requests that
    can't be read. `digests` are the digests of the ids of the removed predictions (`Erasure.known`). `is_copy` is True
    if the erasure has rewritten an equal part before, so that its rows are counted already: an import brings such parts
    from a ledger in which the person wasn't erased.
    """

    part: PredictionPartRecord
    out: Ref
    count: int
    is_labels: bool = False
    unreadable: int = 0
    digests: tuple[str, ...] = ()
    is_copy: bool = False

    @property
    def gone(self) -> int:
        """How many rows were about the person."""
        return self.part.count - self.count


class Outcome(Struct, frozen=True, kw_only=True):
    """What an erasure has erased, or would erase.

    `predictions` and `labels` are numbers of erased rows, and `parts` is the number of parts of the log that had them.
    `unreadable` is the number of erased predictions whose requests nobody can read, so that they may or may not be
    about the person. `unsealed` is the number of predictions that weren't sealed when the erasure was asked for, and
    were left out later. Only those on the host of the erasure are counted.

    `tables` are tables that were erased as a whole. `below` are outputs of tasks that were made from erased tables;
    they are kept. `bundles` are source files of runs that have the person's value as a word; they are kept too.
    `unread` are tables and source files that couldn't be searched.
    """

    predictions: int = 0
    labels: int = 0
    unreadable: int = 0
    parts: int = 0
    unsealed: int = 0
    tables: tuple[str, ...] = ()
    below: tuple[str, ...] = ()
    bundles: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def fields(self) -> dict[str, Any]:
        """The fields above, by their names."""
        return {name: getattr(self, name) for name in Outcome.__struct_fields__}


class Told(Outcome, frozen=True, kw_only=True):
    """What an erasure has erased so far, as its row in the ledger records it.

    `tables` has only tables that consist of old parts of the log. `digests` are the digests of the ids of all erased
    predictions (`Erasure.known`). By these digests, labels that come later are erased too.
    """

    digests: tuple[str, ...] = ()

    def after(self, parts: Sequence[Rewritten]) -> Told:
        """Return this state with the rows added that were erased by rewriting `parts`, without those of copies."""
        fresh = [each for each in parts if not each.is_copy]
        return replace(
            self,
            predictions=self.predictions + sum(each.gone for each in fresh if not each.is_labels),
            labels=self.labels + sum(each.gone for each in fresh if each.is_labels),
            unreadable=self.unreadable + sum(each.unreadable for each in fresh),
            parts=self.parts + sum(each.gone > 0 for each in fresh),
            digests=tuple(dict.fromkeys([*self.digests, *(digest for each in parts for digest in each.digests)])),
        )


NOTHING = Told()
"""The state of an erasure that has erased nothing yet."""


class Spared(Struct, frozen=True, kw_only=True):
    """What a process left out because of one erasure when it sealed a segment.

    `fresh` are the digests of the ids of the predictions that it left out. `unreadable` are those of them that belong
    to unreadable requests. `since` is the time of the earliest of these predictions (Unix seconds). `known` are the
    digests that the erasure already had. `labels` is how many labels were left out: those of predictions in `known` or
    `fresh`.
    """

    known: frozenset[str]
    fresh: frozenset[str] = frozenset()
    unreadable: frozenset[str] = frozenset()
    since: float = 0.0
    labels: int = 0


def erasure_of(row: ErasureRecord) -> Erasure:
    """Return the erasure that a row records."""
    return Erasure(
        id=row.erasure,
        endpoint=row.endpoint,
        columns=tuple(row.columns.split("\n")),
        salt=row.salt,
        digest=row.digest,
        at=row.at,
        why=row.why,
    )


def told_in(row: ErasureRecord) -> Told:
    """Return what an erasure has erased so far, from its row. If the row can't be read, as may happen with a row from
    an archive, return an empty state."""
    try:
        return msgspec.json.decode(row.told, type=Told)
    except UNREADABLE:
        return Told()


def begin(ledger: Ledger, erasure: Erasure, unsealed: Told = NOTHING) -> None:
    """Record an erasure, before anything is erased. From now on, requests of the person that were made before the
    erasure are left out when they are sealed. `unsealed` counts those that this host has not sealed yet.

    Raises:
        LedgerError: the ledger can't be written.
    """
    row = ErasureRecord(
        erasure=erasure.id,
        endpoint=erasure.endpoint,
        columns="\n".join(erasure.columns),
        salt=erasure.salt,
        digest=erasure.digest,
        at=erasure.at,
        by=ledger.user,
        why=erasure.why,
        told=_text(unsealed),
        done=None,
    )

    def work(db: Database) -> None:
        db.execute(db.sql.LOCK_PREDICTIONS)  # whoever seals parts must see it, or have recorded them before
        db.execute(db.sql.PUT_ERASURE, db.sql.values("PUT_ERASURE", asdict(row)))

    with closing(ledger.connect()) as db, db.troubles():
        db.atomically(lambda: work(db))


def rows(db: Database) -> list[ErasureRecord]:
    """Return all erasures, the newest first."""
    return list(ERASURES.read(db.execute(db.sql.ERASURES)))


def told(db: Database, erasure: Erasure) -> Told:
    """Return what an erasure of the ledger has erased so far."""
    return told_in(next(ERASURES.read(db.execute(db.sql.ERASURE_ROW, (erasure.id,)))))


def spare(db: Database, sealed: Mapping[str, Spared]) -> bool:
    """Record, for each erasure, what was left out when a segment was sealed, within the caller's transaction. `sealed`
    has what was left out, by the erasure's id.

    Return False, and record nothing, if more must be left out first: the ledger has an erasure that isn't in `sealed`,
    or an erasure in `sealed` has erased more predictions meanwhile. If the ledger may have labels of the predictions
    that were left out, the erasure is marked as not complete.
    """
    every = rows(db)
    for row in every:
        if row.erasure not in sealed or not sealed[row.erasure].known.issuperset(told_in(row).digests):
            return False
    for row in every:
        own, before = sealed[row.erasure], told_in(row)
        if not (fresh := own.fresh.difference(before.digests)) and not own.labels:
            continue
        after = replace(
            before,
            labels=before.labels + own.labels,
            unreadable=before.unreadable + len(fresh & own.unreadable),
            digests=(*before.digests, *sorted(fresh)),
        )
        labels = PREDICTION_PARTS.read(db.execute(db.sql.LABEL_PARTS_OF, (row.endpoint,)))
        is_sure = not fresh or all(part.last < own.since - CLOCKS_S for part in labels)
        db.execute(db.sql.TELL_ERASURE, (_text(after), row.done if is_sure else None, row.erasure))
    return True


def rewrite(db: Database, erasure: Erasure, parts: Sequence[Rewritten]) -> None:
    """Replace parts of the log by the rewritten parts without the person. In the same transaction, mark the old
    generations as erased.

    Raises:
        Unmet: a part was changed meanwhile; nothing was replaced.
    """

    def work() -> None:
        db.execute(db.sql.LOCK_PREDICTIONS)
        gone = {row.digest for row in records.ERASED.read(db.execute(db.sql.ERASED_BY, (erasure.id,)))}
        told_of = [replace(each, is_copy=_is_in(gone, decode_ref(each.part.out))) for each in parts]
        for each in parts:
            logs.rewrite(db, each.part, each.out, each.count, is_labels=each.is_labels)
            what = f"{PART}{each.part.number} of the {'labels' if each.is_labels else 'predictions'}"
            what = f"{what} of endpoint `{each.part.endpoint}`"
            _mark(db, erasure, [(ref, what) for ref in within(decode_ref(each.part.out))])
        _tell(db, erasure, told(db, erasure).after(told_of), None)

    db.atomically(work)


def _is_in(digests: Set[str], out: Ref) -> bool:
    return not digests.isdisjoint(each.digest for each in within(out))


def erase(db: Database, erasure: Erasure, found: Sequence[tuple[Ref, str]]) -> None:
    """Mark artifacts as erased, and results that need one of them as not reusable. `found` has pairs of an artifact and
    a text that describes it."""
    db.atomically(lambda: mark(db, erasure, found))


def mark(db: Database, erasure: Erasure, found: Sequence[tuple[Ref, str]]) -> None:
    """Do the same as `erase`, within the caller's transaction."""
    _mark(db, erasure, found)
    doubt(db, {(ref.digest, ref.nonce or ERASED) for ref, _ in found})


def erase_equal(db: Database, found: Iterable[Generation]) -> list[Generation]:
    """Return those generations in `found` whose bytes were erased, and mark them as erased. `found` are generations
    that a store has. A writer that was killed may have left a generation that no row names."""
    what = {row.digest: row for row in records.erased_rows(db)}
    equal = [each for each in found if each[0] in what]
    fresh = [(digest, nonce, what[digest].erasure, what[digest].what) for digest, nonce in equal]
    if fresh:
        db.executemany(db.sql.PUT_ERASED, fresh)
    return equal


def doubt(db: Database, gone: Set[Generation]) -> None:
    """Mark results that need an erased generation as not reusable, within the caller's transaction."""
    for result in records.results(db) if gone else ():
        needs = {(ref.digest, ref.nonce or ERASED) for ref in within(decode_ref(result.out))}
        if result.unusable is None and not gone.isdisjoint(needs):
            db.execute(db.sql.DOUBT_RESULT, (UNUSABLE, result.key))


def _mark(db: Database, erasure: Erasure, found: Iterable[tuple[Ref, str]]) -> None:
    made = []
    for ref, what in found:
        if ref.nonce is not None or ref.inline is not None:
            made.append((ref.digest, ref.nonce or ERASED, erasure.id, what))
    if made:
        db.executemany(db.sql.PUT_ERASED, made)


def small(gone: Set[Generation]) -> merge.Moves:
    """Return the small values among erased generations, in the form that `ledger.upkeep.merge` needs to remove their
    bytes from rows."""
    return {(digest, ""): ERASED for digest, nonce in gone if nonce == ERASED}


def scrub(db: Database, lease: Lease, runs: Sequence[RunRecord], moves: merge.Moves) -> list[str]:
    """Remove the bytes of the small values in `moves` from the rows of `runs`, and from the rows that belong to no run,
    such as results. Return the ids of those of the runs that a driver holds: their rows aren't changed."""
    held = []
    for run in runs if moves else ():
        lease.renew()
        if not _mentions(db, run, moves):
            continue
        try:
            own = db.leases.acquire(run.id, COLLECTOR, is_patient=False)
        except LeaseHeld:
            held.append(run.id)
            continue
        try:
            with suppress(Unmet):
                db.atomically(partial(_scrub_run, db, own, run, moves))
        finally:
            own.release()
    if moves:
        db.atomically(partial(merge.point_results, db, moves))
        db.atomically(partial(merge.point_standing, db, moves))
    return held


def _scrub_run(db: Database, own: Lease, run: RunRecord, moves: merge.Moves) -> None:
    own.check()
    merge.point_run(db, run.number, moves)


def _mentions(db: Database, run: RunRecord, moves: merge.Moves) -> bool:
    digests = [digest.encode() for digest, _ in moves]
    return any(digest in body for _, body in scan.events(db, run.number) for digest in digests)


def tell(
    db: Database,
    erasure: Erasure,
    *,
    tables: Sequence[str] = (),
    below: Sequence[str] = (),
    bundles: Sequence[str] = (),
    unread: Sequence[str],
) -> Told:
    """Record more tables that were erased or depend on erased ones, source files that have the person, and what
    couldn't be searched (`unread`; these replace the earlier ones). `tables`, `below` and `bundles` are explained at
    `Outcome`. Return what the erasure has erased so far."""

    def work() -> Told:
        db.execute(db.sql.LOCK_PREDICTIONS)  # whoever seals records more of it
        before = told(db, erasure)
        after = replace(
            before,
            tables=tuple(dict.fromkeys([*before.tables, *tables])),
            below=tuple(dict.fromkeys([*before.below, *below])),
            bundles=tuple(dict.fromkeys([*before.bundles, *bundles])),
            unread=tuple(unread),
        )
        _tell(db, erasure, after, None)
        return after

    return db.atomically(work)


def tell_unread(db: Database, erasure: Erasure, what: str) -> None:
    """Record one more thing that couldn't be searched. A complete erasure stays complete: it has nothing left to do."""

    def work() -> None:
        db.execute(db.sql.LOCK_PREDICTIONS)
        row = next(ERASURES.read(db.execute(db.sql.ERASURE_ROW, (erasure.id,))))
        if what not in (before := told_in(row)).unread:
            _tell(db, erasure, replace(before, unread=(*before.unread, what)), row.done)

    db.atomically(work)


def complete(db: Database, erasure: Erasure, digests: Set[str], at: float) -> bool:
    """Record that an erasure is complete at the time `at`, and return True. `digests` are the digests of the erased
    predictions whose labels were searched for. If the erasure has more erased predictions by now, record nothing, and
    return False."""

    def work() -> bool:
        db.execute(db.sql.LOCK_PREDICTIONS)
        now = told(db, erasure)
        if not digests >= set(now.digests):
            return False
        _tell(db, erasure, now, at)
        return True

    return db.atomically(work)


def reopen(db: Database) -> None:
    """Mark all erasures as not complete, within the caller's transaction: it imports rows, or blobs that rows name
    already, to which the erasures must be applied too."""
    db.execute(db.sql.REOPEN_ERASURES)


def _tell(db: Database, erasure: Erasure, told: Told, done: float | None) -> None:
    db.execute(db.sql.TELL_ERASURE, (_text(told), done, erasure.id))


def _text(told: Told) -> str:
    return msgspec.json.encode(told).decode()
