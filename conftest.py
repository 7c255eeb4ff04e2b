"""What pytest must know before it collects tests."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# The contract suites are part of the package, and their assertions explain themselves as those of tests do.
pytest.register_assert_rewrite("headrace.testing")

# Examples may take long on a busy machine: that is no failure.
settings.register_profile("patient", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
