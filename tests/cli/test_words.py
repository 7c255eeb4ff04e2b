"""Words that tables and the last word of a run have: reasons on one line, places of stages."""

from __future__ import annotations

from tests.cli.conftest import Shell

MAPS = """
import headrace as hr
from headrace.errors import UsageError


@hr.stage
def first(x: int) -> int:
    return x


@hr.stage
def each(x: int) -> int:
    if x == 3:
        raise UsageError("three is too many", hint="give fewer")
    return x


@hr.stage
def last(xs: list[int]) -> int:
    return sum(xs)


@hr.pipeline
def flow(count: int = 2) -> None:
    head = first(1)
    each.map(list(range(1, count + 1)))
    last([head])
"""


def test_a_map_stands_where_the_pipeline_calls_it_and_a_hint_apart_from_its_reason(project: Shell) -> None:
    project.write("pipelines.py", MAPS)
    project("run", "flow")
    lines = project("show").out.splitlines()
    assert [line.split()[1] for line in lines if line[:1] in ("✓", "✗")] == ["first", "each", "last"]
    assert "elements" not in "".join(lines)
    assert project("run", "flow", "--count", "3").code == 1
    assert "three is too many (pipelines.py:14); hint: give fewer" in " ".join(project("show", "--tasks").out.split())


def test_a_map_of_several_reasons_names_one_and_how_many_have_others(project: Shell) -> None:
    project.write("pipelines.py", MAPS)
    first = project("run", "flow", "--count", "1", "--json").json["run"]
    project("run", "flow", "--count", "2")
    project("run", "flow", "--count", "2")
    (line,) = [line for line in project("show").out.splitlines() if " each " in line]
    assert f"since run {first}; 1 more for other reasons" in line
