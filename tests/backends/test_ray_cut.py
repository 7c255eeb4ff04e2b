"""What the Ray backend does when the network between driver and worker is cut, or the head stops, for a while."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from headrace.errors import BackendError
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
