"""What pytest must know before it collects tests."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The contract suites are part of the package, and their assertions explain themselves as those of tests do.
pytest.register_assert_rewrite("headrace.testing")

# Examples may take long on a busy machine: that is no failure.
settings.register_profile("patient", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

SOURCE = Path(__file__).parent / "src"


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out the modules of the package that hold no doctest: to import them all costs each process ten seconds."""
    is_module = collection_path.suffix == ".py" and collection_path.is_relative_to(SOURCE)
    return True if is_module and ">>>" not in collection_path.read_text(encoding="utf-8") else None


def pytest_collection_finish() -> None:
    """Have the garbage collector leave out what the tests import: it is alive as long as they run."""
    gc.collect()
    gc.freeze()
