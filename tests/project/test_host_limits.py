"""The limits that control groups of either version set."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.project import host_limits


@pytest.fixture
def groups(tmp_path: Path) -> Path:
    return tmp_path


def member(groups: Path, text: str) -> Path:
    file = groups / "self"
    file.write_text(text)
    return file


def test_version_two_counts_the_tightest_of_all_levels(groups: Path) -> None:
    inner = groups / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "cpu.max").write_text("max 100000\n")
    (inner.parent / "cpu.max").write_text("50000 100000\n")
    (inner / "memory.max").write_text("max\n")
    (inner.parent / "memory.max").write_text(f"{1 << 28}\n")
    file = member(groups, "0::/a/b\n")
    assert host_limits.cpus(groups, file) == 0.5
    assert host_limits.memory_gib(groups, file) == 0.25


def test_version_one_has_a_folder_for_each_controller(groups: Path) -> None:
    for controller, name, value in [
        ("cpu,cpuacct", "cpu.cfs_quota_us", 20000),
        ("cpu,cpuacct", "cpu.cfs_period_us", 100000),
        ("memory", "memory.limit_in_bytes", 1 << 29),
    ]:
        (groups / controller).mkdir(exist_ok=True)
        (groups / controller / name).write_text(f"{value}\n")
    file = member(groups, "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n1:name=systemd:/\n")
    assert host_limits.cpus(groups, file) == 0.2
    assert host_limits.memory_gib(groups, file) == 0.5


def test_without_limits_it_is_the_machine(groups: Path) -> None:
    (groups / "cpu").mkdir()
    (groups / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    (groups / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    file = member(groups, "3:cpu:/\n")
    assert host_limits.cpus(groups, file) == host_limits.cpus(groups, groups / "missing") >= 1
    assert host_limits.memory_gib(groups, file) > 0
