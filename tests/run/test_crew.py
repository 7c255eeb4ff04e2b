"""The crew: what it gives out is within the grant, whatever comes and goes."""

from __future__ import annotations

from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.run.driver.crew import AHEAD_S, Crew
from headrace.run.ports import Grant
from headrace.spec.fleet import Pool
from headrace.spec.stage import Resources, Stage
from headrace.testing.graphs import stage

POOL = Pool(name="here", cpu=8, memory_gib=8, gpus=2, nodes=4, usd_per_hour=8.0)
NEEDS = (
    Resources(),
    Resources(cpu=0.1),
    Resources(cpu=3),
    Resources(memory_gib=3),
    Resources(gpu="1"),
    Resources(nodes=3),
)


def granted(cpu: float, memory_gib: float = 8.0, gpus: int = 2) -> Grant:
    return Grant(pool="here", cpu=cpu, memory_gib=memory_gib, gpus=gpus, expires=0)


def crew(cpu: float = 8.0) -> Crew:
    found = Crew(POOL, count(1))
    found.grant = granted(cpu)
    return found


def of(need: Resources, name: str = "work", isolation: str = "warm", environment: str | None = None) -> Stage:
    return stage(name, resources=need, isolation=isolation, environment=environment)


class Holder:
    """Holds a crew to account: each worker is begun once and dismissed once, and none beyond the grant works.

    A worker is given attempts of its own environment only.
    """

    def __init__(self) -> None:
        self.crew = crew()
        self.out: list[tuple[str, int, Stage, tuple[int, ...]]] = []
        self.begun: set[int] = set()
        self.environments: dict[int, str | None] = {}
        self.gone: set[int] = set()
        self.count = 0

    def take(self, need: Resources, isolation: str, environment: str | None) -> None:
        self.count += 1
        task, each = f"t{self.count}", of(need, f"work{need}", isolation, environment)
        before = self.crew.used()
        workers = self.crew.take(task, 1, each)
        if workers is None:
            return
        assert len(set(workers)) == need.nodes
        self.environments.update((job.worker, job.environment) for job in self.crew.jobs)
        assert {self.environments[worker] for worker in workers} == {environment}
        if self.crew.used() != before:
            self._check_grant()
        self.out.append((task, 1, each, workers))

    def finish(self, place: int, seconds: float | None) -> None:
        if self.out:
            task, attempt, each, workers = self.out.pop(place % len(self.out))
            for worker in workers:
                self.crew.finished(worker, task, attempt, each.function, seconds)

    def lose(self, place: int) -> None:
        if self.out:
            worker = self.out[place % len(self.out)][3][0]
            lost = set(self.crew.lost(worker))
            assert lost == {(task, attempt) for task, attempt, _, workers in self.out if worker in workers}
            self.gone.add(worker)
            for each in [each for each in self.out if each[:2] in lost]:
                self.out.remove(each)
                for other in each[3][1:]:
                    self.crew.lost(other)
                    self.gone.add(other)

    def lose_idle(self) -> None:
        for number, worker in self.crew.workers.items():
            if not worker.queue and number in self.begun:
                assert self.crew.lost(number) == []
                self.gone.add(number)
                return

    def drain(self) -> None:
        jobs, leaving = self.crew.drain()
        for job in jobs:
            assert job.worker not in self.begun
            self.begun.add(job.worker)
        for worker in leaving:
            assert worker in self.begun
            assert worker not in self.gone
            self.gone.add(worker)
            assert not any(worker in workers for *_, workers in self.out)
        assert set(self.crew.workers) == self.begun - self.gone

    def _check_grant(self) -> None:
        cpu, memory_gib, gpus = self.crew.used()
        grant = self.crew.grant
        assert cpu <= grant.cpu + 1e-6
        assert memory_gib <= grant.memory_gib + 1e-6
        assert gpus <= grant.gpus


TAKE = st.tuples(
    st.just("take"),
    st.sampled_from(NEEDS),
    st.sampled_from(("warm", "warm", "fresh")),
    st.sampled_from((None, None, "old")),
)
STEPS = st.one_of(
    TAKE,
    TAKE,
    st.tuples(st.just("finish"), st.integers(0, 20), st.sampled_from((None, 0.0001, 0.001, 1.0))),
    st.tuples(st.just("lose"), st.integers(0, 20)),
    st.tuples(st.just("lose_idle")),
    st.tuples(st.just("drain")),
    st.tuples(st.just("grant"), st.sampled_from((0.0, 1.0, 4.0, 8.0))),
    st.tuples(st.just("hold"), st.sampled_from((None, *NEEDS))),
)


@settings(max_examples=300)
@given(st.lists(STEPS, max_size=60))
def test_a_crew_gives_out_no_more_than_it_was_granted(steps: list[tuple[object, ...]]) -> None:
    holder = Holder()
    for name, *args in steps:
        if name == "grant":
            holder.crew.grant = granted(float(args[0]))  # type: ignore[arg-type]
            holder.crew.shrink()
        elif name == "hold":
            holder.crew.hold(args[0])  # type: ignore[arg-type]
        else:
            getattr(holder, str(name))(*args)
    holder.drain()


def test_an_idle_worker_of_like_needs_is_taken_first() -> None:
    found = crew()
    [first] = found.take("a", 1, of(Resources())) or ()
    found.finished(first, "a", 1, "x", None)
    assert found.take("b", 1, of(Resources())) == (first,)


def test_an_idle_worker_of_other_needs_makes_room() -> None:
    found = crew(cpu=3)
    [small] = found.take("a", 1, of(Resources())) or ()
    assert found.take("b", 1, of(Resources(cpu=3))) is None
    found.finished(small, "a", 1, "x", None)
    assert found.take("b", 1, of(Resources(cpu=3))) is not None
    jobs, leaving = found.drain()
    assert leaving == [small]
    assert len(jobs) == 2


def test_an_idle_worker_of_another_environment_is_not_taken_and_makes_room() -> None:
    found = crew(cpu=1)
    [plain] = found.take("a", 1, of(Resources())) or ()
    found.finished(plain, "a", 1, "x", None)
    [other] = found.take("b", 1, of(Resources(), environment="old")) or ()
    assert other != plain
    jobs, leaving = found.drain()
    assert [job.environment for job in jobs] == [None, "old"]
    assert leaving == [plain]


def test_short_attempts_are_queued_behind_each_other_up_to_some_ten_milliseconds() -> None:
    found = crew(cpu=1)
    each = of(Resources())
    [worker] = found.take("t0", 1, each) or ()
    assert found.take("t1", 1, each) is None  # nothing is known of how long they take
    found.finished(worker, "t0", 1, each.function, 0.001)
    taken = [found.take(f"t{number}", 1, each) for number in range(1, 100)]
    assert 5 <= sum(workers is not None for workers in taken) <= AHEAD_S / 0.001 + 2


def test_nothing_is_queued_behind_an_attempt_of_unknown_length() -> None:
    found = crew(cpu=2)
    short, long = of(Resources(), "short"), of(Resources(), "long")
    [worker] = found.take("s", 1, short) or ()
    found.finished(worker, "s", 1, short.function, 0.001)
    [busy] = found.take("l", 1, long) or ()
    found.take("s1", 1, short)
    for number in range(2, 6):
        [behind] = found.take(f"s{number}", 1, short) or ()
        assert behind != busy


def test_a_worker_for_one_attempt_leaves_after_it() -> None:
    found = crew()
    each = of(Resources(), isolation="fresh")
    [worker] = found.take("a", 1, each) or ()
    found.finished(worker, "a", 1, each.function, 0.001)
    assert found.drain()[1] == [worker]
    assert found.take("b", 1, each) != (worker,)


def test_room_that_is_held_is_kept_only_from_those_who_need_the_same() -> None:
    found = crew(cpu=4)
    gpu, cpu = of(Resources(cpu=1, gpu="1"), "gpu"), of(Resources(cpu=1), "cpu")
    found.take("g1", 1, gpu)
    found.take("g2", 1, gpu)  # both gpus are taken
    found.hold(gpu.resources)
    assert found.take("c1", 1, cpu) is not None
    assert found.take("c2", 1, cpu) is None  # one cpu is held for the next that needs a gpu


def test_nothing_is_queued_behind_others_while_room_is_held_that_they_would_have_to_leave() -> None:
    found = crew(cpu=2)
    each = of(Resources(), "short")
    [worker] = found.take("t0", 1, each) or ()
    found.finished(worker, "t0", 1, each.function, 0.001)
    for number in range(3):
        assert found.take(f"t{number + 1}", 1, each) is not None
    found.hold(Resources(cpu=2))
    assert found.take("t9", 1, each) is None
    found.hold(None)
    assert found.take("t9", 1, each) is not None


def test_what_waits_behind_an_attempt_can_be_taken_back() -> None:
    found = crew(cpu=1)
    each = of(Resources(), "short")
    [worker] = found.take("t0", 1, each) or ()
    found.finished(worker, "t0", 1, each.function, 0.001)
    for number in range(1, 4):
        found.take(f"t{number}", 1, each)
    assert found.waiting(worker)
    assert found.recall(worker) == [("t2", 1), ("t3", 1)]
    assert not found.waiting(worker)
    assert found.take("t2", 2, each) is None  # nobody knows now how long the one takes that runs
    assert found.recall(worker) == found.recall(99) == []


def test_an_attempt_that_was_taken_back_too_late_counts_among_those_its_worker_has_done() -> None:
    it, work = crew(), of(Resources(cpu=8))
    taken = it.take("first", 1, work)
    assert taken is not None
    [number] = taken
    it.finished(number, "first", 1, work.function, 0.001)
    assert it.take("second", 1, work) == it.take("third", 1, work) == taken
    assert it.recall(number) == [("third", 1)]
    it.finished(number, "second", 1, work.function, 1.0)
    it.finished(number, "third", 1, work.function, 1.0)  # it had begun before it could be told
    assert it.workers[number].done == 3


def test_a_worker_that_is_being_ended_is_given_nothing_more() -> None:
    it, work = crew(), of(Resources(cpu=4))
    taken = it.take("first", 1, work)
    assert taken is not None
    it.retire(taken[0])
    it.finished(taken[0], "first", 1, work.function, 0.001)
    assert it.drain()[1] == list(taken)
    assert it.take("second", 1, work) != taken


def test_an_attempt_costs_its_share_of_the_pool() -> None:
    assert crew().price(Resources(cpu=2)) == 2.0
    assert crew().price(Resources(cpu=1, gpu="1")) == 4.0
