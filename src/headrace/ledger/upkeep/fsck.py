"""The checker: finds faults in the ledger and the stores, each with its reason, and repairs those that can be repaired.

    found = Checker(ledger, stores).check(repair=True, now=time.time())
    [problem.what for problem in found.problems]

Repair copies a blob that is damaged in one region from another region. A blob that no region has whole is copied from
another generation with the same bytes, for example one that the task made when it ran again. If there is no such
generation, the results that need the blob are marked as not reusable, so that their tasks run again. The rows of the
runs that name the blob stay as they are, since nobody can restore the blob. If the blob may be in a region that the
settings don't have, the blob is only reported. Rows that differ from their run's events are written again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from msgspec import Struct

from headrace.errors import RESTORE, BlobDamaged, BlobMissing, LedgerDamaged, LedgerError, StoreError, absent
from headrace.ledger import generations as names
from headrace.ledger import records
from headrace.ledger.database import scan
from headrace.ledger.database.database import Database
from headrace.ledger.database.leases import Lease
from headrace.ledger.database.reader import Reader
from headrace.ledger.database.sqlite import unreadable
from headrace.ledger.exclusive import alone, beating
from headrace.ledger.inventory import Generation, Inventory
from headrace.ledger.ledger import Ledger
from headrace.ledger.records import ERASURES, RunRecord
from headrace.ledger.upkeep.gc import GRACE_S
from headrace.ledger.upkeep.replay import compare, replay
from headrace.ledger.upkeep.standing import dangling, needing
from headrace.run.events import Renewed, Reused, Succeeded, decode_event
from headrace.spec.artifact import ERASED
from headrace.spec.noun import UNREADABLE
from headrace.store.store import Store

GOOD = frozenset(("succeeded", "reused"))
SHOWN = 3
EXPORT = f"{RESTORE}; or try to save what it has: `headrace ledger export FILE`"
MISSING = "it is missing from the store"
_AGAIN = "run again the task that made it; if its new output has the same bytes, `headrace fsck --repair` copies them"
_BACKUP = "`headrace restore --merge` brings it from a backup, if there is one; else "
_CODE = (
    "run the same code again; then `headrace fsck --deep --repair` copies it. Without its code, the run"
    " can't be resumed"
)
"""The advice if a run's code is lost. No task made the code, so no task can make it again."""


class Problem(Struct, frozen=True, kw_only=True):
    """A fault that the checker found. `about` is `ledger`, `run`, `blob` or `result`; `mended` says how the fault was
    repaired, or is None."""

    about: str
    subject: str
    what: str
    hint: str
    mended: str | None = None


class Bad(Struct):
    """A generation that no store has a whole copy of, and the reason. `elsewhere` lists the regions that may have the
    generation but aren't in the settings.

    `is_lone` is False if all generations that the ledger names are missing: then this is probably the wrong store.
    """

    why: str
    is_missing: bool
    elsewhere: set[str] = set()
    is_lone: bool = True

    @property
    def what(self) -> str:
        """The message that says what is wrong with this generation."""
        return absent(self.why, self.elsewhere)[0] if self.elsewhere else self.why

    @property
    def hint(self) -> str | None:
        """Advice for the user if the store is the wrong one, or another region may hold the generation; otherwise
        None."""
        if not self.is_lone:
            return "the store has no blob that the ledger names: check `[store] url`; nothing was marked"
        return absent(self.why, self.elsewhere)[1] if self.elsewhere else None

    @property
    def backup(self) -> str:
        """The beginning of the advice for a blob that a backup may have. A restore only brings missing blobs, so a
        damaged blob must be deleted first."""
        return _BACKUP if self.is_missing else f"delete it from the store, then {_BACKUP}"


class Checked(Struct, frozen=True, kw_only=True):
    """The result of a check: the problems, and what was checked. Drafts (unfinished files) and orphans (blobs that no
    row names) are no faults: the garbage collector deletes them."""

    problems: tuple[Problem, ...]
    is_deep: bool
    runs: int = 0
    blobs: int = 0
    bytes: int = 0
    drafts: int = 0
    draft_bytes: int = 0
    orphans: int = 0
    orphan_bytes: int = 0


class Checker:
    """Checks a ledger and the stores of all regions. Drivers may run during the check, but the garbage collector may
    not."""

    def __init__(self, ledger: Ledger, stores: Mapping[str, Store]) -> None:
        self._ledger = ledger
        self._stores = stores

    def check(self, *, deep: bool = False, repair: bool = False, now: float) -> Checked:
        """Check that the ledger is consistent, and that each blob that the ledger names is stored with the right size.
        With `deep`, also check all blobs against their digests, and each run's rows against its events.

        Raises:
            LedgerError: the garbage collector is at work.
        """
        with alone(self._ledger, "headrace fsck") as lease, closing(self._ledger.connect()) as db, db.troubles():
            return self._check(db, lease, deep=deep, repair=repair, now=now)

    def _check(self, db: Database, lease: Lease, *, deep: bool, repair: bool, now: float) -> Checked:
        problems = list(_integrity(db, deep=deep))
        if problems:  # a damaged file's pages can't be trusted, so the rest isn't checked
            return Checked(problems=tuple(problems), is_deep=deep)
        with Inventory() as named:
            with db.snapshot():
                runs = records.runs(db)
                named.add(beating(lease, names.needed(db, runs)))
            for run in beating(lease, runs):
                problems += self._check_rows(db, run, repair=repair) if deep else _check_run(db, run)
            bad: dict[Generation, Bad] = {}
            problems += self._check_blobs(lease, named, bad, deep=deep, repair=repair)
            self._look_elsewhere(db, named, bad)
            problems += [*_dangling(db), *_blobs(db, named, runs, bad), *_results(db, bad, repair=repair)]
            problems += self._check_erased(db)
            edge = now - GRACE_S
            strays = (stray for store in self._stores.values() for stray in store.strays())
            drafts, draft_bytes = _sum(stray.size for stray in strays if stray.modified < edge)
            orphans, orphan_bytes = _sum(self._orphans(lease, named, edge))
            return Checked(
                problems=tuple(problems),
                is_deep=deep,
                runs=len(runs),
                blobs=len(named),
                bytes=named.bytes(),
                drafts=drafts,
                draft_bytes=draft_bytes,
                orphans=orphans,
                orphan_bytes=orphan_bytes,
            )

    def _check_rows(self, db: Database, run: RunRecord, *, repair: bool) -> Iterator[Problem]:
        """Yield a problem if a run's rows differ from its events, and with `repair` write the rows again."""
        try:
            _, found = compare(db, run.number, run.id)
            if not found:
                return
            mended = replay(self._ledger, run.id, repair=True).mended if repair else None
        except LedgerError as error:
            yield Problem(about="run", subject=run.id, what=error.message, hint=error.hint or "")
            return
        first = found[0]
        more = f", and {len(found) - 1} more differences" if len(found) > 1 else ""
        yield Problem(
            about="run",
            subject=f"{run.id} {first.subject}".rstrip(),
            what=f"its rows say {first.about} {first.field}".rstrip()
            + f" `{first.stored}`, while its events say `{first.rebuilt}`{more}",
            hint=f"`headrace replay {run.id}` lists them all, and with `--repair` writes the rows again",
            mended=mended,
        )

    def _check_blobs(
        self, lease: Lease, named: Inventory, bad: dict[Generation, Bad], *, deep: bool, repair: bool
    ) -> Iterator[Problem]:
        """Look for each generation in all stores, and yield a problem for each that can be repaired. A generation that
        can't be repaired is added to `bad`: no store has a whole copy of it, or of another generation with the same
        bytes."""
        for page in beating(lease, named.pages()):
            found = {name: store.sizes(each[:2] for each in page) for name, store in self._stores.items()}
            for place, (digest, nonce, size) in enumerate(page):
                sizes = {name: each[place] for name, each in found.items() if each[place] is not None}
                told = {name: self._wrong(name, (digest, nonce), size, has, deep=deep) for name, has in sizes.items()}
                wrong = {name: why for name, why in told.items() if why is not None}
                whole = [name for name in sizes if name not in wrong]
                for name, why in wrong.items() if whole else ():
                    yield self._replica(name, whole[0], digest, nonce, why, repair=repair)
                if whole:
                    continue
                equal = self._equal(named, digest, nonce, size)
                if equal is None:
                    bad[digest, nonce] = Bad(next(iter(wrong.values()), MISSING), is_missing=not wrong)
                else:
                    yield self._from_equal(equal, (digest, nonce), wrong, repair=repair)

    def _equal(self, named: Inventory, digest: str, nonce: str, size: int) -> tuple[str, str] | None:
        """Return the nonce of a whole generation with the same bytes, and the region that has it, or None."""
        for other in named.nonces(digest):
            for region, store in self._stores.items() if other != nonce else ():
                found = store.size(digest, other)
                if found is not None and self._wrong(region, (digest, other), size, found, deep=True) is None:
                    return other, region
        return None

    def _look_elsewhere(self, db: Database, named: Inventory, bad: dict[Generation, Bad]) -> None:
        """For each missing generation, record the regions that may have it but aren't in the settings. Also record
        whether all generations are missing."""
        regions: dict[int, set[str]] = {}
        is_all = len(bad) == len(named) > 1 and all(each.is_missing for each in bad.values())
        for (digest, nonce), each in bad.items():
            each.is_lone = not is_all
            if each.is_missing and not is_all:
                for run in named.runs(digest, nonce):
                    if run not in regions:
                        regions[run] = names.regions_of(db, run)
                    each.elsewhere |= regions[run] - self._stores.keys()

    def _wrong(self, region: str, generation: Generation, size: int, found: int | None, *, deep: bool) -> str | None:
        """Return what is wrong with a region's replica, or None. `found` is the replica's size in the store, and `size`
        is the right size."""
        if found != size:
            return f"it has {found} bytes in the store, and had {size}"
        if deep:
            try:
                self._stores[region].verify(*generation)
            except (BlobDamaged, BlobMissing) as error:
                return error.message
        return None

    def _replica(self, region: str, other: str, digest: str, nonce: str, why: str, *, repair: bool) -> Problem:
        """Return the problem that a region's replica is damaged, while the region `other` has a whole copy. With
        `repair`, copy the blob from `other`."""
        mended = None
        if repair:
            try:
                self._copy((other, nonce), digest, nonce, [region])
                mended = f"brought again from region `{other}`"
            except StoreError as error:
                why = f"{why}; it can't be brought from region `{other}`: {error.message}"
        return Problem(
            about="blob",
            subject=f"{digest}.{nonce}",
            what=f"in region `{region}`: {why}",
            hint=f"region `{other}` has a whole copy: `headrace fsck --deep --repair` copies it from there",
            mended=mended,
        )

    def _from_equal(
        self, equal: tuple[str, str], generation: Generation, wrong: Mapping[str, str], *, repair: bool
    ) -> Problem:
        """Return the problem that no region has a blob whole, although another generation has the same bytes. With
        `repair`, copy these bytes over each damaged copy, or to the other generation's region if there is no copy."""
        (digest, nonce), (other, region) = generation, equal
        why, mended = next(iter(wrong.values()), MISSING), None
        if repair:
            try:
                self._copy((region, other), digest, nonce, list(wrong) or [region])
                mended = f"copied from generation `{other}`"
            except StoreError as error:
                why = f"{why}; it can't be copied from generation `{other}`: {error.message}"
        return Problem(
            about="blob",
            subject=f"{digest}.{nonce}",
            what=why,
            hint=f"generation `{other}` has the same bytes: `headrace fsck {'--deep ' if wrong else ''}--repair` copies"
            " them",
            mended=mended,
        )

    def _copy(self, source: tuple[str, str], digest: str, nonce: str, regions: Iterable[str]) -> None:
        """Write a generation into regions, from a generation of the same bytes. `source` is that generation's region
        and nonce."""
        whole, other = source
        for region in regions:
            with self._stores[region].batch() as batch, self._stores[whole].reader(digest, other) as file:
                batch.replicate(digest, nonce, file)

    def _check_erased(self, db: Database) -> Iterator[Problem]:
        """Yield a problem for each erased generation that a store has, and for each erasure that isn't complete."""
        gone = [each for each in sorted(records.erased(db)) if each[1] != ERASED]
        for region, store in self._stores.items():
            for (digest, nonce), size in zip(gone, store.sizes(gone), strict=True):
                if size is not None:
                    yield Problem(
                        about="blob",
                        subject=f"{digest}.{nonce}",
                        what=f"was erased together with a person's data, and is still in region `{region}`",
                        hint="`headrace erase --resume` deletes it",
                    )
        for row in ERASURES.read(db.execute(db.sql.ERASURES)):
            if row.done is None:
                yield Problem(
                    about="ledger",
                    subject=f"erasure `{row.erasure}`",
                    what="isn't complete",
                    hint="`headrace erase --resume` completes it, or says what it waits for",
                )

    def _orphans(self, lease: Lease, named: Inventory, edge: float) -> Iterator[int]:
        for store in self._stores.values():
            for blob in beating(lease, store.blobs()):
                if blob.modified < edge and (blob.digest, blob.nonce) not in named:
                    yield blob.size


def damaged(file: Path, error: LedgerDamaged, *, is_deep: bool) -> Checked:
    """Return the result of a check of a damaged ledger file: which tables can't be read, and what to do."""
    found = unreadable(file)
    problems = [_damage(f"is damaged: {text}", RESTORE) for text in found] or [_damage(error.message, EXPORT)]
    return Checked(problems=tuple(problems), is_deep=is_deep)


def _sum(sizes: Iterable[int]) -> tuple[int, int]:
    """Return the number of sizes, and their sum."""
    count = total = 0
    for size in sizes:
        count, total = count + 1, total + size
    return count, total


def _integrity(db: Database, *, deep: bool) -> Iterator[Problem]:
    for text in db.problems(deep=deep):
        yield _damage(f"is damaged: {text}", RESTORE)


def _damage(what: str, hint: str) -> Problem:
    return Problem(about="ledger", subject="its file", what=what, hint=hint)


class _Outcome(Struct, frozen=True, kw_only=True):
    """The outcome of a task according to its row."""

    name: str
    state: str
    digest: str | None = None


_OUTCOMES = Reader(_Outcome)
AGAIN = "it can't be resumed, and commands that need what is missing say so: run its pipeline again"


def _check_run(db: Database, run: RunRecord) -> Iterator[Problem]:
    """Yield the problems of a run: events that are lost or can't be read, and tasks whose rows lack the output that the
    events record. All is read in one snapshot."""
    sql = db.sql
    with db.snapshot():
        count, first, last = db.execute(sql.EVENT_SPAN, (run.number,)).fetchone()
        if count and (first, last) != (0, count - 1):
            yield Problem(
                about="run",
                subject=run.id,
                what=f"holds {count} events, numbered {first} to {last}: some are lost",
                hint=AGAIN,
            )
        ended = {}
        try:
            ended = _endings(db, run.number)
        except UNREADABLE as error:
            yield Problem(
                about="run",
                subject=run.id,
                what=f"has an event that can't be read: {error}",
                hint=AGAIN,
            )
        rows = {row.name: row for row in scan.tasks(db, run.number, _OUTCOMES)}
    for task, digest in ended.items():
        row = rows.get(task, _Outcome(name=task, state="missing"))
        if row.state not in GOOD or row.digest != digest:
            yield Problem(
                about="run",
                subject=f"{run.id} {task}",
                what=f"has the row of a {row.state} task, while its events say that it produced `{digest[:12]}`",
                hint=f"`headrace replay {run.id} --repair` writes its rows again",
            )


def _endings(db: Database, run: int) -> dict[str, str]:
    """Return the tasks that have an output according to a run's events, each with the output's digest. If the run was
    resumed with new code, only the later events count."""
    found: dict[str, str] = {}
    for _, body in scan.events(db, run):
        event = decode_event(body)
        if isinstance(event, Succeeded | Reused):
            found[event.task] = event.out.digest
        elif isinstance(event, Renewed):
            found.clear()
    return found


def _blobs(
    db: Database, named: Inventory, runs: Sequence[RunRecord], bad: Mapping[Generation, Bad]
) -> Iterator[Problem]:
    ids = {run.number: run.id for run in runs}
    needed = needing(db, bad) if bad else {}
    bundles = {run.bundle for run in runs}
    for (digest, nonce), each in bad.items():
        of = needed.get((digest, nonce), {})
        by = [f"run `{ids[number]}`" for number in named.runs(digest, nonce) if number in ids]
        by = [*of, *by] or ["a run that is gone"]
        more = f" and {len(by) - SHOWN} more" if len(by) > SHOWN else ""
        lost = next(filter(None, of.values()), None)
        instead = lost or (_CODE if digest in bundles else "")
        yield Problem(
            about="blob",
            subject=f"{digest}.{nonce}",
            what=f"{each.what}; {'the code of' if digest in bundles else 'named by'} {', '.join(by[:SHOWN])}{more}",
            hint=each.hint or (each.backup + instead if instead else _AGAIN),
        )


def _dangling(db: Database) -> Iterator[Problem]:
    for table, row in dangling(db):
        yield Problem(
            about="ledger",
            subject=table.called(row),
            what="points at something that doesn't exist",
            hint=f"`{table.shown(row)}` shows what there is; {RESTORE}",
        )


def _results(db: Database, bad: Mapping[Generation, Bad], *, repair: bool) -> Iterator[Problem]:
    if not bad:
        return
    for result in records.results(db):
        needs = ((digest, nonce) for digest, nonce, *_ in names.of_output(result.run, result.out))
        found = next((bad[each] for each in needs if each in bad), None)
        if found is not None and result.unusable is None:
            mends = repair and found.hint is None
            if mends:
                db.execute(db.sql.DOUBT_RESULT, (found.what, result.key))
            yield Problem(
                about="result",
                subject=result.task,
                what=f"its output can't be reused, because of a blob that it needs: {found.what}",
                hint=found.hint or "`headrace fsck --repair` marks it, so that the task runs again",
                mended="marked: the task runs again when it is needed" if mends else None,
            )
