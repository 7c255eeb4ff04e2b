"""A record that is brought into another ledger, and brought again after that has gone on."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NoReturn

import pytest
from msgspec.structs import replace

from headrace.errors import LedgerError, NotFoundError, UsageError
from headrace.ledger import erasures
from headrace.ledger.database.schema import SCHEMA
from headrace.ledger.exclusive import alone
from headrace.ledger.inventory import Inventory
from headrace.ledger.ledger import Ledger
from headrace.ledger.outbox import Outbox, retry
from headrace.ledger.registry import point, unpoint
from headrace.ledger.transfer.archive import FORMAT, VERSION, Archive, Head, Writer
from headrace.ledger.transfer.archive_check import columns
from headrace.ledger.transfer.printed_logs import bring_printed, write_printed
from headrace.ledger.transfer.transfer import Imported, Importer, Progress, write_rows
from headrace.ledger.upkeep.merge import point_standing
from headrace.ledger.views.tracking import TrackingViews
from headrace.run.ports import NoticeRow
from headrace.spec.endpoint import Erasure
from headrace.spec.intent import Advance, Register
from headrace.store.folder.folder import FolderStore
from headrace.store.folder.logs import FolderLogs
from tests.ledger.samples import after, blob, edit, first, open_ledger, rows

VALUE = blob("value")
HEAD = Head(format=FORMAT, version=VERSION, schema=SCHEMA, headrace="1", made=0.0, project="p", columns=columns())


@pytest.fixture
def ledger(address: str) -> Iterator[Ledger]:
    """The ledger that the record is brought into."""
    with open_ledger(address) as ledger:
        yield ledger


def exported(folder: Path, change: str = "") -> Path:
    """Write the archive of a ledger with one run, which has moved a cursor and registered a model. A statement may
    change that before."""
    with open_ledger(folder / "laptop") as ledger:
        with ledger.open_run("flights") as run:
            run.commit(first([], kept=[VALUE]))
            asked = Advance("orders", 0, VALUE), Register("model", "m", VALUE)
            run.commit(after(run, intents=[("fit", each) for each in asked]))
        if change:
            edit(ledger, change)
        return archive_of(ledger, folder / "laptop.headrace")


def archive_of(ledger: Ledger, file: Path) -> Path:
    with file.open("wb") as out, Inventory() as named, closing(ledger.connect()) as db:
        writer = Writer(out, HEAD)
        write_rows(db, writer, named, lambda *_: None)
        writer.end()
    return file


def bring(file: Path, ledger: Ledger, progress: Progress = lambda *_: None) -> Imported:
    store = FolderStore(file.parent / "store")
    with Archive(file, schema=SCHEMA) as archive, alone(ledger, "a test") as lease:
        return Importer(ledger, archive, store, lease, progress).bring(None)


def test_a_run_that_begins_before_what_was_printed_is_written_is_not_in_the_archive(
    ledger: Ledger, tmp_path: Path
) -> None:
    file = tmp_path / "laptop.headrace"
    with open_ledger(tmp_path / "laptop") as laptop, file.open("wb") as out, Inventory() as named:
        with laptop.open_run("flights") as run:
            run.commit(first([]))
        writer = Writer(out, HEAD)
        with closing(laptop.connect()) as db:
            written = write_rows(db, writer, named, lambda *_: None)
            with laptop.open_run("flights") as run:
                run.commit(first([]))
            write_printed(db, writer, written, lambda *_: iter([b"x"]), lambda _: {"0-7": 1})
        writer.end()
    assert bring(file, ledger).runs == 1


def test_beside_the_logs_of_workers_comes_only_what_has_no_gap_before_it(tmp_path: Path) -> None:
    pieces = [("1-7", 0, b"ab"), ("1-7", 0, b"c"), ("1-7", 3, b"de"), ("1-7", 9, b"far"), ("2-8", 4, b"late")]
    with (tmp_path / "archive").open("wb") as out:
        writer = Writer(out, HEAD)
        writer.rows("logs/0000000001.rows", [("log", ["run", *piece]) for piece in pieces])
        writer.end()
    kept, beside = (FolderLogs(tmp_path / name, own=False) for name in ("kept", "beside"))
    with Archive(tmp_path / "archive", schema=SCHEMA) as archive:
        bring_printed(archive, "runs/0000000001.rows", (kept, beside))
    assert [b"".join(kept.read("run", "1-7", *span)) for span in ((0, 3), (3, 5), (9, 12))] == [b"abc", b"de", b"far"]
    assert b"".join(kept.read("run", "2-8", 4, 8)) == b"late"
    assert [path.name for path in (tmp_path / "beside" / "run").iterdir()] == ["1-7"]
    assert (tmp_path / "beside" / "run" / "1-7").read_bytes() == b"abcde"


def test_a_cursor_whose_value_has_moved_to_an_equal_generation_is_no_difference(ledger: Ledger, tmp_path: Path) -> None:
    file = exported(tmp_path)
    assert bring(file, ledger).cursors == 1
    with closing(ledger.connect()) as db:
        point_standing(db, {(VALUE.digest, VALUE.nonce or ""): "other"})
    assert bring(file, ledger).cursors == 0


def test_a_cursor_that_has_another_value_here_is_refused(ledger: Ledger, tmp_path: Path) -> None:
    with ledger.open_run("flights") as run:
        run.commit(first([]))
        run.commit(after(run, intents=[("fit", Advance("orders", 0, blob("other")))]))
    with pytest.raises(UsageError, match="has cursor `orders` already, with another value as version 1"):
        bring(exported(tmp_path), ledger)


def test_an_import_that_brings_nothing_leaves_erasures_complete_and_one_that_brings_rows_or_blobs_does_not(
    ledger: Ledger, tmp_path: Path
) -> None:
    class Killed(Exception):
        pass

    def kill(*_: object) -> NoReturn:
        raise Killed

    def is_complete(ledger: Ledger) -> bool:
        with closing(ledger.connect()) as db:
            return erasures.rows(db)[0].done is not None

    def erase(ledger: Ledger) -> None:
        erasures.begin(ledger, erasure)
        with closing(ledger.connect()) as db:
            assert erasures.complete(db, erasure, set(), 2.0)

    file = exported(tmp_path)
    erasure = Erasure(id="e", endpoint="rents", columns=("who",), salt="00", digest="d", at=1.0, why="asked")
    erase(ledger)
    with ledger.open_run("flights") as run:
        run.commit(first([]))
        run.commit(after(run, intents=[("fit", Advance("orders", 0, blob("other")))]))
    with pytest.raises(UsageError, match="nothing was imported"):
        bring(file, ledger)
    assert is_complete(ledger), "the import was refused"
    with open_ledger(tmp_path / "new") as new:
        erase(new)
        with pytest.raises(Killed):
            bring(file, new, lambda _, done, __: kill() if done else None)
        assert is_complete(new), "the import was killed between two rows"
        with pytest.raises(Killed), Archive(file, schema=SCHEMA) as archive, alone(new, "a test") as lease:
            Importer(new, archive, FolderStore(tmp_path / "store"), lease).bring(kill)
        assert not is_complete(new), "the import was killed while it copied blobs, which rows may name already"
    with open_ledger(tmp_path / "third") as third:
        erase(third)
        assert bring(file, third).runs == 1
        assert not is_complete(third)


def test_a_version_whose_number_a_run_takes_meanwhile_is_not_lost_unsaid(ledger: Ledger, tmp_path: Path) -> None:
    def meanwhile(what: str, done: int, _all: int) -> None:
        if what == "runs" and done == 0:
            with ledger.open_run("flights") as run:
                run.commit(first([]))
                run.commit(after(run, intents=[("fit", Register("model", "m", blob("other")))]))

    with pytest.raises(UsageError, match="another model `m:1` here in the meantime"):
        bring(exported(tmp_path), ledger, meanwhile)
    assert rows(ledger, "select count(*) from runs") == [(1,)], "nothing of the archive came"


def test_an_alias_that_the_ledger_has_stays_as_it_is_and_so_do_its_moves(
    ledger: Ledger, tmp_path: Path, address: str
) -> None:
    exported(tmp_path)  # it registers version 1 of `m`
    with open_ledger(tmp_path / "laptop") as theirs:
        with theirs.open_run("flights") as run:
            run.commit(first([]))
            run.commit(after(run, intents=[("fit", Register("model", "m", blob("two")))]))
        for version in (1, 2):
            point(theirs, "model", "m", "best", version, by="ada", why="here it is better")
        file = archive_of(theirs, tmp_path / "archive")
    with ledger.open_run("flights") as run:
        run.commit(first([], kept=[VALUE]))
        run.commit(after(run, intents=[("fit", Register("model", "m", VALUE, aliases=("best",)))]))
    for _ in range(2):
        bring(file, ledger)
        with TrackingViews(address) as views:
            assert [(each.was, each.version) for each in views.moves("model", "m")] == [(None, 1)]
            assert views.resolve("model", "m@best").version == 1


def test_an_alias_that_has_moved_elsewhere_since_it_was_imported_stays_with_its_moves(
    ledger: Ledger, tmp_path: Path, address: str
) -> None:
    for version in (1, 2):
        with open_ledger(tmp_path / "laptop") as laptop:
            with laptop.open_run(f"flights-{version}") as run:
                run.commit(first([]))
                run.commit(after(run, intents=[("fit", Register("model", "m", blob(str(version))))]))
            point(laptop, "model", "m", "production", version, by="ada")
            file = archive_of(laptop, tmp_path / "archive")
        bring(file, ledger)
        with TrackingViews(address) as views:
            assert [each.version for each in views.moves("model", "m")] == [1]
            assert views.resolve("model", "m@production").version == 1
            assert len(views.versions("model", "m")) == version


def test_an_alias_that_was_removed_here_does_not_come_back(ledger: Ledger, tmp_path: Path, address: str) -> None:
    exported(tmp_path)
    with open_ledger(tmp_path / "laptop") as laptop:
        point(laptop, "model", "m", "best", 1, by="ada")
        file = archive_of(laptop, tmp_path / "archive")
    bring(file, ledger)
    unpoint(ledger, "model", "m", "best", by="bob")
    bring(file, ledger)
    with TrackingViews(address) as views:
        assert [each.version for each in views.moves("model", "m")] == [None, 1]
        with pytest.raises(NotFoundError):
            views.resolve("model", "m@best")


@pytest.mark.parametrize("name", ["../../elsewhere", "..", ""])
def test_a_run_whose_id_would_lead_out_of_our_folders_is_refused(ledger: Ledger, tmp_path: Path, name: str) -> None:
    file = exported(tmp_path, f"update runs set id = '{name}'")
    with pytest.raises(LedgerError, match="is damaged, or forged"):
        bring(file, ledger)
    assert rows(ledger, "select id from runs") == []


def test_an_archive_whose_parts_lead_back_is_refused(ledger: Ledger, tmp_path: Path) -> None:
    file = exported(tmp_path)
    back = tarfile.TarInfo("back")
    back.size = -tarfile.BLOCKSIZE  # to itself
    data = file.read_bytes()
    end = len(data) - 2 * tarfile.BLOCKSIZE
    file.write_bytes(data[:end] + back.tobuf(tarfile.GNU_FORMAT) + data[end:])
    with pytest.raises(UsageError, match="is not whole"):
        bring(file, ledger)


def test_an_archive_that_was_changed_is_told_apart_from_one_that_was_cut_short(ledger: Ledger, tmp_path: Path) -> None:
    file = exported(tmp_path)
    data = file.read_bytes()
    name = data.rindex(b"end.json")
    file.write_bytes(data[: name + 1] + b"N" + data[name + 2 :])
    with pytest.raises(LedgerError, match="some of its bytes aren't what was written"):
        bring(file, ledger)
    for size in (name, name + 700):
        file.write_bytes(data[:size])
        with pytest.raises(UsageError, match="its end is missing"):
            bring(file, ledger)


def test_notices_of_another_ledger_are_brought_and_not_sent_from_here(ledger: Ledger, tmp_path: Path) -> None:
    with open_ledger(tmp_path / "laptop") as laptop:
        with laptop.open_run("flights") as run:
            notices = [NoticeRow(kind="run.failed", at=laptop.now() + at, facts="{}") for at in range(4)]
            run.commit(replace(first([]), notices=notices))
        pending, sent, failed, sending = (row[0] for row in rows(laptop, "select id from outbox order by at"))
        edit(laptop, f"update outbox set state = 'sent', sent = 'command' where id = '{sent}'")
        edit(laptop, f"update outbox set state = 'failed', error = 'no route' where id = '{failed}'")
        edit(laptop, f"update outbox set state = 'sending', tries = 1 where id = '{sending}'")
        file = archive_of(laptop, tmp_path / "laptop.headrace")
    bring(file, ledger)
    bring(file, ledger)
    states = dict(rows(ledger, "select id, state from outbox"))
    assert states == {pending: "imported", sent: "sent", failed: "imported", sending: "imported"}
    retry(ledger)
    with Outbox(ledger) as outbox:
        assert outbox.due(["run.failed"]) == []
    bring(archive_of(ledger, tmp_path / "server.headrace"), ledger)
