"""Killed between a success and what it asked for, and resumed: each cursor is advanced once, each version given once.

`make faults ROUNDS=50 SEED=1` kills more than `make test` does; a round is repeated by its seed and number.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.ledger.views.tracking import TrackingViews
from tests.projects import Project, finish, lent, wait_for
from tests.servers.postgres import Postgres

SEED = int(os.environ.get("SEED", "1"))
ROUNDS = int(os.environ.get("ROUNDS", "2"))
STAGES = 12

PIPELINES = """\
import os

import headrace as hr
from headrace.stages import registry

@hr.stage(retries=9)
def step(before: int, at: hr.Cursor, salt: int) -> int:
    with open(os.environ["JOURNAL"], "a") as journal:
        journal.write("begin\\n")
    for point in range(20):
        hr.log("loss", 1 / (1 + point), point)
    hr.advance(at, [*(at.value or ()), salt])
    return before + 1

@hr.pipeline
def flow(salt: int) -> None:
    last = salt
    for number in range(12):
        last = step(last, hr.cursor(f"c{number}"), salt)
        registry.dataset(f"m{number}", last, aliases=["newest"])
"""


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.heavy)])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Project]:
    url = ""
    if request.param == "postgres":
        server: Postgres = request.getfixturevalue("postgres")
        url = server.database()
    with lent(tmp_path / "project", f'[ledger]\nurl = "{url}"\n' if url else "") as project:
        project.write("pipelines.py", PIPELINES)
        project.environment["JOURNAL"] = str(tmp_path / "journal")
        project.environment["LEDGER"] = url or f"sqlite:///{project.home / 'ledger.db'}"
        yield project


def test_killed_at_any_instant_a_run_asks_once(project: Project, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    # On a server, a driver that was killed holds its lease for some seconds.
    for number in range(ROUNDS if project.environment["LEDGER"].startswith("sqlite") else max(1, ROUNDS // 2)):
        rng = random.Random(f"{SEED}-{number}")
        journal.write_text("")
        salt = 1000 * (number + 1)
        process = project.start("run", "flow", "--salt", str(salt), "--json")
        lines, pause_s = rng.randrange(STAGES), rng.uniform(0, 0.02)
        print(f"SEED={SEED} number={number} after {lines} lines and {pause_s:.3f} s")
        wait_for(lambda: len(journal.read_text().splitlines()) > lines or process.poll() is not None)  # noqa: B023
        time.sleep(pause_s)  # the instant is the point
        process.send_signal(signal.SIGKILL)
        finish(process)
        done = project.headrace("resume", "latest", "--json")
        assert done.code == 0, done
        assert done.json["params"]["salt"] == str(salt)
        check(project, number + 1, done.json["run"])


def check(project: Project, rounds: int, run: str) -> None:
    salts = [1000 * (number + 1) for number in range(rounds)]
    with TrackingViews(project.environment["LEDGER"]) as views:
        for number in range(STAGES):
            versions = views.cursors(f"c{number}")
            assert [each.version for each in versions] == list(range(rounds, 0, -1))
            parts = versions[0].value.parts or ()
            assert [int(each.inline or b"") for each in parts] == salts
            models = views.versions("dataset", f"m{number}")
            assert [each.version for each in models] == list(range(rounds, 0, -1))
            assert [each.aliases for each in models] == [("newest",), *[()] * (rounds - 1)]
        counts = {each.count for each in views.metrics(run)}
        assert counts == {20}
        assert {len(each.steps) for each in views.series(run)} == {20}
    replayed = project.headrace("replay", "latest")
    assert "no differences" in replayed.out, replayed
