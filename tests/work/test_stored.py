"""What a stage stores while it runs is given out without being written again."""

from __future__ import annotations

from pathlib import Path

import headrace as hr
from tests.projects import lent

PIPELINES = """
from collections.abc import Iterator
import pyarrow as pa
import headrace as hr
from headrace.codec.joined import Joined


@hr.stage
def pieces(count: int) -> pa.Table:
    kept = [hr.attempt().stored(pa.table({"a": list(range(each, 5000))})) for each in range(count)]
    assert all(type(each) is pa.Table for each in kept)
    return Joined(kept)


@hr.stage
def same(table: pa.Table) -> pa.Table:
    assert type(table) is pa.Table
    return table


@hr.stage
def batches(count: int) -> Iterator[pa.RecordBatch]:
    for each in range(count):
        yield pa.record_batch({"a": [each] * 1000})


@hr.stage
def rows(batches: Iterator[pa.RecordBatch]) -> int:
    return sum(each.num_rows for each in batches)


@hr.pipeline
def streamed() -> None:
    rows(same(batches(3)))


@hr.pipeline
def pieced(count: int = 3) -> None:
    same(pieces(count))
"""


def test_pieces_that_were_stored_and_a_table_that_is_handed_on_are_not_written_again(tmp_path: Path) -> None:
    with lent(tmp_path / "project") as project:
        project.write("pipelines.py", PIPELINES)
        done = project.headrace("run", "pieced", "--json")
        assert done.code == 0, done.out + done.err
        made, given = (done.task[name]["outputs"][0] for name in ("pieces", "same"))
        assert made == given
        blobs = [each for each in (project.home / "store" / "blobs").rglob("*") if each.is_file()]
        assert sum(each.read_bytes().startswith(b"ARROW1") for each in blobs) == 3


def test_a_stream_is_a_table_where_one_is_wanted_and_a_table_a_stream(tmp_path: Path) -> None:
    with lent(tmp_path / "project") as project:
        project.write("pipelines.py", PIPELINES)
        done = project.headrace("run", "streamed", "--json")
        assert done.code == 0, done.out + done.err
        assert done.task["same"]["outputs"][0]["type"] == "pyarrow.lib.Table"


def test_outside_of_a_run_what_is_stored_stays_as_it_is() -> None:
    value = {"a": [1]}
    assert hr.attempt().stored(value) is value
