"""The checker sees what it is there to see: each kind of loss, planted in the rows and blobs of a good run."""

from __future__ import annotations

import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec.msgpack
import pytest

from tests.faults import checker
from tests.faults.checker import Evidence, begins, begun, check, values
from tests.faults.grounds import Ground, Place, World
from tests.faults.reading import Files, rows_of


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A run that nobody disturbed."""
    with World(tmp_path_factory.mktemp("checker") / "world") as world, world.place(Ground()) as place:
        assert place.project.headrace("run", "flow").code == 0
        yield place


class Case:
    """A copy of the good run's rows and blobs, and what witnesses know of it."""

    def __init__(self, good: Place, folder: Path) -> None:
        shutil.copytree(good.project.home, folder / "state")
        self.ledger = folder / "state" / "ledger.db"
        self.store = folder / "state" / "store"
        self.db = sqlite3.connect(self.ledger, isolation_level=None)
        lines = [line.split() for line in good.journal.read_text().splitlines()]
        with rows_of(good.ledger) as rows:
            ((run, number),) = rows.query("select id, number from runs")
            self.evidence = Evidence(
                run=run,
                seen=dict(rows.query("select seq, body from events where run = ?", number)),
                noted=[(what, task, int(attempt)) for what, task, attempt, _ in lines],
                told=frozenset({"total", "each"}),
                values=values(rows, good.things, run),
            )

    def problems(self) -> list[str]:
        with rows_of(f"sqlite:///{self.ledger}") as rows:
            return check(rows, Files(self.store), self.evidence)

    def events(self) -> list[tuple[int, list[Any]]]:
        found = self.db.execute("select seq, body from events order by seq").fetchall()
        return [(seq, msgspec.msgpack.decode(body)) for seq, body in found]

    def last(self, tag: str, task: str = "") -> tuple[int, list[Any]]:
        return [(seq, event) for seq, event in self.events() if event[0] == tag and task in ("", event[1])][-1]

    def put(self, seq: int, event: list[Any]) -> None:
        body = msgspec.msgpack.encode(event)
        self.db.execute("update events set body = ? where seq = ?", (body, seq))
        self.evidence.seen = {**self.evidence.seen, seq: body}  # so that it is found by what it says

    def insert(self, seq: int, event: list[Any]) -> None:
        for (each,) in self.db.execute("select seq from events where seq >= ? order by seq desc", (seq,)).fetchall():
            self.db.execute("update events set seq = ? where seq = ?", (each + 1, each))
        number = self.db.execute("select number from runs").fetchone()[0]
        self.db.execute("insert into events values (?, ?, ?)", (number, seq, msgspec.msgpack.encode(event)))
        self.evidence.seen = {}


@pytest.fixture
def case(good: Place, tmp_path: Path) -> Iterator[Case]:
    case = Case(good, tmp_path)
    yield case
    case.db.close()


def test_it_finds_nothing_wrong_with_a_run_that_nobody_disturbed(case: Case) -> None:
    assert case.problems() == []
    assert len(case.evidence.values) == 21


def loses_the_end(case: Case) -> None:
    case.db.execute("delete from events where seq = (select max(seq) from events)")


def loses_one_inside(case: Case) -> None:
    case.db.execute("delete from events where seq = 5")


def changes_one(case: Case) -> None:
    seq, event = case.last("launched", "big")
    case.db.execute("update events set body = ? where seq = ?", (msgspec.msgpack.encode([*event[:6], "!"]), seq))


def swaps_two(case: Case) -> None:
    for one, other in ((3, -1), (4, 3), (-1, 4)):
        case.db.execute("update events set seq = ? where seq = ?", (other, one))


def succeeds_twice(case: Case) -> None:
    seq, event = case.last("succeeded", "big")
    case.insert(seq + 1, ["succeeded", "big", 2, *event[3:]])


def logs_twice(case: Case) -> None:
    seq, event = case.last("logged", "big")
    case.insert(seq + 1, event)


def succeeds_unlaunched(case: Case) -> None:
    seq, event = case.last("launched", "big")
    case.put(seq, [event[0], "other", *event[2:]])


def is_launched_after_its_success(case: Case) -> None:
    seq, _ = case.last("succeeded", "big")
    _, event = case.last("launched", "big")
    case.insert(seq + 1, ["launched", "big", 2, *event[3:]])


def is_taken_by_an_older_driver(case: Case) -> None:
    case.insert(9, ["taken", 1, "somebody", 0.0, False])


def goes_on_when_closed(case: Case) -> None:
    case.insert(9, ["closed", "failed", 0.0, ""])


def loses_a_blob(case: Case) -> None:
    next(case.store.glob(f"blobs/*/{case.last('succeeded', 'big')[1][3][0]}.*")).unlink()


def tears_a_blob(case: Case) -> None:
    blob = next(case.store.glob(f"blobs/*/{case.last('succeeded', 'big')[1][3][0]}.*"))
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes()[:-1])


def flips_a_blob(case: Case) -> None:
    blob = next(case.store.glob(f"blobs/*/{case.last('succeeded', 'big')[1][3][0]}.*"))
    blob.chmod(0o644)
    blob.write_bytes(b"\1" + blob.read_bytes()[1:])


def makes_another_value(case: Case) -> None:
    case.evidence.values = {**case.evidence.values, "total": case.evidence.values["listed"]}


def leaves_a_task_out(case: Case) -> None:
    case.evidence.values = {**case.evidence.values, "one more": ()}


def has_a_part_too_much(case: Case) -> None:
    seq, event = case.last("succeeded", "parts")
    event[3][7] = [*event[3][7], event[3][7][0]]
    case.put(seq, event)


def has_a_row_that_lags(case: Case) -> None:
    case.db.execute("update tasks set state = 'running' where name = 'big'")


def has_a_row_of_another_output(case: Case) -> None:
    case.db.execute("update tasks set digest = 'other' where name = 'big'")


def is_failed_by_its_row(case: Case) -> None:
    case.db.execute("update runs set state = 'failed'")


def names_too_little(case: Case) -> None:
    case.db.execute("delete from blobs")


def begins_unrecorded(case: Case) -> None:
    case.evidence.noted = [*case.evidence.noted, ("begin", "big", 7)]


def runs_one_attempt_twice(case: Case) -> None:
    case.evidence.noted = [*case.evidence.noted, ("end", "big", 1)]


def says_what_is_not_so(case: Case) -> None:
    case.evidence.told = frozenset({"nothing"})


@pytest.mark.parametrize(
    ("plant", "words"),
    [
        (loses_the_end, "was acknowledged and is gone"),
        (loses_one_inside, "have gaps: [5]"),
        (changes_one, "and is now ['launched', 'big'"),
        (swaps_two, "was acknowledged as"),
        (succeeds_twice, "big succeeded 2 times"),
        (logs_twice, "is stored twice: logged"),
        (succeeds_unlaunched, "('big', 1) succeeded without being launched"),
        (is_launched_after_its_success, "though its task has an output"),
        (is_taken_by_an_older_driver, "epochs [1, 1]"),
        (goes_on_when_closed, "though the run was closed"),
        (loses_a_blob, "is not in the store"),
        (tears_a_blob, "has 299999 bytes, not 300000"),
        (flips_a_blob, "bytes of another digest"),
        (makes_another_value, "total made"),
        (leaves_a_task_out, "differ from those of an undisturbed run: {'one more'}"),
        (has_a_part_too_much, "isn't the digest of its parts"),
        (has_a_row_that_lags, "the row of big says running"),
        (has_a_row_of_another_output, "the row of big has the digest other"),
        (is_failed_by_its_row, "the run's row says failed"),
        (names_too_little, "which the run doesn't name"),
        (begins_unrecorded, "no event says that it was launched"),
        (runs_one_attempt_twice, "happened 2 times"),
        (says_what_is_not_so, "said that nothing succeeded"),
    ],
)
def test_it_finds_what_was_planted(case: Case, plant: Callable[[Case], None], words: str) -> None:
    plant(case)
    assert any(words in problem for problem in case.problems()), case.problems()


def test_it_shares_no_code_with_headrace() -> None:
    for module in (checker, sys.modules["tests.faults.reading"]):
        assert "headrace" not in Path(str(module.__file__)).read_text().replace("Headrace", "")


def test_it_sees_that_a_run_or_a_resume_had_begun_though_it_ended_with_two(case: Case) -> None:
    def count() -> int:
        with rows_of(f"sqlite:///{case.ledger}") as rows:
            return begins(rows, case.evidence.run)

    before = count()
    assert before == 1, "who opened it"
    last, _ = case.last("closed")
    case.insert(last + 1, ["taken", 2, "ada", 1.0, False, "local", ""])
    after = count()
    assert begun("run", 2, 0, before) == ["`run` ended as if before its start, and had begun a run"]
    assert begun("resume", 2, before, after) == [
        "`resume` ended as if before its start, and had begun to go on with the run"
    ]
    assert begun("resume", 2, after, after) == begun("resume", 5, before, after) == []
