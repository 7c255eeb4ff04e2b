"""The cpus and memory that this process may use on this machine, as affinity and control groups limit them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

GIB = 1 << 30
_ROOT = Path("/sys/fs/cgroup")


def cpus(groups: Path = _ROOT, membership: Path = Path("/proc/self/cgroup")) -> float:
    """Return the number of cpus that this process may use. If a control group sets a quota, the number may be a
    fraction."""
    allowed = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    for folder in _folders(groups, membership, "cpu"):
        if (quota := _quota(folder)) is not None:
            allowed = min(allowed, quota)
    return allowed


def memory_gib(groups: Path = _ROOT, membership: Path = Path("/proc/self/cgroup")) -> float:
    """Return the memory that this process and its children may use together, in GiB."""
    allowed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    for folder in _folders(groups, membership, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            if (limit := _number(folder / name)) is not None:
                allowed = min(allowed, limit / GIB)
    return allowed


def _folders(groups: Path, membership: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of this process's control group and of all groups above it, for cgroup versions 1 and 2."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0" and not controllers:
            base = groups
        elif controller in controllers.split(","):
            base = groups / controller if (groups / controller).is_dir() else groups / controllers
        else:
            continue
        folder = base / path.lstrip("/")
        # In a container the path is often the host's, and the container's own group is mounted at the base.
        yield from (each for each in (folder, *folder.parents) if each.is_relative_to(base) and each.is_dir())


def _quota(folder: Path) -> float | None:
    """Return the number of cpus that a control group may use, or None if it sets no limit."""
    try:
        quota, period = (folder / "cpu.max").read_text().split()
    except (OSError, ValueError):
        limit, length = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
        return limit / length if limit is not None and limit > 0 and length else None
    return None if quota == "max" else float(quota) / float(period)


def _number(file: Path) -> float | None:
    try:
        return float(file.read_text())
    except (OSError, ValueError):
        return None
