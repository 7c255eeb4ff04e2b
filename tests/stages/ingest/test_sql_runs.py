"""`ingest.sql` in the real command: reuse, increments, faults; rows exactly once against a database that is counted."""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

import headrace as hr
from tests.projects import Done, Project, check_error, finish, wait_for
from tests.servers.postgres import PASSWORD, Postgres
from tests.stages.ingest.sources import Source, source_in

PIPELINES = """
import subprocess
import sys
import pyarrow as pa
import headrace as hr
from headrace.stages import ingest
from headrace.stages.ingest._sql.stages import read, sql_version

URL = {url!r}
SLOW = "select id, at, value {slow} from orders"


@hr.stage
def count(table: pa.Table) -> list[int]:
    return sorted(table["id"].to_pylist())


@hr.stage
def after(ready: bool) -> bool:
    open("{fifo}").read()  # until somebody opens it to write
    return ready


@hr.stage(cache=False)
def change(version: str) -> str:
    subprocess.run([sys.executable, "{script}"], check=True)
    return version


@hr.pipeline
def whole(most: int = 10, version: str = "") -> None:
    count(ingest.sql(URL, "select id from orders where id <= :m", m=most, version=version or None))


@hr.pipeline
def broken(query: str, secret: str = "PW") -> None:
    count(ingest.sql(URL.replace("PW", secret), query))


@hr.pipeline
def between() -> None:
    asked = {{"query": "select id from orders where id <= :m", "parameters": {{"m": 5000}}, "secrets": {secrets}}}
    seen = change(sql_version(URL, **asked, probe="count"))
    count(read(URL, version=seen, **asked, probe="count", driver=None, batch_rows=None))


@hr.pipeline
def again() -> None:
    count(ingest.sql(URL, "select id from orders where id <= :m", m=5000, version="count"))


def growing(query: str, **options: object) -> None:
    grown = ingest.sql(
        URL, query, mode="increment", watermark="at", key="id", overlap=5, cursor="orders", batch_rows=50, **options
    )
    count(grown.table)
    count(grown.new)


@hr.pipeline
def grow() -> None:
    growing("select id, at, value from orders")


@hr.pipeline
def grow_slowly() -> None:
    growing(SLOW)


@hr.pipeline
def grow_later() -> None:
    growing("select id, at, value from orders", after=after(True))
"""

ADD = """
import sys
sys.path.insert(0, {here!r})
from tests.stages.ingest.sources import Source
{source!r}.orders(1, start=1000)
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def source(request: pytest.FixtureRequest, project: Project, monkeypatch: pytest.MonkeyPatch) -> Source:
    """A project whose pipelines read a database of 100 orders."""
    server: Postgres | None = request.getfixturevalue("postgres") if request.param == "postgresql" else None
    found = source_in(request.param, project.root, server)
    found.make_orders(100)
    slow = ", pg_sleep(0.004)::text as slow" if server else ""
    secrets = '{"PW": hr.secret("PW")}' if server else "{}"
    fifo = project.root / "fifo"
    os.mkfifo(fifo)
    script = project.root.parent / "add.py"  # it has the password in it
    script.write_text(ADD.format(here=str(Path(__file__).parents[3]), source=found))
    project.write(
        "pipelines.py",
        PIPELINES.format(url=found.url, slow=slow, secrets=secrets, fifo=fifo, script=script),
    )
    project.environment["PW"] = PASSWORD
    monkeypatch.chdir(project.root)
    return found


def states(done: Done) -> dict[str, str]:
    assert done.code == 0, done.out + done.err
    return {name: task["state"] for name, task in done.task.items()}


def given(done: Done, task: str) -> list[int]:
    """Return the ids that a task counted."""
    assert done.code == 0, done.out + done.err
    (output,) = done.task[task]["outputs"]
    found: Any = hr.load(output["digest"])
    return list(found)  # of nothing, a list and a tuple have one digest


def test_a_source_that_did_not_change_is_not_read_again(project: Project, source: Source) -> None:
    first = project.headrace("run", "whole", "--json")
    assert given(first, "count") == list(range(11))
    if source.kind == "sqlite":  # a server has other users, and each of their transactions is a new state of it
        assert states(project.headrace("run", "whole", "--json"))["sql"] == "reused"
    assert states(project.headrace("run", "whole", "--most", "12", "--json"))["sql"] == "succeeded"
    source.orders(1, start=100)
    changed = states(project.headrace("run", "whole", "--json"))
    assert changed == {"sql_version": "succeeded", "sql": "succeeded", "count": "reused"}, "the same rows came"
    by_count = ("run", "whole", "--version", "max(id)", "--json")
    assert states(project.headrace(*by_count))["sql"] == "succeeded"
    source.orders(1, start=101)
    assert states(project.headrace(*by_count))["sql"] == "reused", "max(id) of the rows asked for is what it was"


@pytest.mark.parametrize("source", ["postgresql"], indirect=True)
def test_rows_are_kept_under_the_version_that_the_read_saw(project: Project, source: Source) -> None:
    done = project.headrace("run", "between", "--json")
    assert given(done, "count")[-1] == 1000
    assert states(project.headrace("run", "again", "--json")) == {
        "sql_version": "succeeded", "sql": "reused", "count": "reused",
    }  # fmt: skip


def test_increments_come_exactly_once(project: Project, source: Source) -> None:
    done = project.headrace("run", "grow", "--json")
    assert given(done, "count") == given(done, "count[1]") == list(range(100))
    source.orders(20, start=100)
    source.run("insert into orders values (500, 97, 0)")
    done = project.headrace("run", "grow", "--json")
    assert given(done, "count[1]") == [*range(100, 120), 500]
    assert given(done, "count") == [*range(120), 500]
    done = project.headrace("run", "grow", "--json")
    assert given(done, "count[1]") == []
    assert states(done)["count"] == "reused"
    if source.kind == "sqlite":
        assert states(project.headrace("run", "grow", "--json"))["sql"] == "reused"


@pytest.mark.parametrize("source", ["sqlite"], indirect=True)
def test_of_two_runs_on_one_cursor_one_counts(project: Project, source: Source) -> None:
    slow = project.start("run", "grow_later", "--json")
    os.close(wait_for(lambda: _open_to_write(project.root / "fifo")))  # its cursor has been read by now
    quick = project.headrace("run", "grow", "--json")
    assert given(quick, "count") == list(range(100))
    source.orders(5, start=100)
    late = finish(slow)
    assert given(late, "count")[:100] == list(range(100))
    done = project.headrace("run", "grow", "--json")
    assert given(done, "count") == list(range(105))
    assert given(done, "count[1]") == list(range(100, 105))


def _open_to_write(path: Path) -> int | None:
    """Open a pipe that has a reader, so that the reader goes on."""
    try:
        return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return None


@pytest.mark.parametrize("source", ["sqlite"], indirect=True)
def test_what_is_wrong_is_told_in_one_error_and_the_cursor_stays(project: Project, source: Source) -> None:
    failed = project.headrace("run", "broken", "--query", "select nope from orders")
    assert failed.code == 1
    assert "nope" in failed.err
    assert "hint: correct the query" in failed.err
    assert "Traceback" not in failed.err
    missing = project.headrace("run", "broken", "--query", "select id from orders where id = :id")
    check_error(missing, 2, "parameter `:id` that wasn't given", hint="ingest.sql(url, query, id=...)")
    assert project.headrace("run", "grow").code == 0
    source.run("insert into orders values (200, null, 0)")
    failed = project.headrace("run", "grow")
    assert failed.code == 1
    assert "1 row has no watermark: `at` is null" in failed.err
    source.run("update orders set at = 200, value = 'much' where id = 200")
    failed = project.headrace("run", "grow")
    assert "column `value` holds values of several kinds: real, text" in failed.err
    assert "Traceback" not in failed.err
    source.run("update orders set value = 1 where id = 200")
    done = project.headrace("run", "grow", "--json")
    assert given(done, "count[1]") == [200]
    nothing = project.headrace("run", "whole", "--most", "-1", "--json")
    assert given(nothing, "count") == []


@pytest.mark.parametrize("source", ["sqlite"], indirect=True)
def test_columns_that_changed_are_refused_and_the_cursor_stays(project: Project, source: Source) -> None:
    text = (project.root / "pipelines.py").read_text()
    project.write(
        "pipelines.py", text.replace('growing("select id, at, value from orders")', 'growing("select * from orders")')
    )
    assert project.headrace("run", "grow").code == 0
    source.run("alter table orders rename column value to price")
    source.run("insert into orders values (200, 200, 0)")
    failed = project.headrace("run", "grow")
    assert failed.code == 1
    assert "column `value` is gone since the last read and column `price` is new since the last read" in failed.err
    assert (
        "hint: make the query give the same columns as before; or read all rows again with another `cursor=`"
        in failed.err
    )
    assert "Traceback" not in failed.err
    source.run("alter table orders rename column price to value")
    assert given(project.headrace("run", "grow", "--json"), "count[1]") == [200]


@pytest.mark.parametrize("source", ["postgresql"], indirect=True)
def test_a_type_that_arrow_has_not_and_a_host_that_is_not_there_are_told(project: Project, source: Source) -> None:
    failed = project.headrace("run", "broken", "--query", "select avg(id) as id from orders")
    assert failed.code == 1
    assert "column `id` is a `numeric` without a precision" in failed.err
    assert "hint: cast it in the query: `id::float8`" in failed.err
    text = (project.root / "pipelines.py").read_text()
    project.write("pipelines.py", text.replace("@127.0.0.1:", "@nohost.invalid:"))
    failed = project.headrace("run", "whole")
    assert failed.code == 1
    assert "could not translate host name" in failed.err
    assert "hint: check host and port" in failed.err


@pytest.mark.parametrize("source", ["postgresql"], indirect=True)
def test_a_password_is_in_no_file_and_no_output(project: Project, source: Source) -> None:
    project.environment["BAD"] = "gehe:im@x/"
    done = [
        project.headrace("run", "whole", "--json"),
        project.headrace("show"),
        project.headrace("run", "broken", "--query", "selec 1"),
        project.headrace("run", "broken", "--query", "select 1", "--secret", "BAD"),
        project.headrace("show"),
        project.headrace("logs"),
    ]
    assert "password authentication failed" in done[3].err
    secrets = (PASSWORD, "gehe:im", "gehe%3Aim")
    assert not [text for each in done for text in secrets if text in each.out + each.err]
    for path in project.home.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert not [text for text in secrets if text.encode() in data], path


@pytest.mark.parametrize("source", ["postgresql"], indirect=True)
def test_a_database_that_goes_away_in_the_middle_is_told_and_nothing_is_lost(project: Project, source: Source) -> None:
    running = project.start("run", "grow_slowly", "--json")
    pid = wait_for(lambda: reader(source))
    source.run(f"select pg_terminate_backend({pid})")
    failed = finish(running)
    assert failed.code == 1, failed.out + failed.err
    assert "the database is back" in json.dumps(failed.json)
    done = project.headrace("resume", failed.json["run"], "--json")
    assert given(done, "count[1]") == list(range(100))


def reader(source: Source) -> int | None:
    """Return the process of the server that reads slowly at the moment."""
    found = source.run(
        "select pid from pg_stat_activity where position('pg_sleep' in query) > 0 and query like 'COPY%'"
        " and state = 'active' and datname = current_database() and pid <> pg_backend_pid()"
    )
    return int(found[0][0]) if found else None


def kill_rounds(project: Project, source: Source, rounds: int, seed: int) -> None:
    """Kill all of a run at random while it reads, resume it, and count; the source grows from round to round."""
    choice = random.Random(seed)
    source.orders(200, start=100)
    total = 300
    for _ in range(rounds):
        known = {each.id for each in hr.runs()}
        running = project.start("run", "grow_slowly", start_new_session=True)
        if source.kind == "postgresql" and choice.random() < 0.8:
            wait_for(lambda: reader(source))
        delay = choice.uniform(0.0, 1.3)
        try:
            running.wait(delay)
        except subprocess.TimeoutExpired:  # as it should
            project.kill_all()
        finish(running)
        begun = [each.id for each in hr.runs() if each.id not in known]
        words = ("resume", begun[0]) if begun else ("run", "grow_slowly")  # it may have been killed before it began
        done = project.headrace(*words, "--json")
        assert given(done, "count") == list(range(total))
        source.orders(20, start=total)
        total += 20
    done = project.headrace("run", "grow_slowly", "--json")
    assert given(done, "count") == list(range(total))


@pytest.mark.parametrize("seed", [1])
def test_rows_come_exactly_once_though_the_run_is_killed(project: Project, source: Source, seed: int) -> None:
    kill_rounds(project, source, 1, seed)


@pytest.mark.heavy
@pytest.mark.parametrize("seed", range(4))
def test_rows_come_exactly_once_though_runs_are_killed_again_and_again(
    project: Project, source: Source, seed: int
) -> None:
    kill_rounds(project, source, 8, seed)
