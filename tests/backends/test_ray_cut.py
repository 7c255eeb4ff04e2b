"""What the Ray backend does when the network between driver and worker is cut, or the head stops, for a while."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from headrace.errors import BackendError, PoolUnreachable
from headrace.run.events import Checkpointed, Succeeded
from headrace.run.ports import Job
from headrace.spec.stage import Resources
from headrace.testing.backend_contract import assert_gone
from headrace.testing.backend_listener import Ear
from tests.projects import PATIENCE_S, wait_for
from tests.servers.apart import Apart
from tests.servers.missing import Missing
from tests.servers.ray import Ray

pytest.importorskip("ray", reason="Ray is not installed: pip install 'ray[client]'")

import ray

from headrace.backends.ray.backend import RayBackend
from headrace.backends.ray.connection import Connection
from headrace.backends.ray.needs import Needs
from tests.contract.ray_stand import RayStand, connected


@pytest.fixture
def apart() -> Iterator[Apart]:
    try:
        apart = Apart()
    except Missing as missing:
        pytest.skip(str(missing))
    yield apart
    apart.remove()


def test_a_node_that_could_not_be_reached_for_a_while_is_heard_again(tmp_path: Path, apart: Apart) -> None:
    server = Ray(cpus=(1,), host=apart.ours)
    with connected(server, server.address) as cluster:
        server.add(1, '--resources={"far": 1}', host=apart.address, prefix=apart.prefix)
        stand = RayStand(tmp_path, cluster)
        ear = Ear(stand.backend(needs=Needs(resources={"far": 0.1})))
        ear.begin(1)
        ear.tell(1, stand.order("one", "before"), stand.order("later", "meanwhile"))
        ear.wait_for(1, Checkpointed)
        apart.cut()
        ear.tell(1, *[stand.order("one", f"after{each}") for each in range(5)])
        for _ in range(40):
            ear.listen(0.1)
        assert len(ear.events(1, Succeeded)) < 7
        apart.heal()
        done = ear.wait_for(1, Succeeded, 7)
        assert [event.task for event in done] == ["before", "meanwhile", *[f"after{each}" for each in range(5)]]
        ear.backend.close()
        assert_gone(stand)


@pytest.mark.slow
def test_a_head_that_does_not_answer_keeps_no_driver_waiting(tmp_path: Path) -> None:
    server = Ray(cpus=(1,))
    with connected(server, server.address) as cluster:
        backend = RayStand(tmp_path, cluster).backend(headless_s=8.0, needs=Needs(resources={"rare": 1.0}))
        backend.start([Job(worker=1, resources=Resources())])
        assert server.head is not None
        server.head.hold()
        going_on = threading.Timer(40.0, server.head.go_on)
        going_on.start()
        try:
            hear(backend, 5.0)
            with in_no_time():
                backend.start([Job(worker=2, resources=Resources())])
                backend.close([1])
            with pytest.raises(BackendError, match="has not answered for 8 s"):
                hear(backend, PATIENCE_S)
            with in_no_time():
                backend.abandon()
                cluster.end()
            assert ray.is_initialized()  # it disconnects as soon as the head lets it
        finally:
            going_on.cancel()
            server.head.go_on()
        wait_for(lambda: not ray.is_initialized())


def test_a_connection_that_does_not_end_keeps_no_later_one_waiting_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    going_on = threading.Event()
    monkeypatch.setattr("headrace.backends.ray.connection.LEAVE_S", 0.1)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "shutdown", lambda: going_on.wait(20))
    connection = Connection()
    assert connection.join("lost", "one:1")
    others = set(threading.enumerate())  # a test before this one may have left a cluster that is still being left
    connection.leave("lost", is_lost=True)
    [leaving] = set(threading.enumerate()) - others
    with pytest.raises(PoolUnreachable, match=r"pool `next`: Ray has not disconnected from a lost cluster"):
        connection.join("next", "two:1")
    going_on.set()
    leaving.join()
    assert connection.join("next", "two:1")


def test_a_connection_that_does_not_end_keeps_no_process_from_its_end() -> None:
    program = """import atexit, threading, ray
from headrace.backends.ray import connection
def wait(): threading.Event().wait()
atexit.unregister(ray.shutdown)
ray.shutdown = wait
atexit.register(wait)  # as Ray does it
connection.LEAVE_S = 0.1
connection.connection.join("lost", "one:1")
connection.connection.leave("lost", is_lost=True)"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=PATIENCE_S)


@contextmanager
def in_no_time() -> Iterator[None]:
    """Check that what is done in the `with` block doesn't wait for the head."""
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < 1.0


def hear(backend: RayBackend, for_s: float) -> None:
    """Ask a backend for news for so long."""
    due = time.monotonic() + for_s
    while time.monotonic() < due:
        backend.events(0.1)
