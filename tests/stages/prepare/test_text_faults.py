"""Bad input to the stages for texts and labels, on the real command: one error, a hint, no traceback of ours."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.projects import Project, lent

PIPELINES = """
from pathlib import Path

import pyarrow as pa

import headrace as hr
from headrace.stages import prepare, train


def silent(row: dict) -> int | None:
    return None


def broken(row: dict) -> int | None:
    return 1 // (len(row["text"]) - 4)


@hr.stage
def read(texts: list[str]) -> pa.Table:
    return pa.table({"text": texts, "y": [1] * len(texts)})


@hr.stage
def folder() -> hr.Folder:
    Path("made").mkdir()
    Path("made", "weights.bin").write_text("nothing")
    return hr.Folder("made")


@hr.stage
def answers(text: str) -> hr.File:
    Path("ann.csv").write_text(text)
    return hr.File("ann.csv")


@hr.pipeline
def abstain() -> None:
    prepare.label(read(["a", "b"]), functions=[silent])


@hr.pipeline
def raises() -> None:
    prepare.label(read(["good", "b"]), functions=[broken])


@hr.pipeline
def anonymous() -> None:
    prepare.label(read(["good", "b"]), functions=[lambda row: 1])


@hr.pipeline
def tokenizer() -> None:
    prepare.tokenize(read(["a"]), folder())


@hr.pipeline
def package() -> None:
    prepare.tokenize(read(["a"]), "no_such_package/model")


@hr.pipeline
def unknown() -> None:
    prepare.labels([answers("id,label\\nx,1\\n")], read(["a"]))


@hr.pipeline
def model() -> None:
    train.finetune(folder(), read(["a"]), target="y")
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with lent(tmp_path_factory.mktemp("faults") / "project") as project:
        project.write("pipelines.py", PIPELINES)
        yield project


@pytest.mark.parametrize(
    ("pipeline", "code", "message"),
    [
        ("abstain", 1, "all 1 labelling functions abstained on all 2 rows"),
        ("raises", 1, "labelling function `broken` failed on row 0: ZeroDivisionError"),
        ("anonymous", 2, "no other process can import this function"),
        ("tokenizer", 1, "has no `tokenizer.json`; it has `weights.bin`"),
        ("package", 2, "there is no folder `no_such_package/model`, and no installed package has it"),
        ("unknown", 1, "no label in `ann.csv` can be used; line 2 of `ann.csv`: no row of the table has this id"),
        pytest.param("model", 1, "`y` is 1 in every row, so there is nothing to tell apart", marks=pytest.mark.heavy),
    ],
)
def test_bad_input_is_said_once(project: Project, pipeline: str, code: int, message: str, tmp_path: Path) -> None:
    if pipeline == "model" and find_spec("torch") is None:
        pytest.skip("torch isn't installed")
    done = project.headrace("run", pipeline)
    told = f"exit {done.code}\n{done.out}{done.err}"
    assert done.code == code, told
    assert message in done.err, told
    assert "hint: " in done.err, told
    assert "Traceback" not in done.err, told
