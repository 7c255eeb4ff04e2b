"""What the Ray backend does when the network between driver and worker is cut for a while."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.run.events import Checkpointed, Succeeded
from headrace.testing.backend_contract import assert_gone
from headrace.testing.backend_listener import Ear
from tests.servers.apart import Apart
from tests.servers.missing import Missing
from tests.servers.ray import Ray

pytest.importorskip("ray", reason="Ray is not installed: pip install 'ray[client]'")

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
