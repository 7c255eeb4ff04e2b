"""What every backend must do, as tests that a third party can run on one of its own.

    class TestMyBackend(BackendContract):
        @pytest.fixture
        def stand(self, tmp_path): return MyStand(tmp_path)

A `Stand` makes backends of one pool for one run, and knows for each *deed* the order that has a worker do it. The suite
drives the backend as a driver does: it starts workers, tells them, and hears what happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, Protocol, TypeVar

import pytest
from msgspec.structs import replace

from headrace.run.events import Checkpointed, Event, Failed, Succeeded, decode_event
from headrace.run.ports import Backend, Died, Heard, Job, Notice
from headrace.run.wire import Ack, Do, Quit, Report, Tell
from headrace.spec.stage import Resources

PATIENCE_S = 30.0
CPU = Resources(cpu=0.1)
E = TypeVar("E", bound=Event)

Deed = Literal[
    "one",  # gives 1
    "raise",  # raises an error
    "exit",  # ends its own process
    "eat",  # takes more memory than its pool has
    "wait",  # waits until it is stopped; its `finally` block runs
    "deaf",  # waits, and can't be stopped but by force
    "later",  # gives 1 after half a second
    "rank",  # gives its rank
    "number",  # gives the number of its attempt
    "word",  # waits for a word from the driver, and gives it
    "keep",  # keeps the checkpoint 7 and ends its process; with a checkpoint, gives that
    "size",  # gives the length of its argument
]


class Stand(Protocol):
    """Where a backend stands for its contract."""

    def backend(self) -> Backend:
        """Give a driver's hold on the run's workers; called again, that of the next driver."""
        ...

    def order(self, deed: Deed, task: str) -> Do:
        """Give the order for a deed, as the first attempt of a task."""
        ...

    def sized(self, size: int, task: str) -> Do:
        """Give the order for the deed `size`, with an argument of so many bytes inside of the order."""
        ...

    def value(self, out: Succeeded) -> object:
        """Give the value of an output."""
        ...

    def abandon(self, backend: Backend) -> None:
        """Let go of everything without a word, as a driver does that is killed."""
        ...

    def living(self) -> Sequence[object]:
        """Give what lives of the run's workers, whoever began it."""
        ...


class Ear:
    """Hears a backend, and keeps what it heard."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.notices: list[Notice] = []

    def hear(self, until: Callable[[], bool], why: str) -> None:
        """Listen until something holds; fail where it doesn't come to that."""
        for _ in range(int(PATIENCE_S / 0.05)):
            if until():
                return
            self.notices += self.backend.events(0.05)
        assert until(), f"{why}; heard {self.notices}"

    def reports(self, worker: int) -> list[Report]:
        """Give what a worker reported, in the order in which it was heard."""
        return [
            notice.message
            for notice in self.notices
            if isinstance(notice, Heard) and notice.worker == worker and isinstance(notice.message, Report)
        ]

    def events(self, worker: int, kind: type[E]) -> list[E]:
        """Give the events of a kind that a worker reported."""
        found = [decode_event(report.body) for report in self.reports(worker)]
        return [event for event in found if isinstance(event, kind)]

    def deaths(self, worker: int) -> list[Died]:
        """Give the notices of a worker's death."""
        return [notice for notice in self.notices if isinstance(notice, Died) and notice.worker == worker]

    def wait_for(self, worker: int, kind: type[E], count: int = 1) -> list[E]:
        """Listen until a worker has reported so many events of a kind."""
        self.hear(lambda: len(self.events(worker, kind)) >= count, f"worker {worker} owes a {kind.__name__}")
        return self.events(worker, kind)

    def wait_for_death(self, worker: int) -> Died:
        """Listen until a worker has died."""
        self.hear(lambda: bool(self.deaths(worker)), f"worker {worker} should have died")
        return self.deaths(worker)[0]


class BackendContract:
    """The suite; a subclass gives the fixture `stand`."""

    @pytest.fixture
    def stand(self) -> Stand:
        raise pytest.UsageError("a subclass of BackendContract gives the fixture `stand`")

    @pytest.fixture
    def ear(self, stand: Stand) -> Iterable[Ear]:
        ear = Ear(stand.backend())
        yield ear
        ear.backend.close(now=True)

    def test_reports_are_numbered_from_one_on_and_come_in_the_order_of_the_orders(self, stand: Stand, ear: Ear) -> None:
        begin(ear, 1)
        names = [f"t{number}" for number in range(20)]
        ear.backend.tell(1, [stand.order("one", name) for name in names])
        done = ear.wait_for(1, Succeeded, 20)
        assert [event.task for event in done] == names
        assert [report.seq for report in ear.reports(1)] == list(range(1, 21))
        assert {stand.value(event) for event in done} == {1}

    def test_an_error_of_the_stage_is_a_failure_of_the_user_and_the_worker_lives_on(
        self, stand: Stand, ear: Ear
    ) -> None:
        begin(ear, 1)
        ear.backend.tell(1, [stand.order("raise", "bad"), stand.order("one", "good")])
        ear.wait_for(1, Succeeded)
        [failed] = ear.events(1, Failed)
        assert (failed.task, failed.failure.kind) == ("bad", "user")
        assert not ear.deaths(1)

    def test_a_worker_that_ends_its_process_dies_once_after_all_that_it_said(self, stand: Stand, ear: Ear) -> None:
        begin(ear, 1)
        orders = [stand.order("one", "first"), stand.order("exit", "second"), stand.order("one", "third")]
        ear.backend.tell(1, orders)
        assert ear.wait_for_death(1).kind == "crash"
        assert [event.task for event in ear.events(1, Succeeded)] == ["first"]
        last = [notice for notice in ear.notices if getattr(notice, "worker", 0) == 1][-1]
        assert isinstance(last, Died)
        hear_more(ear)
        assert len(ear.deaths(1)) == 1

    def test_one_worker_s_death_is_not_another_s(self, stand: Stand, ear: Ear) -> None:
        begin(ear, 1, 2)
        ear.backend.tell(2, [stand.order("later", "slow")])
        ear.backend.tell(1, [stand.order("exit", "bad")])
        ear.wait_for_death(1)
        ear.wait_for(2, Succeeded)
        assert not ear.deaths(2)

    def test_a_worker_that_takes_too_much_memory_dies_of_that(self, stand: Stand, ear: Ear) -> None:
        begin(ear, 1)
        ear.backend.tell(1, [stand.order("eat", "greedy")])
        died = ear.wait_for_death(1)
        assert died.kind == "memory"
        assert "memory" in died.why

    def test_a_word_reaches_the_attempt_that_it_is_for(self, stand: Stand, ear: Ear) -> None:
        begin(ear, 1)
        ear.backend.tell(1, [stand.order("word", "listener")])
        ear.backend.tell(1, [Tell("somebody else", 1, "prune"), Tell("listener", 1, "checkpoint")])
        [done] = ear.wait_for(1, Succeeded)
        assert stand.value(done) == "checkpoint"

    def test_a_checkpoint_is_reported_before_its_attempt_ends_and_given_to_the_next(
        self, stand: Stand, ear: Ear
    ) -> None:
        begin(ear, 1)
        ear.backend.tell(1, [stand.order("keep", "trainer")])
        ear.wait_for_death(1)
        [kept] = ear.events(1, Checkpointed)
        begin(ear, 2)
        again = replace(stand.order("keep", "trainer"), attempt=2, checkpoint=kept.out)
        ear.backend.tell(2, [again])
        [done] = ear.wait_for(2, Succeeded)
        assert (stand.value(done), done.attempt) == (7, 2)

    def test_an_attempt_that_spans_nodes_has_a_rank_on_each(self, stand: Stand, ear: Ear) -> None:
        begin(ear, 1, 2)
        for rank, worker in enumerate((1, 2)):
            ear.backend.tell(worker, [replace(stand.order("rank", "gang"), rank=rank, nodes=2, meeting="gang#1")])
        ranks = [stand.value(ear.wait_for(worker, Succeeded)[0]) for worker in (1, 2)]
        assert ranks == [0, 1]

    def test_a_worker_told_to_quit_ends_after_what_it_was_told_before(self, stand: Stand, ear: Ear) -> None:
        begin(ear, 1)
        ear.backend.tell(1, [stand.order("one", "last"), Quit()])
        ear.wait_for_death(1)
        assert len(ear.events(1, Succeeded)) == 1

    def test_an_attempt_asked_to_stop_cleans_up_and_says_so(self, stand: Stand, ear: Ear) -> None:
        begin(ear, 1)
        ear.backend.tell(1, [stand.order("wait", "patient")])
        settle(ear)
        ear.backend.close([1])
        [failed] = ear.wait_for(1, Failed)
        assert failed.failure.kind == "cancelled"

    def test_an_attempt_that_is_deaf_is_ended_by_force_after_a_while(self, stand: Stand, ear: Ear) -> None:
        begin(ear, 1)
        ear.backend.tell(1, [stand.order("deaf", "stubborn")])
        settle(ear)
        ear.backend.close([1])
        assert ear.wait_for_death(1).kind == "cancelled"

    def test_one_ended_at_once_has_no_time_to_say_anything(self, stand: Stand, ear: Ear) -> None:
        begin(ear, 1)
        ear.backend.tell(1, [stand.order("wait", "patient")])
        settle(ear)
        ear.backend.close([1], now=True)
        ear.wait_for_death(1)
        assert not ear.events(1, Failed)

    def test_messages_of_any_size_and_number_pass_both_ways(self, stand: Stand, ear: Ear) -> None:
        begin(ear, 1)
        ear.backend.tell(1, [stand.sized(300_000, f"big{number}") for number in range(40)])
        done = ear.wait_for(1, Succeeded, 40)
        assert {stand.value(event) for event in done} == {300_000}

    def test_a_worker_that_is_gone_can_be_told_and_ended_without_harm(self, stand: Stand, ear: Ear) -> None:
        begin(ear, 1)
        ear.backend.tell(1, [stand.order("exit", "bad")])
        ear.wait_for_death(1)
        ear.backend.tell(1, [stand.order("one", "late"), Ack(1)])
        ear.backend.close([1], now=True)
        hear_more(ear)
        assert len(ear.deaths(1)) == 1

    def test_nothing_lives_once_all_is_closed(self, stand: Stand, ear: Ear) -> None:
        begin(ear, 1, 2)
        ear.backend.tell(1, [stand.order("deaf", "stubborn")])
        settle(ear)
        ear.backend.close(now=True)
        assert not stand.living()

    def test_what_nobody_stored_is_given_to_the_next_driver_and_nothing_lives_then(self, stand: Stand) -> None:
        ear = Ear(stand.backend())
        begin(ear, 1)
        ear.backend.tell(1, [stand.order("one", "stored"), stand.order("one", "heard")])
        ear.wait_for(1, Succeeded, 2)
        ear.backend.tell(1, [Ack(1), stand.order("later", "unheard")])
        settle(ear)
        stand.abandon(ear.backend)
        after = stand.backend()
        adopted = [decode_event(each.message.body) for each in after.adopt() if isinstance(each.message, Report)]
        tasks = [event.task for event in adopted if isinstance(event, Succeeded)]
        assert tasks in (["heard", "unheard"], ["heard"])
        assert "stored" not in tasks
        assert not stand.living()
        begin(Ear(after), 5)
        after.close()
        assert not stand.living()
        assert not list(stand.backend().adopt())

    def test_a_worker_that_nobody_listens_to_is_ended_by_the_next_driver(self, stand: Stand) -> None:
        ear = Ear(stand.backend())
        begin(ear, 1)
        ear.backend.tell(1, [stand.order("deaf", "stubborn")])
        settle(ear)
        stand.abandon(ear.backend)
        after = stand.backend()
        list(after.adopt())
        assert not stand.living()
        after.close(now=True)


def begin(ear: Ear, *workers: int) -> None:
    """Start workers that need little."""
    ear.backend.start([Job(worker=worker, resources=CPU) for worker in workers])


def settle(ear: Ear) -> None:
    """Listen until a first worker has had the time to begin what it was told."""
    for _ in range(20):
        ear.notices += ear.backend.events(0.05)


def hear_more(ear: Ear) -> None:
    """Listen a little longer than is needed, for what should not come."""
    for _ in range(6):
        ear.notices += ear.backend.events(0.05)
