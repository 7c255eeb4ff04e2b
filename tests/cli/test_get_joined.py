"""`headrace get` of a table that is kept in parts."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from tests.projects import lent

PIPELINES = """\
import pyarrow as pa
import headrace as hr
from headrace.codec.joined import Joined

@hr.stage
def grown() -> pa.Table:
    return Joined([pa.table({"a": [1], "b": ["x"]}), pa.table({"a": [2], "b": ["y"]})])

@hr.pipeline
def all() -> None:
    grown()
"""


def test_a_table_in_parts_is_one_file(tmp_path: Path) -> None:
    with lent(tmp_path / "project") as project:
        project.write("pipelines.py", PIPELINES)
        assert project.headrace("run", "all").code == 0
        for words, names in (((), ["a", "b"]), (("--columns", "b"), ["b"])):
            done = project.headrace("get", "latest", "grown", "--to", "grown.arrow", *words)
            assert done.code == 0, done.err
            table = pa.ipc.open_file(str(project.root / "grown.arrow")).read_all()
            assert (table.num_rows, table.schema.names) == (2, names)
