"""`ingest.http` by the real command: what is reused, what a killed run asks for again, what the user reads."""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from base64 import b64encode
from typing import Any

import pytest

from tests.projects import Done, Project, check_error, finish, wait_for
from tests.servers.web import Asked, Reply, Web, numbered, serving, told

PIPELINES = """\
import os
import pyarrow as pa
import headrace as hr
from headrace.stages import ingest

URL = os.environ["URL"]

@hr.stage
def ids(table: pa.Table) -> list[int]:
    return table["id"].to_pylist()

@hr.pipeline
def one() -> None:
    ids(ingest.http(URL + "/rows", auth=hr.secret("TOKEN"), allow_private=True))

@hr.pipeline
def keyed() -> None:
    secret = hr.secret("TOKEN")
    how = dict(auth=("me", secret), headers={"X-Key": secret}, params={"key": secret}, allow_private=True)
    ids(ingest.http(URL + "/rows", paginate=ingest.Pages(by="page", total="total"), rows="data", **how))

@hr.pipeline
def pages() -> None:
    ids(ingest.http(URL + "/rows", paginate="page", rows="data", key="id", retries=0, allow_private=True))

@hr.stage
def day() -> str:
    return "2026-01-02"

@hr.stage
def bad(word: str) -> pa.Table:
    return pa.table({"word": [word]})

@hr.pipeline
def handed(odd: bool = False) -> None:
    params = {"day": day(), "days": [bad("x") if odd else day()]}
    ids(ingest.http(URL + "/rows", params=params, headers={"X-Day": day()}, allow_private=True))

@hr.pipeline
def whole() -> None:
    ids(ingest.http(URL + "/rows", params=day()))

@hr.pipeline
def closed() -> None:
    ids(ingest.http(URL + "/rows"))
"""


def made(project: Project, web: Web) -> Project:
    project.environment |= {"URL": web.url, "TOKEN": "s3cret-word"}
    project.write("pipelines.py", PIPELINES)
    return project


def run(project: Project, name: str, *words: str) -> Done:
    return project.headrace("run", name, "--json", *words)


def newest(project: Project) -> str:
    return str(project.headrace("runs", "--json").json["runs"][0]["run"])


def kill(project: Project, process: subprocess.Popen[str], web: Web, count: int) -> None:
    """Kill a run, all of its processes, when the server has been asked so often."""
    wait_for(lambda: len(web.asked) >= count or process.poll() is not None)
    process.kill()
    process.communicate()
    project.kill_all()
    wait_for(lambda: not project.processes())


def value(project: Project, run: str) -> Any:
    """Return what the task `ids` gave."""
    project.headrace("get", run, "ids", "--to", "ids.json")
    return json.loads((project.root / "ids.json").read_text())


def test_what_did_not_change_is_not_read_again(project: Project) -> None:
    tag, rows = ['"a"'], [{"id": 1}]

    def answers(asked: Asked) -> Reply:
        if asked.headers.get("Authorization") != "Bearer s3cret-word":
            return told({}, 401)
        return told(rows, ETag=tag[0])

    with serving(answers) as web:
        made(project, web)
        first = run(project, "one")
        assert first.code == 0, first.err
        assert (web.times(method="HEAD"), web.times()) == (1, 1)
        again = run(project, "one")
        assert again.task["http"]["state"] == "reused"
        assert (web.times(method="HEAD"), web.times()) == (2, 1)
        tag[0] = '"b"'
        rows.append({"id": 2})
        third = run(project, "one")
        assert third.task["http"]["state"] == "succeeded"
        assert third.task["ids"]["state"] == "succeeded"
        assert "s3cret-word" not in first.out + first.err + third.out


def test_pages_are_read_always_planned_so_and_say_why_and_what_follows_is_reused(project: Project) -> None:
    with serving(numbered(3, 2)) as web:
        made(project, web)
        assert run(project, "pages").code == 0
        planned = {each["name"]: each for each in project.headrace("plan", "pages", "--json").json["tasks"]}
        assert (planned["http"]["decision"], planned["ids"]["decision"]) == ("run", "reuse_if_unchanged")
        again = run(project, "pages")
        assert planned["http"]["reason"] == again.task["http"]["reason"] == "never reused (`cache=False`)"
        assert (again.task["http"]["state"], again.task["ids"]["state"]) == ("succeeded", "reused")


def test_secrets_may_stand_wherever_a_service_wants_them(project: Project) -> None:
    def answers(asked: Asked) -> Reply:
        good = asked.headers["Authorization"] == "Basic " + b64encode(b"me:s3cret-word").decode()
        good = good and asked.headers["X-Key"] == asked.params["key"] == "s3cret-word"
        return numbered(3, 2)(asked) if good else told({"error": f"not {asked.params}"}, 401)

    with serving(answers) as web:
        done = run(made(project, web), "keyed")
        assert done.code == 0, done.out
        project.environment["TOKEN"] = "another-secret"
        done = project.headrace("run", "keyed")
        assert done.code == 1
        assert "answered 401 Unauthorized" in done.err
        assert "another-secret" not in done.out + done.err
        ledger = (project.home / "ledger.db").read_bytes()
        assert b"s3cret-word" not in ledger
        assert b"another-secret" not in ledger


def test_what_a_stage_gives_may_be_a_parameter_and_a_header_and_what_is_no_text_is_refused(project: Project) -> None:
    def answers(asked: Asked) -> Reply:
        good = asked.params == dict.fromkeys(["day", "days"], "2026-01-02") and asked.headers["X-Day"] == "2026-01-02"
        return told([{"id": 1}] if good else [], 200 if good else 400)

    with serving(answers) as web:
        done = run(made(project, web), "handed")
        assert value(project, done.json["run"]) == [1]
        count = len(web.asked)
        refused = project.headrace("run", "handed", "--odd")
        assert refused.code == 1
        assert "parameter `days` in `params` is a `Table`, which a URL can't have" in refused.err
        check_error(project.headrace("run", "whole"), 2, "`params` is a `Handle`", hint="its values may be handles")
        assert len(web.asked) == count


def test_a_service_without_tags_is_known_by_its_bytes(project: Project) -> None:
    with serving(lambda _: told([{"id": 1}])) as web:
        made(project, web)
        assert run(project, "one").code == 0
        assert run(project, "one").task["http"]["state"] == "reused"


def test_what_changes_between_the_probe_and_the_read_is_kept_under_what_was_read(project: Project) -> None:
    def answers(asked: Asked) -> Reply:
        late = asked.number > 0
        return told([{"id": 1 + late}], ETag='"late"' if late else '"early"')

    with serving(answers) as web:
        made(project, web)
        assert run(project, "one").task["http"]["state"] == "succeeded"
        assert run(project, "one").task["http"]["state"] == "reused", "it was read as of `late`, which it still is"


def test_a_killed_run_asks_only_for_the_pages_that_it_lacks(project: Project) -> None:
    count_pages(project, int(os.environ.get("SEED", "1")))


@pytest.mark.heavy
@pytest.mark.parametrize("seed", range(2, 12))
def test_many_killed_runs_ask_only_for_the_pages_that_they_lack(project: Project, seed: int) -> None:
    count_pages(project, seed)


def count_pages(project: Project, seed: int) -> None:
    draw = random.Random(seed)
    answers = numbered(48, 2, etag=lambda: '"one"')

    def slowly(asked: Asked) -> Reply:
        time.sleep(0.05)  # the server's work
        return answers(asked)

    with serving(slowly) as web:
        made(project, web)
        process = project.start("run", "pages", "--json")
        for _ in range(2):
            kill(project, process, web, len(web.asked) + draw.randint(6, 10))
            process = project.start("resume", newest(project), "--json")
        done = finish(process)
        assert done.code == 0, done.out + done.err
        assert value(project, done.json["run"]) == list(range(48))
        asked = [each.params["page"] for each in web.asked if "If-None-Match" not in each.headers]
        assert sorted(set(asked), key=int) == [str(n) for n in range(1, 26)]
        # what is asked for twice was on its way, or not yet kept, when a kill came
        assert len(asked) - 25 <= 8, asked


def test_a_killed_run_reads_anew_what_moved_meanwhile(project: Project) -> None:
    moved = [0]
    answers = numbered(24, 2, shift=lambda: moved[0])

    def slowly(asked: Asked) -> Reply:
        time.sleep(0.05)  # the server's work
        return answers(asked)

    with serving(slowly) as web:
        made(project, web)
        kill(project, project.start("run", "pages", "--json"), web, 6)
        moved[0], before = 100, len(web.asked)
        done = project.headrace("resume", newest(project), "--json")
        assert done.code == 0, done.out + done.err
        assert value(project, done.json["run"]) == list(range(100, 124))
        assert web.asked[before].params["page"] == "1"


def test_a_private_address_is_refused_by_the_command(project: Project) -> None:
    with serving(lambda _: told([])) as web:
        made(project, web)
        done = project.headrace("run", "closed")
        assert done.code == 1
        assert "a request to a private address was refused: 127.0.0.1" in done.err
        assert "hint: if you want it, set `allow_private=True`" in done.err
        assert "Traceback" not in done.err + project.headrace("logs").out
        assert web.asked == []
