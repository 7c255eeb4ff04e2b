"""A benchmark in a process of its own.

The kernel counts as a program's peak of memory that of the process that executed it, so what one benchmark takes would
be told of the programs that the next one runs.
"""

from __future__ import annotations

import importlib
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from bench.table import Row


def apart(name: str, place: Path, rounds: int) -> list[Row]:
    """Run the benchmark of this name, in an empty folder at `place`, and return its rows."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(_rows, name, place, rounds).result()


def _rows(name: str, place: Path, rounds: int) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=place) as folder:
        return list(importlib.import_module(f"bench.{name}").rows(Path(folder), rounds))
