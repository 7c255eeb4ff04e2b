"""`doctor` says of each part what it found, and what to do."""

from __future__ import annotations

import os
import pwd
import re

from tests.cli.conftest import Result, Shell
from tests.servers.postgres import Postgres
from tests.servers.s3 import READER_KEY, READER_SECRET, S3


def finding(done: Result, about: str) -> dict[str, str]:
    return next(each for each in done.json["findings"] if each["about"] == about)


def test_a_laptop_is_well(project: Shell) -> None:
    done = project("doctor", "--json")
    assert done.code == 0
    assert {"ledger", "store", "pool local", "locks", "clock"} <= {each["about"] for each in done.json["findings"]}
    project("run", "good")
    me = pwd.getpwuid(os.geteuid()).pw_name
    told = finding(project("doctor", "--json"), "ledger")["found"]
    assert told.endswith(f"you are recorded as the operating system's user `{me}`, and nothing checks that")


def test_a_pipelines_file_that_is_no_python_is_wrong_and_one_that_was_only_read_is_said_to_be(project: Shell) -> None:
    project.write("pipelines.py", "import headrace as hr\n\n\n@hr.pipeline\ndef p() -> None: ...\n\n\n1 / 0\n")
    found = finding(project("doctor", "--json"), "pipelines")
    assert found["found"] == "`p`; their files weren't imported: `headrace plan p` does that"
    assert "division by zero" in project("plan", "p").err
    project.write("pipelines.py", "import headrace as hr\n\n\n@hr.pipeline\ndef p( -> None: ...\n")
    done = project("doctor", "--json")
    found = finding(done, "pipelines")
    assert (done.code, found["state"]) == (2, "wrong")
    assert "`pipelines.py` isn't Python: " in found["found"]
    assert "line 5" in found["found"]


def test_a_backend_that_does_not_exist_is_told_as_runs_tell_it(project: Shell) -> None:
    project.write("headrace.toml", '[pool.local]\n[pool.b]\nbackend = "rayy"\n')
    done = project("doctor", "--json")
    told = "pool `b` has backend `rayy`, which this release doesn't have"
    assert (finding(done, "pool b")["found"], finding(done, "pool b")["hint"]) == (told, 'use "local" or "ray"')
    assert told in project("run", "good", "--pool", "b").err


def test_a_server_and_a_bucket_are_reached_written_and_timed(project: Shell, postgres: Postgres, s3: S3) -> None:
    project.write("fleet.toml", fleet(postgres.database(), s3))
    done = project("doctor", "--json", "--config", "fleet.toml", **s3.environment)
    assert done.code == 0, done.out
    ledger, store = finding(done, "ledger"), finding(done, "store")
    assert re.match(r"PostgreSQL \d+.*, no runs in .*; answers in [\d.]+ ms, commits in [\d.]+ ms", ledger["found"])
    assert ledger["found"].endswith("you are recorded as the role that logged in, `postgres`")
    assert "8.0 MiB written in" in store["found"]


def test_what_is_wrong_with_one_part_does_not_hide_the_others(project: Shell, postgres: Postgres, s3: S3) -> None:
    project.write("fleet.toml", fleet(postgres.url("nowhere"), s3))
    reader = {"AWS_ACCESS_KEY_ID": READER_KEY, "AWS_SECRET_ACCESS_KEY": READER_SECRET}
    done = project("doctor", "--json", "--config", "fleet.toml", **reader)
    assert done.code == 2
    ledger, store = finding(done, "ledger"), finding(done, "store")
    assert (ledger["state"], store["state"]) == ("wrong", "wrong")
    assert "nowhere" in ledger["found"]
    assert ledger["hint"]
    assert "write" in store["found"]
    assert store["hint"]
    assert finding(done, "pool local")["state"] == "well"
    assert "headrace-test" not in done.out
    assert READER_SECRET not in done.out


def test_a_ledger_on_a_server_over_a_folder_of_this_machine_is_doubtful(project: Shell, postgres: Postgres) -> None:
    project.write("fleet.toml", f'[ledger]\nurl = "{postgres.database()}"\n')
    done = project("doctor", "--json", "--config", "fleet.toml")
    store = finding(done, "store")
    assert (done.code, store["state"]) == (0, "doubtful")
    assert "`[store] url`" in store["hint"]


def test_the_place_of_the_backups_is_looked_at_too(project: Shell) -> None:
    project.write("kept.toml", '[backup]\nurl = "kept"\n')
    assert "written in" in finding(project("doctor", "--json", "--config", "kept.toml"), "backup")["found"]
    project.write("kept.toml", '[backup]\nurl = ".headrace/store/kept"\n')
    done = project("doctor", "--json", "--config", "kept.toml")
    assert done.code == 2
    assert "in a store that the project uses for its runs" in finding(done, "backup")["found"]


def fleet(ledger: str, s3: S3) -> str:
    return f"""
        [ledger]
        url = "{ledger}"

        [store]
        url = "s3://{s3.bucket()}/project"
        endpoint = "{s3.endpoint}"
        region = "us-east-1"
        """
