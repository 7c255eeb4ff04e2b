"""What the checker finds, and what it mends."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from headrace.errors import RESTORE, LedgerDamaged
from headrace.ledger.ledger import Ledger
from headrace.ledger.upkeep.fsck import Checked, Checker, damaged
from headrace.ledger.upkeep.gc import GRACE_S
from headrace.run.events import Renewed, Succeeded, Taken, encode_event
from headrace.spec.artifact import Ref
from headrace.spec.bundle import Bundle
from headrace.spec.intent import Advance, Register
from headrace.store.folder.folder import FolderStore
from tests.ledger.honest import events, honest_run, store_run
from tests.ledger.samples import edit, first, open_ledger, result, run_row, task_row

NOW = 1_000_000_000.0
OLD = NOW - 2 * GRACE_S


@pytest.fixture
def ledger(address: str) -> Iterator[Ledger]:
    with open_ledger(address) as ledger:
        yield ledger


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


def put(store: FolderStore, text: str) -> Ref:
    blob = store.put(text.encode())
    os.utime(store.path(blob.digest, blob.nonce), (OLD, OLD))
    return Ref(digest=blob.digest, size=blob.size, codec="text", type="builtins.str", nonce=blob.nonce)


def ended(ledger: Ledger, out: Ref, **more: Any) -> str:
    bodies = [encode_event(Succeeded("fit", 1, out, 1.0, 1.0))]
    batch = {"bodies": bodies, "tasks": [task_row(out=out)], "results": [result(out)], "kept": [out]}
    with ledger.open_run("flights") as run:
        run.commit(first(run=run_row("succeeded"), **batch | more))
        return run.run


def check(ledger: Ledger, *stores: FolderStore, **more: Any) -> Checked:
    return Checker(ledger, {f"region {i}": store for i, store in enumerate(stores)}).check(now=NOW, **more)


def damage(store: FolderStore, ref: Ref, data: bytes) -> None:
    path = store.path(ref.digest, ref.nonce or "")
    path.chmod(0o600)
    path.write_bytes(data)


def test_a_sound_ledger_has_no_problems(ledger: Ledger, store: FolderStore) -> None:
    honest_run(ledger, put(store, "model"))
    found = check(ledger, store, deep=True)
    assert (found.problems, found.runs, found.blobs, found.bytes) == ((), 1, 1, 5)


def test_a_missing_blob_is_named_with_its_runs_and_its_result(ledger: Ledger, store: FolderStore) -> None:
    out = put(store, "model")
    run = ended(ledger, out)
    store.delete(out.digest, out.nonce or "")
    blob, reuse = check(ledger, store).problems
    assert (blob.about, blob.subject) == ("blob", f"{out.digest}.{out.nonce}")
    assert blob.what == f"it is missing from the store; named by run `{run}`"
    assert (reuse.about, reuse.subject, reuse.mended) == ("result", "fit", None)


def test_a_missing_value_of_a_cursor_is_named_so_and_the_cursor_may_be_set_back(
    ledger: Ledger, store: FolderStore
) -> None:
    value = put(store, "rows so far")
    with ledger.open_run("flights") as run:
        run.commit(first([], kept=[value], intents=[("fit", Advance("orders", 0, value))]))
        name = run.run
    store.delete(value.digest, value.nonce or "")
    (problem,) = check(ledger, store).problems
    assert problem.what == f"it is missing from the store; named by cursor `orders`, run `{name}`"
    assert "`headrace rewind orders --to-version N`" in problem.hint


def test_a_missing_version_of_a_model_is_named_so(ledger: Ledger, store: FolderStore) -> None:
    model = put(store, "model")
    with ledger.open_run("flights") as run:
        run.commit(first([], kept=[model], intents=[("fit", Register("model", "delays", model))]))
        name = run.run
    store.delete(model.digest, model.nonce or "")
    (problem,) = check(ledger, store).problems
    assert problem.what == f"it is missing from the store; named by model `delays:1`, run `{name}`"


def test_a_version_that_needs_a_blob_twice_is_named_once(ledger: Ledger, store: FolderStore) -> None:
    data = put(store, "data")
    with ledger.open_run("flights") as run:
        run.commit(first([], kept=[data], intents=[("fit", Register("dataset", "d", data, report=data))]))
    store.delete(data.digest, data.nonce or "")
    (problem,) = check(ledger, store).problems
    assert problem.what == f"it is missing from the store; named by dataset `d:1`, run `{run.run}`"


def test_lost_code_of_a_run_is_named_so_with_what_brings_it_back(ledger: Ledger, store: FolderStore) -> None:
    def code_of_a_run() -> tuple[Ref, str]:
        code = put(store, "code")
        with ledger.open_run("flights") as run:
            run.commit(first(run=run_row("running", bundle=code.digest), kept=[code]))
            return code, run.run

    code, run = code_of_a_run()
    damage(store, code, b"cody")
    problem = next(each for each in check(ledger, store, deep=True).problems if each.about == "blob")
    assert problem.what.endswith(f"; the code of run `{run}`")
    assert problem.hint.startswith("delete it from the store, then `headrace restore --merge` brings it from a backup")
    assert "run the same code again; then `headrace fsck --deep --repair` copies it" in problem.hint
    code_of_a_run()
    check(ledger, store, deep=True, repair=True)
    assert all(each.about != "blob" for each in check(ledger, store, deep=True).problems)


def test_a_blob_of_another_size_is_found_without_reading_it(ledger: Ledger, store: FolderStore) -> None:
    out = put(store, "model")
    ended(ledger, out)
    damage(store, out, b"mod")
    assert "it has 3 bytes in the store, and had 5" in check(ledger, store).problems[0].what


def test_a_blob_of_other_bytes_is_found_by_a_deep_check(ledger: Ledger, store: FolderStore) -> None:
    out = put(store, "model")
    honest_run(ledger, out)
    damage(store, out, b"MODEL")
    assert check(ledger, store).problems == ()
    assert "is damaged" in check(ledger, store, deep=True).problems[0].what


def test_repair_keeps_a_result_from_being_reused(ledger: Ledger, store: FolderStore) -> None:
    out, sound = put(store, "model"), put(store, "sound")
    ended(ledger, out)
    ended(ledger, sound, results=[result(sound, "other key")])
    store.delete(out.digest, out.nonce or "")
    assert check(ledger, store, repair=True).problems[1].mended is not None
    with ledger.open_run("flights") as run:
        assert run.result("key") is None
        assert run.result("other key") is not None
        again = put(store, "model")
        run.commit(first([], results=[result(again)], kept=[again]))
        assert run.result("key") is not None, "made again, it may be reused again"
    (blob,) = check(ledger, store).problems
    assert blob.about == "blob"


def test_a_damaged_replica_is_brought_again_from_another_region(
    ledger: Ledger, store: FolderStore, tmp_path: Path
) -> None:
    far = FolderStore(tmp_path / "far")
    out = put(store, "model")
    with store.reader(out.digest, out.nonce or "") as file, far.batch() as batch:
        batch.replicate(out.digest, out.nonce or "", file)
    honest_run(ledger, out)
    damage(store, out, b"MODEL")
    (told,) = check(ledger, store, far, deep=True).problems
    assert told.what.startswith("in region `region 0`: ")
    assert told.mended is None
    (mended,) = check(ledger, store, far, deep=True, repair=True).problems
    assert mended.mended == "brought again from region `region 1`"
    assert check(ledger, store, far, deep=True).problems == ()
    far.delete(out.digest, out.nonce or "")
    assert check(ledger, store, far).problems == (), "that a region has no replica is no fault"


def test_what_was_made_again_mends_what_was_lost(ledger: Ledger, store: FolderStore) -> None:
    lost, flipped = put(store, "model"), put(store, "other")
    honest_run(ledger, lost)
    honest_run(ledger, flipped, key="other key")
    store.delete(lost.digest, lost.nonce or "")
    damage(store, flipped, b"OTHER")
    honest_run(ledger, put(store, "model"))
    honest_run(ledger, again := put(store, "other"), key="other key")
    told = {problem.subject: problem for problem in check(ledger, store, deep=True).problems}
    assert set(told) == {f"{ref.digest}.{ref.nonce}" for ref in (lost, flipped)}
    assert f"generation `{again.nonce}` has the same bytes" in told[f"{flipped.digest}.{flipped.nonce}"].hint
    mended = check(ledger, store, deep=True, repair=True).problems
    assert all("copied from generation" in (problem.mended or "") for problem in mended)
    assert check(ledger, store, deep=True).problems == ()


def test_of_equal_blobs_that_are_all_damaged_none_is_made_from_another(ledger: Ledger, store: FolderStore) -> None:
    outs = [put(store, "model"), put(store, "model")]
    for i, out in enumerate(outs):
        honest_run(ledger, out, key=f"key {i}")
        damage(store, out, b"MODEL")
    problems = check(ledger, store, deep=True, repair=True).problems
    assert [problem.about for problem in problems] == ["blob", "blob", "result", "result"]
    assert all("is damaged" in problem.what for problem in problems)


def test_what_may_lie_in_a_region_that_is_not_described_is_left_alone(ledger: Ledger, store: FolderStore) -> None:
    out = put(store, "model")
    far = replace(events(out)[1], region="us")
    store_run(ledger, [event if not isinstance(event, Taken) else far for event in events(out)])
    store.delete(out.digest, out.nonce or "")
    blob, reuse = check(ledger, store, repair=True).problems
    assert "it may be in region `us`, which isn't in the settings" in blob.what
    assert blob.hint == "add `[region.us]` to the settings, or give the `--config` file that has it"
    assert (reuse.about, reuse.mended) == ("result", None)
    with ledger.open_run("flights") as run:
        assert run.result("key") is not None, "who has the region may reuse it"


def test_where_nothing_is_there_the_store_is_the_wrong_one_and_nothing_is_marked(
    ledger: Ledger, store: FolderStore, tmp_path: Path
) -> None:
    for i in range(2):
        honest_run(ledger, put(store, f"model {i}"), key=f"key {i}")
    problems = check(ledger, FolderStore(tmp_path / "another"), repair=True).problems
    assert len(problems) == 4
    assert {(problem.mended, "check `[store] url`" in problem.hint) for problem in problems} == {(None, True)}
    assert check(ledger, store, repair=True).problems == ()


def test_a_deep_check_replays_each_run_and_repair_writes_its_rows_anew(ledger: Ledger, store: FolderStore) -> None:
    run = honest_run(ledger, put(store, "model"))
    edit(ledger, "update tasks set attempts = 7")
    assert check(ledger, store).problems == ()
    (told,) = check(ledger, store, deep=True).problems
    assert told.subject == f"{run} fit"
    assert "say task attempts `7`, while its events say `1`" in told.what
    assert "written anew" in (check(ledger, store, deep=True, repair=True).problems[0].mended or "")
    assert check(ledger, store, deep=True).problems == ()


def test_a_gap_in_a_runs_events_is_found(ledger: Ledger, store: FolderStore) -> None:
    run = ended(
        ledger,
        put(store, "model"),
        bodies=[encode_event(Succeeded("fit", i, put(store, "model"), 1.0, 1.0)) for i in range(3)],
    )
    edit(ledger, "delete from events where seq = 1")
    (problem,) = check(ledger, store).problems
    assert (problem.about, problem.subject) == ("run", run)
    assert "holds 2 events, numbered 0 to 2" in problem.what


def test_a_row_that_differs_from_its_events_is_found(ledger: Ledger, store: FolderStore) -> None:
    run = ended(ledger, put(store, "model"))
    edit(ledger, "update tasks set state = 'failed'")
    (problem,) = check(ledger, store).problems
    assert problem.subject == f"{run} fit"
    assert "the row of a failed task" in problem.what


def test_an_event_that_cannot_be_read_is_found(ledger: Ledger, store: FolderStore) -> None:
    ended(ledger, put(store, "model"), bodies=[b"\x93nonsense"])
    assert "can't be read" in check(ledger, store).problems[0].what


def test_events_of_an_older_trace_are_held_against_no_row(ledger: Ledger, store: FolderStore) -> None:
    out = put(store, "model")
    events = [Succeeded("gone", 1, out, 1.0, 1.0), Renewed(Bundle(digest="b", size=1, nonce="n"), 1.0)]
    ended(ledger, out, bodies=[encode_event(event) for event in events])
    assert check(ledger, store).problems == ()


def test_a_damaged_file_is_told_as_a_finding(tmp_path: Path, store: FolderStore) -> None:
    with open_ledger(tmp_path / "state") as ledger:
        for i in range(50):
            ended(ledger, put(store, f"model {i}"))
        edit(ledger, "pragma wal_checkpoint(truncate)")
        with Path(ledger.address).open("r+b") as file:
            file.seek(4096 * 12)
            file.write(os.urandom(4096 * 4))
        problems = check(ledger, store).problems
    assert problems
    assert {problem.about for problem in problems} == {"ledger"}
    assert "is damaged" in problems[0].what


def test_what_the_collector_would_delete_is_counted(ledger: Ledger, store: FolderStore) -> None:
    ended(ledger, put(store, "model"))
    put(store, "orphan")
    draft = store.draft()
    draft.file.write(b"half")
    draft.file.close()
    (stray,) = store.strays()
    os.utime(store.root / "tmp" / stray.name, (OLD, OLD))
    found = check(ledger, store)
    assert (found.orphans, found.orphan_bytes, found.drafts, found.draft_bytes) == (1, 6, 1, 4)
    assert found.problems == ()


def test_a_table_that_cannot_be_read_is_named_with_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    with open_ledger(str(file)) as ledger:
        ended(ledger, put(FolderStore(tmp_path / "store"), "model"))
    with closing(sqlite3.connect(file)) as db:
        db.execute("UPDATE tasks SET key = CAST(x'ff' AS TEXT)")
        db.commit()
    with open_ledger(str(file)) as ledger, pytest.raises(LedgerDamaged) as caught:
        check(ledger, FolderStore(tmp_path / "store"))
    (problem,) = damaged(file, caught.value, is_deep=False).problems
    assert problem.what == "is damaged: table `tasks` can't be read: Could not decode to UTF-8 column 'key'"
    assert problem.hint == RESTORE
