"""An archive comes in whole, or nothing of it does: damaged ones, forged ones, and those of before."""

from __future__ import annotations

import io
import sqlite3
import tarfile
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from headrace.errors import HeadraceError, LedgerError
from headrace.ledger.database.migrate import migrate_file
from headrace.ledger.database.schema import SCHEMA
from headrace.ledger.ledger import Ledger
from headrace.ledger.transfer.archive import END, HEAD, SEAL, Archive, End, Head, Record
from headrace.ledger.transfer.archive_check import Arrival, columns
from headrace.ledger.transfer.transfer import Imported
from headrace.run.events import Traced, encode_event
from headrace.spec.artifact import Ref
from headrace.spec.graph import Many, Node, Out
from tests.hostile.archives import rewritten
from tests.hostile.fuzz import bring, sound_archive
from tests.ledger.samples import open_ledger, rows


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return sound_archive(tmp_path)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(tmp_path / "ledger") as ledger:
        yield ledger


def count(ledger: Ledger) -> dict[str, int]:
    return {name: rows(ledger, f"select count(*) from {name}")[0][0] for name in columns()}


def places(file: Path) -> dict[str, tuple[int, int]]:
    with tarfile.open(file) as tar:
        return {member.name: (member.offset_data, member.size) for member in tar}


def is_sound(file: Path) -> bool:
    with suppress(HeadraceError), Archive(file, schema=SCHEMA) as archive:
        archive.check()
        return True
    return False


def of_before(file: Path, change: Callable[[Head], Head] = lambda head: head) -> Path:
    """Write an archive as Headrace did before: of version 1, without a digest of its head and its end."""
    old = file.with_suffix(".old")
    with tarfile.open(file) as given, tarfile.open(old, "w", format=tarfile.GNU_FORMAT) as to:
        for member in given:
            data = given.extractfile(member).read()  # type: ignore[union-attr]
            if member.name == SEAL:
                continue
            if member.name == HEAD:
                data = msgspec.json.encode(change(replace(msgspec.json.decode(data, type=Head), version=1)))
            if member.name == END:
                end = msgspec.json.decode(data, type=End)
                data = msgspec.json.encode({k: v for k, v in msgspec.to_builtins(end).items() if k != "head"})
            member.size = len(data)
            to.addfile(member, io.BytesIO(data))
    return old


def test_no_bit_of_an_archive_can_be_flipped_unseen(archive: Path) -> None:
    data = archive.read_bytes()
    for name, (start, size) in places(archive).items():
        for place in range(start, start + size):
            archive.write_bytes(data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :])
            assert not is_sound(archive), f"byte {place - start} of {name}"


def test_a_flipped_bit_in_the_head_of_an_older_archive_is_seen_where_it_matters(archive: Path) -> None:
    old = of_before(archive)
    data = old.read_bytes()
    start, size = places(old)[HEAD]
    unseen = 0
    for place in range(start, start + size):
        old.write_bytes(data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :])
        with suppress(HeadraceError), Archive(old, schema=SCHEMA) as found:
            Arrival(found).look()
            assert found.head.columns == columns(), f"byte {place - start}"
            assert found.head.schema == SCHEMA
            unseen += 1
    assert unseen < 60, "only the texts that no one reads: who wrote it and when"


def test_an_older_archive_is_imported(archive: Path, ledger: Ledger, tmp_path: Path) -> None:
    found = bring(of_before(archive), ledger, tmp_path)
    assert (found.runs, found.results, found.cursors, found.versions) == (1, 1, 1, 1)


def test_an_archive_of_now_that_says_it_is_of_before_is_none(archive: Path) -> None:
    """Else who forges a head would say that it needs no digest."""
    data = archive.read_bytes()
    start, size = places(archive)[HEAD]
    head = data[start : start + size].replace(b'"version":2', b'"version":1')
    archive.write_bytes(data[:start] + head + data[start + size :])
    with pytest.raises(LedgerError, match="aren't what was written"):
        Archive(archive, schema=SCHEMA)


@pytest.mark.parametrize("schema", range(1, SCHEMA + 1))
def test_the_columns_of_each_version_are_known(schema: int, tmp_path: Path) -> None:
    migrate_file(tmp_path / "ledger.db", schema)
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as db:
        found = {name: {row[1] for row in db.execute(f"pragma table_info({name})")} for name in columns()}
    there = {name: each for name, each in found.items() if each}
    assert there == {name: set(each) for name, each in columns(schema).items()}


def test_an_archive_of_older_tables_is_imported(archive: Path, ledger: Ledger, tmp_path: Path) -> None:
    def change(record: Record) -> list[Record]:
        table, row = record
        if table in ("versions", "aliases", "metrics", "logged"):
            return []
        return [(table, row[: len(columns(2).get(table, row))])]

    file = rewritten(archive, tmp_path / "older", change, head=lambda head: replace(head, schema=2, columns=columns(2)))
    assert bring(file, ledger, tmp_path).cursors == 1
    assert rows(ledger, "select name, version, run, by from cursors") == [("orders", 1, None, None)]


def _of(table: str, change: Callable[[list[Any]], object]) -> Callable[[Record], list[Record]]:
    def changed(record: Record) -> list[Record]:
        if record[0] != table:
            return [record]
        row = list(record[1])
        found = change(row)
        return found if isinstance(found, list) and found and isinstance(found[0], tuple) else [(table, row)]

    return changed


def _set(table: str, column: str, value: Any) -> Callable[[Record], list[Record]]:
    return _of(table, lambda row: row.__setitem__(columns()[table].index(column), value))


def _next(row: list[Any]) -> list[Any]:
    """The same version under the next number."""
    place = columns()["versions"].index("version")
    return [value + 1 if at == place else value for at, value in enumerate(row)]


OUTSIDE = Ref(digest="../" * 20, size=1, codec="text", type="builtins.str", nonce="n1")


def _nested_event() -> bytes:
    """An event whose one node is given a list of lists of lists."""
    inner = msgspec.msgpack.encode(Out("inner"))
    whole = msgspec.msgpack.encode(Many("list", (Out("inner"),)))
    begin, _, end = whole.partition(inner)
    event = encode_event(Traced((), (Node(name="n", stage="s", args=(("x", Out("inner")),)),)))
    return event.replace(inner, begin * 20_000 + inner + end * 20_000)


FORGED: dict[str, Callable[[Record], list[Record]]] = {
    "a run without its row": _of("runs", lambda row: [("named", ["0" * 64, "n", 1])]),
    "a run twice": _of("runs", lambda row: [("runs", row), ("runs", row)]),
    "a run whose id leads out of its folder": _set("runs", "id", "../../elsewhere"),
    "a run in no state": _set("runs", "state", "lost"),
    "a task of another run": _set("tasks", "run", 7),
    "a task without a name": _set("tasks", "name", None),
    "a task in no state": _set("tasks", "state", ""),
    "a task whose output is none": _set("tasks", "out", b"\xc1"),
    "a task whose output lies elsewhere": _set("tasks", "out", msgspec.msgpack.encode(OUTSIDE)),
    "a number that no ledger holds": _set("tasks", "attempts", 1 << 40),
    "a time that is none": _set("tasks", "started", float("nan")),
    "a text for a number": _set("results", "run", "1"),
    "a text with an end in it": _set("results", "task", "a\0b"),
    "a key that is no text": _set("results", "key", b"key"),
    "a row that lacks a value": _of("results", lambda row: row.pop()),
    "a row with one more": _of("cursors", lambda row: row.append(1)),
    "a row of a table of ours that doesn't travel": _of("cursors", lambda row: [("grants", row)]),
    "a row of a run in the place of a cursor": _of("cursors", lambda row: [("runs", row)]),
    "an event that is none": _of("runs", lambda row: [("runs", row), ("events", [row[0], 0, b"\x93\x01"])]),
    "events in another order": _of("events", lambda row: [("events", row), ("events", row)]),
    "an event that is nested without end": _of("events", lambda row: row.__setitem__(2, _nested_event())),
    "a blob whose name leads elsewhere": _of("named", lambda row: [("named", ["../../../x", row[1], row[2]])]),
    "a cursor twice": _of("cursors", lambda row: [("cursors", row), ("cursors", row)]),
    "a version below the first": _set("versions", "version", 0),
    "a version of another artifact": _set("versions", "identity", "0" * 64),
    "a version whose name is none": _set("versions", "name", "a b"),
    "an artifact that is registered twice": _of("versions", lambda row: [("versions", row), ("versions", _next(row))]),
    "a version of nothing that has versions": _set("versions", "kind", "pipeline"),
}


@pytest.mark.parametrize("name", FORGED)
def test_an_archive_with_forged_rows_is_refused_and_brings_nothing(
    name: str, archive: Path, ledger: Ledger, tmp_path: Path
) -> None:
    file = rewritten(archive, tmp_path / "forged", FORGED[name])
    with pytest.raises(LedgerError, match=r"damaged, or forged: .*") as caught:
        bring(file, ledger, tmp_path)
    assert "nothing was imported" in (caught.value.hint or "")
    assert not any(count(ledger).values())


@pytest.mark.parametrize(
    "tail", [b"\0\0", (100).to_bytes(4, "big") + b"\x92\xa4runs"], ids=["of its length", "of itself"]
)
def test_a_last_record_of_which_a_part_is_missing_is_seen(tail: bytes, archive: Path, tmp_path: Path) -> None:
    def cut(name: str, data: bytes) -> bytes:
        return zlib.compress(zlib.decompress(data) + tail) if name.startswith("runs/") else data

    file = rewritten(archive, tmp_path / "cut", lambda record: [record], raw=cut)
    with Archive(file, schema=SCHEMA) as found:
        found.check()  # its digest is right
        with pytest.raises(LedgerError, match="is damaged"):
            Arrival(found).look()


def test_a_row_that_is_nested_without_end_is_refused(archive: Path, tmp_path: Path) -> None:
    row = b"\x92\xa6events" + b"\x91" * 100_000 + b"\xc0"

    def nested(name: str, data: bytes) -> bytes:
        return (
            zlib.compress(zlib.decompress(data) + len(row).to_bytes(4, "big") + row) if name == "cursors.rows" else data
        )

    file = rewritten(archive, tmp_path / "nested", lambda record: [record], raw=nested)
    with Archive(file, schema=SCHEMA) as found, pytest.raises(LedgerError, match="is damaged"):
        Arrival(found).look()


@pytest.mark.parametrize("end", [b"", b"more"], ids=["without its end", "with more behind its end"])
def test_rows_whose_packing_has_another_end_are_seen(end: bytes, archive: Path, tmp_path: Path) -> None:
    def cut(name: str, data: bytes) -> bytes:
        return (data + end if end else data[:-4]) if name.startswith("runs/") else data

    file = rewritten(archive, tmp_path / "cut", lambda record: [record], raw=cut)
    with Archive(file, schema=SCHEMA) as found, pytest.raises(LedgerError, match="is damaged"):
        Arrival(found).look()


def test_a_part_that_the_end_does_not_name_and_one_that_is_there_twice_are_refused(archive: Path) -> None:
    data = archive.read_bytes()
    for name, said in (("more.rows", "of `more.rows` don't match its digest"), ("cursors.rows", "is there twice")):
        member = tarfile.TarInfo(name)
        end = len(data) - 2 * tarfile.BLOCKSIZE
        archive.write_bytes(data[:end] + member.tobuf(tarfile.GNU_FORMAT) + data[end:])
        with pytest.raises(LedgerError, match=said), Archive(archive, schema=SCHEMA) as found:
            found.check()


def test_an_import_that_is_interrupted_at_any_row_has_brought_none(
    archive: Path, ledger: Ledger, tmp_path: Path
) -> None:
    class Stop(Exception):
        pass

    def stop(what: str, done: int, _all: int) -> None:
        if what == "runs" and done:
            raise Stop

    with pytest.raises(Stop):
        bring(archive, ledger, tmp_path, stop)
    assert not any(count(ledger).values())
    found: Imported = bring(archive, ledger, tmp_path)
    assert (found.runs, count(ledger)["tasks"]) == (1, 1)
    with closing(ledger.connect()) as db:
        assert db.problems(deep=True) == []


def test_a_record_that_would_fill_the_memory_is_refused_before_it_is_unpacked(archive: Path, tmp_path: Path) -> None:
    vast = zlib.compress((3 << 30).to_bytes(4, "big") + bytes(64 << 20), 9)

    def swollen(name: str, data: bytes) -> bytes:
        return vast if name.startswith("runs/") else data

    changed = rewritten(archive, tmp_path / "vast", lambda record: [record], raw=swollen)
    assert changed.stat().st_size < 1 << 20
    tracemalloc.start()
    try:
        with Archive(changed, schema=SCHEMA) as found, pytest.raises(LedgerError, match="damaged"):
            list(found.rows(found.runs()[0]))
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
