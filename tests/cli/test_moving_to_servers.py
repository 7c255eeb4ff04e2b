"""From a laptop to servers and back: SQLite and a folder to PostgreSQL and S3, by the real command."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.cli.test_ledger import DEADLY, PIPELINES, bring, export, rows
from tests.projects import Project, finish, lent
from tests.servers.postgres import Postgres
from tests.servers.s3 import S3

TABLES = ("runs", "events", "tasks", "results", "blobs")


@pytest.fixture
def project(tmp_path: Path, s3: S3) -> Iterator[Project]:
    with lent(tmp_path / "project") as project:
        project.write("pipelines.py", PIPELINES)
        project.environment |= s3.environment
        yield project


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.database()


@pytest.fixture
def shared(project: Project, url: str, s3: S3) -> tuple[str, str]:
    """The words that lay the shared settings over the project's own."""
    project.write(
        "shared.toml",
        f"""
        [ledger]
        url = "{url}"
        [store]
        url = "s3://{s3.bucket()}/project"
        endpoint = "{s3.endpoint}"
        [backup]
        url = "s3://{s3.bucket()}/backups"
        endpoint = "{s3.endpoint}"
        """,
    )
    return "--config", "shared.toml"


def there(url: str, table: str) -> list[tuple[Any, ...]]:
    """Read a table of a server, each run by its id."""
    key = "number" if table == "runs" else "run"
    with closing(psycopg.connect(url)) as db:
        cursor = db.execute(f"SELECT r.id, t.* FROM {table} t JOIN runs r ON r.number = t.{key}")
        names = [each.name for each in cursor.description or ()]
        kept = [place for place, name in enumerate(names) if name not in ("number", "run")]
        return sorted((tuple(row[place] for place in kept) for row in cursor), key=repr)


def let_go(url: str) -> None:
    """Have the leases run out that killed processes held, as they do after a while: the next would wait for that."""
    with closing(psycopg.connect(url, autocommit=True)) as db, suppress(psycopg.errors.UndefinedTable):
        db.execute("UPDATE leases SET expires = now() - interval '1 s'")


def test_what_a_laptop_made_is_reused_on_servers_and_comes_back(
    project: Project, url: str, shared: tuple[str, str], tmp_path: Path
) -> None:
    for n in ("1", "2"):
        assert project.headrace("run", "flow", "--n", n).code == 0
    export(project)
    done = project.headrace(*shared, "ledger", "import", "laptop.headrace", "--json")
    assert done.code == 0, done
    assert (done.json["runs"], done.json["blobs"], done.json["lacking"]) == (2, 4, [])
    for table in TABLES:
        assert there(url, table) == rows(project.home, table), table
    assert bring(project, "laptop.headrace", *shared)["known"] == 2
    (project.home / "store").rename(project.root / "away")
    assert "small is here, with 2" in project.headrace("logs", "latest", *shared).out
    again = project.headrace(*shared, "run", "flow", "--n", "2", "--json")
    assert again.code == 0, again
    assert {task["state"] for task in again.json["tasks"]} == {"reused"}
    assert project.headrace("fsck", "--deep", *shared).code == 0
    assert project.headrace("replay", "latest", *shared).code == 0
    export(project, "back.headrace", *shared)
    home = Project(project.root, project.environment | {"HEADRACE_HOME": str(tmp_path / "back")}, project.mark)
    assert bring(home, "back.headrace")["runs"] == 3
    assert (
        "small is here, with 2"
        in home.headrace("logs", project.headrace("runs", "--json", *shared).json["runs"][1]["run"]).out
    )
    for table in TABLES:
        assert rows(tmp_path / "back", table) == there(url, table), table
    assert home.headrace("fsck", "--deep").code == 0


def test_what_attempts_printed_that_died_is_shown_there_and_back(
    project: Project, shared: tuple[str, str], tmp_path: Path
) -> None:
    project.write("pipelines.py", DEADLY)
    assert project.headrace("run", "flow").code == 1
    printed = project.headrace("logs", "latest").out
    assert printed.count("last words\n") == 2
    export(project)
    (project.home / "store").rename(project.root / "away")
    assert project.headrace(*shared, "ledger", "import", "laptop.headrace").code == 0
    assert project.headrace("logs", "latest", *shared).out == printed
    export(project, "back.headrace", *shared)
    home = Project(project.root, project.environment | {"HEADRACE_HOME": str(tmp_path / "back")}, project.mark)
    assert bring(home, "back.headrace")["runs"] == 1
    assert home.headrace("logs", "latest").out == printed


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.heavy)])
def test_an_import_that_is_killed_brings_whole_runs_only_and_goes_on(
    project: Project, url: str, shared: tuple[str, str], seed: int
) -> None:
    for n in ("1", "2", "3"):
        assert project.headrace("run", "flow", "--n", n).code == 0
    export(project)
    rng = random.Random(seed)
    for _ in range(3):
        process = project.start(*shared, "ledger", "import", "laptop.headrace")
        time.sleep(rng.uniform(0.2, 1.5))  # the instant is the point
        process.kill()
        assert "Traceback" not in finish(process).err
        let_go(url)
    done = project.headrace(*shared, "ledger", "import", "laptop.headrace", "--json")
    assert done.code == 0, done
    for table in TABLES:
        assert there(url, table) == rows(project.home, table), table
    assert project.headrace("fsck", "--deep", *shared).code == 0


def test_servers_are_backed_up_collected_and_restored(
    project: Project, shared: tuple[str, str], tmp_path: Path
) -> None:
    for n in ("1", "2"):
        assert project.headrace("run", "flow", "--n", n, *shared).code == 0
    made = project.headrace("backup", "--json", *shared)
    assert made.code == 0, made
    assert (made.json["copied"], made.json["snapshot"]["lacking"]) == (4, [])
    dry = project.headrace("gc", "--keep-runs", "1", "--dry-run", "--json", *shared).json
    found = project.headrace("gc", "--keep-runs", "1", "--json", *shared).json
    assert (dry["runs"], dry["count"]) == (found["runs"], found["count"])
    assert found["count"] >= 2
    assert project.headrace("fsck", "--deep", *shared).code == 0
    assert project.headrace("backup", "--keep", "1", "--json", *shared).json["deleted"] >= 2
    project.environment["HEADRACE__LEDGER__URL"] = f"sqlite:///{tmp_path / 'laptop.db'}"
    project.environment["HEADRACE__STORE__URL"] = str(tmp_path / "store")
    back = project.headrace("restore", "--json", *shared)
    assert back.code == 0, back
    assert back.json["imported"]["runs"] == 1
    assert project.headrace("fsck", "--deep", *shared).code == 0
    again = project.headrace("run", "flow", "--n", "2", "--json", *shared)
    assert {task["state"] for task in again.json["tasks"]} == {"reused"}
