"""What must be said to pytest before it collects anything."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# The contract suites are part of the package, and their assertions are to be as talkative as those of tests.
for suite in ("backend_contract", "codec_contract", "ear", "store_contract", "worker_contract"):
    pytest.register_assert_rewrite(f"headrace.testing.{suite}")

# A busy machine is no bug: how long an example takes, to draw or to try, says nothing.
settings.register_profile("patient", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
