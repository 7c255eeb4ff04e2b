"""What the workers of a pool are put into."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.operate.pools.pools import _gpus, _works
from headrace.project.project import Project
from headrace.project.settings import Config, PoolSection


def test_namespaces_are_used_as_soon_as_they_can_be_had_and_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project(root=tmp_path, home=tmp_path / ".headrace", files=())
    project.make_home()
    program = tmp_path / "bin" / "bwrap"
    program.parent.mkdir()
    monkeypatch.setenv("PATH", str(program.parent))
    assert not _works(project)
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    assert not _works(project), "it is installed, and not allowed"
    program.write_text("#!/bin/sh\nexit 0\n")
    assert _works(project)
    (project.home / "namespaces").write_text("")  # as a full disk leaves it, or another process in the midst of it
    assert _works(project)
    program.write_text("#!/bin/sh\n\nexit 1\n")
    assert not _works(project), "what was noted is of another program"
    program.write_text("#!/nowhere/sh\n")
    assert not _works(project), "it can't be run"
    program.unlink()
    assert not _works(project)


def test_a_machine_has_the_accelerators_of_all_local_pools_together(tmp_path: Path) -> None:
    sections = {"a": PoolSection(gpus=1), "b": PoolSection(gpus=2), "far": PoolSection(backend="ray", gpus=8)}
    project = Project(root=tmp_path, home=tmp_path / ".headrace", files=(), config=Config(pool=sections))
    assert [_gpus(project, pool) for pool in project.pools()] == [3, 3, 0]
