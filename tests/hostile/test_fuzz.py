"""Whatever a stranger's words are, they are read right or refused, in time and by an error of ours."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.hostile.fuzz import TARGETS

SEED = os.environ.get("FUZZ_SEED", "")
"""Names the rounds to play; else `make test` plays the same each time, and `make proofs` others."""


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "seconds", [1, pytest.param(60, marks=pytest.mark.heavy)], ids=["for a second", "for a minute"]
)
def test_what_was_changed_at_random_is_read_right_or_refused(target: str, seconds: int) -> None:
    seed = SEED or ("1" if seconds == 1 else str(int.from_bytes(os.urandom(4), "big")))
    words = [sys.executable, "-m", "tests.hostile.fuzz", target, seed, str(seconds)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    told = done.stdout[-6000:] + done.stderr[-300:]
    print(told)
    assert done.returncode == 0, f"FUZZ_SEED={seed}\n{told}"
