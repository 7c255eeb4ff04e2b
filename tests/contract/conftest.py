"""Has pytest show what the assertions of the suites that we ship compare."""

from __future__ import annotations

import pytest

for suite in ("backend_contract", "worker_contract", "ear"):
    pytest.register_assert_rewrite(f"headrace.testing.{suite}")
