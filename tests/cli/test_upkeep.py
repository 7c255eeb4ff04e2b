"""`gc`, `fsck` and `lineage` on a real project."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.cli.conftest import Shell

TABLES = """
import pyarrow as pa

import headrace as hr


@hr.stage
def table(rows: int) -> pa.Table:
    print("a table")
    return pa.table({"n": list(range(rows))})


@hr.stage
def count(rows: pa.Table) -> int:
    return rows.num_rows


@hr.pipeline
def tables(rows: int = 5000) -> None:
    count(table(rows))
"""


def blobs(project: Shell) -> list[Path]:
    return sorted((project.folder / ".headrace" / "store" / "blobs").glob("*/*"))


def output(project: Shell, task: str) -> str:
    run = project("show", "--json").json
    digest = next(each for each in run["tasks"] if each["name"] == task)["outputs"][0]["digest"]
    assert isinstance(digest, str)
    return digest


def test_another_ledger_deletes_nothing_from_the_store_in_the_state_folder(project: Shell) -> None:
    project.write("pipelines.py", TABLES)
    project("run", "tables")
    before = blobs(project)
    project.write("other.toml", '[ledger]\nurl = "sqlite:///other.db"\n')
    done = project("gc", "--config", "other.toml")
    assert done.code == 2
    assert "belongs to the ledger" in done.err
    assert "set `[store] url` as well as `[ledger] url`" in done.err
    assert blobs(project) == before
    project.write("other.toml", '[ledger]\nurl = "sqlite:///other.db"\n[store]\nurl = "kept"\n')
    assert project("gc", "--config", "other.toml").code == 0


def test_runs_that_are_not_kept_go_with_their_blobs(project: Shell) -> None:
    project.write("pipelines.py", TABLES)
    first = project("run", "tables", "--json").json["run"]
    project("run", "tables", "--rows", "6000")
    assert "equal to generation" in str(project("gc", "--json").json["blobs"])  # both runs kept the same bundle
    assert "deleted no blobs" in project("gc").out
    before = blobs(project)
    would = project("gc", "--keep-runs", "1", "--dry-run")
    assert "would forget 1 run" in would.out
    assert blobs(project) == before
    done = project("gc", "--keep-runs", "1")
    assert done.code == 0
    assert "forgot 1 run" in done.out
    assert len(blobs(project)) < len(before)
    assert project("show", first).code == 2
    assert not (project.folder / ".headrace" / "store" / "logs" / first).exists()
    assert project("fsck", "--deep").code == 0
    again = project("run", "tables", "--rows", "6000", "--json").json
    assert {task["state"] for task in again["tasks"]} == {"reused"}
    assert project("gc", "--keep", "soon").code == 2
    assert project("gc", "--keep", "1d", "--json").json["runs"] == []


def test_unpacked_code_goes_when_no_run_has_it_and_nobody_has_used_it_for_an_hour(project: Shell) -> None:
    bundles = project.folder / ".headrace" / "store" / "bundles"

    def unpacked() -> dict[str, Path]:
        """Return the unpacked bundles by the first line of their pipelines."""
        folders = [each for each in bundles.iterdir() if each.is_dir() and not each.name.startswith(".")]
        return {(each / "pipelines.py").read_text().partition("\n")[0]: each for each in folders}

    def age(folder: Path, by_s: float = 7_200.0) -> None:
        os.utime(folder, (time.time() - by_s,) * 2)

    for name in ("one", "two"):
        project.write("pipelines.py", f"# {name}\n{TABLES}")
        assert project("run", "tables").code == 0
    assert project("gc", "--keep-runs", "1").code == 0
    assert unpacked().keys() == {"# one", "# two"}, "both were used just now"
    for folder in unpacked().values():
        age(folder)
    (bundles / ".new-of-a-killed-process").mkdir()
    age(bundles / ".new-of-a-killed-process")
    assert project("gc", "--dry-run").code == 0
    assert unpacked().keys() == {"# one", "# two"}
    assert project("gc").code == 0
    assert unpacked().keys() == {"# two"}
    age(unpacked()["# two"])
    project.write("pipelines.py", f"# one\n{TABLES}")
    assert project("run", "tables").code == 0
    assert unpacked().keys() == {"# one", "# two"}
    assert project("gc", "--keep-runs", "1").code == 0
    assert unpacked().keys() == {"# one"}
    assert [each.name for each in bundles.glob(".*")] in ([".gitignore", ".lock"], [".lock", ".gitignore"])


def test_a_damaged_blob_is_found_and_made_anew(project: Shell) -> None:
    project.write("pipelines.py", TABLES)
    project("run", "tables")
    assert "no problems" in project("fsck").out
    digest = output(project, "table")
    (file,) = [each for each in blobs(project) if each.name.startswith(digest)]
    file.chmod(0o644)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    os.utime(file)
    assert project("fsck").code == 0  # its size is right
    found = project("fsck", "--deep")
    assert found.code == 5
    assert digest[:12] in found.out
    assert project("fsck", "--deep", "--json").json["problems"]
    project("fsck", "--deep", "--repair")
    again = project("run", "tables", "--json").json
    assert {task["name"]: task["state"] for task in again["tasks"]}["table"] == "succeeded"


def test_an_output_knows_where_it_came_from_and_what_came_of_it(project: Shell) -> None:
    project.write("pipelines.py", TABLES)
    project("run", "tables", "--rows", "7000")
    by_task = project("lineage", "latest", "table")
    assert "rows: 7000" in by_task.out
    assert "count" in by_task.out.partition("needed by")[2]
    by_digest = project("lineage", output(project, "table")[:16], "--json").json
    assert [step["task"] for step in by_digest["down"]] == ["count"]
    assert project("lineage", "latest", "tabel").code == 2
    assert project("lineage", "abcdef").code == 2
