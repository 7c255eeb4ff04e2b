"""Counts what is in a prediction log, and shares no code with what writes it."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pyarrow.parquet


def in_segments(folder: Path) -> Counter[str]:
    """Return how often each id of a prediction is in the segments of a log."""
    found: Counter[str] = Counter()
    for path in [*folder.rglob("*.db"), *folder.rglob("*.closed")]:
        with closing(sqlite3.connect(path)) as db:
            ((writer, segment),) = db.execute("SELECT writer, segment FROM about")
            for first, count, salt in db.execute("SELECT offset, count, salt FROM answered"):
                found.update(f"{writer}-{segment}-{first + place}-{salt + 2**63:016x}" for place in range(count))
    return found


def labels_in_segments(folder: Path) -> Counter[str]:
    """Return how often each id of a prediction has a label in the segments of a log."""
    found: Counter[bytes] = Counter()
    for path in [*folder.rglob("*.db"), *folder.rglob("*.closed")]:
        with closing(sqlite3.connect(path)) as db:
            for (labels,) in db.execute("SELECT labels FROM feedback"):
                found.update(re.findall(rb"[0-9a-z]{12}-[0-9]+-[0-9]+-[0-9a-f]{16}", labels))
    return Counter({identity.decode(): count for identity, count in found.items()})


def in_file(path: Path) -> Counter[str]:
    """Return how often each id is in a Parquet file that `headrace predictions --to` wrote."""
    return Counter(pyarrow.parquet.read_table(path).column("id").to_pylist())


def check(acknowledged: set[str], found: Counter[str]) -> None:
    """Check that no acknowledged prediction is lost, and none is there twice."""
    lost = acknowledged - found.keys()
    twice = {each for each, count in found.items() if count > 1}
    assert not lost, f"{len(lost)} of {len(acknowledged)} are lost: {sorted(lost)[:5]}"
    assert not twice, f"{len(twice)} are there twice: {sorted(twice)[:5]}"
