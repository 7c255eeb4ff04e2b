"""In which pools a run goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.errors import ConfigError, PlacementError
from headrace.ledger.views.views import Views
from headrace.operate.pools.resumed import check_held, check_known, without_lost
from headrace.project.project import Project
from headrace.project.settings import Config, PoolSection
from headrace.run.events import Gone, Opened, Taken, encode_event
from headrace.run.machine.machine import Machine
from headrace.spec.policy import Policy
from headrace.spec.stage import Resources
from headrace.testing.graphs import BUNDLE, Sketch
from tests.ledger.samples import first, open_ledger, task_row


def test_a_run_is_not_resumed_if_the_settings_lack_a_pool_that_it_lost(tmp_path: Path) -> None:
    machine = Machine()
    machine.step(Opened("flow", (), BUNDLE, 0.0))
    machine.step(Taken(1, "ada", 0.0, pool="laptop", region="local", others=(("away", "local"),)))
    machine.step(Gone("away", "pool `away`: nothing answers", 1.0))
    laptop, away = {"laptop": PoolSection(cpu=2)}, {"away": PoolSection(cpu=2)}
    check_known(_project(tmp_path, laptop | away), "run-1", machine)
    with pytest.raises(ConfigError, match="run `run-1` was in pool `away`: the settings don't have it"):
        check_known(_project(tmp_path, laptop), "run-1", machine)


def test_without_a_lost_pool_a_run_goes_on_only_in_pools_that_can_hold_what_failed(tmp_path: Path) -> None:
    sketch = Sketch()
    sketch.declare("fit", resources=Resources(cpu=2))
    events = [Taken(1, "ada", 0.0, pool="small", others=(("away", "local"),)), sketch.traced(), Gone("away", "it", 1.0)]
    with open_ledger(tmp_path) as ledger, ledger.open_run("flow") as lease:
        lease.commit(first(map(encode_event, events), tasks=[task_row("fit", "failed")]))
        found = []
        with Views(ledger.address) as views:
            for sizes in ({"small": 2, "big": 2}, {"small": 1, "other": 1, "big": 2, "huge": 4}, {"small": 1}):
                pools = {name: PoolSection(cpu=cpu) for name, cpu in {**sizes, "away": 2}.items()}
                found.append(without_lost(_project(tmp_path, pools, fit="away"), views, lease.run))
    if_silent, then = "if `away` still doesn't answer,", "continues the run without it"
    resume = f"`headrace resume {lease.run} --pool small"
    assert found == [f"{if_silent} {resume}` {then}", f"{if_silent} {resume},big` or {resume},huge` {then}", ""]


def test_only_local_pools_and_tasks_that_are_left_are_checked_before_a_run_goes_on(tmp_path: Path) -> None:
    sketch = Sketch()
    sketch.declare("big", resources=Resources(cpu=8, gpu="A100:1"))
    sketch.declare("small", resources=Resources(cpu=1))
    sketch.node("big")
    sketch.node("small")
    small, cluster = PoolSection(cpu=2), PoolSection(backend="ray", address="192.0.2.1:6379")
    for only, refused in (((), True), (("small",), False)):
        machine = Machine()
        machine.step(Opened("flow", (), BUNDLE, 0.0, policy=Policy(only=only)))
        for event in (Taken(1, "ada", 0.0, pool="laptop"), *sketch.events()):
            machine.step(event)
        project = _project(tmp_path, {"laptop": small, "cluster": cluster})
        laptop, far = project.pools()
        check_held(project, machine, [far])  # what it has is known once it answers
        check_held(project, machine, [laptop, far])
        if refused:
            with pytest.raises(PlacementError, match="no pool can hold stage `big`"):
                check_held(project, machine, [laptop])
        else:
            check_held(project, machine, [laptop])


def _project(folder: Path, pools: dict[str, PoolSection], **place: str) -> Project:
    return Project(root=folder, home=folder / ".headrace", files=(), config=Config(pool=pools, place=place))
