"""Servers that are lost in the midst of a command: its exit code says what was done, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.projects import Project, check_error, finish, lent, wait_for
from tests.servers.line import Line
from tests.servers.postgres import Postgres

PIPELINES = """
    import time
    from pathlib import Path
    import headrace as hr

    @hr.stage(cache=False)
    def waits(folder: str) -> int:
        Path(folder, "begun").touch()
        while not Path(folder, "end").exists():
            time.sleep(0.01)
        return 1

    @hr.stage
    def reaches(cursor: hr.Cursor) -> int:
        now = (cursor.value or 0) + 1
        hr.advance(cursor, now)
        return now

    @hr.pipeline
    def slow(folder: str) -> None:
        waits(folder)

    @hr.pipeline
    def quick() -> None:
        reaches(hr.cursor("far"))
    """

IMPATIENT = """\
import sys
if any("headrace" in word for word in sys.orig_argv) and "headrace.work" not in " ".join(sys.orig_argv):
    import headrace.ledger.database.postgres
    headrace.ledger.database.postgres.PATIENCE_S = 0.5
"""
"""Python imports this first: commands give a server that they had reached up at once."""

MOST = 16
"""No command makes so many connections."""


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.database()


@pytest.fixture
def line(postgres: Postgres) -> Iterator[Line]:
    with Line(postgres.port) as line:
        yield line


@pytest.fixture
def project(tmp_path: Path, postgres: Postgres, url: str, line: Line) -> Iterator[Project]:
    """A project whose ledger lies behind a line."""
    with lent(tmp_path / "project") as project:
        project.write("pipelines.py", PIPELINES)
        project.environment["HEADRACE__LEDGER__URL"] = url.replace(f":{postgres.port}/", f":{line.port}/")
        (tmp_path / "clock").mkdir()
        (tmp_path / "clock" / "sitecustomize.py").write_text(IMPATIENT)
        paths = [str(tmp_path / "clock"), *filter(None, [os.environ.get("PYTHONPATH")])]
        project.environment["PYTHONPATH"] = os.pathsep.join(paths)
        yield project


def rows(url: str, text: str) -> list[tuple[Any, ...]]:
    with closing(psycopg.connect(url)) as db:
        return db.execute(text.encode()).fetchall()


@pytest.mark.parametrize("as_json", [False, True])
def test_a_run_that_succeeded_has_0_though_nothing_can_be_read_of_it_any_more(
    project: Project, line: Line, tmp_path: Path, as_json: bool
) -> None:
    process = project.start("run", "slow", "--folder", str(tmp_path), *(["--json"] if as_json else []))
    wait_for((tmp_path / "begun").exists)
    line.refuse()
    (tmp_path / "end").touch()
    done = finish(process)
    assert done.code == 0, done
    assert "succeeded" in done.out
    assert "warning: the run succeeded, but its record can't be read now" in done.err
    if as_json:
        assert done.json["state"] == "succeeded"


def test_a_run_whose_ledger_is_lost_on_the_way_has_5_and_goes_on_later(
    project: Project, line: Line, tmp_path: Path
) -> None:
    process = project.start("run", "slow", "--folder", str(tmp_path))
    wait_for((tmp_path / "begun").exists)
    line.cut()
    check_error(finish(process), 5, "the ledger", "can't be reached (tried for 0.5 s)", hint="headrace resume")
    line.heal()
    (tmp_path / "end").touch()
    assert project.headrace("resume", "latest").code == 0


def test_whichever_connection_fails_a_run_has_2_only_if_it_was_not_begun(
    project: Project, line: Line, url: str
) -> None:
    assert project.headrace("run", "quick").code == 0
    seen: list[int] = []
    for count in range(MOST):
        before = rows(url, "select state from runs")
        line.refuse(after=count)
        done = project.headrace("run", "quick", "--force", "reaches")
        line.heal()
        states = [state for (state,) in rows(url, "select state from runs order by number")[len(before) :]]
        seen.append(done.code)
        expected = {2: [[]], 0: [["succeeded"]], 5: [["running"]]}
        assert states in expected[done.code], (count, done)
        if seen[-2:] == [0, 0]:
            break  # it made no more connections
    assert {0, 2} <= set(seen)


@pytest.mark.parametrize(
    ("words", "query"),
    [
        (["register", "latest", "reaches", "--dataset", "m{count}"], "select count(*) from versions"),
        (["rewind", "far", "--to", "{count}"], "select max(version) from cursors where name = 'far'"),
        (["alias", "dataset:m", "a{count}"], "select count(*) from aliases"),
    ],
    ids=lambda each: each[0] if isinstance(each, list) else "",
)
def test_whichever_connection_fails_a_command_has_2_only_if_it_changed_nothing(
    project: Project, line: Line, url: str, words: list[str], query: str
) -> None:
    assert project.headrace("run", "quick").code == 0
    assert project.headrace("register", "latest", "reaches", "--dataset", "m").code == 0
    seen: list[int] = []
    for count in range(100, 100 + MOST):
        before = rows(url, query)
        line.refuse(after=count - 100)
        done = project.headrace(*(word.format(count=count) for word in words))
        line.heal()
        seen.append(done.code)
        assert done.code == (2 if rows(url, query) == before else 0), (count, done)
        if seen[-2:] == [0, 0]:
            break  # it made no more connections
    assert set(seen) == {0, 2}
