"""A damaged blob is one clear error of each command that reads it, whatever form it is got out in."""

from __future__ import annotations

import struct

import pytest

from tests.cli.conftest import Shell

PIPELINES = """
from typing import NamedTuple

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

import headrace as hr
from headrace.codec.joined import Joined
from headrace.spec.report import Fact, Report

DATA = {"x": np.random.default_rng(0).normal(size=20_000)}


class Frames(NamedTuple):
    arrow: pa.Table
    joined: pa.Table
    pandas: pd.DataFrame
    polars: pl.DataFrame


@hr.stage
def make() -> Frames:
    table = pa.table(DATA)
    return Frames(table, Joined([table.slice(0, 9_000), table.slice(9_000)]), pd.DataFrame(DATA), pl.DataFrame(DATA))


@hr.pipeline
def tables() -> None:
    make()


@hr.stage
def judge() -> Report:
    return Report(title="Judged", facts=(Fact(name="AUC", value=0.5),), about=" ".join(map(str, range(20_000))))


@hr.pipeline
def reports() -> None:
    judge()
"""

KINDS = ("arrow", "joined", "pandas", "polars")
SUFFIXES = ("", ".arrow", ".csv", ".feather", ".json", ".jsonl", ".parquet")
COMMANDS = [
    *(("get", "latest", f"make.{kind}", "--to", f"out{suffix}") for kind in KINDS for suffix in SUFFIXES),
    *(("contract", "draft", "latest", f"make.{kind}") for kind in KINDS),
]


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A project with a run whose tables are damaged in the store."""
    project = Shell(tmp_path_factory.mktemp("tables"))
    project.write("headrace.toml", "")
    project.write("pipelines.py", PIPELINES)
    assert (done := project("run", "tables")).code == 0, done
    damage(project)
    return project


def damage(project: Shell) -> None:
    """Change a few bytes of each large blob in a project's store."""
    blobs = (project.folder / ".headrace" / "store" / "blobs").glob("*/*")
    for file in (each for each in blobs if each.stat().st_size > 60_000):
        file.chmod(0o644)
        with file.open("r+b") as written:
            written.seek(8 * 1000)
            written.write(struct.pack("<d", 100.0))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_no_command_gives_a_damaged_table(tables: Shell, words: tuple[str, ...]) -> None:
    before = set(tables.folder.iterdir())
    done = tables(*words)
    assert (done.code, done.out) == (5, ""), done
    assert "is damaged" in done.err
    assert "hint: " in done.err
    assert set(tables.folder.iterdir()) == before


def test_a_page_names_the_task_whose_report_can_not_be_read(tables: Shell) -> None:
    page = tables.folder / "page.html"
    assert tables("run", "reports").code == 0
    assert tables("show", "latest", "--to", "page.html").code == 0
    assert "can't be read" not in page.read_text()
    damage(tables)
    assert tables("show", "latest", "--to", "page.html").code == 0
    assert "A report of <code>judge</code> is not shown: it can't be read." in page.read_text()
