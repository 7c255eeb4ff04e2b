"""Two nodes of a Ray cluster train one network: on the real command, with real processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.projects import Project, check_error, finish, lent
from tests.servers.ray import Ray

pytest.importorskip("ray", reason="Ray is not installed: pip install 'ray[client]'")
pytest.importorskip("torch")
pytestmark = pytest.mark.heavy
LONG_S = 300.0

PIPELINES = """
import numpy as np
import pyarrow as pa
import pytest
import torch

import headrace as hr
from headrace.stages import train


def net(inputs: int, outputs: int) -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(inputs, 24), torch.nn.Tanh(), torch.nn.Linear(24, outputs))


@hr.stage
def rows(n: int) -> pa.Table:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 4)).astype(np.float32)
    return pa.table({**{f"f{i}": x[:, i] for i in range(4)}, "y": x.sum(1) + rng.normal(size=n) > 0})


@hr.stage(cache=False)
def alike(one: pa.Table, other: pa.Table) -> bool:
    for mine, theirs in zip(one.to_pylist(), other.to_pylist(), strict=True):
        assert mine == pytest.approx(theirs, abs=2e-5)
    return len(one) == 3


@hr.pipeline
def both(procs: int = 1) -> None:
    options = dict(target="y", epochs=3, batch_size=64, lr=0.01, retries=0, resources=hr.Resources(cpu=1))
    table, valid = rows(1281), rows(203)
    one, two = (train.torch(net, table, valid=valid, **options, nodes=nodes, procs=procs) for nodes in (1, 2))
    alike(one.history, two.history)


@hr.pipeline
def too_many() -> None:
    train.torch(net, rows(1281), target="y", nodes=3, resources=hr.Resources(cpu=1))
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    server = Ray(cpus=(1, 1))
    try:
        with lent(tmp_path / "project") as project:
            toml = f'[pool.there]\nbackend = "ray"\naddress = "{server.address}"\n'
            project.write("headrace.toml", toml)
            project.write("pipelines.py", PIPELINES)
            project.environment |= {"HOME": str(tmp_path), **server.credentials}
            yield project
    finally:
        server.stop()


def test_two_nodes_of_a_ray_cluster_have_the_losses_that_one_has(project: Project) -> None:
    done = finish(project.start("run", "both", "--json"), LONG_S)
    assert done.code == 0, done.out + done.err
    assert done.task["torch[1]"]["state"] == "succeeded"
    check_error(finish(project.start("run", "too_many"), LONG_S), 4, "`torch`", hint="larger pool")
