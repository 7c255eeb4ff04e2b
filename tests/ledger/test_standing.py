"""Each table whose rows live between runs survives all that is done to a ledger.

The tests go over the declarations in `ledger.standing.tables`. They invent rows by the tables' columns, so a new table
is tested as soon as it is declared.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import asdict, replace

from headrace.errors import LedgerError, UsageError
from headrace.ledger.database.schema import SCHEMA
from headrace.ledger.database.sqlite import nothing
from headrace.ledger.database.statements import FILE
from headrace.ledger.exclusive import alone
from headrace.ledger.inventory import Inventory
from headrace.ledger.ledger import Ledger
from headrace.ledger.standing.declaration import Row, Standing
from headrace.ledger.standing.tables import BY_TABLE, STANDING
from headrace.ledger.transfer.archive import FORMAT, VERSION, Archive, Head, Writer
from headrace.ledger.transfer.archive_check import OF_RUNS, columns
from headrace.ledger.transfer.backup import Backups
from headrace.ledger.transfer.transfer import Imported, Importer, write_rows
from headrace.ledger.upkeep.fsck import Checked, Checker
from headrace.ledger.upkeep.gc import GRACE_S, Collector
from headrace.ledger.upkeep.retention import Keep
from headrace.spec.artifact import Ref, blobs, decode_ref
from headrace.spec.endpoint import encode_route, sole
from headrace.store.folder.folder import FolderStore
from tests.ledger.samples import digest, edit, open_ledger
from tests.projects import Project

NOW = 1_000_000_000.0
OLD = NOW - 2 * GRACE_S
HEAD = Head(format=FORMAT, version=VERSION, schema=SCHEMA, headrace="1", made=NOW, project="p", columns=columns())

OF_NO_ARCHIVE = {
    "grants": "what living runs use of a pool",
    "pools": "how many decisions there were about a pool",
    "leases": "who holds what at this moment",
    "about": "facts about this ledger itself",
    "alembic_version": "the version of the tables",
}
"""Tables whose rows mean nothing in another ledger."""

_encode_ref = msgspec.msgpack.Encoder().encode


@pytest.fixture(params=STANDING, ids=BY_TABLE)
def table(request: pytest.FixtureRequest) -> Standing:
    """A standing table."""
    found: Standing = request.param
    return found


@pytest.fixture
def ledger(address: str) -> Iterator[Ledger]:
    with open_ledger(address) as ledger:
        yield ledger


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


# -- invented rows ------------------------------------------------------------------------------------------------


def invented(table: Standing, store: FolderStore, which: str = "one", data: str = "data") -> Row:
    """Return a row with a value in each column. Rows of the same `which` have the same key, and point at each other."""
    with closing(nothing()) as db:
        found = db.execute(f"PRAGMA table_info({table.table})").fetchall()
    values = {column: _value(table, store, (column, kind), which, data) for _, column, kind, *_ in found}
    values |= {column: identity(values) for column, identity in table.identities.items()}
    return table.reader.maker(tuple(values))(tuple(values.values()))


def _value(table: Standing, store: FolderStore, column: tuple[str, str], which: str, data: str) -> object:
    name, kind = column
    if name in table.choices:
        return table.choices[name][0]
    if name in table.artifacts:
        return _encode_ref(put(store, f"{name} {data}"))
    if name in ("digest", "nonce") and name in table.forms:
        return digest(which)
    if name == "route":
        return encode_route(sole(f"{which}-name", 1))
    return {"TEXT": f"{which}-{name}", "INTEGER": 1, "BIGINT": 1, "FLOAT": NOW, "BLOB": b"bytes"}[kind]


def put(store: FolderStore, text: str) -> Ref:
    blob = store.put(text.encode())
    os.utime(store.path(blob.digest, blob.nonce), (OLD, OLD))
    return Ref(digest=blob.digest, size=blob.size, codec="text", type="builtins.str", nonce=blob.nonce)


def add(ledger: Ledger, table: Standing, row: Row, store: FolderStore, which: str = "one") -> None:
    """Put a row into a ledger, after the row that it points at."""
    if table.target is not None:
        target = BY_TABLE[table.target.table]
        add(ledger, target, invented(target, store, which), store, which)
    with closing(ledger.connect()) as db:
        db.execute(getattr(db.sql, table.puts), db.sql.values(table.puts, asdict(row)))


def stored(ledger: Ledger, table: Standing) -> list[Row]:
    with closing(ledger.connect()) as db:
        return list(table.rows(db))


def artifacts(table: Standing, row: Row) -> list[Ref]:
    return [each for out in table.encoded(row) for each in blobs(decode_ref(out))]


def are_there(store: FolderStore, refs: list[Ref]) -> bool:
    return all(store.size(ref.digest, ref.nonce or "") == ref.size for ref in refs)


# -- what is done to a ledger -------------------------------------------------------------------------------------


def exported(ledger: Ledger, file: Path) -> Path:
    with file.open("wb") as out, Inventory() as named:
        writer = Writer(out, HEAD)
        with closing(ledger.connect()) as db:
            write_rows(db, writer, named, lambda *_: None)
        writer.end()
    return file


def imported(file: Path, ledger: Ledger, store: FolderStore) -> Imported:
    with Archive(file, schema=SCHEMA) as archive, alone(ledger, "a test") as lease:
        return Importer(ledger, archive, store, lease).bring(None)


def check(ledger: Ledger, store: FolderStore) -> Checked:
    return Checker(ledger, {"home": store}).check(now=NOW, deep=True)


def test_the_collector_keeps_it_and_its_artifacts(ledger: Ledger, store: FolderStore, table: Standing) -> None:
    row = invented(table, store)
    add(ledger, table, row, store)
    other = put(store, "named by no row")
    with Collector(ledger, {"home": store}) as collector:
        assert collector.collect(Keep(runs=0), grace_s=0.0, now=NOW).count == 1
    assert stored(ledger, table) == [row]
    assert are_there(store, artifacts(table, row))
    assert not are_there(store, [other])


def test_the_collector_merges_equal_artifacts_of_it(ledger: Ledger, store: FolderStore, table: Standing) -> None:
    for which in ("one", "two"):
        add(ledger, table, invented(table, store, which), store, which)
    before = stored(ledger, table)
    with Collector(ledger, {"home": store}) as collector:
        collector.collect(Keep(), grace_s=0.0, now=NOW)
    after = stored(ledger, table)
    one, two = (artifacts(table, row) for row in after)
    assert one == two
    assert are_there(store, one)
    hidden = dict.fromkeys(table.artifacts)
    assert [replace(row, **hidden) for row in after] == [replace(row, **hidden) for row in before]


def test_it_goes_to_another_ledger_and_back(
    ledger: Ledger, store: FolderStore, table: Standing, tmp_path: Path
) -> None:
    row = invented(table, store)
    add(ledger, table, row, store)
    with open_ledger(tmp_path / "laptop") as laptop:
        assert imported(exported(ledger, tmp_path / "there"), laptop, store).standing[table.table] == 1
        assert stored(laptop, table) == [table.brought(row)]
        edit(ledger, f"delete from {table.table}")
        assert imported(exported(laptop, tmp_path / "back"), ledger, store).standing[table.table] == 1
    assert stored(ledger, table) == [table.brought(row)]


def test_it_joins_what_another_ledger_has(ledger: Ledger, store: FolderStore, table: Standing, tmp_path: Path) -> None:
    one, two = (invented(table, store, which) for which in ("one", "two"))
    with open_ledger(tmp_path / "laptop") as laptop:
        add(laptop, table, one, store, "one")
        add(ledger, table, two, store, "two")
        file = exported(laptop, tmp_path / "file")
    assert imported(file, ledger, store).standing[table.table] == 1
    # What was brought may hold persons whom this ledger has erased, so its erasures are complete only after a search.
    own = table.brought(two) if table.table == "erasures" else two
    assert stored(ledger, table) == [table.brought(one), own]
    assert set(imported(file, ledger, store).standing.values()) == {0}, "an import can be repeated"


def test_what_differs_is_refused_and_what_needn_t_agree_stays(
    ledger: Ledger, store: FolderStore, table: Standing, tmp_path: Path
) -> None:
    ours = invented(table, store)
    add(ledger, table, ours, store)
    for twin in (table.twin, *table.twins):
        changes = {column: _other(table, store, column, getattr(ours, column)) for column in twin.agrees}
        for column, identity in table.identities.items() if "identity" in twin.agrees else ():
            changes[table.artifacts[0]] = _encode_ref(put(store, "other data"))
            changes[column] = identity({**asdict(ours), **changes})
        home = tmp_path / f"laptop {twin.finds}"
        with open_ledger(home) as laptop:
            add(laptop, table, replace(ours, **changes), store)
            file = exported(laptop, home / "file")
        if twin.agrees:
            with pytest.raises(UsageError, match=re.escape(table.differs(ours)[0])):
                imported(file, ledger, store)
        else:
            imported(file, ledger, store)
        assert stored(ledger, table) == [ours]


def _other(table: Standing, store: FolderStore, column: str, value: Any) -> object:
    if column in table.artifacts:
        return _encode_ref(put(store, "other data"))
    return value + (1 if isinstance(value, int) else " other")


def test_a_backup_of_it_is_restored(ledger: Ledger, store: FolderStore, table: Standing, tmp_path: Path) -> None:
    row = invented(table, store)
    add(ledger, table, row, store)
    backups, place = Backups(FolderStore(tmp_path / "backup")), FolderStore(tmp_path / "new store")
    with alone(ledger, "a test") as lease:
        assert backups.add(ledger, {"home": store}, HEAD, lease).snapshot.lacking == ()
        backups.keep(1, lease, schema=SCHEMA)
    with (
        open_ledger(tmp_path / "new") as new,
        backups.archive(backups.find(), schema=SCHEMA) as archive,
        alone(new, "a test") as lease,
    ):
        Importer(new, archive, place, lease).bring(backups.blobs)
        assert stored(new, table) == [table.brought(row)]
    assert are_there(place, artifacts(table, row))


def test_the_checker_finds_it_sound_and_names_what_lacks_an_artifact(
    ledger: Ledger, store: FolderStore, table: Standing
) -> None:
    row = invented(table, store)
    add(ledger, table, row, store)
    assert check(ledger, store).problems == ()
    for ref in artifacts(table, row):
        store.delete(ref.digest, ref.nonce or "")
        assert table.called(row) in " ".join(problem.what for problem in check(ledger, store).problems)


def test_a_row_that_points_at_nothing_is_named_and_is_not_imported(
    ledger: Ledger, store: FolderStore, table: Standing, tmp_path: Path
) -> None:
    if table.target is None:
        return
    row = invented(table, store)
    add(ledger, table, row, store)
    edit(ledger, f"delete from {table.target.table}")
    (problem,) = check(ledger, store).problems
    assert (problem.about, problem.subject) == ("ledger", table.called(row))
    with open_ledger(tmp_path / "laptop") as laptop:
        with pytest.raises(LedgerError, match="points at something that doesn't exist"):
            imported(exported(ledger, tmp_path / "file"), laptop, store)
        assert stored(laptop, table) == []


def test_a_command_shows_it(table: Standing, tmp_path: Path) -> None:
    project = Project(tmp_path)
    (tmp_path / "headrace.toml").write_text('[project]\npipelines = ["pipelines.py"]\n')
    (tmp_path / "pipelines.py").write_text("")
    store = FolderStore(project.home / "store")
    row = invented(table, store)
    with open_ledger(project.home) as ledger:
        add(ledger, table, row, store)
    _, *words = table.shown(row).split()
    shown = project.headrace(*words)
    assert shown.code == 0, shown.err
    told = {value for value in asdict(row).values() if isinstance(value, str)}
    assert any(value in shown.out for value in told - {*words})


# -- the declarations ---------------------------------------------------------------------------------------------


def test_each_table_is_of_a_run_or_declared() -> None:
    created = set(re.findall(r"^CREATE TABLE (\w+)", FILE.read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert created == {*OF_RUNS, "results", *BY_TABLE, *OF_NO_ARCHIVE}


def test_a_declaration_is_of_the_table_that_it_names(table: Standing) -> None:
    with closing(nothing()) as db:
        found = db.execute(f"PRAGMA table_info({table.table})").fetchall()
        names = [name for _, name, *_ in found]
        places = sorted((place, name) for _, name, _, _, _, place in found if place)
        assert [name for _, name in places] == [*table.key]
        assert table.reader.needs() == set(names)
        assert db.sql.parameters(table.puts) == tuple(names)
        assert db.sql.parameters(table.pages) == (*(f"after_{name}" for name in table.key), "limit")
        assert db.sql.parameters(table.twin.finds) == tuple(table.key)
        assert (table.points is None) == (table.artifacts == ())
        if table.points is not None:
            assert db.sql.parameters(table.points) == (*table.artifacts, *table.key)
    assert {*table.artifacts, *table.choices} <= set(names)


def test_a_table_that_others_point_at_is_brought_before_them() -> None:
    order = [each.table for each in STANDING]
    for each in STANDING:
        assert each.target is None or order.index(each.target.table) < order.index(each.table)
