"""What the collector deletes, and what it leaves."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace.errors import LedgerError
from headrace.record.database import connect
from headrace.record.gc import GRACE_S, TICK_S, Collected, Collector
from headrace.record.merging import moved_event
from headrace.record.names import Names
from headrace.record.sqlite import SqliteLedger
from headrace.record.views import Views
from headrace.run import events
from headrace.run.events import Checkpointed, Event, Opened, Renewed, Reused, Succeeded, Traced, encode_event
from headrace.run.wire import Report, frame
from headrace.spec.artifact import Ref
from headrace.spec.bundle import Bundle
from headrace.spec.graph import Const, Many, Node
from headrace.spec.stage import Stage
from headrace.store.folder import FolderStore
from tests.record.samples import after, digest, first, open_ledger, result, run_row, task_row

NOW = 1_000_000_000.0
OLD = NOW - 2 * GRACE_S


@pytest.fixture
def ledger(tmp_path: Path) -> SqliteLedger:
    return open_ledger(tmp_path / "state", clock=lambda: NOW)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


@pytest.fixture
def views(ledger: SqliteLedger) -> Iterator[Views]:
    with Views(ledger.path) as views:
        yield views


def put(store: FolderStore, text: str, at: float = OLD) -> Ref:
    """Keep a text in the store, as if at this time."""
    blob = store.put(text.encode())
    os.utime(store.path(blob.digest, blob.nonce), (at, at))
    return Ref(digest=blob.digest, size=blob.size, codec="text", type="builtins.str", nonce=blob.nonce)


def there(store: FolderStore, ref: Ref) -> bool:
    return store.size(ref.digest, ref.nonce or "") is not None


def ended(ledger: SqliteLedger, out: Ref, *, key: str = "key", ended: float = OLD, **more: Any) -> str:
    """Store a run that ended with one task's output."""
    row = run_row("succeeded", ended=ended, created=ended, bundle=more.pop("bundle", digest("bundle")))
    with ledger.open_run("flights") as run:
        run.commit(first(run=row, tasks=[task_row(out=out, key=key)], results=[result(out, key)], kept=[out], **more))
        return run.run


def collect(ledger: SqliteLedger, store: FolderStore, **more: Any) -> Collected:
    with Collector(ledger, store, store.spool) as collector:
        return collector.collect(**{"now": NOW} | more)


def test_what_no_row_names_goes_and_what_one_names_stays(ledger: SqliteLedger, store: FolderStore) -> None:
    out, orphan = put(store, "out"), put(store, "orphan")
    ended(ledger, out)
    found = collect(ledger, store)
    assert [(each.digest, each.reason) for each in found.blobs] == [(orphan.digest, "no run names it")]
    assert found.bytes == len("orphan")
    assert there(store, out)
    assert not there(store, orphan)


def test_a_dry_run_says_the_same_and_changes_nothing(ledger: SqliteLedger, store: FolderStore, views: Views) -> None:
    kept = [put(store, "model"), put(store, "model")]
    run, _ = ended(ledger, put(store, "old"), key="old"), [ended(ledger, each, key=each.nonce or "") for each in kept]
    put(store, "orphan")
    before = sorted(store.blobs(), key=repr), views.runs()
    dry = collect(ledger, store, keep_runs=2, dry_run=True)
    assert (sorted(store.blobs(), key=repr), views.runs()) == before
    wet = collect(ledger, store, keep_runs=2)
    assert dry.runs == wet.runs == (run,)
    assert sorted(dry.blobs, key=repr) == sorted(wet.blobs, key=repr)
    assert dry.bytes == wet.bytes > 0


def test_what_is_young_stays_since_its_report_may_be_under_way(ledger: SqliteLedger, store: FolderStore) -> None:
    fresh = put(store, "fresh", NOW - 10)
    found = collect(ledger, store)
    assert there(store, fresh)
    assert found.young_bytes == len("fresh")
    assert collect(ledger, store, grace_s=5).bytes == len("fresh")


def test_nothing_younger_than_an_attempt_that_is_out_goes(ledger: SqliteLedger, store: FolderStore) -> None:
    before, after_start = put(store, "before", OLD - 100), put(store, "part of its output", OLD + 100)
    with ledger.open_run("flights") as run:
        run.commit(first(tasks=[task_row(state="running", started=OLD)]))
        found = collect(ledger, store)
        assert [(held.run, held.since, held.is_driven) for held in found.held] == [(run.run, OLD, True)]
    assert collect(ledger, store).held[0].is_driven is False, "its worker may live on"
    assert there(store, after_start)
    assert not there(store, before)


def test_what_workers_spilled_for_a_driver_to_come_stays(ledger: SqliteLedger, store: FolderStore) -> None:
    out = put(store, "spilled")
    with ledger.open_run("flights") as run:
        run.commit(first())
    body = encode_event(Succeeded("fit", 1, out, 1.0, 1.0))
    store.spool.spill(run.run, "1-7", frame(Report(0, body)))
    collect(ledger, store)
    assert there(store, out)
    assert store.spool.runs() == [run.run]


def test_what_workers_of_an_ended_run_spilled_goes(ledger: SqliteLedger, store: FolderStore) -> None:
    run = ended(ledger, put(store, "out"))
    store.spool.spill(run, "1-7", b"rest")
    collect(ledger, store)
    assert store.spool.runs() == []


def test_the_parts_of_an_output_stay_with_it(ledger: SqliteLedger, store: FolderStore) -> None:
    parts = put(store, "a"), put(store, "b")
    ended(ledger, Ref(digest=digest("ab"), size=2, codec="parts", type="builtins.list", parts=parts))
    collect(ledger, store)
    assert all(there(store, part) for part in parts)


def test_a_bundle_stays_with_its_run_though_that_names_its_digest_alone(
    ledger: SqliteLedger, store: FolderStore
) -> None:
    bundle = put(store, "bundle")
    ended(ledger, put(store, "out"), bundle=bundle.digest)
    collect(ledger, store)
    assert there(store, bundle)


def test_drafts_that_nobody_writes_any_more_go(ledger: SqliteLedger, store: FolderStore) -> None:
    draft = store.draft()
    draft.file.write(b"half")
    draft.file.close()
    (stray,) = store.strays()
    assert collect(ledger, store).drafts == 0
    os.utime(store.root / "tmp" / stray.name, (OLD, OLD))
    found = collect(ledger, store)
    assert (found.drafts, found.bytes) == (1, 4)
    assert list(store.strays()) == []


def test_runs_past_their_keeping_are_forgotten_with_what_only_they_named(
    ledger: SqliteLedger, store: FolderStore, views: Views
) -> None:
    outs = [put(store, f"out {i}") for i in range(3)]
    runs = [ended(ledger, out, key=f"key {i}") for i, out in enumerate(outs)]
    found = collect(ledger, store, keep_runs=1)
    assert found.runs == tuple(runs[:2])
    assert [run.run for run in views.runs().runs] == [runs[2]]
    assert [there(store, out) for out in outs] == [False, False, True]
    assert {each.reason for each in found.blobs} == {
        f"only runs that are forgotten named it: `{run}`" for run in runs[:2]
    }
    with ledger.open_run("flights") as run:
        assert run.result("key 0") is None
        assert run.result("key 2") is not None


def test_runs_are_kept_by_age_or_by_number_whichever_keeps_more(ledger: SqliteLedger, store: FolderStore) -> None:
    runs = [ended(ledger, put(store, f"out {i}"), key=f"{i}", ended=NOW - 100 * (4 - i)) for i in range(4)]
    assert collect(ledger, store, keep_s=250, keep_runs=1, dry_run=True).runs == tuple(runs[:2])
    assert collect(ledger, store, keep_s=50, keep_runs=3, dry_run=True).runs == tuple(runs[:1])
    assert collect(ledger, store, keep_s=50, dry_run=True).runs == tuple(runs)
    assert collect(ledger, store, dry_run=True).runs == ()


def test_a_result_that_a_kept_run_reused_stays_when_its_maker_is_forgotten(
    ledger: SqliteLedger, store: FolderStore
) -> None:
    out = put(store, "out")
    maker = ended(ledger, out)
    with ledger.open_run("flights") as run:
        run.commit(first(run=run_row("succeeded"), tasks=[task_row(state="reused", out=out, key="key")], kept=[out]))
    found = collect(ledger, store, keep_runs=1)
    assert found.runs == (maker,)
    assert there(store, out)
    with ledger.open_run("flights") as later:
        again = later.result("key")
        assert again is not None
        assert again.run == run.run


def test_unfinished_runs_and_those_that_a_driver_has_are_never_forgotten(
    ledger: SqliteLedger, store: FolderStore
) -> None:
    with ledger.open_run("flights") as run:
        run.commit(first())
    held = ended(ledger, put(store, "out"))
    with ledger.take(held):
        assert collect(ledger, store, keep_runs=0).runs == ()
    assert collect(ledger, store, keep_runs=0).runs == (held,)


def test_what_lost_its_last_name_just_now_stays_while_a_driver_lives(ledger: SqliteLedger, store: FolderStore) -> None:
    out = put(store, "out")
    ended(ledger, out)
    with ledger.open_run("other") as driver:
        assert driver.result("key") is not None, "the driver has looked it up, and is about to name it"
        found = collect(ledger, store, keep_runs=0)
        assert (found.bytes, found.later_bytes) == (0, 3)
        driver.commit(first(kept=[out]))
        assert collect(ledger, store).bytes == 0
    assert there(store, out)


def test_a_later_pass_takes_what_was_left(ledger: SqliteLedger, store: FolderStore) -> None:
    out = put(store, "out")
    ended(ledger, out)
    with ledger.open_run("other"):
        assert collect(ledger, store, keep_runs=0).later_bytes == 3
        assert collect(ledger, store, now=NOW + 1).later_bytes == 3, "the driver may be within the same tick still"
        assert there(store, out)
        assert collect(ledger, store, now=NOW + TICK_S).bytes == 3
    assert not there(store, out)


def test_equal_generations_become_one_and_every_run_names_it(
    ledger: SqliteLedger, store: FolderStore, views: Views
) -> None:
    outs = [put(store, "model") for _ in range(3)]
    runs = [
        ended(ledger, out, key=f"key {i}", bodies=[encode_event(Succeeded("fit", 1, out, 1.0, 1.0))])
        for i, out in enumerate(outs)
    ]
    found = collect(ledger, store)
    assert found.bytes == 2 * len("model")
    (kept,) = [out for out in outs if there(store, out)]
    assert {each.reason for each in found.blobs} == {f"equal to generation `{kept.nonce}`, which stays"}
    with ledger.open_run("flights") as run:
        for i, run_id in enumerate(runs):
            row = views.task(run_id, "fit")
            assert row.out == msgspec.msgpack.encode(kept)
            (event,) = views.events(run_id)
            assert event == Succeeded("fit", 1, kept, 1.0, 1.0)
            reusable = run.result(f"key {i}")
            assert reusable is not None
            assert reusable.out == kept
    assert collect(ledger, store).bytes == 0


def test_a_damaged_generation_is_not_the_one_that_stays(ledger: SqliteLedger, store: FolderStore) -> None:
    good, bad = put(store, "model"), put(store, "model")
    for i, out in enumerate((good, bad, bad)):
        with ledger.open_run("flights") as run:
            run.commit(first(run=run_row("succeeded"), tasks=[task_row(out=out, key=f"{i}")], kept=[out]))
    path = store.path(bad.digest, bad.nonce or "")
    path.chmod(0o600)
    path.write_bytes(b"MODEL")
    collect(ledger, store)
    assert there(store, good)
    assert not there(store, bad)


def test_a_run_that_a_driver_has_goes_on_naming_what_it_named(ledger: SqliteLedger, store: FolderStore) -> None:
    outs = [put(store, "model") for _ in range(3)]
    for i, out in enumerate(outs[:2]):
        ended(ledger, out, key=f"{i}")
    with ledger.open_run("flights") as run:
        run.commit(first(kept=[outs[2]]))
        assert collect(ledger, store).bytes == 0
        assert collect(ledger, store, now=NOW + TICK_S).bytes == 2 * len("model"), "what the first pass had left"
    assert there(store, outs[2])


def test_the_lock_files_of_drivers_that_died_go(ledger: SqliteLedger, store: FolderStore) -> None:
    ledger.leases.mkdir()
    (ledger.leases / "dead.lock").write_text("{}")
    with ledger.open_run("flights") as run:
        collect(ledger, store)
        assert [path.stem for path in ledger.leases.iterdir() if path.stem != "the-collector"] == [run.run]
        assert ledger.holder(run.run) is not None


def test_only_one_collector_works_at_a_time(ledger: SqliteLedger, store: FolderStore) -> None:
    with (
        Collector(ledger, store, store.spool),
        pytest.raises(LedgerError, match="another collector"),
        Collector(ledger, store, store.spool),
    ):
        pass


def test_a_live_driver_loses_nothing_to_a_collector_beside_it(ledger: SqliteLedger, store: FolderStore) -> None:
    with ledger.open_run("flights") as run:
        run.commit(first())
        outs = []
        for i in range(30):
            out = put(store, f"out {i}")
            run.commit(after(run, b"e", tasks=[task_row(f"t{i}", out=out)], kept=[out], results=[result(out, f"{i}")]))
            outs.append(out)
            collect(ledger, store, keep_runs=0)
    assert all(there(store, out) for out in outs)


DRIVE = """
    import random, sys, time
    from pathlib import Path
    from headrace.store.folder import FolderStore
    from tests.record.samples import *
    store = FolderStore(sys.argv[2])
    for _ in range(15):
        with open_ledger(Path(sys.argv[1])) as ledger, ledger.open_run("flights") as run:
            run.commit(first([], run=run_row(created=time.time())))
            for _ in range(5):
                key = random.choice("abcdef")
                found = run.result(key)
                if found is not None and store.size(found.out.digest, found.out.nonce) is not None:
                    run.commit(after(run, tasks=[task_row(key, "reused", key=key, out=found.out)], kept=[found.out]))
                    continue
                run.commit(after(run, tasks=[task_row(key, "running", started=time.time())]))
                kept = store.put(key.encode() * 10)
                out = Ref(digest=kept.digest, size=kept.size, codec="text", type="builtins.str", nonce=kept.nonce)
                run.commit(after(run, tasks=[task_row(key, key=key, out=out)], kept=[out], results=[result(out, key)]))
            run.commit(after(run, run=run_row("succeeded", ended=time.time())))
"""


def test_drivers_of_other_processes_lose_nothing_to_a_collector_beside_them(
    tmp_path: Path, ledger: SqliteLedger, store: FolderStore
) -> None:
    folder = str(tmp_path / "state")
    drivers = [
        subprocess.Popen([sys.executable, "-c", textwrap.dedent(DRIVE), folder, str(store.root)]) for _ in range(3)
    ]
    deleted = 0
    while any(driver.poll() is None for driver in drivers):
        deleted += len(collect(ledger, store, keep_runs=1, grace_s=0, now=time.time()).blobs)
    assert [driver.returncode for driver in drivers] == [0, 0, 0]
    assert deleted > 0
    db = connect(ledger.path)
    for named in Names(db).sizes:
        assert store.size(*named) is not None
    db.close()


OTHER = "n2"
REF = Ref(digest="d" * 64, size=1, codec="text", type="builtins.str", nonce="n1")
WHOLE = Ref(digest="e" * 64, size=1, codec="parts", type="builtins.list", parts=(REF, REF))
BUNDLE = Bundle(digest="d" * 64, size=1, nonce="n1")
NODE = Node(name="fit", stage="p:fit", args=(("a", Const(REF)), ("b", Many("list", (Const(WHOLE),)))))
MOVED: list[Event] = [
    Succeeded("fit", 1, WHOLE, 1.0, 1.0),
    Reused(task="fit", key="k", out=REF, run="r", why="same", inputs=b""),
    Checkpointed("fit", 1, REF),
    Opened(pipeline="flights", files=(), bundle=BUNDLE, at=1.0),
    Renewed(BUNDLE, 1.0),
    Traced((Stage(name="fit", function="p:fit"),), (NODE,)),
]


@pytest.mark.parametrize("event", MOVED, ids=lambda event: type(event).__name__)
def test_an_event_is_rewritten_wherever_it_names_a_generation(event: Event) -> None:
    to = moved_event(event, {("d" * 64, "n1"): OTHER})
    assert to is not None
    assert repr(to) == repr(event).replace("'n1'", "'n2'")
    assert moved_event(event, {("f" * 64, "n1"): OTHER}) is None


def test_every_kind_of_event_that_can_name_a_generation_is_among_those() -> None:
    kinds = typing.get_args(events.Event)
    naming = {
        kind
        for kind in kinds
        if {Ref, Bundle, tuple[Node, ...]} & {*typing.get_type_hints(kind).values()}
        or any(Ref in typing.get_args(hint) for hint in typing.get_type_hints(kind).values())
    }
    assert naming == {type(event) for event in MOVED}
