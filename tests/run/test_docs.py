"""The page about backends shows code that runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "backends.md"


def test_the_run_in_virtual_time_that_the_page_shows_comes_to_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    [script, run] = [block for block in blocks if "simulated" in block]
    exec(compile(script + run, PAGE.name, "exec"), {})
    state, seconds, _ = capsys.readouterr().out.split()
    assert state == "succeeded"
    assert float(seconds) == pytest.approx(100 * 3600, rel=0.1)
