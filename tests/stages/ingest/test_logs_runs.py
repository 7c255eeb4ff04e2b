"""`ingest.logs` by the real command: each line once, though runs are killed while a real logger writes and rotates."""

from __future__ import annotations

import gzip
import json
import logging
import logging.handlers
import os
import random
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.projects import Done, Project, finish, wait_for

PIPELINES = """\
import headrace as hr
import pyarrow as pa
from headrace.stages import ingest

@hr.stage
def numbers(rows: pa.Table) -> list[int]:
    return rows["n"].to_pylist() if rows.num_columns else []

@hr.stage
def bad(rows: pa.Table) -> list[str]:
    return rows["why"].to_pylist()

HOW = dict(pattern=r"line (?P<n>\\d+)", schema=pa.schema([("n", pa.int64())]))

@hr.pipeline
def all() -> None:
    found = ingest.logs("logs/app.log*", **HOW)
    numbers(found.rows)
    bad(found.quarantine)

@hr.stage
def count(rows: pa.Table) -> int:
    return rows.num_rows

@hr.pipeline
def counted() -> None:
    count(ingest.logs("logs/app.log*", **HOW).rows)

@hr.pipeline
def fresh() -> None:
    numbers(ingest.logs("logs/app.log*", new_only=True, **HOW).rows)
"""


def value(project: Project, run: str, task: str = "numbers") -> Any:
    project.headrace("get", run, task, "--to", "value.json")
    return json.loads((project.root / "value.json").read_text())


def run(project: Project, name: str) -> Done:
    done = project.headrace("run", name, "--json")
    assert done.code == 0, done.out + done.err
    return done


def test_lines_come_once_and_nothing_new_is_reused(project: Project) -> None:
    project.write("pipelines.py", PIPELINES)
    project.write("logs/app.log", "line 1\nwhat\nline 2\nline")
    first = run(project, "all").json["run"]
    assert value(project, first) == [1, 2]
    assert value(project, first, "bad") == ["it doesn't match the pattern"]
    second = run(project, "all")
    assert second.task["numbers"]["state"] == "reused"
    assert second.task["logs"]["reason"] == "its cursor (`known`) changed"
    third = run(project, "all")
    assert third.task["logs"]["state"] == "reused"
    with (project.root / "logs" / "app.log").open("a") as file:
        file.write(" 3\n")
    fourth = run(project, "all")
    assert value(project, fourth.json["run"]) == [1, 2, 3]


def test_what_was_read_before_is_not_written_again(project: Project) -> None:
    project.write("pipelines.py", PIPELINES)
    project.write("logs/app.log", "".join(f"line {n}\n" for n in range(100_000)))
    run(project, "counted")
    before = stored(project)
    with (project.root / "logs" / "app.log").open("a") as file:
        file.write("line 7\n")
    assert value(project, run(project, "counted").json["run"], "count") == 100_001
    assert stored(project) - before < 100_000, "the table of 800 kB was written again"


def stored(project: Project) -> int:
    return sum(each.stat().st_size for each in (project.home / "store").rglob("*") if each.is_file())


class Packing(logging.handlers.RotatingFileHandler):
    """Rotates as Python does, and packs what was rotated."""

    def rotation_filename(self, default_name: str) -> str:
        return f"{default_name}.gz"

    def rotate(self, source: str, dest: str) -> None:
        with open(source, "rb") as file, gzip.open(f"{dest}.part", "wb") as packed:
            shutil.copyfileobj(file, packed)
        os.replace(f"{dest}.part", dest)
        os.unlink(source)


@contextmanager
def writing(path: Path, draw: random.Random, pace_s: float) -> Iterator[list[int]]:
    """Have a logger write numbered lines, and rotate and pack its log every some hundred of them; nothing is dropped.

    It gives the numbers written.
    """
    path.parent.mkdir(exist_ok=True)
    handler = Packing(path, maxBytes=4000, backupCount=10_000)
    written: list[int] = []
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for _ in range(draw.randint(1, 40)):
                record = logging.LogRecord("", 20, "", 0, f"line {len(written)}", None, None)
                handler.emit(record)
                written.append(len(written))
            stop.wait(pace_s)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield written
    finally:
        stop.set()
        thread.join()
        handler.close()


@pytest.mark.parametrize(("name", "rounds"), [("all", 1), ("fresh", 2)])
def test_a_logger_that_rotates_and_runs_that_are_killed(project: Project, name: str, rounds: int) -> None:
    watch(project, name, rounds=rounds)


@pytest.mark.heavy
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(5))
def test_many_loggers_that_rotate_and_runs_that_are_killed(project: Project, seed: int) -> None:
    watch(project, "fresh", rounds=12, seed=seed)


def watch(project: Project, name: str, *, rounds: int, seed: int = int(os.environ.get("SEED", "1"))) -> None:
    """Read a log that grows and rotates, by runs of which some are killed at random; count what they give."""
    draw = random.Random(seed)
    project.write("pipelines.py", PIPELINES)
    given: list[int] = []
    runs = 0
    with writing(project.root / "logs" / "app.log", draw, 0.02) as written:
        for _ in range(rounds):
            process = project.start("run", name, "--json")
            wait_for(lambda: process.poll() is not None or newest(project, runs))  # noqa: B023  called at once
            time.sleep(draw.uniform(0.0, 0.3))  # the instant of the kill is what is drawn
            process.kill()
            process.communicate()
            project.kill_all()
            wait_for(lambda: not project.processes())
            done = finish(project.start("resume", newest(project, runs), "--json"))
            assert done.code == 0, done.out + done.err
            runs += 1
            given = [*given, *value(project, done.json["run"])] if name == "fresh" else value(project, done.json["run"])
    last = value(project, run(project, name).json["run"])
    given = [*given, *last] if name == "fresh" else last
    twice = [each for each, count in Counter(given).items() if count > 1]
    assert not twice, f"{len(twice)} lines came twice, such as {twice[:5]}"
    assert sorted(given) == written


def newest(project: Project, before: int) -> str:
    runs = project.headrace("runs", "--json").json["runs"]
    return str(runs[0]["run"]) if len(runs) > before else ""
