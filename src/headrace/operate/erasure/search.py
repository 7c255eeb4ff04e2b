"""Finds the tables of a project that hold a person, in the outputs and arguments of tasks and in versions of
datasets, and what was made from them."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import NamedTuple, get_args

import pyarrow as pa
from msgspec import Struct
from msgspec.structs import replace

from headrace.codec.codecs import Codecs
from headrace.errors import BlobMissing, HeadraceError, NotFoundError, UsageError, near
from headrace.inspect.endpoints.marks import marks_in
from headrace.inspect.endpoints.person import may_name, rows_about
from headrace.inspect.views import Views, read
from headrace.ledger import records
from headrace.ledger.database import scan
from headrace.ledger.database.database import Database
from headrace.ledger.inventory import Generation
from headrace.ledger.records import RunRecord
from headrace.ledger.standing.declaration import Standing
from headrace.ledger.standing.tables import BY_TABLE, STANDING
from headrace.ledger.views.lineage import Lineage
from headrace.operate.erasure import outputs
from headrace.project.project import Project
from headrace.run.events import Succeeded, stored_event
from headrace.run.projection import kept_by
from headrace.spec.artifact import ERASED, Ref, decode_ref, within
from headrace.spec.endpoint import Erasure, decode_route
from headrace.spec.intent import RegistryKind
from headrace.spec.noun import UNREADABLE
from headrace.store.store import Store

FORMS = {"arrow": "arrow", "arrow-stream": "arrow-stream", "pandas": "arrow", "polars": "arrow"}
"""For each codec of tables, the codec that reads such a table with Arrow alone."""
LOGS = ("prediction_parts", "label_parts")
"""The tables of the ledger that name the parts of logs. Parts are rewritten; they aren't erased as a whole."""


class Found(Struct, frozen=True, kw_only=True):
    """A table of a project that rows of the ledger name. `refs` are all its generations. `what` says in words what the
    table is: the first task that gave it, and what keeps it between runs. `joined` are the digests of larger tables
    that this table is a piece of, and `inside` are those of whole outputs that have this table as a part. `runs` are
    the numbers of the runs that name it."""

    refs: tuple[Ref, ...]
    what: str
    joined: frozenset[str]
    inside: frozenset[str] = frozenset()
    runs: frozenset[int] = frozenset()

    @property
    def digest(self) -> str:
        """The digest of the table."""
        return self.refs[0].digest


def columns_of(project: Project, endpoint: str, columns: Sequence[str]) -> tuple[str, ...]:
    """Return the columns that say whom a row is about: the keys that the endpoint has had, and `columns`.

    Raises:
        UsageError: there is none, or a name in `columns` isn't valid.
        NotFoundError: there is no such endpoint.
    """
    for name in columns:
        if not name.strip() or "\n" in name:
            raise UsageError(f"no column can be called {name!r:.80}", hint="give `--column` once for each name")
    with read(project) as views:
        moves = views.route_moves(endpoint)
        if not moves and endpoint not in {each.endpoint for each in views.prediction_logs()}:
            known = [each.name for each in views.routes()]
            hint = near(endpoint, known, "there are") if known else "`headrace endpoints` lists them"
            raise NotFoundError(f"there is no endpoint `{endpoint:.80}`", hint=hint)
    keys = [key for move in moves if move.route is not None and (key := decode_route(move.route).key) is not None]
    found = tuple(dict.fromkeys([*keys, *columns]))
    if not found:
        raise UsageError(
            f"endpoint `{endpoint}` has no key, so it isn't known which column tells whom a request is about",
            hint='name the column: `--column customer`; or declare it: `deploy.endpoint(..., key="customer")`',
        )
    return found


def tables(
    db: Database, runs: Sequence[RunRecord], old: Set[str], beat: Callable[[], None]
) -> tuple[list[Found], dict[str, set[str]]]:
    """Return two values. The first has all tables that the ledger names, without the parts of logs and without the
    tables whose digests are in `old`. The second is about larger tables that have tables in `old` as pieces: for the
    digest of each, it has the digests of these pieces. `beat` is called once for each run."""
    gone, parts, whole = records.erased(db), set(old), dict[str, set[str]]()
    for table in STANDING:
        if table.table in LOGS:
            parts |= {ref.digest for ref in _parts(db, table)}
    found: dict[str, tuple[dict[str | None, Ref], list[str], set[str], set[str], set[int]]] = {}
    for ref, what, run in _named(db, runs, beat):
        for each in within(ref):
            if each.codec == "joined" and (some := old & {part.digest for part in within(each)}):
                whole.setdefault(each.digest, set()).update(some)
            is_table = each.codec in FORMS and (each.nonce is not None or each.inline is not None)
            is_there = (each.digest, each.nonce or "") not in gone and each.nonce != ERASED
            if is_table and is_there and each.digest not in parts:
                refs, places, joined, inside, numbers = found.setdefault(each.digest, ({}, [], set(), set(), set()))
                inside.add(ref.digest)
                numbers.update(() if run is None else (run,))
                refs.setdefault(each.nonce, each)
                joined |= {whole.digest for whole in within(ref) if whole.codec == "joined" and each in within(whole)}
                if not places or (run is None and what not in places):
                    places.append(what)
    every = [
        Found(
            refs=tuple(refs.values()),
            what=", ".join(places),
            joined=frozenset(joined),
            inside=frozenset(inside),
            runs=frozenset(numbers),
        )
        for refs, places, joined, inside, numbers in found.values()
    ]
    return every, whole


def _parts(db: Database, table: Standing) -> Iterator[Ref]:
    """Yield all artifacts in the rows of one of the tables of `LOGS`, and all artifacts that these contain."""
    for row in table.rows(db):
        yield from (each for out in table.encoded(row) for ref in _read(out) for each in within(ref))


def _read(out: bytes) -> list[Ref]:
    """Return the artifact of a row, or nothing if it can't be read."""
    try:
        return [decode_ref(out)]
    except UNREADABLE:
        return []  # `headrace fsck` reports it


def models_with(db: Database, gone: Set[Generation]) -> list[str]:
    """Return the versions of models (`NAME:VERSION`) that have one of these generations as a part."""
    return [
        f"{row.name}:{row.version}"
        for row in BY_TABLE["versions"].rows(db)
        if row.kind == "model"
        and any(
            (ref.digest, ref.nonce or ERASED) in gone
            for out in (row.out, row.preparation)
            if out is not None
            for ref in within(decode_ref(out))
        )
    ]


def bundles(db: Database, runs: Sequence[RunRecord], beat: Callable[[], None]) -> Iterator[tuple[Ref, str]]:
    """Yield the archive of each bundle, with the id of a run that has this bundle. An archive may come several times.
    `beat` is called once for each run."""
    for run in runs:
        beat()
        for _, body in scan.events(db, run.number):
            try:
                kept = kept_by(stored_event(body))
            except UNREADABLE:
                continue  # `headrace fsck` reports it
            yield from ((each, run.id) for ref in kept for each in within(ref) if each.codec == "bundle")


def named(db: Database, runs: Sequence[RunRecord], beat: Callable[[], None]) -> Iterator[Ref]:
    """Yield all artifacts that rows of the ledger name, parts of logs included, and all artifacts that these contain.
    The same artifact may be yielded several times. `beat` is called once for each run."""
    for ref, _, _ in _named(db, runs, beat):
        yield from within(ref)
    for table in STANDING:
        if table.table in LOGS:
            yield from _parts(db, table)


def _named(db: Database, runs: Sequence[RunRecord], beat: Callable[[], None]) -> Iterator[tuple[Ref, str, int | None]]:
    """Yield the artifacts that rows of the ledger name. Each comes with a text that says what it is, and with the
    number of its run, or None if it is kept between runs (such as a version of a dataset). First come the outputs of
    tasks and other values of runs, then what is kept between runs."""
    ids = {run.number: run.id for run in runs}
    for run in runs:
        beat()
        for name, _, out in scan.outs(db, run.number):
            yield from ((ref, f"the output of task `{name}` of run `{run.id}`", run.number) for ref in _read(out))
        for _, body in scan.events(db, run.number):
            try:
                event = stored_event(body)
            except UNREADABLE:
                continue  # `headrace fsck` reports it
            task = event.task if isinstance(event, Succeeded) else None
            what = f"an output of task `{task}` of run `{run.id}`" if task else f"a value of run `{run.id}`"
            yield from ((ref, what, run.number) for ref in kept_by(event))
    for result in records.results(db):
        what = f"a result of task `{result.task}` of run `{ids.get(result.run, '')}`"
        yield from ((ref, what, result.run) for ref in _read(result.out))
    for table in STANDING:
        if table.table not in LOGS:
            for row in table.rows(db):
                yield from ((ref, table.called(row), None) for out in table.encoded(row) for ref in _read(out))


class Made(NamedTuple):
    """Texts about what was made from erased tables.

    `whole` is about the tables that consist of old parts of the log, which are erased with these parts. `below` is
    about all other outputs, also those that were made through others: first versions, then preparations, also those
    that a task gave together with an erased table. `unread` is about the erased tables for which this isn't known.
    """

    whole: list[str]
    below: list[str]
    unread: list[str]


def made_from(views: Views, found: Sequence[Found], old: Set[str], past: Set[str]) -> Made:
    """Return what was made from the tables in `found`, and from `old`: the digests of parts of the log, and of tables
    that consist of them. `past` are the digests of what was erased before."""
    whole, below, unread = dict[str, None](), dict[str, None](), list[str]()
    gone = old | {digest for each in found for digest in (each.digest, *each.joined)}
    inside = {each.digest: each.inside for each in found}
    runs = {digest: each.runs for each in found for digest in (*each.joined, each.digest)}
    lineage = Lineage(views, newest=None)
    versions = {
        each.out.digest: f"{kind} `{each.name}:{each.version}`"
        for kind in get_args(RegistryKind)
        for each in views.versions(kind)
    }
    trails = []
    for digest in sorted(gone):
        try:
            trails.append((digest, lineage.of_artifact(digest, inside.get(digest, ()), runs.get(digest, ()))))
        except NotFoundError:
            continue  # no task gave it
        except UNREADABLE:  # the table must be erased all the same
            table = f"what was made from the table `{digest[:12]}`"
            unread.append(f"{table}: an event of a run can't be read (`headrace fsck` names it)")
    for digest, trail in trails:
        if digest in old:
            gone |= {output.digest for step in trail.made for output in step.outputs}
            whole.update((f"the output of task `{step.task}` of run `{step.run}`", None) for step in trail.made)
    for _, trail in trails:
        for step in trail.made:
            below.update(dict.fromkeys(outputs.preparations(step)))
        for step in trail.down:
            below.update(dict.fromkeys(outputs.made_of(step, versions, gone | past)))
    return Made(list(whole), sorted(below, key=outputs.rank), unread)


class Searched(NamedTuple):
    """What a search of a table found: whether it has a row about the person, and how many rows have hashed values in
    the erasure's columns, by the mark of the secret."""

    is_about: bool
    marks: Counter[str]


def searched(found: Found, erasure: Erasure, stores: Mapping[str, Store], codecs: Codecs) -> Searched:
    """Search a table for rows about the person.

    Raises:
        HeadraceError: the table can't be read.
    """
    last: HeadraceError = BlobMissing("no region of the settings has it")
    for ref in found.refs:
        for store in stores.values() if ref.inline is None else [*stores.values()][:1]:
            try:
                if ref.inline is None and store.size(ref.digest, ref.nonce or "") is None:
                    continue
                if not may_hold(ref, erasure, store):
                    return Searched(False, Counter())
                return _searched(ref, erasure, store, codecs)
            except HeadraceError as error:
                last = error
    raise last


def may_hold(ref: Ref, erasure: Erasure, store: Store) -> bool:
    """Return whether a table has one of the erasure's columns. Only the table's schema is read. If the schema can't be
    read, return True."""
    file = io.BytesIO(ref.inline) if ref.inline is not None else store.reader(ref.digest, ref.nonce or "")
    try:
        with file:
            opened = pa.ipc.open_stream(file) if ref.codec == "arrow-stream" else pa.ipc.open_file(file)
            return any(may_name(field, erasure.columns) for field in opened.schema)
    except (pa.ArrowException, OSError):
        return True  # reading all of it says what is wrong


def _searched(ref: Ref, erasure: Erasure, store: Store, codecs: Codecs) -> Searched:
    value = codecs.load(as_arrow(ref), store)
    if isinstance(value, pa.RecordBatch | pa.Table):
        value = [value]
    marks = Counter[str]()
    for each in value if isinstance(value, pa.RecordBatchReader | list) else ():
        table = each if isinstance(each, pa.Table) else pa.Table.from_batches([each])
        if rows_about(table, erasure).any():
            return Searched(True, marks)
        marks += marks_in(table, erasure.columns)
    return Searched(False, marks)


def as_arrow(ref: Ref) -> Ref:
    """Return a table's artifact, changed so that the table can be read with Arrow alone."""
    form = FORMS[ref.codec]
    if form == ref.codec:
        return ref
    return replace(ref, codec=form, type="pyarrow.lib.Table", parts=None, names=None)
