"""What type checkers make of user code: mypy itself is run on it."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest
from mypy import api

PIPELINE = """
from typing import NamedTuple

import headrace as hr
from headrace.stages import evaluate, train


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
    network = train.torch(list, parts.train, target="y", log_every=10, patience=None, when=report.passed)
    evaluate.classification(network, parts.test, train=parts.train, slices=["town"], when=report.passed).metrics
    train.finetune("a/model", table=parts.train, lr=0.1, retries=3, after=[network]).adapter
"""


WRONG = {
    'fit("text")': 'argument type "str"',
    "fit(parts)": 'argument type "Split"',
    "fit()": "All overload variants",
    "fit(parts.train, deep=3)": "No overload variant",
    "parts.validation": 'has no attribute "validation"',
    "n: str = fit(parts.train)": 'expression has type "float"',
    's: int = publish(1.0, "x")': 'expression has type "str"',
    'train.torch(list, parts.train, target="y", log_evry=10)': 'did you mean "log_every"?',
    'train.torch(list, parts.train, target="y", log_every="10")': 'expected "int"',
    'train.torch(list, parts.train, target="y", precision="half")': "expected \"Literal['fp32', 'bf16', 'fp16']\"",
    "train.torch(list, parts.train)": 'Missing named argument "target"',
    'evaluate.classification(parts, parts.test, slice="town")': "No overload variant",
    'train.finetune("a/model", parts.train, epoch=3)': 'Unexpected keyword argument "epoch"',
}

OURS_ONLY = """
[mypy]
follow_imports = skip
[mypy-headrace.*,msgspec.*]
follow_imports = normal
"""
"""What stages stand on is large, and no part of the verdict."""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Return for each wrong line, and for none (""), the errors of the file that has it: mypy checks all in one go."""
    folder = tmp_path_factory.mktemp("typing")
    files = {line: folder / f"pipelines_{number}.py" for number, line in enumerate(["", *WRONG])}
    for line, file in files.items():
        more = f"""
        @hr.pipeline
        def wrong() -> None:
            parts = split(load(3))
            {line}
        """
        file.write_text(PIPELINE + (textwrap.dedent(more) if line else ""))
    (folder / "mypy.ini").write_text(OURS_ONLY)
    options = ["--strict", "--config-file", str(folder / "mypy.ini"), "--cache-dir", str(folder / "cache")]
    limit = sys.getrecursionlimit()
    out, err, _ = api.run([*options, *map(str, files.values())])
    sys.setrecursionlimit(limit)  # mypy has raised it, and other tests rely on Python's own
    assert f"checked {len(files)} source files" in out, out + err
    said = [line for line in out.splitlines() if ": error: " in line]
    return {line: [each for each in said if Path(each.split(":")[0]).name == file.name] for line, file in files.items()}


def test_a_pipeline_that_uses_everything_passes_mypy_strict(told: dict[str, list[str]]) -> None:
    assert told[""] == []


@pytest.mark.parametrize(("line", "says"), WRONG.items())
def test_a_wrong_call_is_an_error_of_the_type_checker(told: dict[str, list[str]], line: str, says: str) -> None:
    [error] = told[line]
    assert says in error


def test_mypy_has_nothing_to_say_but_of_the_wrong_lines(told: dict[str, list[str]]) -> None:
    assert sum(map(len, told.values())) == len(WRONG)
