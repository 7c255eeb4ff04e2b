"""A test suite for ledgers. To use it, inherit from `LedgerContract` in a test module and define the methods that make
a ledger, open a run and take a run. It needs pytest and Hypothesis."""

from __future__ import annotations

import math
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.errors import LeaseLost, LedgerError, UsageError
from headrace.run.curves import Summary
from headrace.run.ports import Batch, Doubt, ResultRow, RunRow, TaskRow, Want
from headrace.spec.artifact import Ref
from headrace.spec.intent import Advance

NAMES = st.sampled_from(["fit", "best", "each[0]", "each[1]"])
TICKS = st.lists(
    st.fixed_dictionaries(
        {
            "bodies": st.lists(st.binary(max_size=20), max_size=3),
            "tasks": st.dictionaries(NAMES, st.sampled_from(["waiting", "running", "succeeded", "failed"])),
            "results": st.dictionaries(st.sampled_from("xyz"), NAMES),
            "doubts": st.lists(st.sampled_from("xyz"), max_size=1),
            "signals": st.integers(0, 2),
            "absorbs": st.booleans(),
            "renewed": st.booleans(),
            "retaken": st.booleans(),
        }
    ),
    max_size=10,
)


def ref(text: str) -> Ref:
    """Return the reference of an artifact with this text, whose bytes are in the store."""
    digest = blake3(text.encode()).hexdigest()
    return Ref(digest=digest, size=len(text), codec="text", type="builtins.str", nonce="n1")


def inline(text: str) -> Ref:
    """Return the reference of an artifact with this text, whose bytes are in the reference."""
    return msgspec.structs.replace(ref(text), nonce=None, inline=text.encode())


def task(name: str, state: str = "succeeded") -> TaskRow:
    """Return the row of a task in a given state."""
    return TaskRow(
        ordinal=0,
        name=name,
        stage="fit",
        kind="train",
        state=state,  # type: ignore[arg-type]
        reason="no earlier result",
        key=f"key of {name}",
        code="code",
        inputs=b"inputs",
        out=msgspec.msgpack.encode(ref(name)),
    )


def row(state: str = "running") -> RunRow:
    """Return the row of a run in a given state."""
    return RunRow(pipeline="flights", state=state, created=1.0, bundle="b" * 64)


class LedgerContract:
    """The test suite for ledgers.

    A run is an object that implements `run.ports.Ledger` and also has `run`, `epoch`, `next_seq` and `events()`.
    """

    def make(self, folder: Path) -> Any:
        """Return an empty ledger with a pool `here` of 8 cpus. It may keep its files in `folder`."""
        raise NotImplementedError

    def open(self, ledger: Any) -> Any:
        """Create a run of the pipeline `flights`, take its lease, and return it."""
        raise NotImplementedError

    def take(self, ledger: Any, run: Any) -> Any:
        """Take the lease of a run from the driver that has it, without telling this driver. Return the run."""
        raise NotImplementedError

    def advance(self, ledger: Any, wanted: Advance) -> None:
        """Set the next value of a cursor, outside of runs."""
        raise NotImplementedError

    def close(self, held: Any) -> None:
        """Close a ledger or a run."""
        held.close()

    @pytest.fixture
    def ledger(self, tmp_path: Path) -> Any:
        with ExitStack() as exits:
            ledger = self.make(tmp_path / "ledger")
            exits.callback(self.close, ledger)
            yield ledger

    @pytest.fixture
    def run(self, ledger: Any) -> Any:
        run = self.open(ledger)
        yield run
        self.close(run)

    def test_a_tick_is_there_once_it_was_committed(self, run: Any) -> None:
        run.commit(Batch(first=0, bodies=[b"opened", b"taken"], run=row()))
        run.commit(Batch(first=2, bodies=[b"more"], tasks=[task("fit")]))
        run.commit(Batch(first=3, bodies=[], run=row("succeeded")))
        assert list(run.events()) == [b"opened", b"taken", b"more"]
        assert run.next_seq == 3

    def test_events_follow_on_those_that_are_there(self, run: Any) -> None:
        run.commit(Batch(first=0, bodies=[b"opened"], run=row()))
        for wrong in (0, 2):
            with pytest.raises(LedgerError):
                run.commit(Batch(first=wrong, bodies=[b"wrong"]))
        assert list(run.events()) == [b"opened"]

    def test_the_first_commit_carries_the_runs_row(self, run: Any) -> None:
        with pytest.raises(LedgerError):
            run.commit(Batch(first=0, bodies=[b"opened"]))
        run.commit(Batch(first=0, bodies=[b"opened"], run=row()))

    def test_a_driver_whose_run_was_taken_writes_nothing_any_more(self, ledger: Any, run: Any) -> None:
        run.commit(Batch(first=0, bodies=[b"opened"], run=row()))
        other = self.take(ledger, run)
        assert other.epoch == run.epoch + 1
        for batch in (
            Batch(first=1, bodies=[b"late"]),
            Batch(first=1, bodies=[b"late"], run=row("failed"), results=[result("x", "late")]),
        ):
            with pytest.raises(LeaseLost):
                run.commit(batch)
        other.commit(Batch(first=1, bodies=[b"taken"]))
        assert list(other.events()) == [b"opened", b"taken"]
        assert other.results(["x"]) == {}
        with pytest.raises(LeaseLost):
            run.grant(want(1))
        self.close(other)

    def test_results_are_found_under_their_keys_by_every_run(self, ledger: Any, run: Any) -> None:
        run.commit(Batch(first=0, bodies=[b"o"], run=row(), results=[result("x", "fit"), result("y", "best")]))
        other = self.open(ledger)
        found = other.results(["x", "nothing", "y"])
        assert {key: (each.out, each.run) for key, each in found.items()} == {
            "x": (ref("fit"), name_of(run)),
            "y": (ref("best"), name_of(run)),
        }
        assert other.results([]) == {}
        self.close(other)

    def test_a_doubt_is_about_one_generation(self, run: Any) -> None:
        run.commit(Batch(first=0, bodies=[b"o"], run=row(), results=[result("x", "fit"), result("y", "best")]))
        others = f"{ref('fit').digest}.n2"
        its = f"{ref('best').digest}.n1"
        run.commit(
            Batch(first=1, bodies=[b"d"], doubts=[Doubt(key=key, generation=each, why="gone") for key, each in
                                                  (("x", others), ("y", its))])
        )  # fmt: skip
        assert run.results(["x", "y"]).keys() == {"x"}
        run.commit(Batch(first=2, bodies=[b"a"], results=[result("y", "best")]))
        assert run.results(["x", "y"]).keys() == {"x", "y"}

    def test_what_a_key_was_made_of_comes_from_a_run_that_has_ended(self, ledger: Any, run: Any) -> None:
        run.commit(Batch(first=0, bodies=[b"o"], run=row(), tasks=[task("fit")]))
        beside = self.open(ledger)
        assert beside.earlier("fit") is None
        self.close(beside)
        run.commit(Batch(first=1, bodies=[b"c"], run=msgspec.structs.replace(row("succeeded"), ended=2.0)))
        later = self.open(ledger)
        found = later.earlier("fit")
        assert (found.run, found.key, found.code, found.inputs) == (name_of(run), "key of fit", "code", b"inputs")
        assert later.earlier("never") is None
        self.close(later)

    def test_a_signal_waits_until_it_is_absorbed(self, ledger: Any, run: Any) -> None:
        run.commit(Batch(first=0, bodies=[b"o"], run=row()))
        ledger.signal(name_of(run), "cancel", by="ann", body="now")
        ledger.signal(name_of(run), "approve", by="bob")
        cancel, approve = run.inbox()
        assert (cancel.kind, cancel.by, cancel.body) == ("cancel", "ann", "now")
        run.commit(Batch(first=1, bodies=[b"c"], absorbed=[cancel.id]))
        assert list(run.inbox()) == [approve]

    def test_a_run_alone_may_use_all_of_its_pool(self, run: Any) -> None:
        assert run.grant(want(8)).cpu == 8
        with pytest.raises(LedgerError):
            run.grant(want(1, "there"))

    def test_a_cursor_is_advanced_by_whoever_was_first_and_anew_by_that_task_alone(self, ledger: Any, run: Any) -> None:
        def advance(version: int, text: str, task: str = "fit") -> tuple[str, Advance]:
            return task, Advance("orders", version, ref(text))

        def cursor(held: Any) -> tuple[int, Any]:
            version, value = held.cursor("orders")
            return version, msgspec.msgpack.decode(value, type=Ref)

        assert run.cursor("orders") is None
        run.commit(Batch(first=0, bodies=[b"o"], run=row(), intents=[advance(0, "one")]))
        assert cursor(run) == (1, ref("one"))
        other = self.open(ledger)
        other.commit(Batch(first=0, bodies=[b"o"], run=row(), intents=[advance(0, "late")]))
        assert cursor(other) == (1, ref("one"))
        other.commit(Batch(first=1, bodies=[b"s"], intents=[advance(1, "two"), advance(1, "late", "judge")]))
        assert cursor(run) == (2, ref("two"))
        other.commit(Batch(first=2, bodies=[b"s"], intents=[advance(1, "two again")]))
        assert cursor(run) == (3, ref("two again"))
        run.commit(Batch(first=1, bodies=[b"s"], intents=[advance(1, "late")]))
        assert cursor(run) == (3, ref("two again"))
        with pytest.raises(LedgerError):
            run.commit(Batch(first=0, bodies=[b"wrong"], intents=[advance(3, "lost")]))
        assert cursor(run) == (3, ref("two again"))
        assert other.cursor("else") is None
        assert run.set_here("orders", 1) == (True, msgspec.msgpack.encode(ref("one")))
        assert other.set_here("orders", 1) == (False, msgspec.msgpack.encode(ref("one")))
        assert run.set_here("orders", 4) is None
        self.close(other)

    def test_a_run_leaves_a_cursor_that_was_moved_by_hand_meanwhile(self, ledger: Any, run: Any) -> None:
        def value(version: int) -> Any:
            return msgspec.msgpack.decode(run.set_here("orders", version)[1], type=Ref)

        by_hand = [Advance("orders", number, inline(f"by hand {number}")) for number in range(4)]
        self.advance(ledger, by_hand[0])
        run.commit(Batch(first=0, bodies=[b"o"], run=row(), intents=[("fit", Advance("orders", 0, ref("late")))]))
        assert run.cursor("orders") == (1, msgspec.msgpack.encode(by_hand[0].value))
        run.commit(Batch(first=1, bodies=[b"s"], intents=[("fit", Advance("orders", 1, ref("two")))]))
        self.advance(ledger, by_hand[2])
        run.commit(Batch(first=2, bodies=[b"s"], intents=[("fit", Advance("orders", 1, ref("two again")))]))
        assert [value(1), value(2), value(3)] == [by_hand[0].value, ref("two"), by_hand[2].value]
        with pytest.raises(UsageError, match="has moved on from version 2 in the meantime"):
            self.advance(ledger, by_hand[2])
        assert run.set_here("orders", 4) is None

    def test_what_a_task_logs_may_be_said_again_and_again(self, run: Any) -> None:
        def told(count: int) -> Summary:
            return Summary(
                task="fit",
                kind="number",
                name="loss",
                last=None,
                least=-math.inf,
                greatest=1.0,
                count=count,
                first_step=0,
                last_step=count - 1,
                at=1.0,
            )

        run.commit(Batch(first=0, bodies=[b"o", b"l"], run=row(), metrics=[told(1)], logged=[("fit", 1)]))
        run.commit(Batch(first=2, bodies=[b"l"], metrics=[told(2)], logged=[("fit", 2)], inherited=[("best", "x")]))
        assert list(run.events()) == [b"o", b"l", b"l"]

    @given(ticks=TICKS)
    @settings(
        max_examples=25,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
    )
    def test_a_run_holds_what_its_commits_said_and_no_more(self, ledger: Any, ticks: list[dict[str, Any]]) -> None:
        run = self.open(ledger)
        run.commit(Batch(first=0, bodies=[], run=row()))
        before = dict(run.results(list("xyz")))
        bodies: list[bytes] = []
        found = {key: each.out for key, each in before.items()}
        waiting = 0
        for tick in ticks:
            for _ in range(tick["signals"]):
                ledger.signal(name_of(run), "approve", by="ann")
            waiting += tick["signals"]
            absorbed = [signal.id for signal in run.inbox()] if tick["absorbs"] else []
            made = {key: ref(name) for key, name in tick["results"].items()}
            doubted = [key for key in tick["doubts"] if key in found | made]
            run.commit(
                Batch(
                    first=run.next_seq,
                    bodies=tick["bodies"],
                    tasks=[task(name, state) for name, state in tick["tasks"].items()],
                    results=[result(key, name) for key, name in tick["results"].items()],
                    doubts=[Doubt(key=key, generation=f"{(found | made)[key].digest}.n1", why="w") for key in doubted],
                    absorbed=absorbed,
                    renewed=tick["renewed"],
                )
            )
            bodies += tick["bodies"]
            found = {key: out for key, out in (found | made).items() if key not in doubted}
            waiting -= len(absorbed)
            if tick["retaken"]:
                lost, run = run, self.take(ledger, run)
                with pytest.raises(LeaseLost):
                    lost.commit(Batch(first=lost.next_seq, bodies=[b"late"], results=[result("x", "late")]))
                self.close(lost)
            assert list(run.events()) == bodies
            assert {key: each.out for key, each in run.results(list("xyz")).items()} == found
            assert len(run.inbox()) == waiting
        self.close(run)


def result(key: str, name: str) -> ResultRow:
    """Return the row of a task's output under a key."""
    return ResultRow(key=key, task=name, out=ref(name))


def want(cpu: float, pool: str = "here") -> Want:
    """Return a run's request for `cpu` cpus of a pool."""
    return Want(pool=pool, cpu=cpu, memory_gib=0, gpus=0, used_cpu=0, used_memory_gib=0, used_gpus=0)


def name_of(run: Any) -> str:
    """Return the id of a run."""
    name: str = run.run
    return name
