"""The table of edits: an edit reruns the stages that it reaches, and no others."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.fingerprint.edits import made, table
from tests.fingerprint.edits.row import Row

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def can_run(row: Row) -> bool:
    return sys.version_info >= row.python and (row.needs is None or importlib.util.find_spec(row.needs) is not None)


ROWS = [row for row in table.ROWS if can_run(row)]


def start(rows: Path, folder: Path, seed: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT / "src"), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, str(HERE / "edits" / "bench.py"), str(rows), str(folder), str(folder / "results.json")]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment, cwd=folder)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """Run the whole table twice: in two processes with different hash seeds, in two folders."""
    return run(ROWS, tmp_path_factory.mktemp("edits"))


def run(table: Sequence[Row], folder: Path) -> dict[str, list[Any]]:
    described = []
    for row in table:
        before, after = row.versions()
        stages = [*row.changes, *row.keeps]
        described.append({"before": before, "after": after, "stages": stages, "live": row.live})
    rows = folder / "rows.json"
    rows.write_text(json.dumps(described), encoding="utf-8")
    running = []
    for seed, name in (("1", "one checkout"), ("2", "zwei/ein anderer Ort")):
        (folder / name).mkdir(parents=True)
        running.append((start(rows, folder / name, seed), folder / name / "results.json"))
    answers = []
    for process, answer in running:
        assert process.wait(timeout=280) == 0
        answers.append(json.loads(answer.read_text(encoding="utf-8")))
    return {row.name: [first, second] for row, first, second in zip(table, *answers, strict=True)}


def test_names_of_rows_are_unique_and_there_are_enough() -> None:
    names = [row.name for row in table.ROWS]
    assert len(set(names)) == len(names)
    assert len(names) >= 150


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_edit(row: Row, results: dict[str, list[Any]]) -> None:
    here, elsewhere = results[row.name]
    assert isinstance(here, list), here
    before, after = here
    assert here == elsewhere, "the digest depends on the folder, the process or the hash seed"
    for stage in row.changes:
        assert before[stage]["digest"] != after[stage]["digest"], f"`{stage}` would be reused falsely"
        told = stage.startswith("class:") or before[stage]["parts"] != after[stage]["parts"]
        assert told, "no part tells what changed"
    for stage in row.keeps:
        assert before[stage]["digest"] == after[stage]["digest"], f"`{stage}` would run for nothing"
    for stage in (*row.changes, *row.keeps):
        if row.note == "*":
            continue
        if row.note is not None:
            assert any(row.note in note for note in after[stage]["notes"]), after[stage]["notes"]
        else:
            assert after[stage]["notes"] == []
        if row.uncached:
            assert row.uncached in (after[stage]["uncached"] or "")
        else:
            assert after[stage]["uncached"] is None


@pytest.mark.heavy
def test_no_made_edit_is_missed(tmp_path: Path) -> None:
    for name, (here, elsewhere) in run(made.ROWS, tmp_path).items():
        assert here == elsewhere, name
        assert here[0]["fit"]["digest"] != here[1]["fit"]["digest"], name


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="frozen on Python 3.11, which is in keys")
def test_keys_of_before_stay(results: dict[str, list[Any]]) -> None:
    """`frozen.json` has the digests that a release gave: one that changes reruns that code for all users once."""
    frozen = json.loads((HERE / "edits" / "frozen.json").read_text(encoding="utf-8"))
    now = {
        name: {stage: results[name][0][0][stage]["digest"][:16] for stage in stages} for name, stages in frozen.items()
    }
    assert len(frozen) > 300
    assert now == frozen
