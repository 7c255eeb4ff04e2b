"""`deploy.batch` in the real command: kills, resumes, reuse, and the entry in the prediction log."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import headrace as hr
from tests.faults.test_disks import fill, mount, unmount
from tests.projects import Done, Project, finish, wait_for
from tests.servers.postgres import PASSWORD, Postgres
from tests.stages.ingest.sources import Source, source_in

PIPELINES = """
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

import headrace as hr
from headrace.stages import deploy, registry, train
from headrace.stages._batch import database

database.WRITE_ROWS = 1
URL = {url!r}


def slowly(name, value):
    while (Path(os.environ["MARKER"]) / "hold").exists() and value > 300:
        time.sleep(0.01)


database.log = slowly


class Twice:
    def predict(self, frame):
        place = Path(os.environ["MARKER"])
        with open(place / "asked", "a") as file:
            file.write(f"{{frame['x'].min():g}} {{len(frame)}}\\n")
        while frame["x"].max() == 84 and not (place / "go").exists():
            time.sleep(0.01)
        return frame["x"].to_numpy() * 2


@hr.stage
def make() -> Twice:
    return Twice()


class Zero:
    def predict(self, frame):
        return frame["x"].to_numpy() * 0


@hr.stage
def zero() -> Zero:
    return Zero()


@hr.stage(kind="ingest")
def rows(count: int) -> pa.Table:
    return pa.table({{"id": range(count), "x": [float(each) for each in range(count)]}})


@hr.stage(kind="ingest")
def stream(count: int) -> Iterator[pa.RecordBatch]:
    yield from rows.function(count).to_batches(max_chunksize=30)


@hr.pipeline
def slow(to: str = "") -> None:
    deploy.batch(make(), rows(120), keep="id", part_rows=5, to=to or None)


@hr.pipeline
def anew() -> None:
    with hr.options(cache=False):
        deploy.batch(make(), rows(120), keep="id", part_rows=5)


@hr.pipeline
def streamed() -> None:
    deploy.batch(make(), stream(80), keep="id", part_rows=20)


@hr.pipeline
def deliver(count: int = 400) -> None:
    deploy.batch(make(), rows(count), to=URL, table="delays", key="id")


@hr.pipeline
def repeated() -> None:
    deploy.batch(make(), rows(30), to=URL, table="copies", key="id")
    first = deploy.batch(make(), rows(30), to=URL, table="delays", key="id")
    zeros = deploy.batch(zero(), rows(30), to=URL, table="delays", key="id", after=first)
    deploy.batch(make(), rows(30), to=URL, table="delays", key="id", after=zeros)


@hr.pipeline
def fitted(count: int = 50) -> None:
    from sklearn.linear_model import LinearRegression  # a second, in each process of the other pipelines

    model = train.sklearn(LinearRegression(), rows(20), target="x", features=["id"])
    deploy.endpoint(model, "lines")
    deploy.batch(model, rows(count), keep="id", part_rows=20, endpoint="lines")


def halved(rows: pa.Table) -> pa.Table:
    return rows.select(["id"])


@hr.pipeline
def own() -> None:
    from sklearn.linear_model import LinearRegression

    model = train.sklearn(LinearRegression(), rows(20), target="x", features=["id"])
    deploy.endpoint(model, "lines", prepare=halved, signature=rows(20))


@hr.pipeline
def itself() -> None:
    deploy.batch(registry.find("model", "lines").value, rows(30), keep="id")


@hr.pipeline
def nightly(name: str = "lines", to: str = "out/lines.parquet") -> None:
    deploy.batch(registry.find("model", name + "@production"), rows(30), keep="id", to=to)


@hr.pipeline
def wrong() -> None:
    deploy.batch(make(), rows(3), keep="ident")
"""


@pytest.fixture
def asked(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which the model says what it was asked: the first row's value and the number of rows."""
    project.write("pipelines.py", PIPELINES.format(url="sqlite:///warehouse.db"))
    project.write("headrace.toml", "[pool.local]\ncpu = 1\n")  # one worker: what it imports, it imports once
    place = tmp_path / "place"
    place.mkdir()
    project.environment["MARKER"] = str(place)
    monkeypatch.chdir(project.root)
    return place / "asked"


def told(asked: Path) -> list[tuple[int, int]]:
    """What the model was asked: pairs of a first row and a number of rows."""
    lines = asked.read_text().splitlines() if asked.exists() else []
    return [(int(first), int(count)) for first, count in map(str.split, lines)]


def answers(done: Done, task: str = "batch") -> list[dict[str, Any]]:
    assert done.code == 0, done.out + done.err
    found: list[dict[str, Any]] = hr.load(done.json["run"], task).to_pylist()
    return found


def expected(count: int) -> list[dict[str, Any]]:
    return [{"id": each, "predicted": 2.0 * each} for each in range(count)]


def checkpoints(home: Path) -> int:
    """How many checkpoints the ledger in a folder has."""
    with closing(sqlite3.connect(home / "ledger.db")) as db:
        return int(db.execute("select count(*) from events where instr(body, 'checkpointed') > 0").fetchone()[0])


def test_a_run_that_is_killed_asks_only_about_the_parts_that_it_has_no_answers_for_and_gives_what_another_gives(
    project: Project, asked: Path
) -> None:
    running = project.start("run", "slow", "--to", "out.parquet")
    wait_for(lambda: told(asked)[-1:] == [(80, 5)] and checkpoints(project.home) >= 3)
    kept = checkpoints(project.home)
    project.kill_all()
    running.communicate()
    assert not (project.root / "out.parquet").exists()
    assert told(asked) == [(first, 5) for first in range(0, 85, 5)]
    asked.unlink()
    (asked.parent / "go").touch()
    done = project.headrace("resume", "latest", "--json")
    assert answers(done) == expected(120)
    first = told(asked)[0][0]
    assert first >= 5 * kept >= 15
    assert told(asked) == [(each, 5) for each in range(first, 120, 5)]
    assert pq.read_table(project.root / "out.parquet").to_pylist() == expected(120)
    assert not list(project.root.glob(".out*"))
    undisturbed = project.headrace("run", "anew", "--json").task["batch"]
    assert undisturbed["outputs"][0]["digest"] == done.task["batch"]["outputs"][0]["digest"]


def test_a_batch_that_ctrl_c_ends_goes_on_after_its_last_part(project: Project, asked: Path) -> None:
    running = project.start("run", "slow", "--to", "out.parquet")
    wait_for(lambda: told(asked)[-1:] == [(80, 5)] and checkpoints(project.home) >= 3)
    running.send_signal(signal.SIGINT)
    assert finish(running).code == 3
    project.check_no_process_is_left()
    assert not list(project.root.glob("*out*"))
    kept = checkpoints(project.home)
    asked.unlink()
    (asked.parent / "go").touch()
    assert answers(project.headrace("resume", "latest", "--json")) == expected(120)
    first = told(asked)[0][0]
    assert first >= 5 * kept >= 15
    assert told(asked) == [(each, 5) for each in range(first, 120, 5)]
    assert pq.read_table(project.root / "out.parquet").to_pylist() == expected(120)


def test_a_batch_whose_ledger_has_no_room_goes_on_after_its_last_part(
    project: Project, asked: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    project.environment["HEADRACE_HOME"] = str(state)
    mount("-t", "tmpfs", "-o", "size=6m", "tmpfs", str(state))
    try:
        running = project.start("run", "slow", "--to", "out.parquet")
        wait_for(lambda: told(asked)[-1:] == [(80, 5)] and checkpoints(state) >= 3)
        rest = fill(state)
        (asked.parent / "go").touch()
        done = finish(running)
        assert (done.code, "can't grow: the disk is full\nhint: free some space" in done.err) == (5, True), done
        project.check_no_process_is_left()
        assert not list(project.root.glob("*out*"))
        rest.unlink()
        kept = checkpoints(state)
        asked.unlink()
        assert project.headrace("resume", "latest").code == 0
        first = told(asked)[0][0]
        assert first >= 5 * kept >= 15
        assert told(asked) == [(each, 5) for each in range(first, 120, 5)]
        assert pq.read_table(project.root / "out.parquet").to_pylist() == expected(120)
    finally:
        project.kill_all()
        unmount(state)


def test_a_batch_is_delivered_when_the_disk_of_its_file_has_room_again(
    project: Project, asked: Path, tmp_path: Path
) -> None:
    place = project.root / "out"
    place.mkdir()
    with (tmp_path / "disk").open("wb") as disk:
        disk.truncate(1 << 22)
    if shutil.which("mkfs.ext2") is None:
        pytest.skip("mkfs.ext2, which makes a disk in a file, is not installed")
    subprocess.run(["mkfs.ext2", "-q", disk.name], check=True)
    mount("-o", "loop", disk.name, str(place))  # a disk in memory would be refused
    try:
        (asked.parent / "go").touch()
        rest = fill(place)
        done = project.headrace("run", "slow", "--to", "out/answers.parquet")
        assert done.code == 1
        assert f"can't write `{place}/answers.parquet`: No space left on device\nhint: make room" in done.err, done
        assert not list(place.glob("*answers*"))
        rest.unlink()
        asked.unlink()
        assert project.headrace("resume", "latest").code == 0
        assert not asked.exists(), "the answers are stored"
        assert pq.read_table(place / "answers.parquet").to_pylist() == expected(120)
        assert [each.name for each in place.glob("*answers*")] == ["answers.parquet"]
    finally:
        project.kill_all()
        unmount(place)


def test_answers_are_reused_and_delivered_again(project: Project, asked: Path) -> None:
    (asked.parent / "go").touch()
    assert answers(project.headrace("run", "slow", "--json")) == expected(120)
    asked.unlink()
    done = project.headrace("run", "slow", "--to", "out.parquet", "--json")
    assert answers(done, "batch_to_parquet") == expected(120)
    assert (done.task["batch"]["state"], done.task["batch_to_parquet"]["state"]) == ("reused", "succeeded")
    assert not asked.exists()
    (project.root / "out.parquet").unlink()
    assert project.headrace("run", "slow", "--to", "out.parquet").code == 0
    assert pq.read_table(project.root / "out.parquet").to_pylist() == expected(120)


def test_a_stream_of_batches_is_answered_too_and_is_in_the_log_without_a_name(project: Project, asked: Path) -> None:
    assert answers(project.headrace("run", "streamed", "--json")) == expected(80)
    assert told(asked) == [(0, 20), (20, 20), (40, 20), (60, 20)]
    (log,) = project.headrace("predictions", "--json").json["endpoints"]
    assert (log["endpoint"], log["batches"], log["batch_rows"]) == ("", 1, 80)
    assert "\n- " in project.headrace("predictions").out
    assert project.headrace("predictions", "-", "--json").json["batches"][0]["version"] is None


def test_a_missing_column_is_one_clear_error(project: Project, asked: Path) -> None:
    done = project.headrace("run", "wrong")
    assert done.code == 1
    assert "user: the table has no column `ident`\nhint: it has `id`, `x`" in done.err
    assert "Traceback" not in project.headrace("logs", "latest", "batch").out


# -- the prediction log -------------------------------------------------------------------------------------------


def test_the_log_of_an_endpoint_has_each_batch_also_of_a_registered_version_asked_with_its_signature(
    project: Project, asked: Path
) -> None:
    run = project.headrace("run", "fitted", "--json")
    assert run.code == 0, run.out + run.err
    tasks = run.task
    (batch,) = project.headrace("predictions", "lines", "--json").json["batches"]
    assert (batch["version"], batch["rows"], batch["refused"], batch["task"]) == (1, 50, 0, "batch")
    assert batch["run"] == run.json["run"]
    assert batch["output"] == tasks["batch"]["outputs"][0]["digest"]
    assert hr.load(batch["output"]).num_rows == hr.load(batch["input"]).num_rows == 50
    project.headrace("run", "fitted", "--count", "40")
    assert [each["rows"] for each in project.headrace("predictions", "lines", "--json").json["batches"]] == [40, 50]
    (log,) = project.headrace("predictions", "--json").json["endpoints"]
    assert (log["endpoint"], log["predictions"], log["batches"], log["batch_rows"]) == ("lines", 0, 2, 90)
    shown = project.headrace("predictions", "lines").out
    assert batch["output"][:12] in shown
    assert "40" in project.headrace("predictions", "lines", "--since", "2026-01-01").out
    assert project.headrace("predictions", "lines", "--since", "2100-01-01", "--json").json["batches"] == []
    assert project.headrace("fsck", "--deep").code == 0
    done = project.headrace("run", "nightly", "--json")
    assert len(answers(done, "batch_to_parquet")) == 30
    assert pq.read_table(project.root / "out" / "lines.parquet").num_rows == 30
    newest = project.headrace("predictions", "lines", "--json").json["batches"][0]
    assert (newest["rows"], newest["version"]) == (30, 1)
    failed = project.headrace("run", "nightly", "--name", "nothing")
    assert failed.code == 1
    assert "there is no version of the model `nothing`\nhint: register one first" in failed.err
    project.headrace("gc", "--keep", "1s")
    assert hr.load(batch["input"]).num_rows == 50


def test_a_version_with_functions_of_its_own_is_refused_but_its_model_is_asked(project: Project, asked: Path) -> None:
    assert project.headrace("run", "own").code == 0
    refused = project.headrace("run", "nightly")
    assert refused.code != 0
    words = "version 1 of `lines` answers with the project's function `pipelines.halved`, which only an endpoint calls"
    assert words in refused.err
    assert "give the model itself" in refused.err
    found = answers(project.headrace("run", "itself", "--json"))
    assert [each["predicted"] for each in found] == pytest.approx(list(range(30)))


# -- databases ----------------------------------------------------------------------------------------------------

NOTE = "begin insert into audit values (new.id); return new; end"
AUDIT = {
    "sqlite": [
        "create trigger added after insert on delays begin insert into audit values (new.id); end",
        "create trigger changed after update on delays begin insert into audit values (new.id); end",
    ],
    "postgresql": [
        f"create function note() returns trigger language plpgsql as $$ {NOTE} $$",
        "create trigger noted after insert or update on delays for each row execute function note()",
    ],
}


@pytest.fixture(params=["sqlite", "postgresql"])
def target(request: pytest.FixtureRequest, project: Project, asked: Path) -> Source:
    """A database with a table that notes each row that is written to it."""
    server: Postgres | None = request.getfixturevalue("postgres") if request.param == "postgresql" else None
    found = source_in(request.param, project.root, server)
    found.run("create table delays (id integer primary key, predicted double precision)")
    found.run("create table audit (id integer)")
    for text in AUDIT[request.param]:
        found.run(text)
    project.write("pipelines.py", PIPELINES.format(url=found.url))
    project.environment["PW"] = PASSWORD
    return found


def written(target: Source) -> int:
    """How many rows were written; 0 if the file is locked at the moment."""
    with suppress(sqlite3.OperationalError):
        return int(target.run("select count(*) from audit")[0][0])
    return 0


def test_each_row_is_written_once_though_the_run_is_killed_while_it_writes_and_again_by_another_run(
    project: Project, target: Source, asked: Path
) -> None:
    (asked.parent / "hold").touch()
    running = project.start("run", "deliver")
    wait_for(lambda: written(target) >= 40)
    project.kill_all()
    (asked.parent / "hold").unlink()
    running.communicate()
    assert 40 <= written(target) < 400
    done = project.headrace("resume", "latest", "--json")
    assert answers(done, "batch_to_table") == expected(400)
    assert target.run("select id, predicted from delays order by id") == [(each, 2.0 * each) for each in range(400)]
    assert sorted(target.run("select id from audit")) == [(each,) for each in range(400)]
    ((job, name, count, total),) = target.run("select job, target, done, total from headrace_batches")
    assert (name, count, total) == ("delays", 400, 400)
    assert job.startswith(done.json["run"])
    assert PASSWORD not in project.headrace("show", "latest").out
    target.run("update delays set predicted = 0")
    another = project.headrace("run", "deliver", "--json")
    assert another.task["batch"]["state"] == "reused"
    assert target.run("select id, predicted from delays order by id") == [(each, 2.0 * each) for each in range(400)]


def test_equal_answers_are_delivered_by_each_task_of_a_run_and_to_each_table(project: Project, target: Source) -> None:
    done = project.headrace("run", "repeated")
    assert done.code == 0, done.err
    for table in ("delays", "copies"):
        assert target.run(f"select id, predicted from {table} order by id") == [
            (each, 2.0 * each) for each in range(30)
        ]
    assert written(target) == 90
