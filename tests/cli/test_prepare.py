"""clean, transform and split on the real command: bad input is one error, and what is larger than memory spills."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Shell

PIPELINES = """
import numpy as np
import pyarrow as pa

import headrace as hr
from headrace.stages import prepare


@hr.stage
def people() -> pa.Table:
    return pa.table({"id": range(40), "home": [n // 4 for n in range(40)], "age": ["x"] + ["30"] * 39})


@hr.stage
def numbers(count: int, columns: int) -> pa.Table:
    draw = np.random.default_rng(0)
    return pa.table({f"c{place}": pa.array(draw.random(count)) for place in range(columns)})


@hr.stage
def is_sorted(table: pa.Table) -> bool:
    values = table["c0"].to_numpy()
    return bool((values[1:] >= values[:-1]).all())


def broken(batch: pa.RecordBatch) -> pa.RecordBatch:
    raise ValueError("this step is broken")


@hr.pipeline
def bad() -> None:
    table = people()
    prepare.transform(table, sql="select id,\\n hoem\\nfrom data")
    prepare.transform(table, sql="select * from read_text('/etc/passwd')")
    prepare.transform(table, steps=[broken])
    prepare.clean(table, [prepare.Cast(columns="age", type="int64", otherwise="stop")])
    prepare.split(table, key="id", group="home")


@hr.pipeline
def spills(count: int = 2_500_000, columns: int = 4, memory_gib: float = 0.36) -> None:
    small = prepare.transform.with_options(resources=hr.Resources(memory_gib=memory_gib))
    is_sorted(small(numbers(count, columns), sql="select * from data order by c0"))
"""


@pytest.fixture
def people(project: Shell) -> Shell:
    (project.folder / "pipelines.py").write_text(PIPELINES)
    return project


def test_each_bad_input_is_one_error(people: Shell) -> None:
    done = people("run", "bad", "--json")
    assert done.code == 1
    told = {task["name"]: task["reason"] for task in done.json["tasks"] if task["state"] == "failed"}
    for task, said in {
        "transform": "(line 2: `hoem`)",
        "transform[1]": "the SQL reaches outside: Permission Error",
        "transform[2]": "ValueError: this step is broken",
        "clean": "rule 1 cast can't deal with 1 value of `age`, such as 'x'",
        "split": "there are leaks between the parts: ",
    }.items():
        assert said in told.pop(task)
    assert not told
    assert "Traceback" not in done.err


def test_what_is_larger_than_the_engine_may_hold_spills(people: Shell) -> None:
    done = people("run", "spills", "--json")
    assert done.code == 0, done.out
    assert people("get", "latest", "is_sorted", "--to", "sorted.json").code == 0
    assert (people.folder / "sorted.json").read_text().strip() == "true"


@pytest.mark.heavy
def test_a_table_larger_than_the_stage_s_memory_is_sorted(people: Shell) -> None:
    done = people("run", "spills", "--count", "20000000", "--memory_gib", "0.5", "--json")
    assert done.code == 0, done.out
    assert people("get", "latest", "is_sorted", "--to", "sorted.json").code == 0
    assert (people.folder / "sorted.json").read_text().strip() == "true"
