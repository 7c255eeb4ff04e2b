"""The memory of a command and all that it begins, as often as can be looked."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from threading import Event, Thread

from bench.command import HEADRACE, environment


def peak_pss_mib(words: Sequence[str], place: Path) -> float:
    """Run `headrace` in a project, and return the most that the driver's descendants took together.

    Raises:
        RuntimeError: it failed.
    """
    peak_kib = 0
    process = subprocess.Popen(
        [HEADRACE, *words], cwd=place, env=dict(environment()), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    ended = Event()
    Thread(target=lambda: (process.wait(), ended.set()), daemon=True).start()
    while not ended.wait(0.005):
        peak_kib = max(peak_kib, sum(map(_pss_kib, _descendants(process.pid))))
    if process.returncode:
        raise RuntimeError(f"headrace {' '.join(words)}: exit code {process.returncode}")
    return peak_kib / 1024


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    rest = [pid]
    while rest:
        each = rest.pop()
        try:
            children = [int(word) for word in Path(f"/proc/{each}/task/{each}/children").read_text().split()]
        except OSError:
            continue  # it has ended meanwhile
        found += children
        rest += children
    return found


def _pss_kib(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
