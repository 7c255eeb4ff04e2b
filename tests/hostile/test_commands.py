"""The real commands on a ledger that came from a stranger: nothing that its artifacts ask for is done."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile.archives import with_outputs
from tests.hostile.artifacts import Case
from tests.projects import Project, lent

PIPELINES = """\
import headrace as hr
import pyarrow as pa
from headrace.spec.report import Fact, Report

@hr.stage
def table() -> pa.Table:
    return pa.table({"a": [1, 2, 3]})

@hr.stage(kind="train")
def fit(table: pa.Table) -> dict[str, float]:
    return {"slope": 1.0}

@hr.stage(kind="evaluate")
def judge(model: dict[str, float], table: pa.Table) -> Report:
    return Report(title="How good it is", facts=(Fact(name="AUC", value=0.8),))

@hr.pipeline
def flow() -> None:
    found = table()
    judge(fit(found), found)
"""

COMMANDS = (
    ("card",),
    ("card", "--json"),
    ("show", "latest", "--html", "run.html"),
    ("show", "latest", "--json"),
    ("runs", "--sort", "AUC"),
    ("compare", "latest", "latest"),
    ("lineage", "latest", "judge"),
    ("get", "latest", "judge", "--to", "judge.html"),
    ("get", "latest", "table", "--to", "table.arrow"),
    ("get", "latest", "table", "--columns", "a", "--to", "columns.arrow"),
    ("get", "latest", "fit", "--to", "fit.json"),
    ("contract", "draft", "latest", "table"),
)

TABLES = ("a table whose part is a pickle", "a pickle")
REPORTS = ("skops: a method of a global of a module of scores", "a pickle that says that it is a report")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with lent(tmp_path_factory.mktemp("maker")) as maker:
        maker.write("pipelines.py", PIPELINES)
        assert maker.headrace("run", "flow").code == 0
        assert maker.headrace("ledger", "export", "made.headrace").code == 0
        yield maker.root / "made.headrace"


@pytest.mark.parametrize(("report", "table"), list(zip(REPORTS, TABLES, strict=True)))
def test_no_command_runs_what_an_imported_artifact_asks_for(
    report: str, table: str, archive: Path, tmp_path: Path
) -> None:
    marker = tmp_path / "marker"
    refs = {"judge": Case(report).ref(marker), "table": Case(table).ref(marker), "fit": Case("a pickle").ref(marker)}
    with_outputs(archive, tmp_path / "forged.headrace", refs)
    with lent(tmp_path / "project") as project:
        done = project.headrace("ledger", "import", str(tmp_path / "forged.headrace"))
        assert done.code == 0, done
        for words in COMMANDS:
            done = project.headrace(*words)
            assert not marker.exists(), words
            assert "Traceback" not in done.err, (words, done)
            assert done.code in (0, 1, 2), (words, done)
        _check_reading(project, marker)


def _check_reading(project: Project, marker: Path) -> None:
    """A program may ask for what is safe; else it gets what it asked for."""
    for asked, is_run in (("safe=True", False), ("", True)):
        code = f"import headrace; headrace.runs()[0]['fit'].value({asked})"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=project.root, capture_output=True, text=True, check=False
        )
        assert ("runs code when it is read" in done.stderr) is not is_run
        assert marker.exists() is is_run
