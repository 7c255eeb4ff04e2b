"""What must be said to pytest before it collects anything."""

from __future__ import annotations

import pytest

# The contract suites are part of the package, and their assertions are to be as talkative as those of tests.
for suite in ("backend_contract", "codec_contract", "ear", "store_contract", "worker_contract"):
    pytest.register_assert_rewrite(f"headrace.testing.{suite}")
