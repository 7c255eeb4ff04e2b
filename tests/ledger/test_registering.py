"""Versions that many register at once are numbered one after another, on SQLite and PostgreSQL."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from headrace.errors import LedgerError, NotFoundError
from headrace.ledger import cursors
from headrace.ledger.ledger import Ledger
from headrace.ledger.registry import point, register, unpoint
from headrace.ledger.views.tracking import TrackingViews
from headrace.spec.artifact import Ref
from headrace.spec.intent import Advance, Register
from tests.ledger.samples import after, blob, first, open_ledger

DRIVE = """
    import sys
    from headrace.spec.artifact import Ref
    from headrace.spec.intent import Advance, Register
    from tests.ledger.samples import *
    with open_ledger(sys.argv[1]) as ledger, ledger.open_run("flights") as run:
        run.commit(first([]))
        for number in range(15):
            out = Ref(digest=f"{sys.argv[2]}-{number}", size=2, codec="text", type="builtins.str", inline=b"hi")
            every = Ref(digest=f"every-{number}", size=2, codec="text", type="builtins.str", inline=b"hi")
            asked = [Register("model", "own", out, aliases=("latest",)), Register("model", "shared", every)]
            version, _ = run.cursor("orders") or (0, b"")
            run.commit(after(run, intents=[("fit", each) for each in (*asked, Advance("orders", version, out))]))
"""


def out(name: str) -> Ref:
    return Ref(digest=name, size=2, codec="text", type="builtins.str", inline=b"hi")


@pytest.fixture
def ledger(address: str) -> Iterator[Ledger]:
    with open_ledger(address) as ledger:
        yield ledger


def test_many_drivers_at_once_leave_no_gap_and_give_no_number_twice(address: str) -> None:
    open_ledger(address).close()
    drivers = [
        subprocess.Popen([sys.executable, "-c", textwrap.dedent(DRIVE), address, str(number)]) for number in range(3)
    ]
    assert [driver.wait() for driver in drivers] == [0, 0, 0]
    with TrackingViews(address) as views:
        own, shared = views.versions("model", "own"), views.versions("model", "shared")
        assert sorted(each.version for each in own) == list(range(1, 46))
        assert len({each.out.digest for each in own}) == 45
        assert sorted(each.version for each in shared) == list(range(1, 16))
        assert {each.out.digest for each in shared} == {f"every-{number}" for number in range(15)}
        assert [each.aliases for each in own if each.aliases] == [("latest",)]
        versions = [each.version for each in views.cursors("orders")]
        assert versions == list(range(len(versions), 0, -1))
        assert len(versions) >= 15


def test_what_is_not_stored_registers_nothing(ledger: Ledger) -> None:
    with ledger.open_run("flights") as run:
        run.commit(first([]))
        wrong = after(
            run, b"wrong", intents=[("fit", Register("model", "m", out("a"))), ("fit", Advance("c", 0, out("a")))]
        )
        wrong.first += 7
        with pytest.raises(LedgerError, match="its next event is number 0"):
            run.commit(wrong)
        assert run.cursor("c") is None
        assert register(ledger, Register("model", "m", out("b")), by="ada") == 1


def test_of_an_artifact_and_its_report_the_one_that_is_gone_is_named(ledger: Ledger) -> None:
    model, report = blob("model"), blob("report")
    with ledger.open_run("flights") as run:
        run.commit(first([], kept=[model]))
        with pytest.raises(NotFoundError, match=f"the report {report.digest[:12]} was deleted"):
            register(ledger, Register("model", "m", model, report=report), by="ada")


def test_a_cursor_is_not_moved_by_hand_to_a_value_that_nothing_names_any_more(ledger: Ledger) -> None:
    kept, gone = blob("kept"), blob("gone")
    with ledger.open_run("flights") as run:
        run.commit(first([], kept=[kept]))
        cursors.advance(ledger, Advance("orders", 0, kept), by="ada")
        with pytest.raises(NotFoundError, match="is no longer kept"):
            cursors.advance(ledger, Advance("orders", 1, gone), by="ada")
        assert run.set_here("orders", 2) is None


# -- moves of aliases ---------------------------------------------------------------------------------------------


def moves(address: str) -> list[tuple[int | None, int | None, str, str | None, str | None]]:
    """The moves of the aliases of the model `m`, the oldest first."""
    with TrackingViews(address) as views:
        return [(each.was, each.version, each.by, each.task, each.why) for each in views.moves("model", "m")][::-1]


def test_a_task_s_move_of_an_alias_is_stored_with_its_success(ledger: Ledger, address: str) -> None:
    with ledger.open_run("flights", holder="ada") as run:
        run.commit(first([]))
        for name in ("a", "b", "b"):
            asked = Register("model", "m", out(name), aliases=("best",))
            run.commit(after(run, intents=[("fit", asked)]))
        twice = [("fit", Register("model", "m", out(name), aliases=("best",))) for name in ("c", "d")]
        run.commit(after(run, intents=twice))
    assert moves(address) == [(was, version, "ada", "fit", None) for was, version in pairwise((None, 1, 2, 3, 4))]


def test_a_move_by_hand_that_is_refused_or_changes_nothing_leaves_no_trace(ledger: Ledger, address: str) -> None:
    register(ledger, Register("model", "m", out("a"), aliases=("best",)), by="ada", why="first")
    with pytest.raises(NotFoundError, match="has no version 7"):
        point(ledger, "model", "m", "best", 7, by="bob", why="wrong")
    point(ledger, "model", "m", "best", 1, by="bob")
    unpoint(ledger, "model", "m", "other", by="bob")
    assert moves(address) == [(None, 1, "ada", None, "first")]
    point(ledger, "model", "m", "best", 1, by="bob", why="looked at it again")
    unpoint(ledger, "model", "m", "best", by="eve", why="withdrawn")
    assert moves(address)[1:] == [(1, 1, "bob", None, "looked at it again"), (1, None, "eve", None, "withdrawn")]


def test_an_alias_that_was_forced_keeps_its_reason_until_a_move_is_recorded(ledger: Ledger, address: str) -> None:
    with ledger.open_run("flights") as run:
        run.commit(first([], kept=[out("a")]))
        run.commit(after(run, intents=[("fit", Register("model", "m", out("a")))]))
        point(ledger, "model", "m", "production", 1, by="ada", why="a trial", is_forced=True)
        run.commit(after(run, intents=[("fit", Register("model", "m", out("a"), aliases=("production",)))]))
    with TrackingViews(address) as views:
        (version,) = views.versions("model", "m")
        assert version.forced == {"production": "a trial"}
        assert [each.why for each in views.moves("model", "m")] == ["a trial"]
    point(ledger, "model", "m", "production", 1, by="ada", why="the report is fine now")
    with TrackingViews(address) as views:
        assert views.versions("model", "m")[0].forced == {}
        assert len(views.moves("model", "m")) == 2


def test_of_two_who_move_an_alias_at_once_each_move_begins_where_the_other_ended(address: str) -> None:
    with open_ledger(address) as ledger:
        for name in ("a", "b", "c"):
            register(ledger, Register("model", "m", out(name)), by="ada")

    def move(version: int) -> None:
        with open_ledger(address) as mine:
            for _ in range(10):
                point(mine, "model", "m", "best", version, by=str(version))

    with ThreadPoolExecutor() as pool:
        list(pool.map(move, (1, 2, 3)))
    found = moves(address)
    assert [was for was, *_ in found] == [None, *(version for _, version, *_ in found[:-1])]
