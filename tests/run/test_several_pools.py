"""A run over several pools: where each attempt starts, and why; what it needs there; and what becomes of the run when a
pool is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from headrace.backends.simulated.backend import SimulatedBackend
from headrace.backends.simulated.behaviour import Behaviour, Death, Script, Tracing, Wait, moving, tracing
from headrace.backends.simulated.clock import Agenda
from headrace.backends.simulated.cluster import Cluster
from headrace.errors import BackendError, PlacementError
from headrace.run.driver.driver import Driver, Waits
from headrace.run.driver.regions import Elsewhere
from headrace.run.driver.sites import Ground
from headrace.run.events import (
    Deferred,
    Event,
    Failed,
    Launched,
    Moved,
    Opened,
    Placed,
    Recalled,
    Submitted,
    Taken,
    decode_event,
)
from headrace.run.machine.invariants import check
from headrace.run.machine.machine import Machine
from headrace.run.ports import Decision, Grant, Job, TaskRow, Want
from headrace.run.wire import Do, Move
from headrace.spec.address import StoreAddress
from headrace.spec.artifact import Ref
from headrace.spec.fleet import Link, Pool
from headrace.spec.graph import Const
from headrace.spec.policy import Policy
from headrace.spec.stage import Resources
from headrace.testing.blobs import MemoryBlobs
from headrace.testing.graphs import BUNDLE, Sketch, chain, fan, number
from headrace.testing.ledger import MemoryLedger
from tests.run.bed import gives
from tests.run.world import Mortal

LAPTOP = Pool(name="laptop", cpu=2, memory_gib=8)
GPU = Pool(name="gpu", cpu=2, memory_gib=8, gpus=1, gpu_kind="A100", usd_per_hour=3600.0)
FAR = Pool(name="far", region="us", cpu=2, memory_gib=8)
SIZE = 250_000_000  # two seconds at a Gbit/s
BLOB = Ref(digest="ab" * 32, size=SIZE, codec="raw", type="builtins.bytes", nonce="0011")


class Fleet:
    """Simulated pools that share an agenda, and one run over them."""

    def __init__(self, trace: Sketch | Tracing, *pools: Pool, script: Script = gives) -> None:
        agenda = Agenda()
        tracer = tracing(trace.events()) if isinstance(trace, Sketch) else trace
        self.pools = pools
        self.stores = {pool.region: MemoryBlobs() for pool in pools}
        self.clusters = {
            pool.name: Cluster(
                script,
                tracer=tracer,
                mover=moving(arrive=self._arrival(pool)),
                nodes=pool.nodes,
                agenda=agenda,
                start_s=partial(self._start_s, pool.name),
            )
            for pool in pools
        }
        self.clock = agenda.clock
        self.ledger = MemoryLedger(*pools)
        self.run = self.ledger.open("run-1")
        self.gone: dict[str, tuple[float, float]] = {}
        self.full: dict[str, float] = {}
        self.starts: dict[str, Iterator[float]] = {}
        self.backends: dict[str, type[SimulatedBackend]] = {}
        self.absent: dict[str, str] = {}
        self.pins: dict[str, str] = {}
        self.notes: list[str] = []
        self.machine = Machine()

    def _start_s(self, pool: str, job: Job) -> float:
        """How long a worker takes to start: until the time to which others use all of the pool."""
        if job.role == "tracer":
            return 0.0
        if pool in self.starts:
            return next(self.starts[pool])
        return max(0.0, self.full.get(pool, 0.0) - self.clock.monotonic())

    def _arrival(self, pool: Pool) -> Callable[[Move], None]:
        def arrive(order: Move) -> None:
            self.stores[pool.region].held[order.digest, order.nonce] = order.size

        return arrive

    def ground(self, pool: Pool) -> Ground:
        cluster = self.clusters[pool.name]
        backend = Mortal(pool, cluster, *self.gone[pool.name]) if pool.name in self.gone else None
        elsewhere = [
            Elsewhere(region, store, StoreAddress(url=region), _link(region, pool.region))
            for region, store in self.stores.items()
            if region != pool.region
        ]
        kind = self.backends.get(pool.name, SimulatedBackend)
        return Ground(backend=backend or kind(pool, cluster), store=self.stores[pool.region], elsewhere=elsewhere)

    def driver(self, *, again: bool = True, pools: Sequence[Pool] | None = None) -> Driver:
        """Return a driver that has replayed what is stored, and opened the run, or goes on with it."""
        pools = self.pools if pools is None else pools
        self.machine = Machine()
        for body in self.run.events():
            self.machine.step(decode_event(body))
        driver = Driver(
            machine=self.machine,
            ledger=self.run,
            grounds=[self.ground(pool) for pool in pools if pool.name not in self.absent],
            absent=self.absent,
            pins=self.pins,
            clock=self.clock,
            next_seq=self.run.next_seq,
            note=self.notes.append,
        )
        is_new, now = self.run.next_seq == 0, self.clock.now()
        others = tuple((pool.name, pool.region) for pool in pools[1:])
        taken = Taken(self.run.epoch, "me", now, again and not is_new, pools[0].name, pools[0].region, others)
        if is_new:
            driver.open([Opened("run", (), BUNDLE, now, policy=Policy()), taken])
        else:
            driver.adopt()
            driver.open([taken])
        if not self.machine.trace_ended:
            driver.trace()
        return driver

    def drive(self) -> str:
        """Drive the run to its end, check what is stored against the machine, and return the run's state."""
        state = self.driver().drive().state
        check(self.machine)
        replayed = Machine()
        for body in self.run.events():
            replayed.step(decode_event(body))
            check(replayed)
        assert {name: task.row() for name, task in replayed.tasks.items()} == self.run.record.tasks
        return state

    def lose_driver(self) -> None:
        """The driver is gone, and another takes the run."""
        for cluster in self.clusters.values():
            cluster.orphan()
        self.run = self.ledger.take("run-1")

    def events(self, *kinds: type[Event]) -> list[Event]:
        return [event for event in map(decode_event, self.run.events()) if isinstance(event, kinds)]

    def rows(self) -> dict[str, TaskRow]:
        return self.run.record.tasks

    def launches(self) -> dict[str, int]:
        """How many attempts began in each pool."""
        pools = [event.pool for event in self.events(Launched) if isinstance(event, Launched)]
        return {pool: pools.count(pool) for pool in sorted(set(pools))}


def _link(source: str, target: str) -> Link:
    return Link(source=source, target=target, bits_per_s=1e9, usd_per_gb=0.08)


def needing(name: str, need: Resources, count: int = 1) -> Sketch:
    """So many tasks of a stage with this need."""
    sketch = Sketch()
    sketch.declare(name, resources=need)
    for each in range(count):
        sketch.node(name, i=Const(number(each)))
    return sketch


# -- where attempts start ----------------------------------------------------------------------------------------------


def test_a_fan_uses_all_pools_at_once() -> None:
    fleet = Fleet(fan(8), LAPTOP, GPU)
    assert fleet.drive() == "succeeded"
    launches = fleet.launches()
    assert launches["gpu"] >= 2
    assert launches["laptop"] >= 4
    alone = Fleet(fan(8), LAPTOP)
    alone.drive()
    assert fleet.clock.monotonic() < alone.clock.monotonic()


def test_a_chain_stays_in_the_first_pool() -> None:
    fleet = Fleet(chain(5), LAPTOP, GPU)
    assert fleet.drive() == "succeeded"
    assert fleet.launches() == {"laptop": 5}
    assert {row.pool_reason for row in fleet.rows().values()} == {"it comes first among the run's pools"}


def test_a_task_goes_to_the_pool_that_can_hold_it_and_its_row_says_why() -> None:
    fleet = Fleet(needing("fit", Resources(gpu="A100:1")), LAPTOP, GPU)
    assert fleet.drive() == "succeeded"
    [row] = fleet.rows().values()
    assert (row.pool, row.pool_reason) == ("gpu", "`laptop` can't run it: it has no gpu")
    assert row.usd == pytest.approx(1.0)  # a second of the whole pool


def test_what_finds_the_first_pool_full_goes_to_the_next_and_its_row_says_so() -> None:
    fleet = Fleet(needing("work", Resources(cpu=2), count=2), LAPTOP, GPU)
    assert fleet.drive() == "succeeded"
    told = sorted((row.pool, row.pool_reason) for row in fleet.rows().values())
    assert told == [("gpu", "`laptop` had no room"), ("laptop", "it comes first among the run's pools")]
    assert fleet.clock.monotonic() < 1.5


def test_settings_pin_a_stage_to_a_pool() -> None:
    fleet = Fleet(needing("fit", Resources(), count=4), LAPTOP, GPU)
    fleet.pins["fit"] = "gpu"
    assert fleet.drive() == "succeeded"
    assert fleet.launches() == {"gpu": 4}
    assert {row.pool_reason for row in fleet.rows().values()} == {"`[place]` names it for stage `fit`"}


def test_a_stage_that_no_pool_can_hold_is_refused_with_each_pool_s_reason() -> None:
    fleet = Fleet(needing("huge", Resources(cpu=3)), LAPTOP, GPU)
    with pytest.raises(PlacementError) as caught:
        fleet.drive()
    assert "`huge`" in caught.value.message
    assert "cpu=3" in caught.value.message
    assert "pool `laptop`: it has 2 cpus; pool `gpu`: it has 2 cpus" in caught.value.message
    assert fleet.run.next_seq == 0  # nothing was stored


def test_a_stage_that_is_pinned_to_a_pool_that_can_t_hold_it_is_refused() -> None:
    fleet = Fleet(needing("fit", Resources(gpu="A100:1")), LAPTOP, GPU)
    fleet.pins["fit"] = "laptop"
    with pytest.raises(PlacementError, match="pool `laptop`: it has no gpu") as caught:
        fleet.drive()
    assert "`[place]`" in (caught.value.hint or "")


def test_each_attempt_is_placed_before_it_is_launched() -> None:
    fleet = Fleet(fan(20), LAPTOP, GPU)
    fleet.drive()
    placed: dict[str, str] = {}
    for event in fleet.events(Placed, Launched):
        if isinstance(event, Placed):
            placed[event.task] = event.pool
        elif isinstance(event, Launched):
            assert placed.pop(event.task) == event.pool
    assert not placed


def test_a_run_with_one_pool_has_no_events_about_places() -> None:
    fleet = Fleet(fan(3), LAPTOP)
    fleet.drive()
    assert not fleet.events(Placed)
    assert {row.pool_reason for row in fleet.rows().values()} == {None}


# -- regions -----------------------------------------------------------------------------------------------------------


def wanting_blob(count: int = 1, cpu: float = 1) -> Sketch:
    """So many tasks of this need, each of which wants a blob."""
    sketch = Sketch()
    sketch.declare("use", resources=Resources(cpu=cpu))
    for each in range(count):
        sketch.node("use", data=Const(BLOB), i=Const(number(each)))
    return sketch


def test_inputs_cross_to_the_region_of_the_pool_that_a_task_was_placed_in() -> None:
    fleet = Fleet(wanting_blob(), LAPTOP, FAR)
    fleet.pins["use"] = "far"
    fleet.stores["local"].add(BLOB)
    assert fleet.drive() == "succeeded"
    rows = {row.kind: row for row in fleet.rows().values()}
    assert rows["transfer"].pool == "far"  # a worker of the region that lacks it writes it there
    assert rows["stage"].pool == "far"
    assert (BLOB.digest, BLOB.nonce) in fleet.stores["us"].held
    order = [type(event) for event in fleet.events(Placed, Deferred, Moved, Launched)]
    assert order.index(Placed) < order.index(Deferred) < order.index(Moved)


def test_a_task_whose_inputs_are_at_home_has_nothing_brought() -> None:
    fleet = Fleet(wanting_blob(), LAPTOP, FAR)
    fleet.stores["local"].add(BLOB)
    assert fleet.drive() == "succeeded"
    assert fleet.launches() == {"laptop": 1}
    assert not fleet.events(Moved)


def test_a_blob_that_two_tasks_need_in_another_region_is_brought_once() -> None:
    fleet = Fleet(wanting_blob(4), LAPTOP, FAR)
    fleet.pins["use"] = "far"
    fleet.stores["local"].add(BLOB)
    assert fleet.drive() == "succeeded"
    assert len(fleet.events(Moved)) == 1
    assert fleet.launches() == {"far": 5}


def test_no_more_tasks_are_placed_in_a_far_pool_than_it_has_room_for() -> None:
    """Each task that is placed there is brought its inputs: to bring more than can run is a waste."""
    fleet = Fleet(wanting_blob(40), LAPTOP, FAR)
    fleet.stores["local"].add(BLOB)
    assert fleet.drive() == "succeeded"
    waiting: set[str] = set()
    for event in fleet.events(Placed, Launched):
        if isinstance(event, Placed) and event.pool == "far":
            waiting.add(event.task)
        elif isinstance(event, Launched):
            waiting.discard(event.task)
        assert len(waiting) <= FAR.cpu + 1
    assert fleet.launches()["far"] >= 2


def test_a_task_was_queued_as_long_as_the_pools_of_all_regions_had_no_room_for_it() -> None:
    fleet = Fleet(needing("work", Resources(cpu=2), count=6), LAPTOP, FAR)
    assert fleet.drive() == "succeeded"
    waits = sorted(row.queued_s or 0.0 for row in fleet.rows().values())
    assert waits == [pytest.approx(each, abs=0.1) for each in (0.0, 0.0, 1.0, 1.0, 2.0, 2.0)]


def test_a_task_that_waits_for_its_inputs_is_not_queued() -> None:
    fleet = Fleet(wanting_blob(2, cpu=2), LAPTOP, FAR)
    fleet.pins["use"] = "far"
    fleet.stores["local"].add(BLOB)
    assert fleet.drive() == "succeeded"
    first, second = (row.queued_s for row in fleet.rows().values() if row.kind == "stage")
    launched = [event.at for event in fleet.events(Launched) if isinstance(event, Launched)]
    assert launched[1] - launched[0] == pytest.approx(2.0, abs=0.1)  # the transfer
    assert first == pytest.approx(0.0, abs=0.1)
    assert second == pytest.approx(launched[2] - launched[0], abs=0.1)


def test_a_task_that_waited_when_a_pool_was_lost_counts_that_time_too() -> None:
    fleet = Fleet(needing("work", Resources(cpu=2), count=4), LAPTOP, GPU, script=slow)
    fleet.gone["gpu"] = 5.0, float("inf")
    assert fleet.drive() == "succeeded"
    opened = min(event.at for event in fleet.events(Opened) if isinstance(event, Opened))
    for name, row in fleet.rows().items():
        first = min(event.at for event in fleet.events(Launched) if isinstance(event, Launched) and event.task == name)
        assert row.queued_s is not None
        assert row.queued_s >= first - opened - 0.5, name


def test_a_second_attempt_does_not_count_again_how_long_the_first_was_queued() -> None:
    def dies_at_first(order: Do) -> Behaviour:
        yield Wait(1.0)
        if order.attempt == 1:
            raise Death("lost")
        return number(1)

    fleet = Fleet(needing("work", Resources(cpu=2), count=4), LAPTOP, FAR, script=dies_at_first)
    assert fleet.drive() == "succeeded"
    launches = [event for event in fleet.events(Launched) if isinstance(event, Launched)]
    first, second = ({each.task: each for each in launches if each.attempt == attempt} for attempt in (1, 2))
    assert max(each.queued_s or 0.0 for each in first.values()) == pytest.approx(2.0, abs=0.1)
    for task, launch in second.items():
        assert launch.queued_s == pytest.approx(launch.at - (first[task].at + 1.0), abs=0.1)


# -- failures ----------------------------------------------------------------------------------------------------------


def test_an_attempt_that_is_lost_may_start_again_in_another_pool() -> None:
    def dies_on_the_laptop(order: Do) -> Behaviour:
        yield Wait(1.0)
        if order.attempt == 1:
            raise Death("lost")
        yield Wait(1.0)
        return number(1)

    fleet = Fleet(needing("work", Resources(cpu=2), count=2), LAPTOP, GPU, script=dies_on_the_laptop)
    assert fleet.drive() == "succeeded"
    assert sum(fleet.launches().values()) == 4
    assert len(fleet.events(Placed)) == 4


def test_after_a_lost_attempt_the_reason_of_the_next_pool_names_the_pool_that_is_avoided() -> None:
    def dies_at_first(order: Do) -> Behaviour:
        yield Wait(1.0)
        if order.attempt == 1:
            raise Death("lost")
        return number(1)

    fleet = Fleet(needing("work", Resources(cpu=1)), LAPTOP, GPU, script=dies_at_first)
    assert fleet.drive() == "succeeded"
    assert [(event.pool, event.why) for event in fleet.events(Placed) if isinstance(event, Placed)] == [
        ("laptop", "it comes first among the run's pools"),
        ("gpu", "attempt 1 was lost in `laptop`"),
    ]


def slow(order: Do) -> Behaviour:
    yield Wait(10.0)
    return number(int(order.key[:8], 16))


def test_what_ran_in_a_pool_that_is_gone_starts_again_in_another_and_the_rest_goes_on() -> None:
    fleet = Fleet(needing("work", Resources(cpu=2), count=2), LAPTOP, GPU, script=slow)
    fleet.gone["gpu"] = 5.0, float("inf")
    assert fleet.drive() == "succeeded"
    [failed] = fleet.events(Failed)
    assert isinstance(failed, Failed)
    assert failed.failure.kind == "lost"
    assert failed.failure.message == "pool `gpu` has not answered for 20 s"
    assert fleet.notes == ["pool `gpu` has not answered for 20 s; the run goes on without pool `gpu`"]
    assert {row.pool for row in fleet.rows().values()} == {"laptop"}
    assert fleet.clock.monotonic() == pytest.approx(20.0, abs=1.0)


def test_a_task_that_only_a_pool_could_run_that_is_gone_fails_and_a_resume_with_the_pool_makes_it() -> None:
    sketch = needing("fit", Resources(gpu="A100:1"))
    sketch.node("other", i=Const(number(1)))
    fleet = Fleet(sketch, LAPTOP, GPU, script=slow)
    fleet.gone["gpu"] = 5.0, float("inf")
    assert fleet.drive() == "failed"
    rows = {row.stage: row for row in fleet.rows().values()}
    assert rows["other"].state == "succeeded"
    assert rows["fit"].state == "failed"
    assert rows["fit"].reason == "no pool that still answers may run it: `laptop` can't run it: it has no gpu"
    fleet.gone.clear()
    fleet.lose_driver()
    assert fleet.drive() == "succeeded"
    assert fleet.rows()["fit"].pool == "gpu"


def test_tasks_that_wait_for_a_pool_that_is_gone_go_elsewhere_with_their_transfers_ended() -> None:
    fleet = Fleet(wanting_blob(4, cpu=2), LAPTOP, FAR, script=slow)
    fleet.stores["local"].add(BLOB)
    fleet.gone["far"] = 1.0, float("inf")  # while the blob is on its way
    assert fleet.drive() == "succeeded"
    assert fleet.launches()["laptop"] == 4
    assert {row.state for row in fleet.rows().values() if row.kind == "transfer"} == {"skipped"}


def test_a_pool_that_is_absent_from_the_start_is_done_without() -> None:
    fleet = Fleet(fan(4), LAPTOP, GPU)
    fleet.absent = {"gpu": "nothing answers"}
    assert fleet.drive() == "succeeded"
    assert fleet.launches() == {"laptop": 6}


def test_the_only_pool_that_is_left_ends_the_driver_and_the_run_can_be_resumed() -> None:
    fleet = Fleet(fan(4), LAPTOP, GPU, script=slow)
    fleet.gone |= {"laptop": (5.0, float("inf")), "gpu": (7.0, float("inf"))}
    with pytest.raises(BackendError, match="pool `gpu`"):
        fleet.drive()
    fleet.gone.clear()
    fleet.lose_driver()
    assert fleet.drive() == "succeeded"


def test_a_resume_may_leave_a_pool_or_take_another() -> None:
    for first, then in (((LAPTOP, GPU), (GPU,)), ((LAPTOP,), (LAPTOP, GPU)), ((LAPTOP, FAR), (FAR, GPU))):
        fleet = Fleet(wanting_blob(6), LAPTOP, GPU, FAR, script=slow)
        fleet.stores["local"].add(BLOB)
        driver = fleet.driver(pools=first)
        for _ in range(3):
            driver.tick(4.0)
        fleet.lose_driver()
        assert fleet.driver(pools=then).drive().state == "succeeded"
        check(fleet.machine)
        after = {event.pool for event in fleet.events(Launched)[-1:] if isinstance(event, Launched)}
        assert after <= {pool.name for pool in then}


def test_a_task_that_was_approved_goes_to_a_pool_with_its_inputs_brought_there() -> None:
    sketch = Sketch()
    sketch.declare("use", approval="boss")
    sketch.node("use", data=Const(BLOB))
    fleet = Fleet(sketch, LAPTOP, FAR)
    fleet.stores["us"].add(BLOB)
    assert isinstance(fleet.driver().drive(), Waits)
    [asked] = fleet.events(Submitted)
    assert isinstance(asked, Submitted)
    body = msgspec.json.encode(Decision(task=asked.task, key=asked.key, why="fine")).decode()
    fleet.ledger.signal("run-1", "approve", by="boss", body=body)
    fleet.lose_driver()
    assert fleet.drive() == "succeeded"
    assert len(fleet.events(Moved)) == 1
    assert fleet.rows()["use"].pool == "laptop"


OHIO = Pool(name="ohio", region="us", cpu=2, memory_gib=8)


@pytest.mark.parametrize("then", [(OHIO,), (LAPTOP,), (OHIO, LAPTOP)])
def test_a_run_whose_driver_died_during_a_transfer_goes_on_in_whichever_pools_are_left(then: tuple[Pool, ...]) -> None:
    fleet = Fleet(wanting_blob(2), LAPTOP, FAR, OHIO, script=slow)
    fleet.pins["use"] = "far"
    fleet.stores["local"].add(BLOB)
    driver = fleet.driver(pools=(LAPTOP, FAR))
    until_now = 0
    while not fleet.events(Moved) and until_now < 3:
        driver.tick(0.1)
        until_now += 1
    fleet.lose_driver()
    fleet.pins.clear()
    driver = fleet.driver(pools=then)
    for _ in range(500):
        if fleet.machine.closed is not None:
            break
        driver.tick(0.2)
    check(fleet.machine)
    assert fleet.machine.closed is not None
    assert fleet.machine.closed.state == "succeeded"


def test_a_task_that_was_placed_goes_elsewhere_if_others_have_taken_its_pool_meanwhile() -> None:
    fleet = Fleet(wanting_blob(2, cpu=2), LAPTOP, FAR, script=slow)
    fleet.stores["local"].add(BLOB)
    give = fleet.run.grant
    asked: list[float] = []

    def grant(want: Want) -> Grant:
        """Give nothing more of the far pool once the blob is on its way: another run has it."""
        if want.pool == "far" and fleet.clock.monotonic() > 0.5:
            asked.append(want.cpu)
            return replace(give(want), cpu=want.used_cpu)
        return give(want)

    fleet.run.grant = grant  # type: ignore[method-assign]
    assert fleet.driver().drive().state == "succeeded"
    assert max(asked) == 2.0  # it asks for what is on its way there, too
    assert {row.pool for row in fleet.rows().values() if row.kind == "stage"} == {"laptop"}
    assert fleet.clock.monotonic() < 25


def test_a_pool_that_can_t_start_workers_any_more_is_left() -> None:
    class Unstartable(SimulatedBackend):
        """A backend of a pool whose head hangs: what is asked of it fails."""

        def start(self, jobs: Sequence[Job]) -> None:
            raise BackendError(f"pool `{self.pool.name}` has not answered for 30 s")

    fleet = Fleet(needing("work", Resources(cpu=2), count=3), LAPTOP, GPU)
    fleet.backends["gpu"] = Unstartable
    assert fleet.drive() == "succeeded"
    assert fleet.launches()["laptop"] == 3
    assert fleet.notes == ["pool `gpu` has not answered for 30 s; the run goes on without pool `gpu`"]


def test_a_task_whose_transfer_failed_has_no_pool_and_no_reason_for_one() -> None:
    class Broken(Fleet):
        """Pools whose stores take no blob."""

        def _arrival(self, pool: Pool) -> Callable[[Move], None]:
            def arrive(order: Move) -> None:
                raise Death("refused")

            return arrive

    fleet = Broken(wanting_blob(), LAPTOP, FAR)
    fleet.pins["use"] = "far"
    fleet.stores["local"].add(BLOB)
    assert fleet.drive() == "failed"
    told = {row.kind: (row.state, row.pool, row.pool_reason) for row in fleet.rows().values()}
    assert told == {"stage": ("failed", None, None), "transfer": ("failed", "far", "its region lacks the blob")}


def test_a_stage_that_is_pinned_to_a_pool_that_is_gone_runs_nowhere_else() -> None:
    fleet = Fleet(needing("fit", Resources()), LAPTOP, GPU, script=slow)
    fleet.pins["fit"] = "gpu"
    fleet.gone["gpu"] = 5.0, float("inf")
    assert fleet.drive() == "failed"
    why = "`gpu` can't run it: it doesn't answer; `[place]` names it for stage `fit`"
    assert fleet.rows()["fit"].reason == f"no pool that still answers may run it: {why}"
    absent = Fleet(needing("fit", Resources()), LAPTOP, GPU)
    absent.pins["fit"] = "gpu"
    absent.absent = {"gpu": "nothing answers"}
    with pytest.raises(PlacementError, match="pool `gpu` doesn't answer") as caught:
        absent.drive()
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("leave it out with `--pool laptop`, or name another pool for `fit`")


def test_an_attempt_that_a_pool_lost_is_tried_in_the_others_first() -> None:
    def dies_on_the_laptop(order: Do) -> Behaviour:
        yield Wait(0.1)
        if order.attempt == 1:
            raise Death("lost")
        return number(1)

    fleet = Fleet(needing("work", Resources()), LAPTOP, GPU, script=dies_on_the_laptop)
    assert fleet.drive() == "succeeded"
    assert [event.pool for event in fleet.events(Launched) if isinstance(event, Launched)] == ["laptop", "gpu"]


# -- pools that others use ---------------------------------------------------------------------------------------------

ONE = Pool(name="one", cpu=1, memory_gib=8)


@pytest.mark.parametrize("pools", [(ONE, GPU), (GPU, ONE)])
def test_tasks_leave_a_pool_that_is_full_once_another_has_room(pools: tuple[Pool, ...]) -> None:
    fleet = Fleet(needing("work", Resources(), count=5), *pools)
    fleet.full["gpu"] = 60.0
    assert fleet.drive() == "succeeded"
    assert {(row.pool, row.attempts) for row in fleet.rows().values()} == {("one", 1), ("one", 2)}
    assert len(fleet.events(Recalled)) == 2
    assert not fleet.events(Failed)
    assert fleet.clock.monotonic() < 8
    assert fleet.clusters["gpu"].living == 0
    if pools[0] is GPU:
        assert "`gpu` had no room" in {row.pool_reason for row in fleet.rows().values()}


def test_tasks_stay_in_a_full_pool_while_others_need_the_room_and_begin_there_once_it_is_free() -> None:
    fleet = Fleet(needing("work", Resources(), count=30), ONE, GPU)
    fleet.full["gpu"] = 10.0
    assert fleet.drive() == "succeeded"
    assert not fleet.events(Recalled)
    assert fleet.launches()["gpu"] > 5
    assert fleet.clock.monotonic() < 20


def test_a_task_waits_in_a_full_pool_that_is_the_only_one_that_may_run_it() -> None:
    fleet = Fleet(needing("work", Resources(gpu="A100:1")), LAPTOP, GPU)
    fleet.full["gpu"] = 20.0
    assert fleet.drive() == "succeeded"
    assert fleet.launches() == {"gpu": 1}


def test_each_time_a_task_leaves_a_full_pool_it_stays_away_for_twice_as_long() -> None:
    fleet = Fleet(needing("work", Resources()), LAPTOP, GPU)
    fleet.full |= {"laptop": 1000.0, "gpu": 1001.0}
    assert fleet.drive() == "succeeded"
    assert fleet.launches() == {"gpu": 4, "laptop": 4}


def test_a_task_goes_back_to_a_pool_that_was_full_for_a_while_if_the_other_stays_full() -> None:
    fleet = Fleet(needing("work", Resources()), LAPTOP, GPU)
    fleet.full |= {"laptop": 6.0, "gpu": 1e6}
    assert fleet.drive() == "succeeded"
    assert fleet.launches() == {"gpu": 1, "laptop": 2}
    assert fleet.clock.monotonic() < 70


def test_a_task_in_a_full_pool_goes_to_another_though_a_third_was_lost_meanwhile() -> None:
    sketch = Sketch()
    sketch.declare("work", resources=Resources(cpu=2))
    for each in range(2):
        sketch.node("work", i=Const(number(each)))
    third = replace(FAR, region="local", name="third")
    fleet = Fleet(sketch, LAPTOP, GPU, third, script=slow)
    fleet.full["gpu"] = 1e6
    fleet.gone["third"] = (2.0, float("inf"))
    assert fleet.drive() == "succeeded"
    assert fleet.clock.monotonic() < 100


def test_a_task_over_nodes_leaves_a_pool_that_has_room_for_some_of_them() -> None:
    wide, other = replace(LAPTOP, nodes=2), replace(GPU, nodes=2)
    fleet = Fleet(needing("work", Resources(nodes=2)), wide, other)
    fleet.starts["laptop"] = iter((1e6, 0.0))
    assert fleet.drive() == "succeeded"
    assert fleet.launches() == {"gpu": 1, "laptop": 1}
    assert fleet.clock.monotonic() < 20


def test_tasks_don_t_leave_a_full_pool_for_room_that_is_kept_for_a_task_whose_inputs_are_on_their_way() -> None:
    sketch = Sketch()
    sketch.declare("use", resources=Resources(cpu=1.9))
    sketch.declare("work", resources=Resources())
    sketch.node("use", data=Const(replace(BLOB, size=100 * SIZE)))
    for each in range(4):
        sketch.node("work", i=Const(number(each)))
    fleet = Fleet(sketch, LAPTOP, FAR)
    fleet.pins["use"] = "far"
    fleet.stores["local"].add(replace(BLOB, size=100 * SIZE))
    fleet.full["laptop"] = 150.0
    assert fleet.drive() == "succeeded"
    assert not fleet.events(Recalled)
    assert fleet.launches()["laptop"] == 4


def test_a_task_that_leaves_a_full_pool_has_its_inputs_brought_to_the_other_region() -> None:
    fleet = Fleet(wanting_blob(), LAPTOP, FAR)
    fleet.stores["local"].add(BLOB)
    fleet.full["laptop"] = 1000.0
    assert fleet.drive() == "succeeded"
    assert {row.pool for row in fleet.rows().values()} == {"far"}
    assert fleet.clock.monotonic() < 10


def test_all_workers_of_a_task_over_nodes_leave_a_full_pool() -> None:
    wide, other = replace(LAPTOP, nodes=2), replace(GPU, nodes=2)
    fleet = Fleet(needing("work", Resources(nodes=2)), wide, other)
    fleet.full["laptop"] = 100.0
    assert fleet.drive() == "succeeded"
    assert fleet.launches() == {"gpu": 1, "laptop": 1}
    assert len(fleet.events(Recalled)) == 1


def test_small_tasks_of_a_pool_don_t_starve_a_big_one_there_while_an_older_one_waits_for_another_pool() -> None:
    def lasts(order: Do) -> Behaviour:
        long = "long" in order.function
        yield Wait(100_000.0 if long else 1.0 + int(order.key[:4], 16) % 100 / 100)
        return number(int(order.key[:8], 16))

    sketch = Sketch()
    for name, cpu in (("long", 2), ("older", 2), ("big", 2), ("small", 1)):
        sketch.declare(name, resources=Resources(cpu=cpu))
    for name in ("long", "older", "small", "big", *["small"] * 300):
        sketch.node(name, i=Const(number(len(sketch.nodes))))
    fleet = Fleet(sketch, LAPTOP, GPU, script=lasts)
    fleet.pins |= {"long": "laptop", "older": "laptop", "big": "gpu", "small": "gpu"}
    driver = fleet.driver()
    while fleet.machine.tasks.get("big") is None or fleet.machine.tasks["big"].phase not in ("running", "succeeded"):
        driver.tick(0.2)
    done = sum(task.phase == "succeeded" for task in fleet.machine.tasks.values())
    assert done < 100


LEASES = st.lists(
    st.tuples(
        st.lists(st.sampled_from((LAPTOP, GPU, FAR, OHIO)), min_size=1, max_size=3, unique=True),
        st.dictionaries(st.sampled_from(("laptop", "gpu", "far", "ohio")), st.floats(0, 20), max_size=2),
        st.sets(st.sampled_from(("laptop", "gpu", "far", "ohio")), max_size=1),
        st.dictionaries(st.sampled_from(("laptop", "gpu", "far", "ohio")), st.floats(5, 60), max_size=3),
        st.lists(st.floats(0, 3), min_size=1, max_size=12),
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=300, deadline=None)
@given(st.integers(2, 8), st.sampled_from((1.0, 2.0)), st.sampled_from(("local", "us")), LEASES)
def test_whatever_pools_come_and_go_a_run_comes_to_its_end(
    count: int,
    cpu: float,
    home: str,
    leases: list[tuple[list[Pool], dict[str, float], set[str], dict[str, float], list[float]]],
) -> None:
    def fails_now_and_then(order: Do) -> Behaviour:
        chance = int(order.key[:6], 16) + order.attempt
        yield Wait(0.5 + chance % 7)
        if chance % 9 == 0:
            raise Death("lost")
        return number(int(order.key[:8], 16))

    fleet = Fleet(wanting_blob(count, cpu=cpu), LAPTOP, GPU, FAR, OHIO, script=fails_now_and_then)
    fleet.stores[home].add(BLOB)
    for pools, gone, absent, full, pauses in leases:
        fleet.full = full
        others = {pool.name for pool in pools[1:]}
        fleet.gone = {name: (at, float("inf")) for name, at in gone.items() if name in others}
        fleet.absent = dict.fromkeys(absent & others, "nothing answers")
        driver = fleet.driver(pools=pools)
        with suppress(BackendError):  # the last pool that was left is gone too
            for pause in pauses:
                if fleet.machine.closed is None:
                    driver.tick(pause)
                    check(fleet.machine)
        fleet.lose_driver()
    fleet.gone, fleet.absent = {}, {}
    driver = fleet.driver(pools=leases[-1][0])
    for _ in range(4000):
        if fleet.machine.closed is not None:
            break
        driver.tick(0.2)
    check(fleet.machine)
    assert fleet.machine.closed is not None, {name: task.phase for name, task in fleet.machine.tasks.items()}
    assert fleet.machine.closed.state == "succeeded"
