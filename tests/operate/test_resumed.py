"""In which pools a run goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.errors import ConfigError
from headrace.operate.pools.resumed import check_known
from headrace.project.project import Project
from headrace.project.settings import Config, PoolSection
from headrace.run.events import Gone, Opened, Taken
from headrace.run.machine.machine import Machine
from headrace.testing.graphs import BUNDLE


def test_a_run_is_not_resumed_if_the_settings_lack_a_pool_that_it_lost(tmp_path: Path) -> None:
    machine = Machine()
    machine.step(Opened("flow", (), BUNDLE, 0.0))
    machine.step(Taken(1, "ada", 0.0, pool="laptop", region="local", others=(("away", "local"),)))
    machine.step(Gone("away", "pool `away`: nothing answers", 1.0))
    laptop, away = {"laptop": PoolSection(cpu=2)}, {"away": PoolSection(cpu=2)}
    check_known(_project(tmp_path, laptop | away), "run-1", machine)
    with pytest.raises(ConfigError, match="run `run-1` was in pool `away`: the settings don't have it"):
        check_known(_project(tmp_path, laptop), "run-1", machine)


def _project(folder: Path, pools: dict[str, PoolSection]) -> Project:
    return Project(root=folder, home=folder / ".headrace", files=(), config=Config(pool=pools))
