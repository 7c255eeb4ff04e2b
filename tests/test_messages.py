"""What messages say, as far as their source tells."""

from __future__ import annotations

import re
from pathlib import Path

from headrace.errors import near

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

COMPARES = {
    "__init__.py": "names of `hr` with capitals or without",
    "cli/options.py": "one that is similar enough takes the place of another hint",
    "inspect/metrics/metrics.py": "several metrics",
    "stages/evaluate/metrics/catalogue.py": "metrics have plain names beside their own",
    "stages/ingest/_check/check.py": "a finding, not a hint",
}
"""Where similar names are looked for by hand, and why `errors.meant` or `errors.near` doesn't do."""


def test_a_message_that_lists_some_names_says_how_many_more_there_are() -> None:
    """`errors.listed` does; whoever cuts a list in a message by hand forgets it."""
    cut = re.compile(r""", "\.join\([^\n]*\[:(?:\d+|[A-Z_]+)\]""")
    files = {path.relative_to(SRC).as_posix(): path.read_text(encoding="utf-8") for path in SRC.rglob("*.py")}
    assert {name for name, text in files.items() if cut.search(text)} == set(CUT)


def test_a_name_that_was_meant_is_looked_for_in_one_place() -> None:
    compares = {p.relative_to(SRC).as_posix() for p in SRC.rglob("*.py") if "get_close_matches" in p.read_text("utf-8")}
    assert compares == {"errors.py", *COMPARES}


def test_a_hint_names_some_and_says_how_many_more_there_are() -> None:
    names = [f"stage{number}" for number in range(12)]
    assert near("xyz", names, "its tasks are") == (
        "its tasks are `stage0`, `stage1`, `stage2`, `stage3`, `stage4` and 7 more"
    )
    assert near("xyz", names[:2], "its tasks are") == "its tasks are `stage0`, `stage1`"
