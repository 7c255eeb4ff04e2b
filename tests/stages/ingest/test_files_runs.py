"""`ingest.files` by the real command: what is read again, what is given once, what the user reads."""

from __future__ import annotations

import json
import os
import random
import re
from pathlib import Path
from typing import Any

import pytest

from headrace.spec.address import StoreAddress
from headrace.store.bucket.bucket import Bucket
from tests.projects import Done, Project, finish, wait_for
from tests.servers.s3 import S3

PIPELINES = """\
import os
import pyarrow as pa
import headrace as hr
from headrace.stages import ingest

@hr.stage
def seen(table: pa.Table) -> list[int]:
    return table["id"].to_pylist()

@hr.pipeline
def all() -> None:
    seen(ingest.files("in/*.csv"))

@hr.pipeline
def fresh() -> None:
    seen(ingest.files("in/*.csv", new_only=True, schema=pa.schema([("id", pa.int64())])))

@hr.pipeline
def other() -> None:
    fresh()

@hr.pipeline
def kept() -> None:
    seen(ingest.files("in/*.csv", vanished="keep"))

@hr.pipeline
def strict() -> None:
    seen(ingest.files("in/*.csv", vanished="refuse"))

@hr.pipeline
def made() -> None:
    seen(ingest.files(folder()))

@hr.stage
def folder() -> hr.Folder:
    os.makedirs("out")
    for name in ("a", "b"):
        with open(f"out/{name}.csv", "w") as file:
            file.write("id\\n" + f"{ord(name)}\\n" * (1 if name == "a" else 100_000))
    return hr.Folder("out")
"""


def put(project: Project, name: str, *ids: object) -> Path:
    """Put a file in place at once, as those who deliver should."""
    path = project.root / "in" / name
    path.parent.mkdir(exist_ok=True)
    aside = path.with_suffix(".part")
    aside.write_text("id\n" + "".join(f"{each}\n" for each in ids))
    aside.replace(path)
    return path


def run(project: Project, name: str) -> Done:
    project.write("pipelines.py", PIPELINES)
    done = project.headrace("run", name, "--json")
    assert done.code == 0, done.out + done.err
    return done


def value(project: Project, run: str, task: str = "seen") -> Any:
    project.headrace("get", run, task, "--to", "value.json")
    return json.loads((project.root / "value.json").read_text())


def states(done: Done) -> list[str]:
    """Return the states of the tasks that read a file, by file."""
    return [each["state"] for each in done.json["tasks"] if each["name"].startswith("file[")]


def test_only_new_changed_and_touched_files_are_read_and_what_is_there_is_not_written_again(project: Project) -> None:
    for number in range(4):
        put(project, f"{number}.csv", *range(number * 20_000, (number + 1) * 20_000))
    first = run(project, "all")
    assert states(first) == ["succeeded"] * 4
    again = run(project, "all")
    assert {each["name"]: each["state"] for each in again.json["tasks"] if each["state"] != "reused"} == {
        "files_version": "succeeded"
    }
    os.utime(project.root / "in" / "3.csv", (1, 1))
    touched = run(project, "all")
    assert states(touched) == ["reused", "reused", "reused", "succeeded"]
    assert touched.task["seen"]["state"] == "reused"
    before = stored(project)
    put(project, "1.csv", -1)
    put(project, "4.csv", -2)
    (project.root / "in" / "0.csv").unlink()
    third = run(project, "all")
    assert states(third) == ["succeeded", "reused", "reused", "succeeded"]
    assert value(project, third.json["run"]) == [-1, *range(40_000, 80_000), -2]
    # the big files' rows lie there once
    tables = 2 * 20_000 * 8
    assert stored(project) - before < tables, "what didn't change was written again"


def stored(project: Project) -> int:
    return sum(each.stat().st_size for each in (project.home / "store").rglob("*") if each.is_file())


def test_each_file_is_given_once_to_those_who_ask_for_new_ones(project: Project) -> None:
    put(project, "a.csv", 1, 2)
    put(project, "b.csv", 3)
    assert value(project, run(project, "fresh").json["run"]) == [1, 2, 3]
    assert value(project, run(project, "fresh").json["run"]) == []
    put(project, "b.csv", 4)
    put(project, "c.csv", 5)
    assert value(project, run(project, "fresh").json["run"]) == [4, 5]
    (project.root / "in" / "a.csv").unlink()
    assert value(project, run(project, "fresh").json["run"]) == []
    assert value(project, run(project, "other").json["run"]) == [4, 5], "another pipeline has a cursor of its own"


def test_rows_of_a_file_that_vanished_stay_where_that_is_asked_for(project: Project) -> None:
    for name, each in (("a", 1), ("b", 2), ("c", 3)):
        put(project, f"{name}.csv", each)
    run(project, "kept")
    run(project, "strict")
    (project.root / "in" / "b.csv").unlink()
    put(project, "a.csv", 4)
    for _ in range(2):
        assert value(project, run(project, "kept").json["run"]) == [4, 2, 3]
    done = project.headrace("run", "strict")
    assert done.code == 1
    assert "`in/b.csv` no longer exists" in done.err
    assert value(project, run(project, "all").json["run"]) == [4, 3]


def test_runs_that_are_killed_and_resumed_give_each_row_once(project: Project) -> None:
    count_rows(project, int(os.environ.get("SEED", "1")))


@pytest.mark.heavy
@pytest.mark.parametrize("seed", range(2, 12))
def test_many_runs_that_are_killed_and_resumed_give_each_row_once(project: Project, seed: int) -> None:
    count_rows(project, seed)


def count_rows(project: Project, seed: int) -> None:
    """Files come in while runs are killed at random instants; what the runs gave is, together, each row once."""
    draw = random.Random(seed)
    project.write("pipelines.py", PIPELINES)
    rows: list[int] = []
    given = 0
    for number in range(3):
        for _ in range(2):
            put(project, f"{given}.csv", *range(given * 10, given * 10 + 10))
            given += 1
        process = project.start("run", "fresh", "--json")
        if number % 2 == 0:
            wait_for(lambda: process.poll() is not None or newest(project, number))  # noqa: B023  called at once
            draw_s = draw.uniform(0.0, 0.4)
            try:
                process.wait(draw_s)
            except Exception:  # noqa: BLE001  it runs on, and is killed
                process.kill()
            process.communicate()
            project.kill_all()
            wait_for(lambda: not project.processes())
            name = newest(project, number)
            assert name
            done = project.headrace("resume", name, "--json")
        else:
            done = finish(process)
        assert done.code == 0, done.out + done.err
        rows += value(project, done.json["run"])
    assert sorted(rows) == list(range(given * 10))


def newest(project: Project, before: int) -> str:
    """Name the newest run, if there are more than so many."""
    runs = project.headrace("runs", "--json").json["runs"]
    return str(runs[0]["run"]) if len(runs) > before else ""


def test_a_folder_that_a_stage_gives_is_read(project: Project) -> None:
    assert value(project, run(project, "made").json["run"]) == [97] + [98] * 100_000


def test_paths_begin_at_the_project_wherever_the_command_is_given(project: Project) -> None:
    put(project, "a.csv", 1)
    project.write("pipelines.py", PIPELINES)
    done = finish(project.start("run", "all", "--json", folder=project.root / "in"))
    assert done.code == 0, done.err


def test_the_third_file_has_another_type_and_the_command_says_so(project: Project) -> None:
    for name, each in (("a", 1), ("b", 2), ("c", "three")):
        put(project, f"{name}.csv", each)
    project.write("pipelines.py", PIPELINES)
    done = project.headrace("run", "all")
    assert done.code == 1
    assert "column `id` is `int64` in `in/a.csv`, and `string` in `in/c.csv`" in done.err
    assert len(re.findall("hint: correct the file", done.err)) >= 1
    assert "Traceback" not in done.err + project.headrace("logs").out
    put(project, "c.csv", 3)
    assert states(run(project, "all")) == ["reused", "reused", "succeeded"], "mended, only that file is read"


def test_a_folder_without_files_is_told_by_the_command(project: Project) -> None:
    project.write("pipelines.py", PIPELINES)
    done = project.headrace("run", "all")
    assert done.code == 1
    assert "no file fits `in/*.csv`" in done.err
    assert value(project, run(project, "fresh").json["run"]) == []


BUCKET = """\
import os
import headrace as hr
import pyarrow as pa
from headrace.stages import ingest

@hr.stage
def seen(table: pa.Table) -> list[int]:
    return table["id"].to_pylist()

@hr.pipeline
def all() -> None:
    seen(ingest.files(os.environ["IN"] + "/**/*.csv", endpoint=os.environ["ENDPOINT"]))
"""


def test_of_a_bucket_only_new_and_changed_objects_are_read(
    project: Project, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, each in s3.environment.items():
        monkeypatch.setenv(name, each)
    start = f"s3://{s3.bucket()}"
    bucket = Bucket(StoreAddress(url=start, endpoint=s3.endpoint))
    project.environment |= {**s3.environment, "IN": f"{start}/in", "ENDPOINT": s3.endpoint}
    project.write("pipelines.py", BUCKET)
    for name in ("a", "b", "c"):
        bucket.put(f"in/{name}.csv", f"id\n{ord(name)}\n".encode())
    first = project.headrace("run", "all", "--json")
    assert first.code == 0, first.out
    assert value(project, first.json["run"]) == [97, 98, 99]
    bucket.put("in/b.csv", b"id\n1\n", replace=True)
    bucket.put("in/deep/d.csv", b"id\n2\n")
    bucket.delete("in/a.csv")
    again = project.headrace("run", "all", "--json")
    assert states(again) == ["succeeded", "reused", "succeeded"]
    assert value(project, again.json["run"]) == [1, 99, 2]
    project.environment["AWS_SECRET_ACCESS_KEY"] = "wrong-secret"
    refused = project.headrace("run", "all")
    assert refused.code == 1
    assert "the bucket `" in refused.err
    assert "signature" in refused.err
    assert "wrong-secret" not in refused.err
