"""The real command, as a process of its own, in a project made for the purpose."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from msgspec import Struct

HEADRACE = str(Path(sys.executable).with_name("headrace"))


class Took(Struct, frozen=True, kw_only=True):
    """What a process took: seconds by the clock, and of the cpus, those of its children included; its most memory."""

    wall_s: float
    cpu_s: float
    code: int
    peak_mib: float = 0.0


class Spent(Struct, frozen=True, kw_only=True):
    """The median of several times, by the clock and of the cpus."""

    wall_s: float
    cpu_s: float


def spent(times: Sequence[Took]) -> Spent:
    """Return the medians of several times."""
    return Spent(wall_s=median(each.wall_s for each in times), cpu_s=median(each.cpu_s for each in times))


def took(words: Sequence[str], folder: Path, out: Path | None = None) -> Took:
    """Run a program in a folder to its end; what it prints goes to a file, or nowhere."""
    target = os.open(os.devnull if out is None else out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    here = os.getcwd()
    actions = [(os.POSIX_SPAWN_DUP2, target, number) for number in (1, 2)]
    os.chdir(folder)
    try:
        began = time.perf_counter()
        pid = os.posix_spawn(words[0], words, environment(), file_actions=actions)
        _, status, used = os.wait4(pid, 0)
        wall_s = time.perf_counter() - began
    finally:
        os.chdir(here)
        os.close(target)
    return Took(
        wall_s=wall_s,
        cpu_s=used.ru_utime + used.ru_stime,
        code=os.waitstatus_to_exitcode(status),
        peak_mib=used.ru_maxrss / 1024,  # Linux counts in KiB
    )


def headrace(words: Sequence[str], folder: Path, *, out: Path | None = None, code: int = 0) -> Took:
    """Run `headrace` in a project's folder.

    Raises:
        RuntimeError: it left with another code than this one.
    """
    log = folder / "output.log" if out is None else out
    found = took([HEADRACE, *words], folder, log)
    if found.code != code:
        raise RuntimeError(f"headrace {' '.join(words)}: exit code {found.code}\n{log.read_text()[-2000:]}")
    return found


def project(folder: Path, code: str) -> Path:
    """Make a project whose pipelines are this code; its state is in its own folder whatever the environment says."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "headrace.toml").write_text('[project]\npipelines = ["one.py"]\n')
    (folder / "one.py").write_text(code)
    return folder


def environment() -> Mapping[str, str]:
    """Return the environment without settings of Headrace's, and with bytecode: a plain project on a warm disk."""
    without = ("HEADRACE", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")
    return {name: value for name, value in os.environ.items() if not name.startswith(without)}
