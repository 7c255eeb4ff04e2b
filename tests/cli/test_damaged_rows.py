"""A damaged row of the ledger is one clear error of each command that needs it, and never a traceback of ours."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from headrace.errors import RESTORE
from tests.cli.conftest import Beginnings, Shell

LEDGER = Path(".headrace/ledger.db")
NEED = {
    ("events", "body"): (
        "show latest",
        "explain latest fit",
        "lineage latest fit",
        "logs latest",
        "resume latest",
        "fsck",
    ),
    ("tasks", "inputs"): ("explain latest fit",),
    ("tasks", "out"): ("show latest", "get latest fit", "card latest", "ledger export saved", "fsck"),
    ("results", "out"): ("plan flow", "run flow", "ledger export saved", "fsck"),
    ("versions", "out"): ("models", "get model:m", "card model:m", "ledger export saved", "fsck"),
    ("runs", "params"): ("runs", "show latest", "compare latest latest", "resume latest"),
}
"""Commands that can't do their work without this column."""
COMMANDS = [
    *(("runs",), ("show", "latest"), ("show", "latest", "--json"), ("explain", "latest"), ("explain", "latest", "fit")),
    *(("lineage", "latest", "fit"), ("card", "latest"), ("compare", "latest", "latest"), ("get", "latest", "fit")),
    *(("models",), ("logs", "latest"), ("card", "model:m"), ("get", "model:m"), ("show", "latest", "--html")),
    *(("plan", "flow"), ("resume", "latest"), ("gc",), ("fsck",), ("fsck", "--deep"), ("replay", "latest")),
    *(("ledger", "export", "saved"), ("backup", "kept"), ("run", "flow"), ("register", "latest", "--model", "other")),
]
PIPELINES = """
import headrace as hr


@hr.stage(kind="ingest")
def read() -> list[int]:
    print("read")
    return [1, 2]


@hr.stage(kind="train")
def fit(rows: list[int], *, depth: int) -> dict[str, float]:
    hr.log("auc", 0.5)
    return {"auc": 0.1 * depth}


@hr.pipeline
def flow(depth: int = 3) -> None:
    fit(read(), depth=depth)
"""


def damage(folder: Path, table: str, column: str) -> None:
    """Cut every value of a column in half."""
    half = f"UPDATE {table} SET {column} = substr({column}, 1, length({column}) / 2)"
    with closing(sqlite3.connect(folder / LEDGER)) as db, db:
        assert db.execute(half).rowcount > 0


@pytest.fixture
def ended(project: Shell, begun: Beginnings) -> Shell:
    project.write("pipelines.py", PIPELINES)
    begun(project.folder, "run flow", "run flow --depth 4", "register latest --model m")
    return project


@pytest.mark.parametrize(("table", "column"), NEED)
def test_no_command_has_an_internal_error_for_a_damaged_row(ended: Shell, table: str, column: str) -> None:
    damage(ended.folder, table, column)
    told = []
    for words in COMMANDS:
        state = ended.folder / ".headrace"
        shutil.copytree(state, ended.folder / "before", symlinks=True)
        done = ended(*words)
        assert "internal error" not in done.err, (words, done.err)
        assert "Traceback" not in done.err, (words, done.err)
        assert done.code in (0, 1, 2, 5), (words, done.code, done.err)
        if done.code == 5 and words[0] != "fsck":  # it prints what it found on stdout
            assert "hint" in (done.out if "--json" in words else done.err), (words, done.out, done.err)
        if done.code == 5 and "can't be read" in done.out + done.err:
            told.append(" ".join(words))
        shutil.rmtree(state)
        (ended.folder / "before").rename(state)
    assert set(NEED[table, column]) <= set(told)


def test_the_error_of_a_damaged_row_says_what_it_is_and_what_finds_and_mends_it(ended: Shell) -> None:
    damage(ended.folder, "tasks", "out")
    done = ended("get", "latest", "fit")
    assert done.code == 5
    assert done.err.startswith("error: a stored artifact can't be read: ")
    assert done.err.endswith(f"hint: {RESTORE}\n")
    assert "can't be read" in ended("fsck", "--deep").out
