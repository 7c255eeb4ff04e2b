"""Parts of prediction logs are numbered in the order in which they were committed, each segment once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from headrace.ledger.exclusive import alone
from headrace.ledger.ledger import Ledger
from headrace.ledger.predictions import record
from headrace.ledger.records import PredictionPartRecord
from headrace.ledger.standing import intents
from headrace.ledger.standing.tables import BY_TABLE
from headrace.ledger.upkeep import merged_parts, old_parts
from headrace.ledger.views.endpoints import EndpointViews
from headrace.spec.artifact import Piece, Ref, decode_ref, gather, slice_of
from headrace.spec.endpoint import Part
from headrace.spec.intent import Tell, numbered
from tests.ledger.samples import digest, open_ledger


def part(segment: int, endpoint: str = "delays", writer: str = "0a1b2c3d4e5f") -> Part:
    out = Ref(digest=digest(f"{endpoint} {segment}"), size=10, codec="arrow", type="pyarrow.lib.Table", nonce="n")
    return Part(endpoint=endpoint, writer=writer, segment=segment, out=out, count=2, first=1.0, last=2.0)


def stored(ledger: Ledger, table: str = "prediction_parts") -> list[PredictionPartRecord]:
    with closing(ledger.connect()) as db:
        return list(BY_TABLE[table].rows(db))


def test_the_parts_of_each_endpoint_are_numbered_from_1(address: str) -> None:
    with open_ledger(address) as ledger:
        record(ledger, [part(1), part(1, "other")])
        record(ledger, [part(2)])
        rows = stored(ledger)
    assert [(row.endpoint, row.number, row.segment) for row in rows] == [
        ("delays", 1, 1),
        ("delays", 2, 2),
        ("other", 1, 1),
    ]
    assert decode_ref(rows[0].out) == part(1).out
    assert (rows[0].count, rows[0].first, rows[0].last) == (2, 1.0, 2.0)


def test_a_segment_that_is_sealed_again_is_left_out(address: str) -> None:
    with open_ledger(address) as ledger:
        record(ledger, [part(1)])
        record(ledger, [part(1), part(2)])
        record(ledger, [part(1), part(2)])
        assert [(row.number, row.segment) for row in stored(ledger)] == [(1, 1), (2, 2)]


def test_the_newest_part_is_the_last_one_with_predictions(address: str) -> None:
    with open_ledger(address) as ledger, closing(ledger.connect()) as db, EndpointViews(ledger.address) as views:
        assert views.newest_prediction_part("delays") is None
        record(ledger, [part(7), part(5), part(6), part(9, "other")])
        db.execute("UPDATE prediction_parts SET count = 0 WHERE segment = 6")
        found = views.newest_prediction_part("delays")
        assert found is not None
        assert (found.number, found.segment) == (2, 5)


class Rules:
    """The endpoint `delays` keeps its predictions for 100 seconds, and others forever."""

    def seconds(self, endpoint: str) -> float | None:
        return 100.0 if endpoint == "delays" else None

    def empty(self, *, is_labels: bool) -> Ref:
        return replace(part(0).out, digest=digest(f"empty {is_labels}"))

    def merged(self, outs: Sequence[Ref], beat: Callable[[], None], *, dry_run: bool) -> Sequence[old_parts.Together]:
        raise NotImplementedError


def test_old_parts_are_forgotten_and_their_numbers_are_not_given_again(address: str) -> None:
    with open_ledger(address) as ledger, closing(ledger.connect()) as db:
        every = [replace(part(number), last=float(number)) for number in (1, 2, 3)]
        record(ledger, [*every, part(1, "other")], every[:2])
        told = old_parts.forget(db, Rules(), 102.5, dry_run=True)
        assert [(row.number, row.count) for row in stored(ledger)] == [(1, 2), (2, 2), (3, 2), (1, 2)]
        found = old_parts.forget(db, Rules(), 102.5, dry_run=False)
        assert found == told
        assert found.logs == (old_parts.OldLog(endpoint="delays", predictions=4, labels=4, parts=4),)
        assert {decode_ref(out) for out in found.outs} == {each.out for each in every[:2]}
        assert [(row.number, row.count) for row in stored(ledger)] == [(1, 0), (2, 0), (3, 2), (1, 2)]
        labels = [(row.number, row.count, decode_ref(row.out)) for row in stored(ledger, "label_parts")]
        assert labels == [(number, 0, Rules().empty(is_labels=True)) for number in (1, 2)]
        assert old_parts.forget(db, Rules(), 102.5, dry_run=False).logs == ()
        assert old_parts.forget(db, Rules(), 1_000.0, dry_run=False).logs[0].predictions == 2
        record(ledger, [part(1), part(4)], [part(1), part(4)])  # segment 1 is sealed again
        numbers = [(row.number, row.count) for row in stored(ledger) if row.endpoint == "delays"]
        assert numbers == [(1, 0), (2, 0), (3, 0), (4, 2)]
        assert [(row.number, row.count) for row in stored(ledger, "label_parts")] == [(1, 0), (2, 0), (3, 2)]


def test_labels_of_a_task_that_are_forgotten_are_recorded_nevertheless(address: str) -> None:
    told = Tell("delays", part(1).out, 5, 1.0)
    with open_ledger(address) as ledger, closing(ledger.connect()) as db:
        for task in ("one", "two"):
            intents.apply(db, [(task, told)], run="run", by="me", now=2.0)
        assert old_parts.forget(db, Rules(), 1_000.0, dry_run=False).logs[0].labels == 10
        assert all(intents.is_applied(db, "run", task, told) for task in ("one", "two"))
        intents.apply(db, [("one", told)], run="run", by="me", now=3.0)
        assert [row.count for row in stored(ledger, "label_parts")] == [0, 0]


def test_labels_are_numbered_apart_from_predictions(address: str) -> None:
    with open_ledger(address) as ledger:
        record(ledger, [part(1), part(2)], [part(2)])
        record(ledger, [part(3)], [part(2), part(3)])
        assert [(row.number, row.segment) for row in stored(ledger)] == [(1, 1), (2, 2), (3, 3)]
        assert [(row.number, row.segment) for row in stored(ledger, "label_parts")] == [(1, 2), (2, 3)]


def test_the_labels_of_a_task_are_one_part_however_often_they_are_recorded(address: str) -> None:
    told = Tell("delays", part(1).out, 5, 1_000.0)
    with open_ledger(address) as ledger:
        with closing(ledger.connect()) as db:
            for task, now in (("tell", 1.0), ("tell[1]", 2.0), ("tell", 3.0)):
                assert intents.is_applied(db, "run", task, told) == (now == 3.0)
                intents.apply(db, [(task, told)], run="run", by="me", now=now)
                assert intents.is_applied(db, "run", task, told)
        rows = stored(ledger, "label_parts")
    assert [(row.number, row.writer, row.count, row.last, row.at) for row in rows] == [
        (1, "run/tell", 5, 1_000.0, 1.0),
        (2, "run/tell[1]", 5, 1_000.0, 2.0),
    ]


def test_each_record_of_labels_of_a_task_is_a_part_of_its_own(address: str) -> None:
    tellings = numbered([Tell("delays", part(number).out, 5, 1_000.0) for number in range(3)])
    with open_ledger(address) as ledger:
        with closing(ledger.connect()) as db:
            for now in (1.0, 2.0):
                intents.apply(db, [("tell", each) for each in tellings[:2]], run="run", by="me", now=now)
            assert [intents.is_applied(db, "run", "tell", each) for each in tellings] == [True, True, False]
        rows = stored(ledger, "label_parts")
    assert [(row.number, row.writer, row.segment, decode_ref(row.out)) for row in rows] == [
        (1, "run/tell", 0, part(0).out),
        (2, "run/tell", 1, part(1).out),
    ]


def test_many_processes_that_seal_at_the_same_time_leave_no_number_out(address: str) -> None:
    with open_ledger(address) as ledger:

        def seal(writer: int) -> None:
            for segment in range(5):
                record(ledger, [part(segment, writer=f"writer {writer}"), part(segment, "other", f"writer {writer}")])

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(seal, range(4)))
        rows = stored(ledger)
    for endpoint in ("delays", "other"):
        its = [row for row in rows if row.endpoint == endpoint]
        assert [row.number for row in its] == list(range(1, 21))
        for writer in range(4):
            assert [row.segment for row in its if row.writer == f"writer {writer}"] == list(range(5))


MIDNIGHT = 20_000 * merged_parts.DAY_S


def table(name: str, size: int = 10_000) -> Ref:
    return Ref(digest=digest(name), size=size, codec="arrow", type="pyarrow.lib.Table", nonce="n")


def sliced(whole: Ref, start: int, count: int, of: int) -> Ref:
    return gather([whole], codec="slice", type=whole.type, names=(Piece(start=start, count=count, of=of).name,))


@st.composite
def any_rows(draw: st.DrawFn) -> list[PredictionPartRecord]:
    """Draw parts of a log over some days: with tables of their own, empty ones, small ones, and slices of one table."""
    rows, number, at = list[PredictionPartRecord](), 0, float(MIDNIGHT)
    for name in draw(st.lists(st.sampled_from("abcdefgh"), max_size=12, unique=True)):
        at += draw(st.sampled_from([60.0, 60.0, 40_000.0]))
        kind = draw(st.sampled_from(["own", "own", "empty", "small", "all", "some"]))
        counts = draw(st.lists(st.integers(1, 3), min_size=1, max_size=3)) if kind in ("all", "some") else [1]
        for place, count in enumerate(counts):
            number += 1
            out = table(name) if kind != "small" else replace(table(name), nonce=None, inline=b"")
            if kind in ("all", "some"):
                out = sliced(out, sum(counts[:place]), count, sum(counts) + (kind == "some"))
            rows.append(
                PredictionPartRecord(
                    endpoint="delays", number=number, writer="w", segment=number, out=msgspec.msgpack.encode(out),
                    count=0 if kind == "empty" else count, first=at, last=at, at=at,
                )
            )  # fmt: skip
    return rows


def applied(rows: list[PredictionPartRecord], found: list[merged_parts.Group]) -> list[PredictionPartRecord]:
    """Return the parts after each group has become a table."""
    moved = dict[int, PredictionPartRecord]()
    for place, group in enumerate(found):
        of = sum(row.count for row in group.rows)
        start = 0
        for row in group.rows:
            out = sliced(table(f"merged {place} {group.rows[0].number}"), start, row.count, of)
            moved[row.number] = replace(row, out=msgspec.msgpack.encode(out))
            start += row.count
    return [moved.get(row.number, row) for row in rows]


@given(any_rows(), st.integers(0, 6))
def test_the_parts_of_a_day_that_is_over_are_merged_once(rows: list[PredictionPartRecord], halves: int) -> None:
    now = MIDNIGHT + halves * merged_parts.DAY_S / 2 + merged_parts.LATE_S
    found = list(merged_parts.groups(rows, now))
    chosen = [row.number for group in found for row in group.rows]
    assert chosen == sorted(set(chosen))
    for group in found:
        assert len({row.last // merged_parts.DAY_S for row in group.rows}) == 1
        assert all(row.last // merged_parts.DAY_S < now // merged_parts.DAY_S and row.count for row in group.rows)
        assert group.outs == tuple(decode_ref(row.out) for row in group.rows)
    after = applied(rows, found)
    assert list(merged_parts.groups(after, now)) == [], "a second time, nothing is left to do"
    over = [row for row in after if row.count and row.last // merged_parts.DAY_S < now // merged_parts.DAY_S]
    loose = Counter(
        row.last // merged_parts.DAY_S for row in over if (out := decode_ref(row.out)).codec == "arrow" and out.nonce
    )
    assert all(count == 1 for count in loose.values()), "a part with a table of its own is alone in its day"


def test_a_merged_table_has_no_more_rows_and_bytes_than_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merged_parts, "MOST_ROWS", 5)
    monkeypatch.setattr(merged_parts, "MOST_BYTES", 40_000)
    rows = [
        PredictionPartRecord(
            endpoint="delays", number=number, writer="w", segment=number,
            out=msgspec.msgpack.encode(table(str(number), size)), count=count, first=0.0, last=0.0, at=0.0,
        )
        for number, (count, size) in enumerate([(2, 1), (2, 1), (2, 1), (1, 30_000), (1, 20_000), (1, 90_000), (9, 1)])
    ]  # fmt: skip
    found = list(merged_parts.groups(rows, 1e9))
    assert [[row.number for row in group.rows] for group in found] == [[0, 1], [2, 3]]


class Slicing(Rules):
    """Makes slices, without any bytes."""

    def merged(self, outs: Sequence[Ref], beat: Callable[[], None], *, dry_run: bool) -> Sequence[old_parts.Together]:
        beat()
        slices = tuple(sliced(table("merged"), 2 * place, 2, 2 * len(outs)) for place in range(len(outs)))
        return [old_parts.Together(places=tuple(range(len(outs))), outs=() if dry_run else slices)]


def test_merged_parts_keep_their_numbers_and_what_is_known_of_their_segments(address: str) -> None:
    with open_ledger(address) as ledger, closing(ledger.connect()) as db, alone(ledger, "a test") as lease:
        record(ledger, [part(1), part(2), part(1, "other")], [part(2), part(3)])
        before = stored(ledger)
        told = merged_parts.merge(db, lease, Slicing(), 1e9, dry_run=True)
        assert told == (merged_parts.MergedLog(endpoint="delays", parts=4, tables=2),)
        assert stored(ledger) == before
        assert merged_parts.merge(db, lease, Slicing(), 1e9, dry_run=False) == told
        assert merged_parts.merge(db, lease, Slicing(), 1e9, dry_run=False) == ()
        outs = [slice_of(decode_ref(row.out)) for row in (*stored(ledger)[:2], *stored(ledger, "label_parts"))]
        assert outs == [(table("merged"), Piece(start=start, count=2, of=4)) for start in (0, 2, 0, 2)]
        assert [replace(row, out=b"") for row in stored(ledger)] == [replace(row, out=b"") for row in before]
        record(ledger, [part(1), part(2), part(3)], [part(3)])
        assert [(row.number, row.segment) for row in stored(ledger)][:3] == [(1, 1), (2, 2), (3, 3)]
        assert len(stored(ledger, "label_parts")) == 2


@pytest.mark.parametrize("address", ["postgres"], indirect=True)  # a file's lock can't be lost
def test_whoever_has_lost_the_lease_merges_nothing(address: str) -> None:
    with open_ledger(address) as ledger, closing(ledger.connect()) as db, alone(ledger, "a test") as lease:
        record(ledger, [part(1), part(2)])
        before = stored(ledger)
        lease.release()
        assert merged_parts.merge(db, lease, Slicing(), 1e9, dry_run=False) == ()
        assert stored(ledger) == before
