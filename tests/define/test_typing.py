"""What type checkers make of user code: mypy itself is run on it."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from mypy import api

PIPELINE = """
from typing import NamedTuple

import headrace as hr


class Split(NamedTuple):
    train: list[int]
    test: list[int]


class Report(NamedTuple):
    passed: bool


@hr.stage
def load(n: int) -> list[int]:
    return list(range(n))


@hr.stage(kind="prepare", resources=hr.Resources(cpu=2, memory_gib=1.5), retries=2, timeout="6h", cache="run")
def split(xs: list[int], *, at: int = 3) -> Split:
    return Split(xs[:at], xs[at:])


@hr.stage
def fit(xs: list[int], *, depth: int = 6) -> float:
    return sum(xs) / depth


@hr.stage
def judge(models: list[float]) -> Report:
    return Report(True)


@hr.stage
async def publish(model: float, password: str) -> str:
    return password


@hr.pipeline
def everything(n: int = 3) -> None:
    parts = split(load(n))
    model = fit(parts.train)
    report = judge(fit.map(parts.train, depth=[1, 2]))
    where = publish(model, hr.secret("PASSWORD"), when=report.passed)
    publish(model, "x", after=[where], always=True)
    if hr.value(model) > 2:
        fit(parts.test)
"""


def check(tmp_path: Path, more: str = "") -> str:
    file = tmp_path / "pipelines.py"
    file.write_text(PIPELINE + textwrap.dedent(more))
    told, _, _ = api.run(["--strict", "--cache-dir", str(tmp_path / "cache"), str(file)])
    return told


def test_a_pipeline_that_uses_everything_passes_mypy_strict(tmp_path: Path) -> None:
    assert "Success" in check(tmp_path)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('fit("text")', 'argument type "str"'),
        ("fit(parts)", 'argument type "Split"'),
        ("fit()", "All overload variants"),
        ("fit(parts.train, deep=3)", "No overload variant"),
        ("parts.validation", 'has no attribute "validation"'),
        ("n: str = fit(parts.train)", 'expression has type "float"'),
        ('s: int = publish(1.0, "x")', 'expression has type "str"'),
    ],
)
def test_a_wrong_call_is_an_error_of_the_type_checker(tmp_path: Path, line: str, says: str) -> None:
    more = f"""
    @hr.pipeline
    def wrong() -> None:
        parts = split(load(3))
        {line}
    """
    told = check(tmp_path, more)
    assert says in told
    assert "Found 1 error" in told
