"""A test suite for backends. A third party can run it on a backend of its own.

    class TestMine(BackendContract):
        @pytest.fixture
        def stand(self, tmp_path: Path) -> Stand:
            return MyStand(tmp_path)

A `Stand` makes backends of one pool for one run. It also makes the `Do` messages that tell a worker to run one of the
suite's stages. The suite uses the backend as a driver does: it starts workers, sends them messages, and reads the
notices about them. It waits for conditions, never for a fixed time.

`WorkerContract` has more tests, for backends whose workers are processes.
"""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from headrace.run.events import Asked, Checkpointed, Failed, Succeeded, Traced, TraceEnded, decode_event
from headrace.run.ports import TRACER, Heard, Job
from headrace.run.wire import Ack, Answer, Drop, Question, Quit, Refused, Tell
from headrace.spec.graph import Out
from headrace.spec.stage import Resources
from headrace.testing.backend_listener import Ear
from headrace.testing.backend_setup import Stand, tracing
from headrace.testing.graphs import number

GONE_S = 15.0


class BackendContract:
    """The test suite for backends. A subclass must define the fixture `stand`."""

    @pytest.fixture
    def stand(self) -> Any:
        raise pytest.UsageError("a subclass of BackendContract must define the fixture `stand`")

    @pytest.fixture
    def ear(self, stand: Stand) -> Iterator[Ear]:
        """Yield an `Ear` that listens to the first backend of `stand`. After the test, close the backend and check that
        no worker is alive."""
        ear = Ear(stand.backend())
        yield ear
        ear.backend.close(now=True)
        assert_gone(stand)

    # -- reports -------------------------------------------------------------------------------------------------

    def test_reports_are_numbered_from_one_on_and_come_in_the_order_of_the_orders(self, stand: Stand, ear: Ear) -> None:
        ear.begin(1)
        names = [f"t{number}" for number in range(20)]
        ear.tell(1, *[stand.order("one", name) for name in names])
        done = ear.wait_for(1, Succeeded, 20)
        assert [event.task for event in done] == names
        assert [report.seq for report in ear.reports(1)] == list(range(1, 21))
        assert {stand.value(event.out) for event in done} == {1}

    def test_each_worker_numbers_its_own_reports(self, stand: Stand, ear: Ear) -> None:
        workers = range(1, 4)
        ear.begin(*workers)
        for worker in workers:
            ear.tell(worker, *[stand.order("one", f"{worker}-{each}") for each in range(3)])
        for worker in workers:
            ear.wait_for(worker, Succeeded, 3)
            assert [report.seq for report in ear.reports(worker)] == [1, 2, 3]

    def test_an_error_of_the_stage_is_a_failure_of_the_user_and_the_worker_lives_on(
        self, stand: Stand, ear: Ear
    ) -> None:
        ear.begin(1)
        ear.tell(1, stand.order("fail", "bad"), stand.order("one", "good"))
        ear.wait_for(1, Succeeded)
        [failed] = ear.events(1, Failed)
        assert (failed.task, failed.attempt, failed.failure.kind) == ("bad", 1, "user")

    def test_messages_of_any_size_and_number_pass_down(self, stand: Stand, ear: Ear) -> None:
        ear.begin(1)
        ear.tell(1, *[stand.order("size", f"big{each}", data=b"x" * 300_000) for each in range(40)])
        done = ear.wait_for(1, Succeeded, 40)
        assert {stand.value(event.out) for event in done} == {300_000}

    def test_messages_of_any_size_and_number_pass_up_while_others_are_on_their_way_down(
        self, stand: Stand, ear: Ear
    ) -> None:
        ear.begin(1)
        for each in range(40):
            ear.tell(1, stand.order("fail", f"long{each}", length=300_000))
            ear.tell(1, stand.order("size", f"big{each}", data=b"x" * 300_000))
        failed = ear.wait_for(1, Failed, 40)
        assert all(len(event.failure.message + (event.failure.traceback or "")) >= 50_000 for event in failed)
        ear.wait_for(1, Succeeded, 40)

    def test_its_descriptor_is_readable_once_there_is_news(self, stand: Stand, ear: Ear) -> None:
        descriptor = ear.backend.fileno()
        if descriptor is None:
            pytest.skip("this backend is a simulation: nothing waits for it")
        ear.begin(1)
        ear.tell(1, stand.order("one", "first"))
        ear.wait_for(1, Succeeded)
        ear.tell(1, stand.order("later", "slow"))
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        due = time.monotonic() + GONE_S
        while len(ear.events(1, Succeeded)) < 2:
            assert poll.poll(1000 * GONE_S), "its descriptor stayed silent though a worker was at work"
            ear.listen(0.0)
            assert time.monotonic() < due
        assert ear.backend.fileno() == descriptor

    # -- deaths --------------------------------------------------------------------------------------------------

    def test_a_worker_that_ends_its_process_dies_once_after_all_that_it_said(self, stand: Stand, ear: Ear) -> None:
        ear.begin(1)
        orders = [stand.order("one", f"before{each}") for each in range(5)]
        ear.tell(1, *orders, stand.order("leave", "bad"), stand.order("one", "behind"))
        assert ear.wait_for_death(1).kind == "crash"
        assert [event.task for event in ear.events(1, Succeeded)] == [order.task for order in orders]
        assert not ear.events(1, Failed)

    def test_one_worker_s_death_is_not_another_s(self, stand: Stand, ear: Ear) -> None:
        ear.begin(1, 2)
        ear.tell(2, stand.order("later", "slow"))
        ear.tell(1, stand.order("leave", "bad"))
        ear.wait_for_death(1)
        ear.wait_for(2, Succeeded)
        ear.tell(2, stand.order("one", "next"))
        ear.wait_for(2, Succeeded, 2)

    def test_a_worker_that_takes_too_much_memory_dies_of_that(self, stand: Stand, ear: Ear) -> None:
        ear.begin(1)
        ear.tell(1, stand.order("eat", "greedy"))
        died = ear.wait_for_death(1)
        assert died.kind == "memory"
        assert "memory" in died.why

    def test_a_worker_that_is_gone_can_be_told_and_ended_without_harm(self, stand: Stand, ear: Ear) -> None:
        ear.begin(1, 2)
        ear.tell(1, stand.order("leave", "bad"))
        ear.wait_for_death(1)
        ear.tell(1, stand.order("one", "late"), Ack(1))
        ear.backend.close([1, 99], now=True)
        ear.backend.close([1, 99])
        ear.tell(2, stand.order("one", "other"))
        ear.wait_for(2, Succeeded)

    def test_what_a_worker_said_is_heard_though_it_died_while_it_was_told_more(self, stand: Stand, ear: Ear) -> None:
        ear.begin(1)
        ear.tell(1, stand.order("later", "first"), stand.order("leave", "bad"))
        ear.wait_for(1, Checkpointed)
        for each in range(100):  # past the worker's death, without reading its messages
            ear.tell(1, stand.order("size", f"more{each}", data=b"x" * 50_000))
        ear.wait_for_death(1)
        assert [event.task for event in ear.events(1, Succeeded)] == ["first"]

    # -- words, checkpoints, gangs -------------------------------------------------------------------------------

    def test_words_reach_the_attempt_that_they_are_for(self, stand: Stand, ear: Ear) -> None:
        ear.begin(1)
        ear.tell(1, stand.order("hear", "listener"))
        ear.tell(1, Tell("somebody else", 1, "stop"), Tell("listener", 2, "stop"))
        ear.tell(1, Tell("listener", 1, "checkpoint"), Tell("listener", 1, "prune"), Tell("listener", 1, "stop"))
        [done] = ear.wait_for(1, Succeeded)
        assert stand.value(done.out) == ["checkpoint", "prune", "stop"]

    def test_an_attempt_that_is_taken_back_before_it_begins_never_does(self, stand: Stand, ear: Ear) -> None:
        ear.begin(1)
        ear.tell(1, stand.order("later", "long"), stand.order("one", "moved"), stand.order("one", "kept"))
        ear.wait_for(1, Checkpointed)
        ear.tell(1, Drop("moved", 1), Drop("long", 1))
        assert [event.task for event in ear.wait_for(1, Succeeded, 2)] == ["long", "kept"]

    def test_a_checkpoint_is_reported_at_once_and_given_to_the_next_attempt(self, stand: Stand, ear: Ear) -> None:
        ear.begin(1)
        ear.tell(1, stand.order("keep", "trainer"))
        ear.wait_for_death(1)
        [kept] = ear.events(1, Checkpointed)
        ear.begin(2)
        ear.tell(2, replace(stand.order("keep", "trainer"), attempt=2, checkpoint=kept.out))
        [done] = ear.wait_for(2, Succeeded)
        assert (stand.value(done.out), done.attempt) == (7, 2)

    def test_an_attempt_that_spans_nodes_has_a_rank_on_each(self, stand: Stand, ear: Ear) -> None:
        ear.begin(1, 2, 3, needs=Resources(cpu=0.1, nodes=3))
        for rank, worker in enumerate((1, 2, 3)):
            ear.tell(worker, replace(stand.order("rank", "gang"), rank=rank, nodes=3, meeting="gang#1"))
        ranks = [stand.value(ear.wait_for(worker, Succeeded)[0].out) for worker in (1, 2, 3)]
        assert ranks == [[0, 3], [1, 3], [2, 3]]

    def test_an_attempt_that_runs_past_its_timeout_can_be_told_by_its_beats(self, stand: Stand, ear: Ear) -> None:
        ear.begin(1)
        ear.tell(1, stand.order("one", "first"), replace(stand.order("wait", "second"), timeout_s=0.3))
        ear.until(lambda: len([beat for beat in ear.beats(1) if beat.at == 1]) >= 2, "worker 1 should beat meanwhile")

    # -- endings -------------------------------------------------------------------------------------------------

    def test_a_worker_told_to_quit_ends_after_what_it_was_told_before(self, stand: Stand, ear: Ear) -> None:
        ear.begin(1)
        ear.tell(1, stand.order("later", "first"), stand.order("one", "last"), Quit())
        assert ear.wait_for_death(1).kind == "cancelled"
        assert [event.task for event in ear.events(1, Succeeded)] == ["first", "last"]

    def test_an_attempt_asked_to_stop_cleans_up_and_says_so_and_what_is_behind_it_never_begins(
        self, stand: Stand, ear: Ear
    ) -> None:
        ear.begin(1)
        ear.tell(1, stand.order("wait", "patient"), stand.order("one", "behind"))
        ear.wait_for(1, Checkpointed)
        ear.backend.close([1])
        assert ear.wait_for_death(1).kind == "cancelled"
        assert [stand.value(event.out) for event in ear.events(1, Checkpointed)] == [1, 2]
        assert [(event.task, event.failure.kind) for event in ear.events(1, Failed)] == [("patient", "cancelled")]
        assert not ear.events(1, Succeeded)

    def test_an_attempt_that_is_deaf_is_ended_by_force_after_a_while(self, stand: Stand, ear: Ear) -> None:
        ear.begin(1)
        ear.tell(1, stand.order("deaf", "stubborn"))
        ear.wait_for(1, Checkpointed)
        ear.backend.close([1])
        died = ear.wait_for_death(1)
        assert died.kind == "cancelled"
        assert f"had not ended {ear.backend.grace_s:g} s after it was told to stop" in died.why
        assert not ear.events(1, Failed)

    def test_one_ended_at_once_has_no_time_to_say_anything(self, stand: Stand, ear: Ear) -> None:
        ear.begin(1)
        ear.tell(1, stand.order("wait", "patient"))
        ear.wait_for(1, Checkpointed)
        ear.backend.close([1], now=True)
        assert ear.wait_for_death(1).kind == "cancelled"
        assert len(ear.events(1, Checkpointed)) == 1

    def test_nothing_lives_once_all_is_closed_whatever_it_was_at(self, stand: Stand, ear: Ear) -> None:
        ear.begin(1, 2, 3)
        ear.tell(1, stand.order("deaf", "stubborn"))
        ear.tell(2, stand.order("wait", "patient"))
        for worker in (1, 2):
            ear.wait_for(worker, Checkpointed)
        ear.backend.close()
        assert_gone(stand)
        ear.backend.close()

    def test_a_backend_that_never_began_a_worker_can_be_closed(self, ear: Ear) -> None:
        ear.listen(0.0)
        ear.backend.close()

    # -- one driver after another --------------------------------------------------------------------------------

    def test_what_nobody_stored_is_given_to_the_next_driver(self, stand: Stand) -> None:
        ear = Ear(stand.backend())
        ear.begin(1, 2)
        ear.tell(1, stand.order("one", "stored"), stand.order("one", "heard"))
        ear.tell(2, *[stand.order("one", f"t{each}") for each in range(10)])
        ear.wait_for(1, Succeeded, 2)
        ear.wait_for(2, Succeeded, 10)
        ear.tell(1, Ack(1), stand.order("later", "unheard"))
        ear.wait_for(1, Checkpointed)
        ear.backend.abandon()
        after = Ear(stand.backend())
        if not after.adopt():
            assert_gone(stand)
        after.until(lambda: told(after, 1)[-1:] == [(4, "unheard")], "the new driver should get its report")
        assert told(after, 1) == [(2, "heard"), (3, "unheard"), (4, "unheard")]
        assert told(after, 2) == [(each + 1, f"t{each}") for each in range(10)]
        after.backend.close()
        assert_gone(stand)
        assert not list(stand.backend().adopt())

    def test_what_was_adopted_is_there_for_another_until_a_driver_has_ended_well(self, stand: Stand) -> None:
        ear = Ear(stand.backend())
        ear.begin(1)
        ear.tell(1, stand.order("one", "heard"))
        ear.wait_for(1, Succeeded)
        ear.backend.abandon()
        second = Ear(stand.backend())
        alive = second.adopt()
        assert told(second, 1) == [(1, "heard")]
        if alive:
            second.backend.abandon()
        else:
            second.backend.close(now=True)  # as if another driver had taken the run before the report was stored
        third = Ear(stand.backend())
        third.adopt()
        assert told(third, 1) == [(1, "heard")]
        third.backend.close()

    def test_a_worker_that_nobody_listens_to_is_ended_by_the_next_driver_or_lives_on_for_it(self, stand: Stand) -> None:
        ear = Ear(stand.backend())
        ear.begin(1, 2)
        ear.tell(1, stand.order("deaf", "stubborn"))
        ear.wait_for(1, Checkpointed)
        ear.backend.abandon()
        after = Ear(stand.backend())
        alive = after.adopt()
        living = {each.job.worker: each.attempts for each in alive}
        busy = {1: (("stubborn", 1),)}
        assert living in ({}, busy, {**busy, 2: ()}), "one that is idle may leave"
        assert told(after, 1) == ([(1, "stubborn")] if alive else [])
        if not alive:
            assert_gone(stand)
        after.begin(3)
        after.tell(3, stand.order("one", "next"))
        after.wait_for(3, Succeeded)
        after.backend.close()
        assert_gone(stand)

    def test_a_worker_that_lives_on_goes_on_for_its_new_driver_and_heeds_no_other(self, stand: Stand) -> None:
        ear = Ear(stand.backend())
        ear.begin(1)
        ear.tell(1, stand.order("one", "done"), stand.order("wait", "patient"))
        ear.wait_for(1, Checkpointed)
        after = Ear(stand.backend())
        alive = after.adopt()
        if not alive:
            ear.backend.close(now=True)
            pytest.skip("workers of this backend end with their driver")
        assert [(each.attempts, each.done) for each in alive] == [((("patient", 1),), 1)]
        ear.tell(1, stand.order("one", "late"))
        ear.backend.close([1], now=True)
        ear.listen()
        after.tell(1, stand.order("one", "next"))
        after.until(lambda: after.beats(1), "worker 1 should beat meanwhile")
        after.backend.close([1])
        assert after.wait_for_death(1).kind == "cancelled"
        assert [event.task for event in after.events(1, Failed)] == ["patient"]
        assert not ear.events(1, Failed)
        ear.backend.abandon()
        after.backend.close()
        assert_gone(stand)

    def test_an_attempt_goes_on_under_one_driver_after_another_and_is_reported_once(self, stand: Stand) -> None:
        ear = Ear(stand.backend())
        ear.begin(1)
        ear.tell(1, stand.order("wait", "patient"))
        ear.wait_for(1, Checkpointed)
        for _ in range(2):
            ear.backend.abandon()
            ear = Ear(stand.backend())
            if not (alive := ear.adopt()):
                ear.backend.close(now=True)
                pytest.skip("workers of this backend end with their driver")
            assert [(each.attempts, each.done) for each in alive] == [((("patient", 1),), 0)]
            assert told(ear, 1) == [(1, "patient")]
        ear.backend.close([1])
        ear.wait_for_death(1)
        assert told(ear, 1) == [(1, "patient"), (2, "patient"), (3, "patient")]
        assert len(ear.events(1, Failed)) == 1
        ear.backend.close()
        assert_gone(stand)

    # -- the tracer ----------------------------------------------------------------------------------------------

    def test_a_tracer_reports_the_graph_and_waits_for_answers(self, ear: Ear) -> None:
        ear.backend.start([Job(worker=TRACER, resources=Resources(), role="tracer")])
        ear.tell(TRACER, tracing())
        asked = ear.until(lambda: questions(ear), "the tracer should ask for the time")
        ear.tell(TRACER, Answer(asked[0].question, now=1.0))
        [question] = ear.wait_for(TRACER, Asked)
        [traced] = ear.events(TRACER, Traced)
        assert [node.name for node in traced.nodes] == ["one"]
        assert question.out == Out("one")
        ear.tell(TRACER, Answer(question.question, ref=number(1)))
        ear.wait_for(TRACER, TraceEnded)
        assert [node.name for event in ear.events(TRACER, Traced) for node in event.nodes] == ["one", "one[1]"]
        ear.tell(TRACER, Quit())
        assert ear.wait_for_death(TRACER).kind == "cancelled"

    def test_a_tracer_refuses_what_it_can_not_trace(self, ear: Ear) -> None:
        ear.backend.start([Job(worker=TRACER, resources=Resources(), role="tracer")])
        ear.tell(TRACER, replace(tracing(), pipeline="nothing"))
        refused = ear.until(lambda: refusals(ear), "it should refuse")
        assert refused[0].error == "ProjectError"
        assert "nothing" in refused[0].message


def assert_gone(stand: Stand) -> None:
    """Check that within `GONE_S` seconds no worker process is alive. A process may exist for a moment after its end is
    reported."""
    due = time.monotonic() + GONE_S
    while time.monotonic() < due:
        if not stand.living():
            return
        threading.Event().wait(0.01)
    raise AssertionError(f"it lives: {stand.living()}")


def told(ear: Ear, worker: int) -> list[tuple[int, str]]:
    """Return the number and the task of each report that the ear has received from a worker, including
    reports that the worker wrote to the store because no driver was there."""
    events = [(report.seq, decode_event(report.body)) for report in ear.reports(worker)]
    return [(seq, event.task) for seq, event in events if isinstance(event, Succeeded | Failed | Checkpointed)]


def questions(ear: Ear) -> list[Question]:
    """Return the questions that tracers have asked the driver."""
    return [
        notice.message for notice in ear.notices if isinstance(notice, Heard) and isinstance(notice.message, Question)
    ]


def refusals(ear: Ear) -> list[Refused]:
    """Return the `Refused` messages, in which tracers have reported that they failed or could not start."""
    return [
        notice.message for notice in ear.notices if isinstance(notice, Heard) and isinstance(notice.message, Refused)
    ]
