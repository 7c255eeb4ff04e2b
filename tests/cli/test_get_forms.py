"""A file has the form that its suffix says, whatever is got out; a form that it can't have is refused."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import csv, feather, parquet

from headrace.errors import UsageError
from headrace.inspect.get import get
from headrace.operate.contract_draft import draft_from_file
from headrace.project import project
from headrace.project.project import Project
from tests.cli.conftest import Shell

PIPELINES = """
import datetime as dt
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

import headrace as hr
from headrace.spec.report import Report

DATA = {"day": [dt.date(2026, 1, 2), None], "n": [1, 2], "word": ["a,b", None]}


class Halves(NamedTuple):
    left: pa.Table
    right: pa.Table


@hr.stage
def arrow() -> pa.Table:
    return pa.table(DATA)


@hr.stage
def stream() -> pa.RecordBatchReader:
    return pa.table(DATA).to_reader()


@hr.stage
def frame() -> pd.DataFrame:
    return pd.DataFrame(DATA)


@hr.stage
def polar() -> pl.DataFrame:
    return pl.DataFrame(DATA)


@hr.stage
def nested() -> pa.Table:
    nanos = pa.array([1, None], pa.timestamp("ns"))
    return pa.table({"list": [[1], None], "at": nanos, "took": nanos.cast(pa.int64()).cast(pa.duration("ns"))})


@hr.stage
def halves(table: pa.Table) -> Halves:
    return Halves(table, table)


@hr.stage
def array() -> np.ndarray:
    return np.arange(3)


@hr.stage
def numbers() -> dict[str, float]:
    return {"auc": 0.5}


@hr.stage
def note() -> str:
    return "<p>mine</p>"


@hr.stage
def quoted() -> str:
    return '{"a": 1}'


@hr.stage
def page() -> hr.File:
    Path("page.html").write_text("<p>mine</p>")
    return hr.File("page.html")


@hr.stage
def files() -> list[hr.File]:
    names = ("a.jpg", "a.tar.gz", "a.log", "a.bin", "a.npz", "a.json", "a.yml")
    for name in names:
        Path(name).write_bytes(name.encode())
    return [hr.File(name) for name in names]


@hr.stage
def folder() -> hr.Folder:
    Path("src").mkdir()
    Path("src/a.txt").write_text("a")
    return hr.Folder("src")


@hr.stage(kind="evaluate")
def judged() -> Report:
    return Report(title="judged", passed=True)


@hr.stage
def curve() -> None:
    hr.log("loss", 1.0, step=1)


@hr.pipeline
def flow() -> None:
    halves(arrow())
    for stage in (stream, frame, polar, nested, array, numbers, note, quoted, page, files, folder, judged, curve):
        stage()
"""
TABLES = ("arrow", "stream", "frame", "polar", "halves.left")
REFUSED = (
    *((task, suffix) for task in TABLES for suffix in (".pdf", ".xlsx", ".txt", ".tsv", ".csv.gz")),
    *(("judged", suffix) for suffix in (".pdf", ".docx", ".csv")),
    *(("numbers", suffix) for suffix in (".yaml", ".csv", ".arrow")),
    *((task, ".csv") for task in ("array", "halves")),
    *(("note", suffix) for suffix in (".json", ".png", ".parquet", ".arrow", ".zip", ".gz", ".docx", ".gif", ".npz")),
    *(("page", suffix) for suffix in (".png", ".json", ".csv", ".zip")),
    *(("files.0", ".png"), ("files.1", ".tar"), ("files.4", ".npy"), ("files.5", ".jsonl")),
    *(("files.2", ".png"), ("files.2", ".zip"), ("files.6", ".json")),
    ("folder", ".zip"),
)


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    shell = Shell(tmp_path_factory.mktemp("forms"))
    shell.write("headrace.toml", "")
    shell.write("pipelines.py", PIPELINES)
    done = shell("run", "flow")
    assert done.code == 0, done.err
    return shell


@pytest.fixture
def ran(there: Shell, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(there.folder)
    return project.load()


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Read a table as whoever gets such a file would."""
    match path.suffix.lower():
        case ".csv":
            return csv.read_csv(path).to_pylist()
        case ".parquet":
            return parquet.read_table(path).to_pylist()
        case ".json":
            return [each | {"day": _day(each["day"])} for each in json.loads(path.read_text())]
        case ".jsonl" | ".ndjson":
            return [each | {"day": _day(each["day"])} for each in map(json.loads, path.read_text().splitlines())]
        case _:
            return feather.read_table(path).to_pylist()


def _day(text: str | None) -> dt.date | None:
    return None if text is None else dt.date.fromisoformat(text)


@pytest.mark.parametrize("task", TABLES)
def test_a_table_is_written_in_the_form_that_the_suffix_says(ran: Project, tmp_path: Path, task: str) -> None:
    for suffix in (".csv", ".CSV", ".parquet", ".json", ".jsonl", ".ndjson", ".arrow", ".feather"):
        path = get.get(ran, "latest", task, tmp_path / f"x{suffix}")
        assert [(row["day"], row["n"]) for row in rows_of(path)] == [(dt.date(2026, 1, 2), 1), (None, 2)]
        assert rows_of(path)[0]["word"] == "a,b"
        assert re.findall(r"\[columns\.(\w+)\]", draft_from_file(path)) == ["day", "n", "word"], "it can be read again"
    some = get.get(ran, "latest", "arrow", tmp_path / "some.csv", columns=["n"])
    assert some.read_text() == '"n"\n1\n2\n'


@pytest.mark.parametrize(("task", "suffix"), REFUSED)
def test_a_form_that_it_can_not_have_is_refused(ran: Project, tmp_path: Path, task: str, suffix: str) -> None:
    with pytest.raises(UsageError, match=f"can't be written as `.{suffix.split('.')[-1]}`") as caught:
        get.get(ran, "latest", task, tmp_path / f"x{suffix}")
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".json", ".arrow"])
def test_why_it_can_not_be_written_is_said(ran: Project, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"link{suffix}"
    path.symlink_to(tmp_path / "nowhere" / f"x{suffix}")
    with pytest.raises(UsageError, match=rf"can't write `{path}`: .*No such file or directory") as caught:
        get.get(ran, "latest", "polar", path, columns=["n"])
    assert "/.x" not in caught.value.message, "the name that it had until it was whole"


def test_what_is_got_into_a_pipe_comes_out_of_it(ran: Project) -> None:
    for task, columns in (("arrow", None), ("polar", ["n"]), ("numbers", None), ("judged", None)):
        reading, writing = os.pipe()
        get.get(ran, "latest", task, Path(f"/dev/fd/{writing}"), columns=columns)
        os.close(writing)
        with open(reading, "rb") as pipe:
            data = pipe.read()
        if task == "numbers":
            assert json.loads(data) == {"auc": 0.5}
        elif task == "judged":
            assert data.startswith(b"judged: ")
        else:
            assert pa.ipc.open_file(pa.BufferReader(data)).read_all()["n"].to_pylist() == [1, 2]


def test_what_the_form_of_a_file_is_only_its_maker_knows_where_that_is_text(ran: Project, tmp_path: Path) -> None:
    for name in ("x.html", "x.weird", "x"):
        assert get.get(ran, "latest", "note", tmp_path / name).read_text() == "<p>mine</p>"
    assert json.loads(get.get(ran, "latest", "quoted", tmp_path / "x.json").read_text()) == {"a": 1}


@pytest.mark.parametrize(
    ("part", "saved", "suffixes"),
    [
        ("page", "<p>mine</p>", (".html", ".HTM", ".txt", "", "-1.2")),
        ("files.0", "a.jpg", (".jpeg", ".JPG", ".bin")),
        ("files.1", "a.tar.gz", (".tgz", ".gz")),
        ("files.2", "a.log", (".txt", ".csv")),
        ("files.3", "a.bin", (".gguf", ".png")),
        ("files.4", "a.npz", (".zip",)),
        ("files.5", "a.json", (".yml", ".geojson")),
        ("files.6", "a.yml", (".yaml", ".txt")),
    ],
)
def test_a_file_may_have_each_suffix_that_is_not_of_another_format(
    ran: Project, tmp_path: Path, part: str, saved: str, suffixes: tuple[str, ...]
) -> None:
    for suffix in suffixes:
        assert get.get(ran, "latest", part, tmp_path / f"x{suffix}").read_text() == saved


@pytest.mark.parametrize("name", ["x", "x-1.2", ""])
def test_without_a_suffix_it_has_its_own_form(ran: Project, tmp_path: Path, name: str) -> None:
    assert feather.read_table(get.get(ran, "latest", "arrow", tmp_path / name)).num_rows == 2
    assert "judged" in get.get(ran, "latest", "judged", tmp_path / f"r{name}" if name else tmp_path).read_text()


def test_times_in_nanoseconds_and_lists_go_to_json_and_lists_are_json_within_csv(ran: Project, tmp_path: Path) -> None:
    path = get.get(ran, "latest", "nested", tmp_path / "x.json")
    first, second = json.loads(path.read_text())
    assert first["list"] == [1]
    assert first["at"].endswith("00:00:00.000000001")
    assert set(second.values()) == {None}
    cells = csv.read_csv(get.get(ran, "latest", "nested", tmp_path / "x.csv")).to_pylist()
    assert [json.loads(row["list"] or "null") for row in cells] == [[1], None]
    assert [row["at"] is None for row in cells] == [False, True]


def test_an_empty_table_is_an_empty_list() -> None:
    for suffix, text in ((".json", "[]\n"), (".jsonl", "")):
        path = Path(f"x{suffix}")
        assert "".join(get.table_file.lines(pa.table({"a": []}), is_list=suffix == ".json")) == text, path


def test_commands_that_write_pages_write_no_other_form(there: Shell) -> None:
    for words in (
        ("card", "latest", "numbers"),
        ("show", "latest"),
        ("compare", "latest", "latest"),
        ("contract", "draft", "latest", "arrow"),
        ("get", "latest", "curve", "--logged", "loss"),
    ):
        done = there(*words, "--to", "x.pdf")
        assert (done.code, "can't be written as `.pdf`" in done.err) == (2, True), (words, done.err)
    assert not (there.folder / "x.pdf").exists()


LONG = "x" * 300


@pytest.mark.parametrize(
    "words",
    [
        *(("get", "latest", "arrow", "--to", path) for path in (LONG, "headrace.toml/x.csv")),
        *(("show", "--html", "--to", path) for path in (LONG, "headrace.toml/x.html")),
        *(("contract", "draft", "latest", "arrow", "--to", path) for path in (LONG, "headrace.toml/x.toml")),
        *(("ledger", "export", path) for path in (LONG, "headrace.toml/x")),
        ("init", LONG),
        ("backup", LONG),
        ("restore", LONG),
        ("run", f"{LONG}.py:x"),
    ],
    ids=lambda words: " ".join(words).replace(LONG, "LONG"),
)
def test_a_path_that_no_file_can_have_is_one_error(there: Shell, words: tuple[str, ...]) -> None:
    done = there(*words)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert "internal" not in done.err
    assert "hint: " in done.err
    assert not (there.folder / ".headrace" / "faults").exists()
