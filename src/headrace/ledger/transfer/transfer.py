"""Copies a ledger into another: first the blobs, then all runs, reusable results, and what lives between runs.

    with Archive(path, schema=SCHEMA) as archive:
        Importer(ledger, archive, store, lease).bring(archive.missing)

All rows are checked, then written in one transaction, so an import is complete or has no effect. If the receiving
ledger already has an equal row, the row is skipped, so an import can be repeated. If it has the row with other values,
the import is refused before anything is written. Runs are compared by their events. If a run was continued in the
receiving ledger, its events there begin with the archive's events: such a run counts as equal, and stays as it is.

What is imported may be about persons who were erased here. So the ledger's erasures are marked as not complete: in the
same transaction as the rows, and also before the first blob is copied, since rows of the ledger may name this blob
already. An import that is refused by its rows leaves the erasures as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from headrace.errors import BlobDamaged, BlobMissing, CodecError, LedgerError, UsageError, listed
from headrace.ledger import erasures
from headrace.ledger.database import scan
from headrace.ledger.database.database import Database
from headrace.ledger.database.leases import Lease
from headrace.ledger.database.reader import PLAIN
from headrace.ledger.generations import STANDING, of_output, standing
from headrace.ledger.inventory import Generation, Inventory
from headrace.ledger.ledger import Ledger
from headrace.ledger.records import RunRecord, erased, results, runs
from headrace.ledger.standing.tables import BY_TABLE, PARTS
from headrace.ledger.transfer import standing_rows
from headrace.ledger.transfer.archive import (
    NAMED,
    RESULTS,
    RUNS,
    Archive,
    ArchivedBlob,
    Record,
    Writer,
)
from headrace.ledger.transfer.archive_check import Arrival, columns, shapes
from headrace.ledger.transfer.erased_rows import erased_in, scrubbing
from headrace.ledger.transfer.printed_logs import bring_printed
from headrace.ledger.upkeep.merge import ANY, moved_event
from headrace.ledger.upkeep.old_parts import OldLog
from headrace.run.events import Event, decode_event
from headrace.spec.artifact import Ref
from headrace.spec.noun import UNREADABLE
from headrace.store.store import Logs, Store

T = TypeVar("T")

CHUNK = 1000
BATCH_BLOBS, BATCH_BYTES = 500, 256 << 20
SHOWN = 3
Progress = Callable[[str, int, int], None]
"""Called with the current step (`runs` or `blobs`), and with the amount done and the total in runs or bytes."""

Look = Callable[[Ref], None]
"""Checks the bytes of an imported table, since readers don't check the offsets in these bytes."""

Source = Callable[[Inventory], Iterable[ArchivedBlob]]
"""A function that is given the missing blobs, and returns those that the source has."""


class Imported(Struct, frozen=True, kw_only=True):
    """The result of an import. `runs` counts new runs, `known` counts runs that the ledger already had. `lacking` names
    blobs that are neither in the store nor in the source. `standing` counts the new rows of each standing table; two of
    these counts are also fields, since programs read them there. `forgotten` lists what the source has of prediction
    logs that this ledger has forgotten: it stays forgotten."""

    runs: int
    known: int
    results: int
    cursors: int
    versions: int
    blobs: int
    bytes: int
    lacking: tuple[str, ...]
    standing: dict[str, int] = {}
    forgotten: tuple[OldLog, ...] = ()


def write_rows(db: Database, writer: Writer, named: Inventory, progress: Progress) -> list[RunRecord]:
    """Write all rows of a ledger, as of one moment, and return its runs. Also add the blobs that the rows name to
    `named`, except those whose bytes were erased."""
    with db.troubles(), db.snapshot():
        written = runs(db)
        for done, run in enumerate(written):
            writer.rows(f"{RUNS}{run.number:010}.rows", _records(db, run.number, named))
            progress("runs", done + 1, len(written))
        writer.rows(RESULTS, (("results", list(row)) for row in scan.results(db, PLAIN)))
        good = (result for result in results(db) if result.unusable is None)
        named.add(naming for result in good for naming in of_output(result.run, result.out))
        for part, tables in PARTS.items():
            writer.rows(part, ((name, list(row)) for name in tables for row in BY_TABLE[name].read(db, PLAIN)))
        named.add(naming for out in standing(db) for naming in of_output(STANDING, out))
        named.remove(erased(db))
        writer.rows(NAMED, (("named", list(each)) for each in named))
        return written


def _records(db: Database, run: int, named: Inventory) -> Iterator[Record]:
    yield "runs", list(scan.run_row(db, run))
    yield from (("events", [run, seq, body]) for seq, body in scan.events(db, run))
    yield from (("tasks", list(task)) for task in scan.tasks(db, run, PLAIN))
    for outs in scan.chunks(scan.outs(db, run)):
        named.add(naming for _, _, out in outs for naming in of_output(run, out))
    yield from (("metrics", list(row)) for row in db.execute(db.sql.METRICS, (run,)).fetchall())
    yield from (("logged", [run, *row]) for row in db.execute(db.sql.LOGGED, (run,)).fetchall())
    for page in scan.chunks(scan.blobs(db, run)):
        yield from (("blobs", [run, *blob]) for blob in page)
        named.add((digest, nonce, run, size) for digest, nonce, size, _ in page)
    signals = db.execute(db.sql.SIGNALS, (run,)).fetchall()
    yield from (("inbox", [None, run, *signal]) for signal in signals)


class Importer:
    """Copies an archive into a ledger and its store. As long as the lease is held, the garbage collector can't run."""

    def __init__(
        self,
        ledger: Ledger,
        archive: Archive,
        store: Store,
        lease: Lease,
        progress: Progress = lambda *_: None,
        logs: Sequence[Logs] = (),
        look: Look = lambda _: None,
    ) -> None:
        self._ledger = ledger
        self._archive = archive
        self._store = store
        self._lease = lease
        self._progress = progress
        self._logs = logs or (store.logs,)
        self._look = look
        self._numbers: dict[int, int] = {}
        self._written: Imported | None = None
        self._shape = shapes(archive)
        self._gone: frozenset[Generation] = frozenset()

    def bring(self, source: Source | None) -> Imported:
        """Import blobs, then rows. Without a `source`, only rows are imported.

        Raises:
            UsageError: a row of the archive differs from the ledger's row; nothing was written.
            LedgerError: the archive is damaged, or forged; no row was written.
        """
        with closing(self._ledger.connect()) as db, db.troubles():
            self._archive.check()
            arrival = Arrival(self._archive, self._lease.renew)
            arrival.look()
            fresh, known = self._compare(db)
            self._gone = erased(db) | frozenset(erased_in(self._archive))
            forgotten = standing_rows.forgotten(db, self._archive, self._shape, self._gone)
            with Inventory() as missing:
                wanted = (each for each in self._archive.named() if each[:2] not in self._gone)
                absent(self._store, wanted, missing, self._lease)
                if source is not None and len(missing):
                    db.atomically(lambda: erasures.reopen(db))
                brought, size = self._bring_blobs(missing, source) if source is not None else (0, 0)
                lacking = self._find_lacking(missing)
            self._look_into(arrival.tables.values(), lacking)
            for part in fresh:
                self._lease.renew()
                bring_printed(self._archive, part, self._logs)
            self._progress("runs", 0, len(fresh))
            rows = db.atomically(lambda: self._write(db, fresh), done=lambda: self._there(db, fresh))
            return replace(rows, known=known, blobs=brought, bytes=size, lacking=lacking, forgotten=forgotten)

    # -- rows that are already here -------------------------------------------------------------------------------

    def _compare(self, db: Database) -> tuple[list[str], int]:
        """Return the archive's parts with runs that the ledger lacks, and the number of the archive's other runs.

        Raises:
            UsageError: a run or a standing row in the archive differs from the ledger's.
        """
        fresh, known, differing = [], 0, []
        for part in self._archive.runs():
            self._lease.renew()
            _, row = next(self._archive.rows(part))
            number, run_id = self._shape["runs"].values(row)[:2]
            found = db.execute(db.sql.RUN_BY_ID, (run_id,)).fetchone()
            if found is None:
                fresh.append(part)
            elif self._goes_on(db, part, found[0]):
                known += 1
                self._numbers[number] = found[0]
            else:
                differing.append(run_id)
        if differing:
            raise UsageError(
                f"the ledger has run {listed(differing, SHOWN)} already, with other events than the archive;"
                " nothing was imported",
                hint="a run may continue in one ledger only: continue it where it has the most events, or"
                " import into a new ledger",
            )
        standing_rows.compare(db, self._archive, self._shape)
        return fresh, known

    def _goes_on(self, db: Database, part: str, number: int) -> bool:
        """Return whether a run's events in the ledger begin with the archive's events of the run."""
        here = scan.events(db, number)
        for table, row in self._archive.rows(part):
            if table == "events":
                _, seq, body = self._shape["events"].values(row)
                found = next(here, None)
                if found is None or found[0] != seq or not _is_same(found[1], body):
                    return False
            elif table != "runs":
                break
        return True

    # -- blobs ----------------------------------------------------------------------------------------------------

    def _bring_blobs(self, missing: Inventory, source: Source) -> tuple[int, int]:
        count = total = 0
        expected = missing.bytes()
        blobs = iter(source(missing))
        while True:
            before = count
            with self._store.batch() as batch:
                size = 0
                for blob in blobs:
                    self._replicate(batch, blob)
                    count, size = count + 1, size + blob.size
                    self._progress("blobs", total + size, expected)
                    if count - before >= BATCH_BLOBS or size >= BATCH_BYTES:
                        break
            self._lease.renew()
            total += size
            if count == before:
                return count, total

    def _replicate(self, batch: Any, blob: ArchivedBlob) -> None:
        try:
            batch.replicate(blob.digest, blob.nonce, blob.file)
        except BlobDamaged as error:
            raise LedgerError(
                f"`{self._archive.path}` is damaged: {error.message}",
                hint="copy it again, or export it again; no row was imported",
            ) from error

    def _find_lacking(self, missing: Inventory) -> tuple[str, ...]:
        found = []
        for page in missing.pages():
            sizes = self._store.sizes((digest, nonce) for digest, nonce, _ in page)
            found += [f"{digest}.{nonce}" for (digest, nonce, _), size in zip(page, sizes, strict=True) if size is None]
        return tuple(found)

    def _look_into(self, tables: Iterable[Ref], lacking: Sequence[str]) -> None:
        """Check the bytes of tables: their offsets must stay within the table, since readers follow them without
        checking.

        Raises:
            LedgerError: an offset leads out of its table.
        """
        for ref in tables:
            self._lease.renew()
            if f"{ref.digest}.{ref.nonce}" in lacking:
                continue
            try:
                self._look(ref)
            except (CodecError, BlobDamaged) as error:
                raise self._archive.changed(error.message) from error
            except BlobMissing:
                continue  # no run names it any more

    # -- rows -----------------------------------------------------------------------------------------------------

    def _write(self, db: Database, fresh: Sequence[str]) -> Imported:
        """Write all rows, within the caller's transaction."""
        erasures.reopen(db)
        numbers = dict(self._numbers)
        for done, part in enumerate(fresh):
            self._lease.renew()
            number, here = self._insert(db, part)
            numbers[number] = here
            self._progress("runs", done + 1, len(fresh))
        results = self._bring_results(db, numbers)
        standing = standing_rows.bring(db, self._archive, self._shape)
        self._written = Imported(
            runs=len(fresh),
            known=0,
            results=results,
            cursors=standing["cursors"],
            versions=standing["versions"],
            blobs=0,
            bytes=0,
            lacking=(),
            standing=standing,
        )
        return self._written

    def _there(self, db: Database, fresh: Sequence[str]) -> Imported | None:
        """After the server's answer was lost, find out whether the import's transaction was committed. If so, return
        what was written, otherwise None."""
        if not fresh:
            return None
        _, run_id, *_ = self._shape["runs"].values(next(self._archive.rows(fresh[0]))[1])
        return None if db.execute(db.sql.RUN_BY_ID, (run_id,)).fetchone() is None else self._written

    def _insert(self, db: Database, part: str) -> tuple[int, int]:
        sql = db.sql
        statements = {
            "events": sql.INSERT_EVENT,
            "tasks": sql.PUT_TASK,
            "metrics": sql.PUT_METRIC,
            "logged": sql.PUT_LOGGED,
            "blobs": sql.PUT_BLOB,
        }
        number = here = -1
        scrubbed = scrubbing(self._gone)
        for table, records in groupby(self._archive.rows(part), key=itemgetter(0)):
            rows = (scrubbed(table, self._shape[table].values(row)) for _, row in records)
            if table == "runs":
                number, *values = next(rows)
                db.execute(sql.INSERT_RUN, values)
                here = db.execute(sql.RUN_BY_ID, (values[0],)).fetchone()[0]
            elif table == "inbox":
                for _, _, *values in rows:
                    db.execute(sql.SIGNAL, (here, *values))
            else:
                for chunk in scan.chunks(rows):
                    db.executemany(statements[table], [(here, *values) for _, *values in chunk])
        return number, here

    def _bring_results(self, db: Database, numbers: Mapping[int, int]) -> int:
        """Import results that may be reused; return their number. If the ledger already has a usable result under the
        same key, that result is kept."""
        count = 0
        scrubbed = scrubbing(self._gone)
        rows = (scrubbed("results", self._shape["results"].values(row)) for _, row in self._archive.rows(RESULTS))
        for chunk in scan.chunks(rows):
            self._lease.renew()
            count += self._put_results(db, chunk, numbers)
        return count

    def _put_results(self, db: Database, rows: Sequence[Sequence[Any]], numbers: Mapping[int, int]) -> int:
        fresh = []
        there, place = db.lookups(db.sql.RESULT_ROW, [row[:1] for row in rows]), columns()["results"].index("unusable")
        for (key, run, task, at, unusable, out), found in zip(rows, there, strict=True):
            is_better = found is None or (found[place] is not None and unusable is None)
            if is_better and run in numbers:
                fresh.append((key, numbers[run], task, at, unusable, out))
        if fresh:
            db.executemany(db.sql.PUT_RESULT, fresh)
        return len(fresh)


def absent(store: Store, wanted: Iterable[tuple[str, str, int]], missing: Inventory, lease: Lease) -> None:
    """Add to `missing` each wanted blob that the store lacks, or has with another size."""
    for page in scan.chunks(wanted):
        lease.renew()
        sizes = store.sizes((digest, nonce) for digest, nonce, _ in page)
        lacking = [each for each, size in zip(page, sizes, strict=True) if size != each[2]]
        missing.add((digest, nonce, 0, size) for digest, nonce, size in lacking)


def _is_same(one: bytes, other: bytes) -> bool:
    """Return whether two events are equal. Generations of the same bytes count as equal: the garbage collector may have
    kept another generation in this ledger than in the archived one."""
    return one == other or _bare(one) == _bare(other)


def _bare(body: bytes) -> Event | bytes:
    try:
        event: Event = decode_event(body)
    except UNREADABLE:
        return body
    return moved_event(event, ANY) or event
