"""What the collector deletes, and what it leaves."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace.errors import LedgerError, NotFoundError, StoreError
from headrace.ledger import cursors, generations, records
from headrace.ledger.database.database import Database
from headrace.ledger.generations import needed
from headrace.ledger.ledger import Ledger
from headrace.ledger.registry import register
from headrace.ledger.upkeep.garbage import Collected
from headrace.ledger.upkeep.gc import GRACE_S, TICK_S, Collector
from headrace.ledger.upkeep.in_progress import CLOCKS_S
from headrace.ledger.upkeep.merge import moved_event
from headrace.ledger.upkeep.retention import Keep
from headrace.ledger.views.views import Views
from headrace.run import events
from headrace.run.events import (
    Checkpointed,
    Event,
    Lacked,
    Logged,
    Opened,
    Pointed,
    Renewed,
    Reused,
    Shown,
    Succeeded,
    Traced,
    encode_event,
)
from headrace.run.wire import Report, frame
from headrace.spec.artifact import Ref
from headrace.spec.bundle import Bundle
from headrace.spec.graph import Const, Many, Node
from headrace.spec.intent import Advance, Register
from headrace.spec.stage import Stage
from headrace.store.blob import Found
from headrace.store.folder.folder import FolderStore
from headrace.store.folder.spool import Spool
from tests.ledger.samples import after, digest, first, open_ledger, result, run_row, task_row

NOW = 1_000_000_000.0
OLD = NOW - 2 * GRACE_S


@pytest.fixture
def ledger(address: str) -> Iterator[Ledger]:
    Dated.clock = NOW
    with open_ledger(address, clock=lambda: Dated.clock) as ledger:
        yield ledger


class Dated(FolderStore):
    """A store whose clock, which is the ledger's too, says what a test wants; what it holds is dated by `put`."""

    clock = NOW

    def now(self) -> float:
        return self.clock


@pytest.fixture
def store(tmp_path: Path) -> Dated:
    return Dated(tmp_path / "store")


@pytest.fixture
def views(ledger: Ledger) -> Iterator[Views]:
    with Views(ledger.address) as views:
        yield views


def put(store: FolderStore, text: str, at: float = OLD) -> Ref:
    """Keep a text in the store, as if at this time."""
    blob = store.put(text.encode())
    os.utime(store.path(blob.digest, blob.nonce), (at, at))
    return Ref(digest=blob.digest, size=blob.size, codec="text", type="builtins.str", nonce=blob.nonce)


def there(store: FolderStore, ref: Ref) -> bool:
    return store.size(ref.digest, ref.nonce or "") is not None


def ended(ledger: Ledger, out: Ref, *, key: str = "key", ended: float = OLD, **more: Any) -> str:
    """Store a run that ended with one task's output."""
    row = run_row(
        "succeeded",
        ended=ended,
        created=ended,
        bundle=more.pop("bundle", digest("bundle")),
        pipeline=more.pop("pipeline", "flights"),
    )
    with ledger.open_run("flights") as run:
        run.commit(first(run=row, tasks=[task_row(out=out, key=key)], results=[result(out, key)], kept=[out], **more))
        return run.run


def collect(
    ledger: Ledger,
    *stores: Dated,
    keep_runs: int | None = None,
    keep_s: float | None = None,
    now: float = NOW,
    **more: Any,
) -> Collected:
    Dated.clock = now
    keep = Keep(runs=keep_runs, seconds=keep_s, per_pipeline=more.pop("per_pipeline", None))
    with Collector(ledger, {f"region {i}": store for i, store in enumerate(stores)}) as collector:
        return collector.collect(keep, now=now, **more)


def test_what_no_row_names_goes_and_what_one_names_stays(ledger: Ledger, store: Dated) -> None:
    out, orphan = put(store, "out"), put(store, "orphan")
    ended(ledger, out)
    found = collect(ledger, store)
    assert [(each.digest, each.reason) for each in found.blobs] == [(orphan.digest, "no run names it")]
    assert found.bytes == len("orphan")
    assert there(store, out)
    assert not there(store, orphan)


def test_a_dry_run_says_the_same_and_changes_nothing(ledger: Ledger, store: Dated, views: Views) -> None:
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


def test_what_is_young_stays_since_its_report_may_be_under_way(ledger: Ledger, store: Dated) -> None:
    fresh = put(store, "fresh", NOW - 10)
    found = collect(ledger, store)
    assert there(store, fresh)
    assert found.young_bytes == len("fresh")
    assert collect(ledger, store, grace_s=5).bytes == len("fresh")


def test_nothing_younger_than_an_attempt_that_is_out_goes(ledger: Ledger, store: Dated) -> None:
    before, after_start = put(store, "before", OLD - CLOCKS_S - 1), put(store, "part of its output", OLD - 300)
    with ledger.open_run("flights") as run:
        run.commit(first(tasks=[task_row(state="running", started=OLD)]))
        found = collect(ledger, store)
        assert [(held.run, held.since, held.is_driven) for held in found.held] == [(run.run, OLD, True)]
    assert collect(ledger, store).held[0].is_driven is False, "its worker may live on"
    assert there(store, after_start)
    assert not there(store, before)


@pytest.mark.parametrize("ahead_s", [-86400.0, -1200.0, 1200.0, 86400.0])
def test_what_a_living_attempt_stored_stays_however_far_apart_the_clocks_are(
    ledger: Ledger, store: Dated, ahead_s: float
) -> None:
    """The attempt has run for hours; `ahead_s` is its driver's clock. The collector's own has no say."""
    orphan, bundle = put(store, "orphan", OLD - CLOCKS_S - 1), put(store, "bundle", OLD)
    part = put(store, "part of its output", OLD + 60)
    with ledger.open_run("flights") as run:
        begun = run_row(bundle=bundle.digest, created=OLD + ahead_s)
        row = task_row(state="running", started=OLD + 30 + ahead_s)
        run.commit(first(run=begun, tasks=[row], kept=[bundle]))
        found = collect(ledger, store)
    assert there(store, part)
    if ahead_s <= 1200:
        assert found.held[0].ahead_s == 0
        assert there(store, orphan) == (ahead_s < 0), "a clock that is behind holds back more, never less"
    else:
        assert found.held[0].ahead_s == pytest.approx(OLD + 30 + ahead_s - NOW)
        assert there(store, orphan), "nothing unnamed goes while an attempt began in the future"


@pytest.mark.parametrize("collector_s", [-86400.0, 86400.0])
def test_how_old_a_blob_is_the_store_s_clock_says_and_not_the_collector_s(
    ledger: Ledger, store: Dated, collector_s: float
) -> None:
    young, old = put(store, "young", NOW - GRACE_S + 1), put(store, "old", NOW - GRACE_S - 1)
    with Collector(ledger, {"local": store}) as collector:
        assert collector.collect(now=NOW + collector_s).bytes == len("old")
    assert there(store, young)
    assert not there(store, old)


def test_a_store_that_is_full_and_dates_nothing_new_is_as_late_as_its_newest_blob(
    ledger: Ledger, tmp_path: Path
) -> None:
    class Full(FolderStore):
        def now(self) -> float:
            raise StoreError("the disk is full")

    store = Full(tmp_path / "full")
    newest, young, old = (put(store, name, NOW - age) for name, age in (("a", 0), ("b", 3000), ("c", GRACE_S + 1)))
    with Collector(ledger, {"local": store}) as collector:
        assert collector.collect(now=NOW + 86400).count == 1
    assert [there(store, each) for each in (newest, young, old)] == [True, True, False]


def test_what_a_collector_left_whose_clock_was_ahead_goes_once_a_tick_has_passed(ledger: Ledger, store: Dated) -> None:
    out = put(store, "out")
    ended(ledger, out)
    with ledger.open_run("other"):
        assert collect(ledger, store, keep_runs=0, now=NOW + 86400).later_bytes == 3
        assert collect(ledger, store).later_bytes == 3, "when that was, nobody can tell: from now on it is counted"
        assert collect(ledger, store, now=NOW + TICK_S).bytes == 3


def test_what_workers_spilled_for_a_driver_to_come_stays(ledger: Ledger, store: Dated) -> None:
    out = put(store, "spilled")
    with ledger.open_run("flights") as run:
        run.commit(first())
    body = encode_event(Succeeded("fit", 1, out, 1.0, 1.0))
    store.spool.spill(run.run, "1-7", frame(Report(0, body)))
    collect(ledger, store)
    assert there(store, out)
    assert store.spool.runs() == [run.run]


def test_what_a_driver_takes_from_the_spool_meanwhile_stays(ledger: Ledger, store: Dated) -> None:
    out = put(store, "spilled")
    with ledger.open_run("flights") as run:
        run.commit(first(tasks=[task_row(state="running", started=OLD + 1)]))

    class Absorbed(Spool):
        """A spool that a driver reads into the ledger, and forgets, just before the collector looks."""

        def spills(self, run: str) -> Iterator[tuple[str, bytes]]:
            with ledger.take(run) as lease:
                lease.commit(after(lease, run=run_row("succeeded"), tasks=[task_row(out=out)], kept=[out]))
            return iter(())

    store.spool = Absorbed(store.root / "spool")
    collect(ledger, store)
    assert there(store, out)


def test_an_attempt_whose_worker_has_yet_to_begin_is_out(ledger: Ledger, store: Dated) -> None:
    output = put(store, "its output", OLD + 100)
    with ledger.open_run("flights") as run:
        run.commit(first(tasks=[task_row(state="waiting", attempts=1, started=OLD)]))
    collect(ledger, store)
    assert there(store, output)


def test_the_bundle_of_a_run_that_is_still_being_traced_stays(ledger: Ledger, store: Dated) -> None:
    bundle = put(store, "bundle", NOW - 10)
    with ledger.open_run("flights"):
        collect(ledger, store, grace_s=5)
        assert there(store, bundle)
    collect(ledger, store, grace_s=5)
    assert not there(store, bundle)


def test_what_workers_may_still_read_is_not_made_one_with_an_equal_one(ledger: Ledger, store: Dated) -> None:
    input, equal = put(store, "model"), put(store, "model")
    with ledger.open_run("flights") as run:
        run.commit(first(tasks=[task_row(out=input)], kept=[input]))
    for key in ("one", "two"):  # so that most runs name this one
        ended(ledger, equal, key=key)
    collect(ledger, store)
    assert there(store, input)
    assert not there(store, equal)


def test_what_workers_of_an_ended_run_spilled_goes(ledger: Ledger, store: Dated) -> None:
    run = ended(ledger, put(store, "out"))
    store.spool.spill(run, "1-7", b"rest")
    collect(ledger, store)
    assert store.spool.runs() == []


def test_the_parts_of_an_output_stay_with_it(ledger: Ledger, store: Dated) -> None:
    parts = put(store, "a"), put(store, "b")
    ended(ledger, Ref(digest=digest("ab"), size=2, codec="parts", type="builtins.list", parts=parts))
    collect(ledger, store)
    assert all(there(store, part) for part in parts)


def test_a_bundle_stays_with_its_run_though_that_names_its_digest_alone(ledger: Ledger, store: Dated) -> None:
    bundle = put(store, "bundle")
    ended(ledger, put(store, "out"), bundle=bundle.digest)
    collect(ledger, store)
    assert there(store, bundle)


def test_drafts_that_nobody_writes_any_more_go(ledger: Ledger, store: Dated) -> None:
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
    ledger: Ledger, store: Dated, views: Views
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


def test_runs_are_kept_by_age_or_by_number_whichever_keeps_more(ledger: Ledger, store: Dated) -> None:
    runs = [ended(ledger, put(store, f"out {i}"), key=f"{i}", ended=NOW - 100 * (4 - i)) for i in range(4)]
    assert collect(ledger, store, keep_s=250, keep_runs=1, dry_run=True).runs == tuple(runs[:2])
    assert collect(ledger, store, keep_s=50, keep_runs=3, dry_run=True).runs == tuple(runs[:1])
    assert collect(ledger, store, keep_s=50, dry_run=True).runs == tuple(runs)
    assert collect(ledger, store, dry_run=True).runs == ()


def test_runs_that_came_late_count_by_the_time_when_they_began(ledger: Ledger, store: Dated) -> None:
    newest = ended(ledger, put(store, "newest"), key="newest", ended=NOW - 100)
    imported = ended(ledger, put(store, "imported"), key="imported", ended=NOW - 7200)
    found = collect(ledger, store, keep_runs=1, dry_run=True)
    assert found.runs == (imported,), f"{newest} is newer, though it is first in the ledger"
    assert found.why[imported] == "1 newer run is kept"
    assert collect(ledger, store, keep_s=60, dry_run=True).why == {
        imported: "it ended 2.0 hours ago",
        newest: "it ended 100 seconds ago",
    }


def test_the_newest_runs_of_each_pipeline_are_kept(ledger: Ledger, store: Dated) -> None:
    rare = ended(ledger, put(store, "rare"), key="rare", pipeline="rare")
    runs = [ended(ledger, put(store, f"out {i}"), key=f"{i}") for i in range(3)]
    found = collect(ledger, store, per_pipeline=1, dry_run=True)
    assert found.runs == tuple(runs[:2])
    assert found.why[runs[0]] == "1 newer run of `flights` is kept"
    found = collect(ledger, store, per_pipeline=1, keep_runs=2, dry_run=True)
    assert found.why == {runs[0]: "2 newer runs are kept, and 2 newer runs of `flights` are kept"}
    assert rare not in collect(ledger, store, per_pipeline=1).runs


def test_reasons_are_summed_up(ledger: Ledger, store: Dated) -> None:
    ended(ledger, put(store, "old"), key="old")
    for i in range(2):
        ended(ledger, put(store, "model"), key=f"{i}")
    put(store, "orphan")
    found = collect(ledger, store, keep_runs=2, dry_run=True)
    assert {(each.reason, each.blobs, each.bytes) for each in found.reasons} == {
        ("no run names it", 1, 6),
        ("only runs that are forgotten named it", 1, 3),
        ("equal to another, which stays", 1, 5),
    }
    assert found.count == len(found.blobs) == 3


def test_the_stores_of_all_regions_are_collected(ledger: Ledger, store: Dated, tmp_path: Path) -> None:
    there_too = Dated(tmp_path / "far")
    kept, old, far = put(store, "kept"), put(store, "old"), put(there_too, "far")
    for ref in (kept, old):
        copy(store, there_too, ref)
    ended(ledger, old, key="old")
    ended(ledger, kept, key="kept")
    found = collect(ledger, store, there_too, keep_runs=1)
    assert sorted((each.region, each.digest) for each in found.blobs) == sorted(
        [("region 0", old.digest), ("region 1", old.digest), ("region 1", far.digest)]
    )
    assert [there(each, kept) for each in (store, there_too)] == [True, True]
    assert [there(each, old) for each in (store, there_too)] == [False, False]


def test_no_region_loses_its_replica_to_an_equal_one_elsewhere(ledger: Ledger, store: Dated, tmp_path: Path) -> None:
    far = Dated(tmp_path / "far")
    here, both = put(store, "model"), put(store, "model")
    copy(store, far, both)
    ended(ledger, here, key="a")
    ended(ledger, here, key="b")
    ended(ledger, both, key="c")
    collect(ledger, store, far)
    assert there(far, both)
    assert there(store, both)


def copy(one: FolderStore, other: FolderStore, ref: Ref) -> None:
    """Put a replica into another store, as old as the first."""
    with one.reader(ref.digest, ref.nonce or "") as file, other.batch() as batch:
        batch.replicate(ref.digest, ref.nonce or "", file)
    os.utime(other.path(ref.digest, ref.nonce or ""), (OLD, OLD))


def test_a_result_that_a_kept_run_reused_stays_when_its_maker_is_forgotten(ledger: Ledger, store: Dated) -> None:
    out = put(store, "out")
    maker = ended(ledger, out)
    with ledger.open_run("flights") as run:
        run.commit(
            first(
                run=run_row("succeeded", created=NOW), tasks=[task_row(state="reused", out=out, key="key")], kept=[out]
            )
        )
    found = collect(ledger, store, keep_runs=1)
    assert found.runs == (maker,)
    assert there(store, out)
    with ledger.open_run("flights") as later:
        again = later.result("key")
        assert again is not None
        assert again.run == run.run


def reused(ledger: Ledger, out: Ref, maker: str, *, now: Ref | None = None) -> str:
    """Store a run that ended, and whose one task reused what another run had. If the run got new code, the task made
    `now` since."""
    row = run_row("succeeded", ended=OLD, created=OLD)
    body = encode_event(Reused(task="fit", key="key", out=out, run=maker, why="same", inputs=b""))
    task = task_row(state="reused", out=out, key="key") if now is None else task_row(out=now, key="new")
    with ledger.open_run("flights") as run:
        run.commit(first([body], run=row, tasks=[task], kept=[out, *([] if now is None else [now])]))
        return run.run


@pytest.mark.parametrize("is_renewed", [False, True], ids=["", "also if the registering run got new code"])
def test_the_run_that_made_what_is_registered_is_kept_through_all_that_reused_it(
    ledger: Ledger, store: Dated, views: Views, is_renewed: bool
) -> None:
    out, other = put(store, "out"), put(store, "other")
    maker = ended(ledger, out)
    between = reused(ledger, out, maker)
    registered = reused(ledger, out, between, now=put(store, "new") if is_renewed else None)
    elsewhere = ended(ledger, other, key="other", ended=OLD + 1)
    register(ledger, Register("model", "out", out), by="ada", origin=f"{registered} fit")
    found = collect(ledger, store, keep_runs=0)
    assert found.runs == (elsewhere,), "nothing of it is registered"
    assert {run.run for run in views.runs().runs} == {maker, between, registered}


def test_unfinished_runs_and_those_that_a_driver_has_are_never_forgotten(ledger: Ledger, store: Dated) -> None:
    with ledger.open_run("flights") as run:
        run.commit(first())
    held = ended(ledger, put(store, "out"))
    with ledger.take(held):
        assert collect(ledger, store, keep_runs=0).runs == ()
    assert collect(ledger, store, keep_runs=0).runs == (held,)


def test_what_lost_its_last_name_just_now_stays_while_a_driver_lives(ledger: Ledger, store: Dated) -> None:
    out = put(store, "out")
    ended(ledger, out)
    with ledger.open_run("other") as driver:
        assert driver.result("key") is not None, "the driver has looked it up, and is about to name it"
        found = collect(ledger, store, keep_runs=0)
        assert (found.bytes, found.later_bytes) == (0, 3)
        driver.commit(first(kept=[out]))
        assert collect(ledger, store).bytes == 0
    assert there(store, out)


def test_what_is_registered_while_it_works_stays_or_is_refused(ledger: Ledger, store: Dated) -> None:
    before, late = put(store, "before"), put(store, "late")
    ended(ledger, before, key="before")
    ended(ledger, late, key="late")
    assert register(ledger, Register("model", "before", before), by="ada") == 1

    class Meanwhile(Dated):
        """A store in which somebody registers when the collector has read what is named, and begins to delete."""

        def blobs(self) -> Iterator[Found]:
            with pytest.raises(NotFoundError, match="was deleted by `headrace gc`"):
                register(ledger, Register("model", "late", late), by="ada")
            yield from super().blobs()

    found = collect(ledger, Meanwhile(store.root), keep_runs=0)
    assert [each.digest for each in found.blobs] == [late.digest]
    assert there(store, before), "no run names it any more, and the registry does"
    assert not there(store, late)


def test_many_that_register_while_it_works_have_what_they_registered(ledger: Ledger, store: Dated) -> None:
    outs = [put(store, f"model {number}") for number in range(20)]
    for number, out in enumerate(outs):
        ended(ledger, out, key=f"key {number}")
    taken, refused = [], []

    def registering() -> None:
        for number, out in enumerate(outs):
            try:
                register(ledger, Register("model", f"m{number}", out), by="ada")
                taken.append(out)
            except NotFoundError:
                refused.append(out)

    thread = threading.Thread(target=registering)
    thread.start()
    for number in reversed(range(20)):
        collect(ledger, store, keep_runs=number)
    thread.join()
    assert len(taken) + len(refused) == 20
    assert all(there(store, each) for each in taken)
    collect(ledger, store, keep_runs=0)
    assert [there(store, each) for each in outs] == [each in taken for each in outs]


def test_a_cursor_that_is_moved_by_hand_while_it_works_has_its_value(
    ledger: Ledger, store: Dated, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = put(store, "value")
    ended(ledger, value)
    collecting = threading.Thread(target=lambda: collect(ledger, store, keep_runs=0))
    kept = generations.kept

    def and_then_it_works(db: Database, refs: Iterable[Ref]) -> list[bool]:
        found = kept(db, refs)
        collecting.start()
        collecting.join(1.0)  # it may forget the run that names the value, and has to wait before it deletes
        return found

    monkeypatch.setattr(generations, "kept", and_then_it_works)
    cursors.advance(ledger, Advance("orders", 0, value), by="ada")
    collecting.join()
    assert there(store, value)


def test_a_later_pass_takes_what_was_left(ledger: Ledger, store: Dated) -> None:
    out = put(store, "out")
    ended(ledger, out)
    with ledger.open_run("other"):
        assert collect(ledger, store, keep_runs=0).later_bytes == 3
        assert collect(ledger, store, now=NOW + 1).later_bytes == 3, "the driver may be within the same tick still"
        assert there(store, out)
        assert collect(ledger, store, now=NOW + TICK_S).bytes == 3
    assert not there(store, out)


def test_what_a_long_pass_left_waits_from_its_end_on(ledger: Ledger, store: Dated) -> None:
    class Slow(Dated):
        """A store whose listing takes as long as the longest tick of a driver."""

        def blobs(self) -> Iterator[Found]:
            Dated.clock += TICK_S
            yield from super().blobs()

    ended(ledger, put(store, "out"))
    with ledger.open_run("other"):
        assert collect(ledger, Slow(store.root), keep_runs=0).later_bytes == 3
        assert collect(ledger, store, now=Dated.clock + 1).later_bytes == 3
        assert collect(ledger, store, now=Dated.clock + TICK_S).bytes == 3


def test_equal_generations_become_one_and_every_run_names_it(ledger: Ledger, store: Dated, views: Views) -> None:
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


def test_a_damaged_generation_is_not_the_one_that_stays(ledger: Ledger, store: Dated) -> None:
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


def test_a_run_that_a_driver_has_goes_on_naming_what_it_named(ledger: Ledger, store: Dated) -> None:
    outs = [put(store, "model") for _ in range(3)]
    for i, out in enumerate(outs[:2]):
        ended(ledger, out, key=f"{i}")
    with ledger.open_run("flights") as run:
        run.commit(first(kept=[outs[2]]))
        assert collect(ledger, store).bytes == 0
        assert collect(ledger, store, now=NOW + TICK_S).bytes == 2 * len("model"), "what the first pass had left"
    assert there(store, outs[2])


def test_the_lock_files_of_drivers_that_died_go(tmp_path: Path, store: Dated) -> None:
    with open_ledger(tmp_path / "state", clock=lambda: NOW) as ledger:
        leases = tmp_path / "state" / "leases"
        leases.mkdir()
        (leases / "dead.lock").write_text("{}")
        with ledger.open_run("flights") as run:
            collect(ledger, store)
            assert [path.stem for path in leases.iterdir() if path.stem != "the-collector"] == [run.run]
            assert ledger.holder(run.run) is not None


def test_only_one_collector_works_at_a_time(ledger: Ledger, store: Dated) -> None:
    with (
        Collector(ledger, {"local": store}),
        pytest.raises(LedgerError, match=r"`headrace gc` .* is at work"),
        Collector(ledger, {"local": store}),
    ):
        pass


def test_a_live_driver_loses_nothing_to_a_collector_beside_it(ledger: Ledger, store: Dated) -> None:
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
    from headrace.store.folder.folder import FolderStore
    from tests.ledger.samples import *
    store = FolderStore(sys.argv[2])
    for _ in range(60):
        with open_ledger(sys.argv[1]) as ledger, ledger.open_run("flights") as run:
            run.commit(first([], run=run_row(created=time.time())))
            for _ in range(5):
                key = random.choice("abcdefghijklmnopqrstuvwxyz")
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
    address: str, ledger: Ledger, store: Dated
) -> None:
    drivers = [
        subprocess.Popen([sys.executable, "-c", textwrap.dedent(DRIVE), address, str(store.root)]) for _ in range(3)
    ]
    deleted = 0
    while any(driver.poll() is None for driver in drivers):
        deleted += len(collect(ledger, store, keep_runs=1, grace_s=0, now=time.time()).blobs)
    deleted += len(collect(ledger, store, keep_runs=1, grace_s=0, now=time.time()).blobs)
    assert [driver.returncode for driver in drivers] == [0, 0, 0]
    assert deleted > 0
    db = ledger.connect()
    for name, nonce, _, _ in needed(db, records.runs(db)):
        assert store.size(name, nonce) is not None
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
    Pointed(0, "orders", 1, REF),
    Logged("fit", 1, 1.0, (), (Shown("said", 0, 1.0, REF),), (Shown("curve", 0, 1.0, WHOLE),)),
    Succeeded("fit", 1, REF, 1.0, 1.0, intents=(Advance("orders", 1, REF), Register("model", "m", REF, WHOLE))),
    Lacked("bring", REF, "here", "there"),
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
        or any(
            {Ref, Shown, tuple[Shown, ...]} & {hint, *typing.get_args(hint)}
            for hint in typing.get_type_hints(kind).values()
        )
    }
    assert naming == {type(event) for event in MOVED}
