"""What messages say, as far as their source tells."""

from __future__ import annotations

import re
from pathlib import Path

SRC = Path(__file__).parents[1] / "src" / "headrace"

CUT = {
    "models/hints.py": "a step that is offered: its code has `...` where classes are left out",
    "stages/evaluate/judge.py": "it says how many more columns",
    "stages/ingest/_check/check.py": "it says how many more rules",
    "stages/ingest/_check/columns.py": "values: `...` follows",
    "stages/prepare/_clean/steps.py": "values: some examples, and the first of a row",
    "stages/prepare/_clean/preparation.py": "values: some examples",
    "stages/train/_lightgbm.py": "values: `...` follows",
}
"""Where a list is cut by hand, and why that needs no `errors.listed`."""


def test_a_message_that_lists_some_names_says_how_many_more_there_are() -> None:
    """`errors.listed` does; whoever cuts a list in a message by hand forgets it."""
    cut = re.compile(r""", "\.join\([^\n]*\[:(?:\d+|[A-Z_]+)\]""")
    files = {path.relative_to(SRC).as_posix(): path.read_text(encoding="utf-8") for path in SRC.rglob("*.py")}
    assert {name for name, text in files.items() if cut.search(text)} == set(CUT)
