"""Has pytest show what the assertions of the models compare."""

from __future__ import annotations

import pytest

for model in ("model", "world"):
    pytest.register_assert_rewrite(f"tests.run.{model}")
