"""The ledger, on SQLite and on PostgreSQL."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import LeaseHeld, LeaseLost, LedgerError, NotFoundError
from headrace.ledger import ledger as ledger_module
from headrace.ledger.ledger import Ledger
from headrace.run.events import Span
from headrace.run.ports import Earlier
from headrace.spec.artifact import Ref
from tests.ledger.samples import after, blob, digest, first, free, open_ledger, result, rows, run_row, task_row


@pytest.fixture
def ledger(address: str) -> Iterator[Ledger]:
    with open_ledger(address) as ledger:
        yield ledger


def test_a_run_has_no_row_before_its_first_commit(ledger: Ledger) -> None:
    with ledger.open_run("flights"):
        assert rows(ledger, "select * from runs") == []


def test_a_run_that_never_commits_leaves_nothing_behind(ledger: Ledger) -> None:
    with ledger.open_run("flights") as run:
        assert list(ledger.leases.all()) == [run.run]
    assert list(ledger.leases.all()) == []
    with pytest.raises(NotFoundError):
        ledger.take(run.run)


def test_what_was_committed_is_there_for_the_next_driver(ledger: Ledger) -> None:
    with ledger.open_run("flights") as run:
        run.commit(first([b"opened", b"traced"]))
        run.commit(after(run, b"launched"))
    with ledger.take(run.run) as again:
        assert list(again.events()) == [b"opened", b"traced", b"launched"]
        assert again.next_seq == 3
        assert again.epoch == 2


def test_events_come_back_in_order_however_many_there_are(ledger: Ledger) -> None:
    bodies = [b"%d" % i for i in range(2500)]
    with ledger.open_run("flights") as run:
        run.commit(first(bodies))
        assert list(run.events()) == bodies


def test_an_event_may_be_large(ledger: Ledger) -> None:
    body = b"x" * 3_000_000
    with ledger.open_run("flights") as run:
        run.commit(first([body, b"next"]))
        assert list(run.events()) == [body, b"next"]


def test_the_first_commit_has_to_carry_the_runs_row(ledger: Ledger) -> None:
    with ledger.open_run("flights") as run:
        with pytest.raises(LedgerError, match="no row"):
            run.commit(first(run=None))
        run.commit(first())


def test_an_event_out_of_turn_is_refused(ledger: Ledger) -> None:
    with ledger.open_run("flights") as run:
        run.commit(first())
        with pytest.raises(LedgerError, match="tried to store event 5, but its next event is number 1"):
            run.commit(first([b"x"], first=5))
        assert list(run.events()) == [b"opened"]


def test_a_commit_stores_all_or_nothing(ledger: Ledger) -> None:
    with ledger.open_run("flights") as run:
        run.commit(first())
        broken = task_row(reason=None)
        with pytest.raises(LedgerError):
            run.commit(after(run, b"event", run=run_row("failed"), tasks=[task_row(), broken]))
        assert list(run.events()) == [b"opened"]
        assert rows(ledger, "select state from runs") == [("running",)]
        assert rows(ledger, "select * from tasks") == []
        run.commit(after(run, b"event"))
        assert list(run.events()) == [b"opened", b"event"]


def test_a_tasks_row_is_replaced_by_the_next_one(ledger: Ledger) -> None:
    out = blob("model")
    with ledger.open_run("flights") as run:
        run.commit(first(tasks=[task_row(state="waiting", attempts=0)]))
        run.commit(after(run, b"done", tasks=[task_row(out=out, log=Span("log/1", 0, 20))]))
    found = rows(ledger, "select name, state, attempts, digest, bytes, log, log_start, log_end from tasks")
    assert found == [("fit", "succeeded", 1, out.digest, 5, "log/1", 0, 20)]


def test_a_new_trace_forgets_the_rows_of_the_old(ledger: Ledger) -> None:
    with ledger.open_run("flights") as run:
        run.commit(first(tasks=[task_row("old"), task_row("kept")]))
        run.commit(after(run, b"renewed", renewed=True, tasks=[task_row("kept"), task_row("new")]))
    assert rows(ledger, "select name from tasks order by name") == [("kept",), ("new",)]


def test_a_result_is_found_under_its_key_by_every_run(ledger: Ledger) -> None:
    out = blob("model", parts=(blob("a"), blob("b")))
    with ledger.open_run("flights") as run:
        run.commit(first(results=[result(out)]))
    with ledger.open_run("other") as other:
        found = other.result("key")
        assert found is not None
        assert (found.out, found.run) == (out, run.run)
        assert other.result("another key") is None


def test_a_later_result_replaces_an_earlier_one(ledger: Ledger) -> None:
    with ledger.open_run("flights") as run:
        run.commit(first(results=[result(blob("model", "n1"))]))
        run.commit(after(run, b"again", results=[result(blob("model", "n2"))]))
        found = run.result("key")
        assert found is not None
        assert found.out.nonce == "n2"


def test_every_generation_that_a_run_keeps_is_named_once(ledger: Ledger) -> None:
    inline = Ref(digest=digest("1"), size=1, codec="json", type="builtins.int", inline=b"1")
    whole = Ref(
        digest=digest("all"), size=7, codec="parts", type="builtins.list", parts=(blob("abc"), blob("defg"), inline)
    )
    with ledger.open_run("flights") as run:
        run.commit(first(kept=[whole, blob("abc")], results=[result(whole)]))
    found = rows(ledger, "select digest, nonce, size from blobs order by size")
    assert found == [(digest("abc"), "n1", 3), (digest("defg"), "n1", 4)]


def test_a_signal_waits_in_the_inbox_until_an_event_absorbs_it(ledger: Ledger) -> None:
    with ledger.open_run("flights") as run:
        assert run.inbox() == ()
        run.commit(first())
        ledger.signal(run.run, "cancel", by="ann", body="now")
        ledger.signal(run.run, "approve", by="bob")
        cancel, approve = run.inbox()
        assert (cancel.kind, cancel.by, cancel.body) == ("cancel", "ann", "now")
        run.commit(after(run, b"cancelled", absorbed=[cancel.id]))
        assert run.inbox() == [approve]


def test_a_signal_for_no_run_is_an_error(ledger: Ledger) -> None:
    with pytest.raises(NotFoundError, match="no run `nothing`"):
        ledger.signal("nothing", "cancel", by="ann")


def test_the_ingredients_of_a_task_come_from_the_latest_earlier_run_that_has_it(ledger: Ledger) -> None:
    ids = []
    for key, names in (("k1", ["fit", "old"]), ("k2", ["fit"]), ("k3", [])):
        with ledger.open_run("flights") as run:
            rows = [task_row(name, key=key, inputs=b"i", code="c") for name in names]
            run.commit(first(run=run_row("succeeded", ended=100.0), tasks=rows))
            ids.append(run.run)
    with ledger.open_run("other") as other:
        other.commit(first(run=run_row(pipeline="other"), tasks=[task_row("fit", key="k4")]))
    with ledger.open_run("flights") as run:
        assert run.earlier("fit") == Earlier(run=ids[1], key="k2", code="c", inputs=b"i")
        assert run.earlier("old") == Earlier(run=ids[0], key="k1", code="c", inputs=b"i")
        assert run.earlier("never") is None
        run.commit(first(tasks=[task_row("never", key="own")]))
        assert run.earlier("never") is None


def test_a_second_driver_is_refused_and_told_who_holds_the_run(ledger: Ledger) -> None:
    with ledger.open_run("flights") as run:
        run.commit(first())
        with pytest.raises(LeaseHeld, match=r"held by process \d+ on `.+` since \d{4}-"):
            ledger.take(run.run)
        assert ledger.holder(run.run) is not None
    assert ledger.holder(run.run) is None


def test_a_driver_whose_lease_was_taken_can_write_nothing(ledger: Ledger) -> None:
    run = ledger.open_run("flights")
    run.commit(first())
    free(ledger, run.run)
    with ledger.take(run.run) as other:
        for batch in (after(run, b"late"), after(run, b"late", run=run_row("failed"))):
            with pytest.raises(LeaseLost, match="another driver"):
                run.commit(batch)
        other.commit(after(other, b"taken"))
        assert list(other.events()) == [b"opened", b"taken"]
        run.close()
        assert ledger.holder(run.run) is not None, "the old driver leaves the lock of the new one alone"


def draw(monkeypatch: pytest.MonkeyPatch, *numbers: int) -> None:
    """Have the next ids of runs end with these numbers."""
    left = iter(numbers)
    monkeypatch.setattr(
        ledger_module, "new_id", lambda pipeline, _, *, size: f"20261125-{pipeline}-{next(left):0{2 * size}x}"
    )


def test_an_id_that_another_run_has_is_drawn_again_whether_that_run_is_in_progress_or_not(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(monkeypatch, 1, 1, 2, 1, 2, 3)
    started = time.monotonic()
    with ledger.open_run("flights") as old, ledger.open_run("flights") as new:  # `old` has no row yet
        assert (old.run[-4:], new.run[-4:]) == ("0001", "0002")
        old.commit(first([b"of the old"]))
        new.commit(first([b"of the new"]))
        assert list(old.events()) == [b"of the old"]
        old.close()
        with ledger.open_run("flights") as third:
            assert third.run[-4:] == "0003"
    assert time.monotonic() - started < 5, "nobody waits for the lease of another run"


def test_ids_grow_when_all_of_a_day_are_used(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(monkeypatch, *[1] * 102)
    with ledger.open_run("flights"), ledger.open_run("flights") as new:
        assert new.run.endswith("-flights-000001")


def test_runs_are_ordered_by_birth_though_the_clock_jumps_back(address: str) -> None:
    times = iter([2000.0, 1000.0, 3000.0])
    for _ in range(3):
        now = next(times)
        with open_ledger(address, clock=lambda now=now: now) as ledger, ledger.open_run("flights") as run:
            run.commit(first(run=run_row(created=now), results=[result(blob("model", f"n{now:g}"))]))
    assert rows(ledger, "select created from runs order by number") == [(2000.0,), (1000.0,), (3000.0,)]


def test_a_killed_driver_leaves_its_run_to_the_next_one(address: str) -> None:
    code = """
        import os, signal, sys
        from pathlib import Path
        from tests.ledger.samples import first, hold_briefly, open_ledger
        hold_briefly()
        run = open_ledger(sys.argv[1]).open_run("flights")
        run.commit(first())
        print(run.run, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    child = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), address], stdout=subprocess.PIPE, text=True, check=False
    )
    with open_ledger(address) as ledger, ledger.take(child.stdout.strip()) as run:
        assert list(run.events()) == [b"opened"]


def test_what_was_acknowledged_survives_kills_in_the_midst_of_commits(address: str) -> None:
    code = """
        import sys
        from pathlib import Path
        from tests.ledger.samples import *
        hold_briefly()
        ledger = open_ledger(sys.argv[1])
        run = ledger.take(sys.argv[2]) if sys.argv[2] else ledger.open_run("flights")
        if not sys.argv[2]:
            run.commit(first([b"0"]))
        print(run.run, flush=True)
        while True:
            n = run.next_seq
            name = f"t{n % 50}"
            run.commit(after(run, b"%d" % n, b"%d" % (n + 1), tasks=[task_row(name, ordinal=n)], kept=[blob(str(n))]))
            print(run.next_seq, flush=True)
    """
    run_id, acknowledged = "", 1
    for wanted in (1, 7, 40, 3, 90):
        child = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), address, run_id], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        with child:
            run_id = child.stdout.readline().strip()
            for _ in range(wanted):
                acknowledged = int(child.stdout.readline())
            child.kill()
            acknowledged = max([acknowledged, *(int(line) for line in child.stdout if line.endswith("\n"))])
        with open_ledger(address) as ledger, ledger.take(run_id) as run:
            found = list(run.events())
            assert found == [b"%d" % i for i in range(run.next_seq)]
            assert run.next_seq >= acknowledged
            last = rows(ledger, "select max(ordinal) from tasks")[0][0]
            assert last == run.next_seq - 2, "a commit's rows are there with its events"
        with closing(ledger.connect()) as db:
            assert db.problems(deep=True) == []


def test_many_processes_write_their_runs_at_once(address: str) -> None:
    code = """
        import sys
        from pathlib import Path
        from tests.ledger.samples import *
        with open_ledger(sys.argv[1]) as ledger, ledger.open_run("flights") as run:
            run.commit(first())
            for i in range(50):
                run.commit(after(run, b"x", results=[result(blob(str(i)), key=f"{sys.argv[2]}-{i}")]))
                assert run.result(f"{sys.argv[2]}-{i}") is not None
    """
    children = [subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), address, str(i)]) for i in range(4)]
    assert [child.wait() for child in children] == [0, 0, 0, 0]
    with open_ledger(address) as ledger:
        assert rows(ledger, "select count(*), count(distinct run) from events") == [(204, 4)]


def test_the_hot_path_loads_no_sqlalchemy(address: str) -> None:
    code = """
        import sys
        from pathlib import Path
        from headrace.ledger.ledger import Ledger
        from headrace.ledger.views.views import Views
        with Ledger(sys.argv[1]) as ledger, ledger.open_run("flights") as run:
            run.result("key")
            run.earlier("fit")
        with Views(sys.argv[1]) as views:
            views.runs()
        print([name for name in ("sqlalchemy", "alembic", "psycopg") if name in sys.modules])
    """
    child = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), address], stdout=subprocess.PIPE, text=True, check=True
    )
    assert child.stdout.strip() == ("['psycopg']" if address.startswith("postgresql") else "[]")


names = st.sampled_from(["a", "b", "c[0]", "c[1]"])
ticks = st.lists(
    st.fixed_dictionaries(
        {
            "bodies": st.lists(st.binary(max_size=20), max_size=3),
            "tasks": st.dictionaries(names, st.sampled_from(["waiting", "running", "succeeded", "failed"])),
            "results": st.dictionaries(st.sampled_from("xyz"), names),
            "renewed": st.booleans(),
            "fails": st.booleans(),
            "retaken": st.booleans(),
        }
    ),
    max_size=12,
)


@given(ticks=ticks)
@settings(max_examples=50)
def test_a_run_holds_what_its_commits_said_and_no_more(ticks: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder, open_ledger(Path(folder)) as ledger:
        run = ledger.open_run("flights")
        run.commit(first([]))
        bodies: list[bytes] = []
        tasks: dict[str, str] = {}
        found: dict[str, str] = {}
        for tick in ticks:
            changed = [task_row(name, state) for name, state in tick["tasks"].items()]
            given_out = [result(blob(task), key) for key, task in tick["results"].items()]
            if tick["fails"]:
                with pytest.raises(LedgerError):
                    run.commit(after(run, *tick["bodies"], tasks=[*changed, task_row(reason=None)], results=given_out))
                continue
            run.commit(after(run, *tick["bodies"], tasks=changed, results=given_out, renewed=tick["renewed"]))
            bodies += tick["bodies"]
            tasks = ({} if tick["renewed"] else tasks) | tick["tasks"]
            found |= tick["results"]
            if tick["retaken"]:
                run.close()
                run = ledger.take(run.run)
        assert list(run.events()) == bodies
        assert dict(rows(ledger, "select name, state from tasks")) == tasks
        for key in "xyz":
            held = run.result(key)
            assert (held and held.out) == (blob(found[key]) if key in found else None)
        run.close()
