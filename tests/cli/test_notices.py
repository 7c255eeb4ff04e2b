"""People are told of runs that fail or are refused, whatever the command or server that tells them does."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from headrace.ledger.outbox import TRIES
from tests.projects import Project, check_error, finish, lent, wait_for
from tests.servers.web import Reply, serving

PIPELINES = """
import headrace as hr


@hr.stage
def fit(depth: int) -> int:
    if depth == 13:
        raise ValueError("depth 13 is unlucky")
    return depth


@hr.pipeline
def flow(depth: int = 13) -> None:
    fit(depth)
"""

KEEPS = "cat >> told; echo >> told"
"""A command that keeps each notice as a line of a file."""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with lent(tmp_path, '[project]\npipelines = ["pipelines.py"]\n') as project:
        project.write("pipelines.py", PIPELINES)
        yield project


def tells(project: Project, script: str) -> None:
    """Have a shell script tell people."""
    toml = f"[project]\npipelines = ['pipelines.py']\n[notify]\ncommand = {json.dumps(['sh', '-c', script])}\n"
    project.write("headrace.toml", toml)


def posts(project: Project, url: str, more: str = "") -> None:
    project.write("headrace.toml", f"[project]\npipelines = ['pipelines.py']\n[notify]\nwebhook = '{url}'\n{more}\n")


def told(project: Project) -> list[Any]:
    """Return the notices that `KEEPS` kept."""
    file = project.root / "told"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def notices(project: Project) -> list[Any]:
    found: list[Any] = project.headrace("notices", "--json").json["notices"]
    return found


def make_due(project: Project) -> None:
    """Let the time pass until the next try."""
    with closing(sqlite3.connect(project.home / "ledger.db")) as db:
        db.execute("update outbox set due = 0")
        db.commit()


def test_a_command_gets_the_facts_of_a_run_that_failed_and_none_of_one_that_succeeded(project: Project) -> None:
    tells(project, KEEPS)
    assert project.headrace("run", "flow", "--depth", "3").code == 0
    assert told(project) == []
    done = project.headrace("run", "flow", "--json")
    assert done.code == 1
    (notice,) = told(project)
    assert notice["type"] == "run.failed"
    assert notice["data"]["run"] == done.json["run"]
    assert notice["data"]["pipeline"] == "flow"
    assert "depth 13 is unlucky" in notice["text"]
    (kept,) = notices(project)
    assert (kept["id"], kept["state"], kept["sent"], kept["tries"]) == (notice["id"], "sent", ["command"], 1)
    shown = project.headrace("notices")
    assert done.json["run"] in shown.out
    assert "sent" in shown.out


def test_each_end_of_a_run_is_told_and_a_detached_run_tells_too(project: Project) -> None:
    tells(project, KEEPS)
    run = project.headrace("run", "flow", "--json").json["run"]
    assert project.headrace("resume", run).code == 1
    assert [each["data"]["run"] for each in told(project)] == [run, run]
    assert project.headrace("run", "flow", "--detach").code == 0
    wait_for(lambda: len(told(project)) == 3)
    assert len({each["id"] for each in told(project)}) == 3


def test_a_webhook_gets_a_signed_post_with_the_same_id_in_all_tries(project: Project) -> None:
    replies = [Reply(status=503), Reply(status=204)]
    with serving(lambda asked: replies[asked.number]) as web:
        posts(project, f"{web.url}/hook?key=geheim", 'secret = "HOOK_SECRET"')
        secret = base64.b64encode(b"shared").decode()
        project.environment["HOOK_SECRET"] = f"whsec_{secret}"
        done = project.headrace("run", "flow")
        assert done.code == 1
        assert "the webhook's server answered with 503" in done.err
        assert "geheim" not in done.err
        make_due(project)
        assert project.headrace("run", "flow", "--depth", "3").code == 0
        first, second = web.asked
    assert (first.method, first.path, first.headers["content-type"]) == ("POST", "/hook", "application/json")
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == json.loads(first.body)["id"]
    assert abs(int(first.headers["webhook-timestamp"]) - time.time()) < 60
    signed = f"{first.headers['webhook-id']}.{first.headers['webhook-timestamp']}.".encode() + first.body
    digest = base64.b64encode(hmac.new(b"shared", signed, hashlib.sha256).digest()).decode()
    assert first.headers["webhook-signature"] == f"v1,{digest}"
    (kept,) = notices(project)
    assert (kept["state"], kept["tries"], kept["sent"]) == ("sent", 2, ["webhook"])


def test_a_redirect_is_not_followed(project: Project) -> None:
    with serving(lambda asked: Reply(status=307, headers={"Location": "/elsewhere"})) as web:
        posts(project, f"{web.url}/hook")
        done = project.headrace("run", "flow")
        assert web.times("/elsewhere", "POST") == 0
    assert "answered with 307, a redirect, and redirects aren't followed" in done.err


def test_a_proxy_that_httpx_cannot_use_is_the_reason_why_a_webhook_is_not_sent(project: Project) -> None:
    posts(project, "http://hooks.invalid/hook?key=geheim")
    project.environment["ALL_PROXY"] = "socks5://127.0.0.1:9"  # needs a package that Headrace doesn't have
    done = project.headrace("run", "flow")
    assert "the webhook's server can't be reached: " in done.err
    assert "Traceback" not in done.err
    assert "geheim" not in done.err
    (kept,) = notices(project)
    assert "'socksio' package" in kept["error"]


def test_what_one_way_has_sent_is_not_sent_again_when_the_other_failed(project: Project) -> None:
    tells(project, f"{KEEPS}")
    project.environment["HEADRACE__NOTIFY__WEBHOOK"] = "http://127.0.0.1:9"
    done = project.headrace("run", "flow")
    assert "the webhook's server can't be reached" in done.err
    make_due(project)
    project.headrace("notices", "--send")
    assert len(told(project)) == 1
    (kept,) = notices(project)
    assert (kept["state"], kept["sent"]) == ("pending", ["command"])


def test_a_command_that_hangs_is_killed_with_its_children_and_the_run_ends_as_it_did(project: Project) -> None:
    tells(project, "sleep 600 & sleep 600")
    began = time.monotonic()
    done = project.headrace("run", "flow", "--json")
    assert time.monotonic() - began < 30
    assert (done.code, done.json["state"]) == (1, "failed")
    project.check_no_process_is_left()
    (kept,) = done.json["notices"]
    assert "didn't end within 10 s, and was killed" in kept["error"]
    assert (kept["state"], kept["tries"]) == ("pending", 1)
    assert kept["due"] > time.time()


def test_a_command_that_floods_is_killed(project: Project) -> None:
    tells(project, "yes nonsense")
    done = project.headrace("run", "flow")
    assert done.code == 1
    assert "printed more than 1 MiB, and was killed" in done.err
    assert len(done.err) < 5000


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo no mail server >&2; exit 7", "exited with 7: no mail server"),
        ("kill -9 $$", "was ended by signal 9"),
    ],
)
def test_a_command_that_fails_is_told_with_what_it_printed_last(project: Project, script: str, why: str) -> None:
    tells(project, script)
    done = project.headrace("run", "flow")
    assert done.code == 1
    assert why in done.err
    assert "tries again" in done.err


def test_a_command_that_is_not_there_is_told_by_run_and_doctor(project: Project) -> None:
    project.write("headrace.toml", "[project]\npipelines = ['pipelines.py']\n[notify]\ncommand = './tell me'\n")
    done = project.headrace("run", "flow")
    assert done.code == 1
    assert "`./tell` can't be started: No such file or directory" in done.err
    doctor = project.headrace("doctor")
    assert doctor.code == 2
    assert "there is no command `./tell`" in doctor.out


def test_tries_are_bounded_and_then_told_and_can_be_made_again(project: Project) -> None:
    tells(project, "exit 1")
    run = project.headrace("run", "flow", "--json").json["run"]
    project.headrace("run", "flow", "--depth", "3")
    assert notices(project)[0]["tries"] == 1, "the next try isn't due yet"
    for _ in range(TRIES + 1):
        make_due(project)
        last = project.headrace("run", "flow", "--depth", "3")
    assert "could not be sent" not in last.err, "nothing is tried any more"
    (kept,) = notices(project)
    assert (kept["state"], kept["tries"]) == ("failed", TRIES)
    assert "no more tries are made" in project.headrace("show", run).out
    assert project.headrace("show", run, "--json").json["notices"] == [kept]
    assert "1 notice could not be sent" in project.headrace("doctor").out
    failed = project.headrace("notices", "--send")
    assert failed.code == 1
    tells(project, KEEPS)
    make_due(project)
    assert project.headrace("notices", "--send").code == 0
    assert [each["data"]["run"] for each in told(project)] == [run]
    assert "no more tries" not in project.headrace("show", run).out


def test_what_a_killed_driver_left_unsent_is_sent_by_the_next_run(project: Project) -> None:
    tells(project, "echo $$ > pid; exec sleep 600")
    driver = project.start("run", "flow")
    wait_for(lambda: (project.root / "pid").exists() and (project.root / "pid").read_text().strip())
    driver.send_signal(signal.SIGKILL)
    finish(driver)
    os.kill(int((project.root / "pid").read_text()), signal.SIGKILL)
    assert [each["state"] for each in notices(project)] == ["pending"]
    tells(project, KEEPS)
    make_due(project)
    assert project.headrace("run", "flow", "--depth", "3").code == 0
    assert len(told(project)) == 1


def test_a_notice_that_nobody_here_sends_is_kept_for_whoever_does_and_not_for_ever(project: Project) -> None:
    project.headrace("run", "flow")
    tells(project, KEEPS)
    with closing(sqlite3.connect(project.home / "ledger.db")) as db:
        db.execute("update outbox set at = at - 4 * 86400")
        db.commit()
    assert project.headrace("notices", "--send").code == 0
    assert told(project) == []
    assert [each["state"] for each in notices(project)] == ["late"]
    tells(project, KEEPS)
    project.environment["HEADRACE__NOTIFY__ON"] = '["refused"]'
    project.headrace("run", "flow")
    assert told(project) == [], "these settings tell only of refused runs"
    del project.environment["HEADRACE__NOTIFY__ON"]
    project.headrace("run", "flow", "--depth", "3")
    assert len(told(project)) == 1


def test_notices_of_a_kind_that_is_not_sent_are_named_with_the_setting_that_leaves_them_out(project: Project) -> None:
    project.headrace("run", "flow")
    tells(project, KEEPS)
    project.environment["HEADRACE__NOTIFY__ON"] = '["refused"]'
    done = project.headrace("notices", "--send")
    assert (done.code, told(project)) == (0, [])
    assert "these settings don't send 1 notice (`run.failed`): `[notify] on` leaves that kind out" in done.err
    del project.environment["HEADRACE__NOTIFY__ON"]
    assert "[notify] on" not in project.headrace("notices").err


def test_one_reason_why_several_notices_are_not_sent_is_told_once(project: Project) -> None:
    for _ in range(3):
        project.headrace("run", "flow")
    tells(project, "echo no mail server >&2; exit 7")
    done = project.headrace("run", "flow", "--depth", "3")
    assert done.err.count("no mail server") == 1
    assert "3 notices could not be sent, the first about run " in done.err


def test_a_command_whose_own_runs_fail_does_not_start_itself_again(project: Project) -> None:
    tells(project, f"{KEEPS}; {os.path.dirname(sys.executable)}/headrace run flow; exit 0")
    project.headrace("run", "flow")
    assert len(told(project)) == 1
    assert sorted(each["state"] for each in notices(project)) == ["pending", "sent"]


@pytest.mark.parametrize(
    ("toml", "why"),
    [
        ("command = ''", "`command` is empty"),
        ("command = 'tell \"me'", "can't be split into words"),
        ("webhook = 'ftp://host/geheim'", "`webhook` is not a URL of a web server"),
        ("webhook = 'https://ann:geheim@host/'", "`webhook` is not a URL of a web server"),
        ("webhook = 'https://host:99999999/'", "`webhook` is not a URL of a web server"),
        ("secret = 'KEY'", "`secret` has no effect without `webhook`"),
        ("on = ['succeeded']", "`notify.on` is ['succeeded']"),
    ],
)
def test_settings_that_cannot_be_are_refused_without_their_secrets(project: Project, toml: str, why: str) -> None:
    project.write("headrace.toml", f"[project]\npipelines = ['pipelines.py']\n[notify]\n{toml}\n")
    done = project.headrace("run", "flow")
    check_error(done, 2, why)
    assert "geheim" not in done.err
