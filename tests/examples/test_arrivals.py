"""The arrivals example: a world that grows, read by four sources."""

import gzip
import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "arrivals"
COMMAND = str(Path(sys.executable).with_name("headrace"))


def run_after(days: int, project: Path) -> dict[str, Any]:
    """Run the pipeline once so many days have passed, as a user does, with little training."""
    words = [
        sys.executable,
        "world.py",
        "--days",
        str(days),
        COMMAND,
        "run",
        "arrivals",
        "--trials",
        "2",
        "--epochs",
        "1",
    ]
    done = subprocess.run([*words, "--json"], cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return cast(dict[str, Any], json.loads(done.stdout))


def rows_of(project: Path, task: str, field: str) -> int:
    """Count the rows of a table that a task of the latest run gave."""
    script = "import sys, headrace as hr; print(getattr(hr.runs()[0][sys.argv[1]].value(), sys.argv[2]).num_rows)"
    words = [sys.executable, "-c", script, task, field]
    return int(subprocess.run(words, cwd=project, capture_output=True, text=True, check=True).stdout)


def lines(project: Path) -> int:
    """Count the lines that the towers wrote."""
    logs = (project / "world" / "tower").iterdir()
    return sum(
        (gzip.decompress(log.read_bytes()) if log.suffix == ".gz" else log.read_bytes()).count(b"\n") for log in logs
    )


def scheduled(project: Path) -> int:
    """Count the flights that the warehouse has."""
    with closing(sqlite3.connect(project / "world" / "warehouse.db")) as database:
        (count,) = database.execute("select count(*) from flights").fetchone()
    return int(count)


@pytest.mark.heavy
@pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed: pip install torch")
def test_a_world_that_grows_is_read_on_and_each_row_counts_once(tmp_path: Path) -> None:
    project = tmp_path / "arrivals"
    shutil.copytree(EXAMPLE, project, ignore=shutil.ignore_patterns(".headrace", "world", "__pycache__"))
    first = {task["name"]: task["state"] for task in run_after(20, project)["tasks"]}
    assert first.pop("register_model") == "skipped"  # so few days don't tell whether the trees are of use
    assert set(first.values()) == {"succeeded"}
    assert (rows_of(project, "sql", "table"), rows_of(project, "logs", "rows")) == (scheduled(project), lines(project))

    before = scheduled(project)
    then = {task["name"]: task["state"] for task in run_after(33, project)["tasks"]}
    assert scheduled(project) > before
    assert (then["files"], then["clean"]) == ("reused", "reused")
    assert (rows_of(project, "sql", "table"), rows_of(project, "logs", "rows")) == (scheduled(project), lines(project))
