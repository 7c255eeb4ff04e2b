"""The contract of backends and of workers, on a Ray cluster of two nodes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.testing.backend_contract import BackendContract
from headrace.testing.worker_contract import WorkerContract
from tests.servers.apart import Apart, lacking
from tests.servers.missing import Missing
from tests.servers.ray import Ray

pytest.importorskip("ray", reason="Ray is not installed: pip install 'ray[client]'")

from headrace.backends.ray.cluster import Cluster
from tests.contract.ray_stand import RayStand, connected


@pytest.fixture(scope="class")
def near() -> Iterator[Cluster]:
    """A cluster of two nodes, on one of which the driver is."""
    server = Ray()
    with connected(server, server.address) as cluster:
        yield cluster


@pytest.fixture(scope="class")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster whose nodes see none of the folders that tests use, on a network of its own."""
    try:
        apart = Apart(hidden=[tmp_path_factory.getbasetemp()])
    except Missing as missing:
        pytest.skip(str(missing))
    try:
        server = Ray(host=apart.address, prefix=apart.prefix)
        with connected(server, server.client_address) as cluster:
            yield cluster
    finally:
        apart.remove()


class TestRay(BackendContract, WorkerContract):
    """The same as far away, where more is asked: a proof that takes long, unless there can be no cluster far away. What
    a cluster that is near does when its nodes die, `tests/backends` asks."""

    pytestmark = [] if lacking() else [pytest.mark.heavy]

    @pytest.fixture
    def stand(self, tmp_path: Path, near: Cluster) -> RayStand:
        return RayStand(tmp_path, near)


@pytest.mark.filterwarnings("ignore:More than 10MB of messages")  # as the backend does; pytest undoes that
class TestRayFarAway(BackendContract, WorkerContract):
    @pytest.fixture
    def stand(self, tmp_path: Path, far: Cluster) -> Iterator[RayStand]:
        beside = Path(tempfile.mkdtemp(prefix="hr-store-"))
        yield RayStand(tmp_path, far, beside=beside)
        shutil.rmtree(beside, ignore_errors=True)
