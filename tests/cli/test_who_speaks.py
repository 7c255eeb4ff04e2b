"""Who gave a command is recorded: the server's role, or the operating system's user."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from headrace.ledger.database import opening, scan
from headrace.run.events import Opened, Taken, decode_event
from tests.cli.people import team
from tests.projects import Project, finish, lent, wait_for
from tests.servers.postgres import Postgres

PIPELINES = """
import time
from pathlib import Path

import headrace as hr
from headrace.stages import registry


@hr.stage
def fit(depth: int) -> dict:
    return {"depth": depth}


@hr.pipeline
def trained() -> None:
    registry.model("trees", fit(3), aliases="newest")


@hr.stage(cache=False)
def wait() -> int:
    time.sleep(600)
    return 1


@hr.pipeline
def waiting() -> None:
    wait()
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with lent(tmp_path / "project") as project:
        project.write("pipelines.py", PIPELINES)
        project.environment["LOGNAME"] = "somebody-else"
        yield project


def events(address: str) -> tuple[str, str]:
    """Who opened the first run, and who took it."""
    with closing(opening.connect(address)) as db:
        every = [decode_event(body) for _, body in scan.events(db, 1)]
    return (
        next(each.user for each in every if isinstance(each, Opened)),
        next(each.holder for each in every if isinstance(each, Taken)),
    )


@pytest.fixture
def people(postgres: Postgres, project: Project) -> str:
    return team(postgres, project)


def test_on_a_server_it_is_the_role_that_logged_in_whatever_role_it_acts_as(
    project: Project, people: str, postgres: Postgres
) -> None:
    done = project.headrace("run", "trained", "--config", "ada.toml", "--json")
    assert done.code == 0, done.out + done.err
    assert project.headrace("alias", "model:trees:1", "best", "--config", "bob.toml", "--why", "a look").code == 0
    shown = project.headrace("models", "trees", "--config", "bob.toml", "--json").json
    assert [(each["alias"], each["by"]) for each in shown["moves"]] == [
        ("best", f"bob_{people}"),
        ("newest", f"ada_{people}"),
    ]
    url = (project.root / "ada.toml").read_text().split('"')[1]
    assert events(url) == (f"ada_{people}", f"ada_{people}")
    assert f"`bob_{people}`" in project.headrace("doctor", "--config", "bob.toml").out


def test_a_run_that_another_role_cancels_says_which(project: Project, people: str) -> None:
    process = project.start("run", "waiting", "--config", "ada.toml", "--json")
    wait_for(lambda: "running" in project.headrace("show", "latest", "--config", "ada.toml").out)
    assert project.headrace("cancel", "latest", "--now", "--config", "bob.toml").code == 0
    done = finish(process)
    assert done.code == 3
    assert f"cancelled by bob_{people}" in project.headrace("show", "latest", "--config", "ada.toml").out + done.err


def test_in_a_file_it_is_the_operating_system_s_user_and_not_a_variable(project: Project) -> None:
    assert project.headrace("run", "trained").code == 0
    me = pwd.getpwuid(os.geteuid()).pw_name
    assert events(str(project.home / "ledger.db")) == (me, me)
    assert [each["by"] for each in project.headrace("models", "--json").json["moves"]] == [me]
