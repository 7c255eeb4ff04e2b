"""Ledgers of earlier versions, with real runs in them, brought to this one.

`ledger_1.tar.xz` is a project as the release with schema 1 left it: two runs that succeeded, and one whose driver was
killed while its last task ran. `archive_2.headrace.xz` is what a release exported in which stages lay in other files: a
flow from files to a registered model, twice, and a run that failed.
"""

from __future__ import annotations

import lzma
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from headrace.errors import LedgerVersionError
from headrace.ledger.database import opening
from headrace.ledger.database.migrate import upgrade
from headrace.ledger.database.schema import SCHEMA, revision
from headrace.ledger.database.upgrade import begin_shared, migrate
from headrace.ledger.views.views import Views
from tests.projects import Project, finish
from tests.servers.postgres import Postgres

OLD = Path(__file__).with_name("ledger_1.tar.xz")
ARCHIVE = Path(__file__).with_name("archive_2.headrace.xz")
MADE_BY = (3, 11)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with tarfile.open(OLD) as archive:
        archive.extractall(tmp_path, filter="data")
    project = Project(tmp_path / "project")
    yield project
    project.kill_all()


def version(project: Project) -> int:
    with closing(sqlite3.connect(project.home / "ledger.db")) as db:
        return int(db.execute("pragma user_version").fetchone()[0])


def test_runs_of_version_1_are_shown_resumed_and_reused(project: Project) -> None:
    assert version(project) == 1
    runs = project.headrace("runs", "--json").json["runs"]
    assert [(run["state"], run["params"].get("station")) for run in runs] == [
        ("waiting", "3"),
        ("succeeded", "2"),
        ("succeeded", None),
    ]
    assert version(project) == SCHEMA
    shown = project.headrace("show", runs[1]["run"], "--json")
    assert {name: task["state"] for name, task in shown.task.items()} == dict.fromkeys(
        ("gauge", "level", "pause"), "succeeded"
    )
    assert {task["queued_s"] for task in shown.task.values()} == {None}  # which nobody told then
    resumed = finish(project.start("resume", runs[0]["run"], "--json"))
    assert resumed.code == 0, resumed.err
    assert resumed.task["gauge"]["attempts"] == resumed.task["level"]["attempts"] == 1
    assert resumed.task["level"]["queued_s"] is None
    assert resumed.task["pause"]["queued_s"] >= 0.0
    assert resumed.json["state"] == "succeeded"
    again = project.headrace("run", "rivers", "--station", "2", "--json")
    assert again.code == 0, again.err
    states = {task["state"] for task in again.json["tasks"]}
    assert states == ({"reused"} if sys.version_info[:2] == MADE_BY else {"succeeded"}), again.err


def test_the_results_of_version_1_are_there_for_reuse_under_their_keys(project: Project) -> None:
    before = project.home / "before.db"
    shutil.copy(project.home / "ledger.db", before)
    with closing(sqlite3.connect(before)) as old, closing(opening.connect(project.home / "ledger.db")) as new:
        for table in ("runs", "events", "tasks", "results", "blobs"):
            columns = ", ".join(f'"{column}"' for _, column, *_ in old.execute(f"pragma table_info({table})"))
            rows = f"select {columns} from {table}"
            assert sorted(old.execute(rows).fetchall(), key=repr) == sorted(new.execute(rows).fetchall(), key=repr)


def test_the_command_says_what_it_did(project: Project) -> None:
    first = project.headrace("ledger", "migrate", "--json").json
    assert (first["before"], first["after"]) == (1, SCHEMA)
    second = project.headrace("ledger", "migrate")
    assert f"is up to date (version {SCHEMA})" in second.out


def test_migrating_where_there_is_no_ledger_is_an_error(project: Project) -> None:
    shutil.rmtree(project.home)
    found = project.headrace("ledger", "migrate")
    assert found.code == 2
    assert "there is no ledger" in found.err


def test_a_migration_that_is_killed_leaves_the_ledger_as_it_was(project: Project) -> None:
    code = f"""
import os, signal
from headrace.ledger.database import migrate
from headrace.ledger.database.migrate import begin, upgrade
from pathlib import Path
from types import ModuleType
with begin(Path({str(project.home / "ledger.db")!r})) as connection:
    upgrade(connection)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code], check=False)
    assert version(project) == 1
    assert len(project.headrace("runs", "--json").json["runs"]) == 3
    assert version(project) == SCHEMA


# -- on a server --------------------------------------------------------------------------------------------------


@pytest.fixture
def url(postgres: Postgres) -> str:
    """A ledger of version 1 on a server, as the first migration makes it."""
    url = postgres.database()
    with begin_shared(url) as connection:
        upgrade(connection, revision(1))
    return url


def shape(url: str) -> list[tuple[str, ...]]:
    """What columns and indexes there are."""
    columns = """select table_name, ordinal_position, column_name, data_type, is_nullable, collation_name, is_identity
        from information_schema.columns where table_schema = 'public' order by 1, 2"""
    indexes = "select indexname, indexdef from pg_indexes where schemaname = 'public' order by 1"
    with begin_shared(url) as connection:
        return [tuple(map(str, row)) for text in (columns, indexes) for row in connection.exec_driver_sql(text)]


def test_an_older_ledger_on_a_server_waits_for_the_command(url: str, tmp_path: Path) -> None:
    with pytest.raises(LedgerVersionError, match="was written by an older Headrace") as caught:
        opening.connect(url)
    assert "headrace ledger migrate" in (caught.value.hint or "")
    assert "headrace-test" not in str(caught.value)
    project = Project(tmp_path)
    project.write("headrace.toml", f'[ledger]\nurl = "{url}"\n')
    found = project.headrace("ledger", "migrate", "--json").json
    assert (found["before"], found["after"]) == (1, SCHEMA)
    assert "***" in found["ledger"]
    with Views(url) as views:
        assert views.runs().runs == ()
    assert migrate(url).before == SCHEMA


def test_a_new_ledger_on_a_server_has_the_tables_that_the_migrations_make(postgres: Postgres, url: str) -> None:
    migrate(url)
    new = postgres.database()
    opening.connect(new).close()
    assert shape(new) == shape(url)


def test_a_ledger_of_a_newer_version_on_a_server_is_left_alone(postgres: Postgres) -> None:
    url = postgres.database()
    opening.connect(url).close()
    with begin_shared(url) as connection:
        connection.exec_driver_sql("update alembic_version set version_num = '0099'")
    with pytest.raises(LedgerVersionError, match="its version is 99"):
        opening.connect(url)


def test_an_archive_of_stages_under_their_former_modules_is_read_in_every_way(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "headrace.toml").write_text("")
    (tmp_path / "old.headrace").write_bytes(lzma.decompress(ARCHIVE.read_bytes()))
    project = Project(folder)
    told = project.headrace("ledger", "import", "../old.headrace").out
    assert "imported 3 runs" in told
    failed, ran, first = [run["run"] for run in project.headrace("runs", "--json").json["runs"]]
    states = {task["name"]: task["state"] for task in project.headrace("show", ran, "--json").json["tasks"]}
    assert states["classification"] == states["sklearn"] == states["clean"] == "reused"
    assert project.headrace("explain", ran, "sklearn", "--json").json["against"] == first
    for path, suffix in (("clean.table", "csv"), ("sklearn.model", "skops"), ("classification.report", "md")):
        assert project.headrace("get", ran, path, "--to", f"got.{suffix}").code == 0
        assert (folder / f"got.{suffix}").stat().st_size
    assert "AUC >= 0.5 with 90% confidence" in project.headrace("card", "model:buyers").out
    assert "sklearn" in project.headrace("lineage", ran, "classification").out
    for run in (failed, ran, first):
        assert "no differences" in project.headrace("replay", run).out
    assert project.headrace("show", ran, "--html").code == 0
    assert "no problems" in project.headrace("fsck", "--deep").out
    kinds = "[type(hr.load(sys.argv[1], each)).__name__ for each in sys.argv[2:]]"
    parts = {
        "clean.preparation": "Preparation",
        "check": "Checked",
        "split": "Split",
        "classification": "Classification",
    }
    loading = [sys.executable, "-c", f"import sys, headrace as hr; print(*{kinds})", ran, *parts]
    assert subprocess.check_output(loading, cwd=folder, text=True).split() == [*parts.values()]
