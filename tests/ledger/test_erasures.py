"""What was erased stays named by rows, and is in no row, store, archive or backup; on SQLite and PostgreSQL."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Thread
from types import FrameType

import msgspec
import pytest
from msgspec.structs import replace

from headrace.errors import NotFoundError
from headrace.ledger import erasures, generations, records, registration
from headrace.ledger.database.database import Unmet
from headrace.ledger.database.schema import SCHEMA
from headrace.ledger.erasures import Rewritten, Spared, Told
from headrace.ledger.exclusive import alone
from headrace.ledger.ledger import Ledger
from headrace.ledger.predictions import record
from headrace.ledger.records import PredictionPartRecord
from headrace.ledger.registry import register
from headrace.ledger.standing.tables import BY_TABLE
from headrace.ledger.transfer.archive import FORMAT, VERSION, Head
from headrace.ledger.transfer.archive_check import columns
from headrace.ledger.transfer.backup import NOTE, Backups
from headrace.ledger.transfer.transfer import Importer
from headrace.ledger.upkeep.fsck import Checker
from headrace.ledger.upkeep.gc import Collector
from headrace.ledger.upkeep.retention import Keep
from headrace.spec.artifact import ERASED, Ref, decode_ref
from headrace.spec.endpoint import Erasure, Part, digest_of
from headrace.spec.intent import Register
from headrace.store.folder.folder import FolderStore
from tests.ledger.samples import digest, open_ledger

NOW = 1_000_000_000.0
HEAD = Head(format=FORMAT, version=VERSION, schema=SCHEMA, headrace="1", made=NOW, project="p", columns=columns())
SALT = "00" * 32
ANNA = Erasure(
    id="of-anna",
    endpoint="rents",
    columns=("customer",),
    salt=SALT,
    digest=digest_of("anna", SALT),
    at=NOW,
    why="asked",
)
SECRET = "what anna said"


@pytest.fixture
def ledger(address: str) -> Iterator[Ledger]:
    with open_ledger(address) as ledger:
        yield ledger


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


def stored(store: FolderStore, text: str) -> Ref:
    blob = store.put(text.encode())
    return Ref(digest=blob.digest, size=blob.size, codec="text", type="builtins.str", nonce=blob.nonce)


def small(text: str) -> Ref:
    return Ref(digest=digest(text), size=len(text), codec="text", type="builtins.str", inline=text.encode())


def part(ledger: Ledger, out: Ref, segment: int = 1) -> PredictionPartRecord:
    """Add a part with two predictions, and return its row."""
    record(ledger, [Part(endpoint="rents", writer="w", segment=segment, out=out, count=2, first=NOW, last=NOW)])
    return parts(ledger)[-1]


def parts(ledger: Ledger) -> list[PredictionPartRecord]:
    with closing(ledger.connect()) as db:
        return list(BY_TABLE["prediction_parts"].rows(db))


def rewrite(ledger: Ledger, *changed: Rewritten) -> None:
    with closing(ledger.connect()) as db:
        erasures.rewrite(db, ANNA, changed)


def test_a_part_is_replaced_and_the_old_generation_is_marked_with_what_was_erased(
    ledger: Ledger, store: FolderStore
) -> None:
    before, after = stored(store, SECRET), stored(store, "the rest")
    row = part(ledger, before)
    erasures.begin(ledger, ANNA)
    rewrite(ledger, Rewritten(part=row, out=after, count=1))
    (now,) = parts(ledger)
    assert (decode_ref(now.out), now.count, now.segment) == (after, 1, row.segment)
    with closing(ledger.connect()) as db:
        assert records.erased(db) == {(before.digest, before.nonce)}
        (erased,) = erasures.rows(db)
        assert generations.kept(db, [before, after]) == [False, True]
    assert erasures.erasure_of(erased) == ANNA
    assert erasures.told_in(erased) == Told(predictions=1, parts=1)
    assert erased.done is None


def test_a_part_that_was_changed_meanwhile_is_looked_at_again(ledger: Ledger, store: FolderStore) -> None:
    row = part(ledger, stored(store, SECRET))
    erasures.begin(ledger, ANNA)
    changed = Rewritten(part=row, out=stored(store, "the rest"), count=1)
    rewrite(ledger, changed)
    with pytest.raises(Unmet):
        rewrite(ledger, changed)
    with closing(ledger.connect()) as db:
        assert erasures.told_in(erasures.rows(db)[0]) == Told(predictions=1, parts=1)


def test_parts_that_hold_a_person_who_was_erased_meanwhile_are_not_added(ledger: Ledger, store: FolderStore) -> None:
    made = Part(endpoint="rents", writer="w", segment=1, out=stored(store, SECRET), count=2, first=NOW, last=NOW)
    erasures.begin(ledger, ANNA)
    assert record(ledger, [made]) is False
    assert parts(ledger) == []
    assert record(ledger, [made], spared={ANNA.id: Spared(known=frozenset())}) is True


def label_part(ledger: Ledger, out: Ref, at: float) -> bool:
    made = Part(endpoint="rents", writer="w", segment=1, out=out, count=1, first=at, last=at)
    with closing(ledger.connect()) as db:
        known = {row.erasure: Spared(known=frozenset(erasures.told_in(row).digests)) for row in erasures.rows(db)}
    return record(ledger, [], [made], spared=known)


@pytest.mark.parametrize(("labelled", "is_complete"), [(NOW - 10_000, True), (NOW + 1, False)])
def test_what_sealing_leaves_out_is_recorded_and_an_erasure_with_possible_labels_is_not_complete(
    ledger: Ledger, store: FolderStore, labelled: float, is_complete: bool
) -> None:
    assert label_part(ledger, stored(store, "a label"), labelled)
    erasures.begin(ledger, ANNA, Told(unsealed=1, digests=("a",)))
    sealed = {
        ANNA.id: Spared(
            known=frozenset({"a"}), fresh=frozenset({"a", "b"}), unreadable=frozenset({"a", "b"}), since=NOW
        )
    }
    with closing(ledger.connect()) as db:
        assert erasures.complete(db, ANNA, {"a"}, NOW)
    assert record(ledger, [], spared=sealed) is True
    with closing(ledger.connect()) as db:
        (row,) = erasures.rows(db)
        assert erasures.told_in(row) == Told(unsealed=1, unreadable=1, digests=("a", "b"))
        assert (row.done is not None) == is_complete
        assert record(ledger, [], spared=sealed) is False, "it didn't know of `b`"
        assert not erasures.complete(db, ANNA, {"a"}, NOW), "labels of `b` were not looked for"
        assert erasures.complete(db, ANNA, {"a", "b"}, NOW)


def test_collector_and_checker_know_what_was_erased(ledger: Ledger, store: FolderStore) -> None:
    before = stored(store, SECRET)
    row = part(ledger, before)
    erasures.begin(ledger, ANNA)
    rewrite(ledger, Rewritten(part=row, out=stored(store, "the rest"), count=1))

    def problems() -> list[str]:
        return [each.what for each in Checker(ledger, {"home": store}).check(now=NOW, deep=True).problems]

    assert problems() == [
        "was erased together with a person's data, and is still in region `home`",
        "isn't complete",
    ]
    with Collector(ledger, {"home": store}) as collector:
        (reason,) = collector.collect(Keep(), now=NOW).reasons
    assert reason.reason == "erased together with a person's data"
    assert store.size(before.digest, before.nonce or "") is None
    with closing(ledger.connect()) as db:
        erasures.tell(db, ANNA, below=["a model"], unread=())
        erasures.tell(db, ANNA, below=["a report"], unread=["a table"])
        assert erasures.complete(db, ANNA, set(), NOW)
        (row_,) = erasures.rows(db)
    assert erasures.told_in(row_) == Told(predictions=1, parts=1, below=("a model", "a report"), unread=("a table",))
    assert problems() == []


def test_a_small_value_is_taken_out_of_rows_and_of_the_ledger_s_file(ledger: Ledger, store: FolderStore) -> None:
    out = small(SECRET)
    with closing(ledger.connect()) as db, alone(ledger, "a test") as lease:
        values = {"name": "c", "version": 1, "value": msgspec.msgpack.encode(out), "run": None, "task": None}
        db.execute(db.sql.MOVE_CURSOR, db.sql.values("MOVE_CURSOR", {**values, "at": NOW, "by": "me"}))
        erasures.begin(ledger, ANNA)
        erasures.erase(db, ANNA, [(out, "cursor `c`")])
        assert records.erased(db) == {(out.digest, ERASED)}
        assert erasures.scrub(db, lease, records.runs(db), erasures.small(records.erased(db))) == []
        (cursor,) = BY_TABLE["cursors"].rows(db)
        left = decode_ref(cursor.value)
        assert (left.digest, left.inline, left.nonce) == (out.digest, None, ERASED)
        assert db.purge() is None
        path = Path(getattr(db, "path", "/nowhere"))
        for file in path.parent.glob(f"{path.name}*") if path.exists() else ():
            assert SECRET.encode() not in file.read_bytes()
    assert Checker(ledger, {"home": store}).check(now=NOW).problems[0].what == "isn't complete"


def test_a_backup_forgets_what_was_erased_and_an_older_snapshot_still_restores_the_rest(
    ledger: Ledger, store: FolderStore, tmp_path: Path
) -> None:
    before, other, after = (stored(store, text) for text in (SECRET, "bob's part", "the rest"))
    row = part(ledger, before)
    part(ledger, other, segment=2)
    backups = Backups(FolderStore(tmp_path / "backup"))
    with alone(ledger, "a test") as lease:
        first = backups.add(ledger, {"home": store}, HEAD, lease).snapshot
        assert backups.erase(ledger, HEAD, lease) == 0
        erasures.begin(ledger, ANNA)
        rewrite(ledger, Rewritten(part=row, out=after, count=1))
        backups.add(ledger, {"home": store}, replace(HEAD, made=HEAD.made + 1.0), lease)
        assert backups.erase(ledger, HEAD, lease) == 1
        assert backups.erase(ledger, HEAD, lease) == 0
    assert backups.store.size(before.digest, before.nonce or "") is None
    (older, _) = backups.snapshots()
    assert older.made == first.made
    assert older.name != first.name
    backups.store.spool.spill(first.name, NOTE, msgspec.json.encode(first))  # as if it was killed before the note went
    for name in (first.name, older.name, first.name.rpartition("-")[0]):
        assert backups.find(name) == older
    with alone(ledger, "a test") as lease:
        assert backups.erase(ledger, HEAD, lease) == 0, "nothing is written again"
    assert len(backups.snapshots()) == 2
    place = FolderStore(tmp_path / "new store")
    with open_ledger(tmp_path / "new") as new:
        with backups.archive(older, schema=SCHEMA) as archive, alone(new, "a test") as lease:
            assert Importer(new, archive, place, lease).bring(backups.blobs).lacking == ()
        assert [(decode_ref(each.out), each.count) for each in parts(new)] == [(after, 1), (other, 2)]
        assert [each.what for each in Checker(new, {"home": place}).check(now=NOW).problems] == ["isn't complete"]


def test_an_import_leaves_out_what_was_erased_here(ledger: Ledger, store: FolderStore, tmp_path: Path) -> None:
    before = stored(store, SECRET)
    row = part(ledger, before)
    backups = Backups(FolderStore(tmp_path / "backup"))
    with alone(ledger, "a test") as lease:
        backups.add(ledger, {"home": store}, HEAD, lease)
        erasures.begin(ledger, ANNA)
        rewrite(ledger, Rewritten(part=row, out=stored(store, "the rest"), count=1))
        store.delete(before.digest, before.nonce or "")
        with backups.archive(backups.find(), schema=SCHEMA) as archive:
            found = Importer(ledger, archive, store, lease).bring(backups.blobs)
    assert (found.blobs, found.lacking) == (0, ())
    assert store.size(before.digest, before.nonce or "") is None


def test_what_sealing_records_while_an_erasure_says_more_is_not_lost(ledger: Ledger) -> None:
    erasures.begin(ledger, ANNA)
    sealed = {ANNA.id: Spared(known=frozenset(), fresh=frozenset({"a"}), since=NOW)}
    seals = Thread(target=lambda: record(ledger, [], spared=sealed))

    def meanwhile(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_name == "_tell":  # what the row says was read, and isn't written yet
            sys.setprofile(None)
            seals.start()
            seals.join(1.0)  # it waits until the other has written

    with closing(ledger.connect()) as db:
        sys.setprofile(meanwhile)
        try:
            erasures.tell(db, ANNA, below=["a model"], unread=())
        finally:
            sys.setprofile(None)
        seals.join()
        assert erasures.told_in(erasures.rows(db)[0]) == Told(below=("a model",), digests=("a",))


def test_versions_with_erased_bytes_name_equal_ones_once_these_are_registered(
    ledger: Ledger, store: FolderStore
) -> None:
    before, after, other = stored(store, SECRET), stored(store, SECRET), stored(store, "what bob said")

    def put(model: str, preparation: Ref) -> list[Ref]:
        """Register a version, and return the preparations of all versions."""
        wanted = Register(kind="model", name="rents", out=small(model), preparation=preparation)
        with closing(ledger.connect()) as db:
            db.atomically(lambda: registration.put(db, wanted, run=None, task=None, by="ann", at=NOW))
            return [decode_ref(row.preparation) for row in BY_TABLE["versions"].rows(db)]

    put("one", before)
    put("two", before)
    assert put("three", other) == [before, before, other]
    assert put("two", after) == [before, before, other], "what can be read stays"
    erasures.begin(ledger, ANNA)
    with closing(ledger.connect()) as db:
        erasures.erase(db, ANNA, [(before, "a table")])
    with pytest.raises(NotFoundError, match=r"the artifact .* was erased together with a person's data"):
        register(ledger, Register(kind="dataset", name="rows", out=before), by="ann")
    assert put("three", other) == [before, before, other]
    assert put("two", after) == [after, after, other]
