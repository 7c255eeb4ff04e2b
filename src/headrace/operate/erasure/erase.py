"""Erases a person: `headrace erase`.

If the process is killed, at whatever point, `resume` does the rest. First the erasure is recorded, so that the person's
older requests are left out when they are sealed. Then the parts of the log are rewritten in one transaction, which also
marks the old parts as erased. Then the tables that hold the person are marked. Last, the bytes of everything that is
marked are deleted from all regions, and from this host's caches. Each `resume` repeats this last step.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from headrace.codec.codecs import Codecs
from headrace.errors import HeadraceError, LogError, UsageError
from headrace.inspect.endpoints.marks import marks_in, others
from headrace.inspect.endpoints.person import Mask, about, ids_about, labels_about
from headrace.inspect.endpoints.predictions import prediction_log, unsealed
from headrace.inspect.endpoints.redaction import hasher_of
from headrace.inspect.views import read
from headrace.ledger import erasures, generations, records
from headrace.ledger.database import scan
from headrace.ledger.database.database import Database, Unmet
from headrace.ledger.database.leases import Lease
from headrace.ledger.erasures import NOTHING, PART, Outcome, Rewritten, Told
from headrace.ledger.exclusive import COLLECTOR, alone, beating
from headrace.ledger.records import PREDICTION_PARTS, PredictionPartRecord
from headrace.operate.endpoints.model_process import blobs_of_servers
from headrace.operate.endpoints.sealing import seal_predictions
from headrace.operate.erasure import log_tables, search
from headrace.operate.erasure.bundles import files_with
from headrace.operate.erasure.drafts import discard_drafts
from headrace.operate.erasure.log_tables import LogTable
from headrace.operate.erasure.unnamed import WHAT, Unnamed
from headrace.project.project import Project
from headrace.project.state import absent_regions, open_ledger, open_store, reading_store, stores
from headrace.report.measures import count_text
from headrace.serve.predictions.redaction import Hasher
from headrace.spec.artifact import ERASED
from headrace.spec.endpoint import SALT_BYTES, Erasure, digest_of, number_text

SERVER_S = 75.0
"""How many seconds to wait until a server of this host has sealed what it logged before the erasure. A server closes a
segment of the log after a minute."""
_LOOK_S = 0.5
_ID_BYTES = 6
_SHOWN = 2_000
"""At most this many outputs that were made from erased tables are recorded, and at most this many source files."""
_OTHERWISE = "with values that were hashed with another secret: erase again with that one"

Say = Callable[[str], None]


class Erased(Outcome, frozen=True, kw_only=True):
    """What was erased, or what would be erased if `dry_run` is True. `blobs` is the number of blobs that were deleted.

    `models` are the versions of models that can't be loaded without the erased tables, such as `rents:3`. `until` is
    the time (Unix seconds) until which requests about the person are left out when they are sealed. `waits` says what
    is still to be done, and why. It is empty if the erasure is complete.
    """

    erasure: str
    endpoint: str
    until: float
    dry_run: bool
    blobs: int
    models: tuple[str, ...]
    waits: tuple[str, ...]


def erase(
    project: Project,
    endpoint: str,
    key: str,
    *,
    columns: Sequence[str] = (),
    why: str,
    dry_run: bool,
    waits: bool,
    say: Say,
) -> Erased:
    """Erase a person from an endpoint's log and from the tables that hold the person, and return what was erased.

    `key` is the person's value, as text, in the column that is the key of the endpoint's route. `columns` are other
    columns in which this value means the person. If `dry_run` is True, nothing is erased. If `waits` is True, wait
    until the servers of this host have sealed all older requests. `say` is called with a message about this wait, and
    with one if an error or ^C ends an erasure that is recorded already.

    Raises:
        UsageError: the endpoint has no key and `columns` is empty; or a name in `columns` isn't valid; or `why` is
            empty; or `key` is empty.
        ConfigError: the settings name a secret with which values of the log are hashed, and it isn't set.
        NotFoundError: there is no such endpoint.
    """
    if not key:
        raise UsageError(
            "the person's key is empty", hint="give the value that the person's requests have as their key"
        )
    if not why.strip() and not dry_run:
        raise UsageError("an erasure needs a reason", hint='say why: `--why "asked by the customer on 1 March"`')
    names = search.columns_of(project, endpoint, columns)
    hasher, salt, texts = hasher_of(project.config.serve), os.urandom(SALT_BYTES).hex(), (key, number_text(key))
    values = texts if hasher is None else (*texts, *map(hasher.once, texts))
    with open_ledger(project) as ledger:
        erasure = Erasure(
            id=os.urandom(_ID_BYTES).hex(),
            endpoint=endpoint,
            columns=names,
            salt=salt,
            digest="\n".join(digest_of(each, salt) for each in dict.fromkeys(values)),
            at=ledger.now(),
            why=why,
        )
        before = _unsealed(project, erasure)
        if not dry_run:
            erasures.begin(ledger, erasure, before)
    erasing = _Erasing(project, erasure, dry_run=dry_run, waits=waits, say=say, told=before, key=key, hasher=hasher)
    try:
        return erasing.work()
    except BaseException:  # also ^C: it is recorded already
        if not dry_run:
            say(f"erasure {erasure.id} is recorded, but not complete: `headrace erase --resume` completes it")
        raise


def resume(project: Project, *, waits: bool, say: Say, all_: bool = True) -> list[Erased]:
    """Complete the erasures that aren't complete yet, and return what each has erased so far. If `all_` is True, also
    search again for the persons of complete erasures, because this host's log and caches may still hold them.

    Raises:
        LedgerError: the ledger can't be used, or another upkeep command is running.
    """
    with open_ledger(project) as ledger, closing(ledger.connect()) as db, db.troubles():
        rows = [row for row in reversed(erasures.rows(db)) if all_ or row.done is None]
    every = map(erasures.erasure_of, rows)
    return [_Erasing(project, each, dry_run=False, waits=waits, say=say).work() for each in every]


def _unsealed(project: Project, erasure: Erasure) -> Told:
    """Count the predictions about the person that this host has not sealed yet, and return their numbers and digests.
    They will be left out when they are sealed."""
    with read(project) as views:
        tables = list(unsealed(project, views, erasure.endpoint))
    found, doubtful = set[str](), set[str]()
    for table in tables:
        rows = about(table, erasure)
        found |= ids_about(table, rows.mask, erasure)
        doubtful |= ids_about(table, rows.doubtful, erasure)
    return Told(unsealed=len(found), unreadable=len(doubtful), digests=tuple(sorted(found)))


class _Erasing:
    """One erasure while it is carried out."""

    def __init__(
        self,
        project: Project,
        erasure: Erasure,
        *,
        dry_run: bool,
        waits: bool,
        say: Say,
        told: Told = NOTHING,
        key: str | None = None,
        hasher: Hasher | None = None,
    ) -> None:
        self._project = project
        self._erasure = erasure
        self._is_dry = dry_run
        self._waits = waits
        self._say = say
        self._key = key  # None if it isn't known any more
        self._mark = None if hasher is None else hasher.mark
        self._hidden = dict[tuple[str, int], int]()  # by what and part of the log: rows hashed with another secret
        self._codecs = Codecs()
        self._left: list[str] = []
        self._unread: list[str] = []
        self._blobs = 0
        self._told = told
        self._digests = set(told.digests)  # of the ids of erased predictions
        self._old = set[str]()  # digests of old parts of the log, and of tables that consist of them
        self._past = set[str]()  # digests of what was erased before, and of tables that consist of it
        self._searched = set[str]()  # digests of the tables that were searched

    def work(self) -> Erased:
        """Do all steps, and return what was erased."""
        if not self._is_dry:
            self._seal()
        with (
            open_ledger(self._project) as ledger,
            alone(ledger, "headrace erase") as lease,
            closing(ledger.connect()) as db,
            db.troubles(),
        ):
            told = self._rewrite(db, lease)
            self._unread += self._hashed(db)
            rows = list(records.ERASED.read(db.execute(db.sql.ERASED_BY, (self._erasure.id,))))
            self._old.update(row.digest for row in rows if row.what.startswith(PART))
            self._past.update(row.digest for row in rows)
            bundles = self._bundles(db, lease)
            while True:  # a run may have made more of the found ones, before they were marked
                found = self._tables(db, lease)
                tables, below = self._below(found)
                if self._is_dry:
                    told = replace(told, bundles=tuple(bundles))
                    gone = {(ref.digest, ref.nonce or ERASED) for each in found for ref in each.refs}
                    models = search.models_with(db, gone)
                    return self._result(told, [*(each.what for each in found), *tables], below, models)
                erasures.tell(db, self._erasure, tables=tables, below=below, bundles=bundles, unread=self._unread)
                if not found:
                    break
                erasures.erase(db, self._erasure, [(ref, each.what) for each in found for ref in each.refs])
                self._past.update(each.digest for each in found)
            self._clear(db, lease)
            if not self._left and not erasures.complete(db, self._erasure, self._digests, ledger.now()):
                self._leave("more of the person's predictions were sealed meanwhile, and may have labels")
            told = erasures.told(db, self._erasure)
            rows = list(records.ERASED.read(db.execute(db.sql.ERASED_BY, (self._erasure.id,))))
            models = search.models_with(db, {(row.digest, row.nonce) for row in rows})
            return self._result(told, [*(row.what for row in rows), *told.tables], told.below, models)

    def _result(self, told: Told, tables: Sequence[str], below: Sequence[str], models: Sequence[str]) -> Erased:
        outcome = {
            **told.fields,
            "tables": tuple(dict.fromkeys(each for each in tables if not each.startswith(PART))),
            "below": tuple(below),
            "unread": tuple(self._unread),
        }
        return Erased(
            **outcome,
            erasure=self._erasure.id,
            endpoint=self._erasure.endpoint,
            until=self._erasure.until,
            dry_run=self._is_dry,
            blobs=self._blobs,
            models=tuple(models),
            waits=tuple(self._left),
        )

    # -- the log --------------------------------------------------------------------------------------------------

    def _seal(self) -> None:
        """Seal what servers of this host logged before the erasure. If a server still writes to a segment from that
        time, wait until the segment is closed. Everything that is sealed from now on lacks the person."""
        log, until, is_told = prediction_log(self._project), time.monotonic() + SERVER_S, False
        now = time.time()
        while True:
            try:
                seal_predictions(self._project)
            except LogError as error:
                self._leave(f"a part of this host's log can't be sealed: {error.message}")
                return
            left = log.begun_before(now)
            if not left:
                return
            if not self._waits or time.monotonic() > until:
                self._leave("a server of this host has not sealed its log yet: it does within two minutes")
                return
            if not is_told:
                self._say("waiting for a server of this host to seal what it logged: at most about a minute")
                is_told = True
            time.sleep(_LOOK_S)

    def _rewrite(self, db: Database, lease: Lease) -> Told:
        """Rewrite the parts of the log that hold the person, until no part does. Return what was erased."""
        while True:
            changed = list(self._changed(db, lease))
            if self._is_dry or not changed:
                return self._told.after(changed)
            try:
                erasures.rewrite(db, self._erasure, changed)
            except Unmet:
                continue

    def _changed(self, db: Database, lease: Lease) -> Iterator[Rewritten]:
        """Yield each part of the log that holds the person, rewritten without the person. First come parts with
        predictions, then parts with labels of these predictions."""
        if not self._is_dry:
            self._digests.update(erasures.told(db, self._erasure).digests)
        rows = PREDICTION_PARTS.read(db.execute(db.sql.PREDICTION_PARTS_SINCE, (self._erasure.endpoint, 0.0)))
        for found in self._log_tables(list(rows), lease):
            mask, doubtful = about(found.table, self._erasure)
            marks = marks_in(found.table, self._erasure.columns)
            self._hidden["prediction", found.parts[0].number] = others(marks, self._mark)
            if mask.any():
                digests = ids_about(found.table, mask, self._erasure)
                self._digests |= digests
                first, *more = self._rewritten(found, mask, is_labels=False)
                yield replace(first, unreadable=int(doubtful.sum()), digests=tuple(sorted(digests)))
                yield from more
        rows = PREDICTION_PARTS.read(db.execute(db.sql.LABEL_PARTS_OF, (self._erasure.endpoint,)))
        for found in self._log_tables(list(rows), lease):
            self._hidden["label", found.parts[0].number] = others(marks_in(found.table, ["key"]), self._mark)
            mask = labels_about(found.table, self._digests, self._erasure)
            if mask.any():
                yield from self._rewritten(found, mask, is_labels=True)

    def _hashed(self, db: Database) -> list[str]:
        """Return lines that say how many predictions and labels can't be searched, because another secret than the
        present one hashed them. If the key isn't known any more, return the lines that were recorded."""
        if self._key is None:
            return [each for each in erasures.told(db, self._erasure).unread if each.endswith(_OTHERWISE)]
        hidden = Counter[str]()
        for (what, _), count in self._hidden.items():
            hidden[what] += count
        return [f"{count_text(count, what)} {_OTHERWISE}" for what, count in hidden.items() if count]

    def _log_tables(self, rows: Sequence[PredictionPartRecord], lease: Lease) -> Iterator[LogTable]:
        everywhere = reading_store(self._project)
        for its in log_tables.by_table(rows):
            if min(row.first for row in its) <= self._erasure.until:
                lease.renew()
                try:
                    found = log_tables.load(its, self._codecs, everywhere)
                except HeadraceError as error:
                    self._leave(f"part {its[0].number} of the log can't be read: {error.message}")
                    continue
                yield from () if found is None else (found,)

    def _rewritten(self, found: LogTable, mask: Mask, *, is_labels: bool) -> list[Rewritten]:
        self._old |= found.digests
        store = None if self._is_dry else open_store(self._project)
        return found.without(mask, self._codecs, store, is_labels=is_labels)

    def _leave(self, what: str) -> None:
        """Remember a sentence about work that is still to be done."""
        if what not in self._left:
            self._left.append(what)

    # -- tables ---------------------------------------------------------------------------------------------------

    def _tables(self, db: Database, lease: Lease) -> list[search.Found]:
        """Return the tables that hold the person, without the parts of logs and the tables that were searched
        before."""
        for run in self._driven(db) if not self._is_dry else ():
            self._leave(f"run `{run}` is active: it may still make a table that holds the person")
        places, holding = stores(self._project), []
        every, whole = search.tables(db, records.runs(db), self._old | self._past, lease.renew)
        self._past |= whole.keys()
        self._old |= {digest for digest, parts in whole.items() if parts & self._old}
        for found in (each for each in every if each.digest not in self._searched):
            self._searched.add(found.digest)
            lease.renew()
            try:
                result = search.searched(found, self._erasure, places, self._codecs)
                if result.is_about:
                    holding.append(found)
                elif self._key is not None and (count := others(result.marks, self._mark)):
                    self._unread.append(f"{found.what}: {count_text(count, 'row')} {_OTHERWISE}")
            except HeadraceError as error:
                self._unread.append(f"{found.what}: {error.message}")
        return holding

    def _bundles(self, db: Database, lease: Lease) -> list[str]:
        """Return the source files of runs that have the person's key, if it is still known."""
        if self._key is None:
            return []
        every = search.bundles(db, records.runs(db), lease.renew)
        found, unread = files_with(self._key, every, reading_store(self._project), lease.renew)
        self._unread += unread
        return found[:_SHOWN]

    def _driven(self, db: Database) -> list[str]:
        db.leases.tidy()  # a server keeps the leases of killed drivers
        return [run for run in db.leases.all() if run != COLLECTOR]

    def _below(self, found: Sequence[search.Found]) -> tuple[list[str], list[str]]:
        """Return what was made from the tables in `found` and from old parts of the log, as texts: the fields `whole`
        and `below` of `search.Made`."""
        with read(self._project) as views:
            made = search.made_from(views, found, self._old, self._past)
        self._unread += [each for each in made.unread if each not in self._unread]
        return made.whole[:_SHOWN], made.below[:_SHOWN]

    def _mark_unnamed(self, db: Database, lease: Lease) -> None:
        """Mark the tables that hold the person and that no row of the ledger names."""
        with Unnamed(db, lease, self._erasure, self._digests) as unnamed:
            for region, store in stores(self._project).items():
                try:
                    for ref in unnamed.about_person(store):
                        erasures.erase(db, self._erasure, [(ref, WHAT)])
                except HeadraceError as error:
                    self._leave(f"blobs of region `{region}` can't be searched: {error.message}")

    # -- bytes ----------------------------------------------------------------------------------------------------

    def _clear(self, db: Database, lease: Lease) -> None:
        """Delete the bytes of all that was ever erased: from rows of the ledger, from all regions, and from caches."""
        self._mark_unnamed(db, lease)
        if gone := records.erased(db):
            db.atomically(lambda: erasures.doubt(db, gone))
        if small := erasures.small(gone):
            held = erasures.scrub(db, lease, records.runs(db), small)
            for run in held:
                self._leave(f"run `{run}` is active, and its rows hold small tables")
            if driven := self._driven(db):  # it couldn't write meanwhile
                self._leave(f"run `{driven[0]}` is active, and free pages of the ledger may hold small tables")
            elif (trouble := db.purge()) is not None:
                self._leave(trouble)
        for pid, blobs in blobs_of_servers(self._project):
            if not blobs.isdisjoint(f"{digest}.{nonce}" for digest, nonce in gone):
                self._leave(
                    f"the server with the process id {pid} has a model with erased tables: run the pipeline"
                    " that deploys it, then restart the server"
                )
        used = {region for run in records.runs(db) for region in generations.regions_of(db, run.number)}
        for region in sorted(absent_regions(self._project, used)):
            self._leave(f"region `{region}`, where runs were, isn't in the settings")
        for region, store in stores(self._project).items() if gone else ():
            try:
                lease.renew()
                there = ((each.digest, each.nonce) for each in beating(lease, store.blobs()))
                for page in scan.chunks(there):
                    some = erasures.erase_equal(db, page)
                    db.atomically(partial(erasures.doubt, db, set(some)))
                    store.delete_all(some)
                    self._blobs += len(some)
                for some in scan.chunks(sorted(each for each in gone if each[1] != ERASED)):
                    store.delete_all(some)  # also those that it lacks: this host's cache may have them
            except HeadraceError as error:
                self._leave(f"region `{region}` can't be reached: {error.message}")
        for region, store in stores(self._project).items():
            if region in used and "://" not in store.url and not Path(store.url).is_dir():
                self._leave(f"region `{region}` can't be reached: there is no folder `{store.url}`")
            elif trouble := discard_drafts(db, store, self._driven(db)):
                self._leave(f"in region `{region}`, {trouble}")
