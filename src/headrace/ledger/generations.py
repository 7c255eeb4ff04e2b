"""Finds the generations that the ledger's rows name, and the runs that name each generation.

A generation is one stored copy of some bytes. Its name is the digest of the bytes and a nonce, so a store may have
several generations of the same bytes.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress

import msgspec

from headrace.ledger import records
from headrace.ledger.database import scan
from headrace.ledger.database.database import Database
from headrace.ledger.inventory import Generation, Inventory, Naming
from headrace.ledger.ports import Spills
from headrace.ledger.records import RunRecord, erased
from headrace.ledger.standing.tables import STANDING as TABLES
from headrace.run.events import Reused, Taken, decode_event, stored_event
from headrace.run.projection import kept_by
from headrace.run.wire import Frames, Report, decode_up
from headrace.spec.artifact import ERASED, Ref, blobs, decode_ref, within
from headrace.spec.noun import UNREADABLE

SPILL = -1
"""Used in place of a run's number if a worker's report, which no driver has read yet, names the generation."""

STANDING = -2
"""Used in place of a run's number if a row of a standing table names the generation."""

SEEN = 100_000
"""How many generations of a run are remembered, so that each is yielded only once. If a run has more, some are yielded
twice."""

_REUSED = msgspec.msgpack.encode(Reused.__struct_config__.tag)
"""The bytes that follow the first byte of an encoded `Reused` event. Only the few events with these bytes need to be
decoded."""


_TAKEN = msgspec.msgpack.encode(Taken.__struct_config__.tag)


def regions_of(db: Database, run: int) -> set[str]:
    """Return the regions in which a run's attempts were started, as far as its events can be read."""
    found = set()
    with suppress(*UNREADABLE):  # `headrace fsck` reports unreadable events
        for _, body in db.execute(db.sql.OF_DRIVER, (run, len(_TAKEN), _TAKEN)).fetchall():
            event = stored_event(body)
            if isinstance(event, Taken):
                found |= {region for region in (event.region, *dict(event.others).values()) if region}
    return found


def regions_naming(db: Database, generation: str, known: dict[int, set[str]]) -> set[str]:
    """Return the regions that may have a generation (`DIGEST.NONCE`): those in which the runs that name it started
    attempts. `known` keeps the regions of each run for later calls."""
    runs = [run for (run,) in db.execute(db.sql.RUNS_NAMING, tuple(generation.split("."))).fetchall()]
    known.update((run, regions_of(db, run)) for run in runs if run not in known)
    return {region for run in runs for region in known[run]}


def of_run(db: Database, run: int) -> Iterator[Naming]:
    """Yield the generations that a run names: first those in the run's list of blobs, then those that its tasks'
    outputs need but the list lacks (normally none)."""
    seen: set[Generation] = set()
    for digest, nonce, size, _ in scan.blobs(db, run):
        if len(seen) < SEEN:
            seen.add((digest, nonce))
        yield digest, nonce, run, size
    for _, _, out in scan.outs(db, run):
        yield from (naming for naming in of_output(run, out) if naming[:2] not in seen)


def of_output(run: int, out: bytes) -> Iterator[Naming]:
    """Yield the generations that an encoded output needs, each with the run's number."""
    return ((each.digest, each.nonce or "", run, each.size) for each in blobs(decode_ref(out)) if each.nonce != ERASED)


def needed(db: Database, runs: Sequence[RunRecord], leaving: Container[bytes] = ()) -> Iterator[Naming]:
    """Yield all generations that must be kept as long as these runs are kept: generations that the runs name, that the
    runs' reusable results need, or that standing tables keep. Erased generations are left out, and so are the encoded
    artifacts `leaving` of rows of standing tables that will be deleted."""
    gone = erased(db)
    return (naming for naming in _named(db, runs, leaving) if naming[:2] not in gone)


def _named(db: Database, runs: Sequence[RunRecord], leaving: Container[bytes]) -> Iterator[Naming]:
    for run in runs:
        yield from of_run(db, run.number)
    numbers = {run.number for run in runs}
    for result in records.results(db):
        if result.unusable is None and result.run in numbers:
            yield from of_output(result.run, result.out)
    for out in standing(db):
        if out not in leaving:
            yield from of_output(STANDING, out)


def standing(db: Database) -> Iterator[bytes]:
    """Yield the encoded artifacts that are kept outside of runs, such as the cursors' newest values and the registered
    versions."""
    for each in TABLES:
        for row in each.kept(db):
            yield from each.encoded(row)


def kept(db: Database, refs: Iterable[Ref]) -> list[bool]:
    """Return for each artifact whether rows name all of its blobs. If so, a garbage collector that starts now keeps
    the artifact. An erased artifact isn't kept."""
    wanted = [{(each.digest, each.nonce or "") for each in blobs(ref)} for ref in refs]
    gone = erased(db)
    lacking = {generation for generation in set().union(*wanted) if not _is_of_a_run(db, *generation)}
    if lacking:
        lacking -= {naming[:2] for out in standing(db) for naming in of_output(STANDING, out)}
    return [lacking.isdisjoint(generations) and gone.isdisjoint(generations) for generations in wanted]


def _is_of_a_run(db: Database, digest: str, nonce: str) -> bool:
    runs = db.execute(db.sql.RUNS_BY_BLOB, (digest, f"{digest}!")).fetchall()  # no digest has a `!`
    return any(db.execute(db.sql.BLOB, (run, digest, nonce)).fetchall() for run, _ in runs)


def pinned(db: Database) -> frozenset[str]:
    """Return the ids of the runs that must be kept because standing tables keep artifacts from them.

    They are (1) the runs that standing rows name, such as the run that set a cursor's newest value, or the run in which
    a version was registered; (2) for a table with `keeps_makers`, also the runs from which a run of (1) reused the
    artifact.
    """
    numbers = {run.id: run.number for run in records.runs(db)}
    found: set[str] = set()
    digests: dict[str, set[str]] = {}
    for each in TABLES:
        for row in each.kept(db):
            if (run := each.run_of(row)) in numbers:
                found.add(run)
                if each.keeps_makers:
                    digests.setdefault(run, set()).update(decode_ref(out).digest for out in each.encoded(row))
    wanted = {numbers[run]: _keys(db, numbers[run], its) for run, its in digests.items()}
    return frozenset({*found, *_makers(db, wanted, numbers)})


def _keys(db: Database, run: int, digests: Set[str]) -> set[str]:
    """Return the keys of a run's tasks whose output is or contains an artifact with one of these digests. Results that
    the run reused under an earlier code are in its events only."""
    keys, left = set[str](), set(digests)
    for _, key, out in scan.outs(db, run):
        if held := digests & {ref.digest for ref in within(decode_ref(out))}:
            left -= held
            keys.update(() if key is None else (key,))
    for event in _reused(db, run) if left else ():
        if not left.isdisjoint(ref.digest for ref in within(event.out)):
            keys.add(event.key)
    return keys


def _reused(db: Database, run: int) -> Iterator[Reused]:
    """Yield the events of a run that say that it reused a result."""
    for _, body in scan.events(db, run):
        event = stored_event(body) if body[1 : 1 + len(_REUSED)] == _REUSED else None
        if isinstance(event, Reused):
            yield event


def _makers(db: Database, wanted: dict[int, set[str]], numbers: Mapping[str, int]) -> Iterator[str]:
    """Yield the ids of the runs from which results were reused, directly or through other runs.

    `wanted` has the keys of the results, by the number of the run where the search for them begins; this function
    empties it. `numbers` has the number of each run by id. If run C reused a result from B, and B from A, both B and A
    are yielded, because A may have been forgotten.
    """
    seen = set()
    while wanted:
        number, keys = wanted.popitem()
        for event in _reused(db, number) if keys else ():
            if event.key in keys and (event.run, event.key) not in seen:
                seen.add((event.run, event.key))
                if event.run in numbers:
                    yield event.run
                    wanted.setdefault(numbers[event.run], set()).add(event.key)


def spilled(runs: Iterable[RunRecord], spools: Iterable[Spills]) -> Iterator[Naming]:
    """Yield the generations that are named in workers' spilled reports. Workers spill reports while no driver listens;
    a later driver will store them."""
    living = [run.id for run in runs if not run.has_ended]
    for spool in spools:
        for run in living:
            for _, data in spool.spills(run):
                for ref in _reported(data):
                    yield from ((each.digest, each.nonce or "", SPILL, each.size) for each in blobs(ref))


def unnamed_bundles(named: Inventory, runs: Iterable[RunRecord]) -> Container[str]:
    """For each run that names no generation of its bundle, return the bundle's digest. All generations with these
    digests must be kept."""
    return {run.bundle for run in runs if not named.holds(run.bundle, run.number)}


def _reported(data: bytes) -> Iterator[Ref]:
    for body in Frames().feed(data):
        message = decode_up(body)
        if isinstance(message, Report):
            yield from kept_by(decode_event(message.body))
