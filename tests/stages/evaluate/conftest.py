"""What the evaluation stages are tried on. They write their page to the folder that they run in."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def people() -> pa.Table:
    """600 people with a score that is worth something, a sex, and a town of which one has one person."""
    random = np.random.default_rng(7)
    true = random.random(600) < 0.4
    score = np.clip(0.25 + 0.3 * true + random.normal(0, 0.18, 600), 0.01, 0.99)
    town = random.choice(["north", "south"], 600)
    town[5] = "alone"
    sex = random.choice(["f", "m"], 600)
    return pa.table({"hired": true, "p": score, "sex": sex, "town": town, "day": random.integers(0, 40, 600)})
