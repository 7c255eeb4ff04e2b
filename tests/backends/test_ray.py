"""What the Ray backend does when nodes, actors or the head die, and when there is no room."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

import pytest
from msgspec.structs import replace

from headrace.errors import BackendError, ConfigError
from headrace.project.settings import PoolSection
from headrace.run.events import Checkpointed, Succeeded
from headrace.run.ports import Delayed, Job
from headrace.run.wire import Hello, Quit, Whisper
from headrace.spec.address import StoreAddress
from headrace.spec.bundle import Bundle
from headrace.spec.fleet import Pool
from headrace.spec.graph import Secret
from headrace.spec.stage import Resources
from headrace.testing.backend_contract import TRACER, assert_gone, told
from headrace.testing.backend_listener import Ear
from headrace.testing.worker_contract import lives
from tests.servers.ray import Node, Ray

pytest.importorskip("ray", reason="Ray is not installed: pip install 'ray[client]'")

from headrace.backends.ray.actor import Actor, _make_own
from headrace.backends.ray.backend import Watch
from headrace.backends.ray.cluster import Cluster
from headrace.backends.ray.messages import Charge, encode
from headrace.backends.ray.needs import Needs
from headrace.operate.pools.ray import _measured
from tests.contract.ray_stand import RUN, TOKEN, RayStand, connected, of_run


@pytest.fixture(scope="module")
def server() -> Iterator[Ray]:
    """A cluster, which a test may add nodes to."""
    server = Ray()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def cluster(server: Ray) -> Iterator[Cluster]:
    with connected(server, server.address) as cluster:
        yield cluster


@pytest.fixture
def stand(tmp_path: Path, cluster: Cluster) -> Iterator[RayStand]:
    stand = RayStand(tmp_path, cluster)
    yield stand
    stand.backend().close(now=True)
    assert_gone(stand)


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have it said early what workers wait for."""
    monkeypatch.setattr("headrace.backends.ray.backend.SLOW_S", 0.5)


def lose(server: Ray, node: Node, ear: Ear, cluster: Cluster) -> None:
    """Kill a node, and wait until the head knows: until then it begins actors there, and those of later tests too."""
    server.kill(node)
    ear.until(lambda: len(cluster.nodes({})) == 1 + len(server.nodes), "the head should have missed the node")


def delays(ear: Ear, worker: int) -> list[str]:
    return [each.why for each in ear.notices if isinstance(each, Delayed) and each.worker == worker]


def test_a_node_s_folder_that_others_can_write_to_is_not_used(tmp_path: Path) -> None:
    _make_own(tmp_path / "own")
    assert (tmp_path / "own").stat().st_mode & 0o777 == 0o700
    _make_own(tmp_path / "own")
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "link").symlink_to(tmp_path / "own")
    for name in ("open", "link"):
        with pytest.raises(PermissionError, match="other users may write"):
            _make_own(tmp_path / name)


class Relay(Actor):
    """An actor that begins no worker, and keeps what it would pass on."""

    def _begin(self, charge: Charge) -> None:
        self.passed: list[bytes] = []

    def _pass(self, data: bytes) -> None:
        self.passed.append(data)


def test_what_an_earlier_driver_said_out_of_turn_takes_no_new_one_s_place() -> None:
    async def say() -> list[bytes]:
        hello = Hello("run", Bundle(digest="d", size=0, nonce="n"), StoreAddress(url="/store"), "/local", 1.0)
        charge = Charge(job=Job(worker=1, resources=Resources()), hello=hello, epoch=1)
        actor = Relay(version("headrace"), encode(charge))
        await actor.tell(1, 1, b"old 1")
        await actor.tell(1, 3, b"old 3")  # the second was lost with the driver
        assert await actor.take(2) is not None
        for number in (2, 3):
            await actor.tell(2, number, b"new %d" % number)
        return actor.passed

    assert asyncio.run(say()) == [b"old 1", b"new 2", b"new 3"]


def test_a_secret_that_the_driver_does_not_have_is_the_node_s(stand: RayStand) -> None:
    ear = Ear(stand.backend())
    ear.begin(1)
    given = replace(stand.order("size", "reader"), args=(("data", Secret(TOKEN)),))  # what each node has
    ear.tell(1, given, Whisper(TOKEN, "four"), replace(given, task="told"))
    first, second = ear.wait_for(1, Succeeded, 2)
    assert (stand.value(first.out), stand.value(second.out)) == (len(os.environ[TOKEN]), 4)


def test_what_a_stage_began_ends_before_the_next_worker_begins_though_all_above_it_were_killed(
    stand: RayStand,
) -> None:
    ear = Ear(stand.backend(namespace="off"))
    ear.begin(1)
    ear.tell(1, stand.order("breed", "breeder"))
    [bred] = ear.wait_for(1, Succeeded)
    began = stand.value(bred.out)
    assert isinstance(began, list)
    ear.until(lambda: all(map(lives, began)), "they should have begun")
    mine = [each for each in of_run(stand.hello.run) if "headrace.work" in each.cmdline()]
    actor = next(each for each in mine[0].parents() if each.environ().get(RUN) is None)
    for process in (actor, *mine):
        process.suspend()  # so that none sees another's end
    for process in (actor, *mine):
        process.kill()
    assert ear.wait_for_death(1).kind == "lost"
    assert any(map(lives, began))
    ear.begin(2)
    ear.tell(2, stand.order("one", "next"))
    ear.wait_for(2, Succeeded)
    assert not any(map(lives, began))


def test_a_backend_that_is_forgotten_leaves_no_thread_behind(stand: RayStand) -> None:
    before = set(threading.enumerate())
    backend = stand.backend()
    backend.start([])
    [watch] = [each for each in set(threading.enumerate()) - before if each.name == "headrace-ray-watch"]
    del backend
    gc.collect()
    watch.join(timeout=20)
    assert not watch.is_alive()


class Fading:
    """A cluster whose head still takes connections, and answers no questions any more."""

    def __init__(self) -> None:
        self.asked = threading.Semaphore(0)

    def answers(self) -> bool:
        return True

    def ping(self) -> None:
        pass

    def lacking(self, needs: Mapping[int, Mapping[str, float]], labels: Mapping[str, str]) -> dict[int, str]:
        self.asked.release()
        raise ConnectionError("the head is gone")


def test_a_question_that_the_cluster_can_not_answer_does_not_end_the_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.backends.ray.backend.EVERY_S", 0.01)
    cluster = Fading()
    watch = Watch(cluster, {})  # type: ignore[arg-type]  # as much of one as is asked
    watch.ask({1: {"CPU": 1.0}})
    try:
        assert all(cluster.asked.acquire(timeout=20) for _ in range(3))
    finally:
        watch.stop()


def test_the_death_of_a_node_is_that_of_its_workers_and_of_no_others(
    stand: RayStand, server: Ray, cluster: Cluster
) -> None:
    doomed = server.add(1, '--resources={"doomed": 1}')
    ear = Ear(stand.backend(needs=Needs(resources={"doomed": 0.1})))
    other = Ear(stand.backend())
    ear.begin(1)
    other.begin(2)
    ear.tell(1, stand.order("wait", "patient"))
    ear.wait_for(1, Checkpointed)
    lose(server, doomed, ear, cluster)
    died = ear.wait_for_death(1)
    assert died.kind == "lost"
    assert "has died" in died.why
    other.tell(2, stand.order("one", "next"))
    other.wait_for(2, Succeeded)


def test_an_actor_that_is_killed_takes_its_worker_along(stand: RayStand) -> None:
    ear = Ear(stand.backend())
    ear.begin(1)
    ear.tell(1, stand.order("deaf", "stubborn"))
    ear.wait_for(1, Checkpointed)
    zygote = next(each for each in of_run(stand.hello.run))
    actor = next(each for each in zygote.parents() if each.environ().get(RUN) is None)
    actor.kill()
    assert ear.wait_for_death(1).kind == "lost"
    ear.until(lambda: not list(of_run(stand.hello.run)), "nothing of it should live")


@pytest.mark.usefixtures("_impatient")
def test_what_can_not_be_had_is_said(stand: RayStand) -> None:
    ear = Ear(stand.backend())
    ear.begin(1, needs=Resources(cpu=64))
    ear.until(lambda: delays(ear, 1), "it should be said what it waits for")
    assert delays(ear, 1) == ["no node of the cluster has 64 CPU: at most 2 CPU"]
    ear.backend.close([1])
    assert ear.wait_for_death(1).kind == "cancelled"


def test_a_worker_that_is_withdrawn_while_the_cluster_takes_long_to_answer_is_killed_afterwards(
    stand: RayStand, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent, going_on = threading.Event(), threading.Event()

    def take_long(*_: object) -> dict[int, str]:
        going_on.wait(0.2)
        silent.set()
        going_on.wait(20)
        return {}

    monkeypatch.setattr("headrace.backends.ray.backend.FRESH_S", 0.1)
    monkeypatch.setattr(cluster, "lacking", take_long)
    ear = Ear(stand.backend())
    ear.begin(1, needs=Resources(cpu=64))
    ear.tell(1, stand.order("one", "withdrawn"))
    assert silent.wait(20)
    ear.backend.close([1])
    assert ear.wait_for_death(1).kind == "cancelled"
    assert stand.living()
    going_on.set()
    ear.until(lambda: not stand.living(), "its actor should be gone: with room, it would run what it was told")


def test_what_no_node_could_hold_is_said_though_the_cluster_does_not_say_what_is_free(server: Ray) -> None:
    elsewhere = f"""from headrace.backends.ray import cluster
there = cluster.Cluster("here", {server.client_address!r})
cluster.REACH_S = 0.0
print(there.lacking({{1: {{"CPU": 64.0}}, 2: {{"CPU": 1.0}}}}, {{}}))"""
    environment = {**os.environ, **server.credentials}
    answer = subprocess.run(
        [sys.executable, "-c", elsewhere], check=True, capture_output=True, text=True, timeout=60, env=environment
    )
    assert answer.stdout == f"{ {1: 'no node of the cluster has 64 CPU: at most 2 CPU'} }\n"


@pytest.mark.usefixtures("_impatient")
def test_labels_and_accelerators_choose_the_node(stand: RayStand, server: Ray, cluster: Cluster) -> None:
    node = server.add(
        1, "--labels=zone=b", "--num-gpus=2", '--resources={"accelerator_type:A100": 1}', "--node-name=special"
    )
    pool = _measured(PoolSection(backend="ray"), Pool(name="ray", backend="ray"), cluster)
    assert pool.holds(Resources(cpu=2)) is None
    assert pool.holds(Resources(cpu=1, gpu="2")) is None
    assert pool.holds(Resources(cpu=2, gpu="1")) == "no machine of it has 2 cpus and 1 gpu at once"
    ear = Ear(stand.backend(needs=Needs(labels={"zone": "b"})))
    ear.begin(1, needs=Resources(cpu=0.1, gpu="A100:1"))
    ear.begin(2, needs=Resources(cpu=0.1, gpu="H100:1"))
    ear.tell(1, stand.order("one", "there"))
    ear.wait_for(1, Succeeded)
    ear.until(lambda: delays(ear, 2), "it should be said what it waits for")
    assert "no node of the cluster has" in delays(ear, 2)[0]
    assert "H100" in delays(ear, 2)[0]
    ear.backend.close()
    elsewhere = Ear(stand.backend(needs=Needs(labels={"zone": "c"})))
    elsewhere.begin(3)
    elsewhere.until(lambda: delays(elsewhere, 3), "it should be said what it waits for")
    assert delays(elsewhere, 3) == ["no node of the cluster has zone=c"]
    lose(server, node, elsewhere, cluster)
    elsewhere.backend.close()


def test_a_node_that_runs_low_on_memory_ends_workers_of_that(stand: RayStand, server: Ray, cluster: Cluster) -> None:
    node = server.add(
        1,
        '--resources={"tight": 1}',
        environment={"RAY_memory_usage_threshold": "0.01", "RAY_memory_monitor_refresh_ms": "2000"},
    )
    ear = Ear(stand.backend(needs=Needs(resources={"tight": 0.1})))
    ear.begin(1)
    ear.tell(1, stand.order("deaf", "stubborn"))
    died = ear.wait_for_death(1)
    assert died.kind == "memory", died
    lose(server, node, ear, cluster)


@pytest.mark.usefixtures("_impatient")
def test_what_waits_for_room_says_so_until_it_begins(stand: RayStand) -> None:
    ear = Ear(stand.backend())
    ear.begin(1, 2, 3, needs=Resources(cpu=2))
    for worker in (1, 2, 3):
        ear.tell(worker, stand.order("one", f"task{worker}"))

    def begun() -> list[int]:
        return [worker for worker in (1, 2, 3) if ear.events(worker, Succeeded)]

    ear.until(lambda: len(begun()) == 2, "there is room for two")
    [waiting] = {1, 2, 3}.difference(begun())
    ear.until(lambda: delays(ear, waiting), "one should wait")
    assert "it needs 2 CPU" in delays(ear, waiting)[0]
    ear.tell(begun()[0], Quit())
    ear.until(lambda: delays(ear, waiting)[-1] == "", "it should begin")


@pytest.mark.usefixtures("_impatient")
def test_what_is_free_on_nodes_of_other_pools_or_in_parts_on_several_nodes_is_no_room(
    stand: RayStand, server: Ray, cluster: Cluster
) -> None:
    zone = {"zone": "full"}
    nodes = [server.add(3, "--labels=zone=full") for _ in range(2)]
    ear = Ear(stand.backend(needs=Needs(labels=zone)))
    ear.begin(1, 2, needs=Resources(cpu=2))
    for worker in (1, 2):
        ear.tell(worker, stand.order("one", f"task{worker}"))
        ear.wait_for(worker, Succeeded)
    ear.begin(3, needs=Resources(cpu=3))
    ear.begin(4, needs=Resources(cpu=2))
    ear.until(lambda: delays(ear, 3) and delays(ear, 4), "it should be said what they wait for")
    full = "it needs 3 CPU, and the cluster has 2 CPU of 6 CPU free on nodes with zone=full"
    split = "it needs 2 CPU, and the cluster has 2 CPU of 6 CPU free on nodes with zone=full, but not on one node"
    assert (delays(ear, 3), delays(ear, 4)) == ([full], [split])
    needs = {3: {"CPU": 3.0}, 4: {"CPU": 2.0}, 5: {"CPU": 1.0}}
    assert cluster.lacking({4: needs[4]}, {}) == {4: ""}
    elsewhere = f"""from headrace.backends.ray.cluster import Cluster
print(Cluster("here", {server.client_address!r}).lacking({needs}, {zone}))"""
    answer = subprocess.run([sys.executable, "-c", elsewhere], check=True, capture_output=True, text=True, timeout=60)
    assert answer.stdout == f"{ {3: full, 4: split, 5: ''} }\n"
    for node in nodes:
        lose(server, node, ear, cluster)
    ear.backend.close()


def test_a_worker_without_a_driver_spills_and_leaves_once_it_has_nothing_to_do(stand: RayStand) -> None:
    ear = Ear(stand.backend(patience_s=1.0))
    ear.begin(1, 2)
    ear.tell(1, stand.order("later", "busy"), stand.order("one", "behind"))
    ear.tell(2, stand.order("one", "heard"))
    ear.wait_for(1, Checkpointed)
    ear.wait_for(2, Succeeded)
    ear.backend.abandon()
    watcher = Ear(stand.backend())
    watcher.until(lambda: not stand.living(), "nothing should live")
    assert not watcher.adopt()
    assert told(watcher, 1) == [(1, "busy"), (2, "busy"), (3, "behind")]
    assert told(watcher, 2) == [(1, "heard")]
    watcher.backend.close()


def test_nodes_with_another_headrace_are_named(stand: RayStand) -> None:
    ear = Ear(stand.backend(release="9.9"))
    ear.backend.start([Job(worker=TRACER, resources=Resources(), role="tracer")])
    died = ear.wait_for_death(TRACER)
    assert died.kind == "lost"
    assert "but the driver has 9.9" in died.why


def test_an_address_that_nothing_answers_at_is_named() -> None:
    with pytest.raises(BackendError, match=r"pool `far`: nothing answers at `127.0.0.1:9`"):
        Cluster("far", "127.0.0.1:9", reach_s=0.5)


def test_an_address_that_is_none_is_named() -> None:
    with pytest.raises(ConfigError, match=r"`nowhere` is not an address"):
        Cluster("far", "nowhere")
