"""`headrace get` of models: files that their libraries read."""

from __future__ import annotations

from pathlib import Path

import lightgbm
import numpy as np
import skops.io

from tests.projects import check_error, lent

PIPELINES = """\
import lightgbm
import pyarrow as pa
from sklearn.linear_model import LogisticRegression

import headrace as hr
from headrace.stages import registry, train

ROWS = pa.table({"x": [float(i % 7) for i in range(80)], "y": [int(i % 7 > 3) for i in range(80)]})
SMALL = {"objective": "binary", "num_leaves": 3, "min_data_in_leaf": 2}


@hr.stage
def wrapped(table: pa.Table, *, fitted: bool) -> lightgbm.LGBMClassifier:
    model = lightgbm.LGBMClassifier(n_estimators=3, num_leaves=3, verbose=-1)
    return model.fit(table.select(["x"]).to_pandas(), table["y"].to_numpy()) if fitted else model


@hr.stage
def straight(table: pa.Table) -> LogisticRegression:
    return LogisticRegression().fit(table.select(["x"]).to_pandas(), table["y"].to_numpy())


@hr.pipeline
def flow() -> None:
    boosted = train.lightgbm(SMALL, ROWS, target="y", num_boost_round=4)
    registry.model("late", boosted.model, aliases=["best"])
    wrapped(ROWS, fitted=True)
    wrapped.with_options(name="raw")(ROWS, fitted=False)
    straight(ROWS)
"""


def test_the_file_of_a_model_is_one_that_its_library_reads(tmp_path: Path) -> None:
    with lent(tmp_path / "project") as project:
        project.write("pipelines.py", PIPELINES)
        assert project.headrace("run", "flow").code == 0
        found = {
            words: project.headrace("get", *words).out.strip()
            for words in (("model:late@best",), ("latest", "lightgbm.model"), ("latest", "wrapped"))
        }
        assert list(found.values()) == ["late-1.txt", "lightgbm.model.txt", "wrapped.txt"]
        assert project.headrace("get", "model:late", "--to", "own.txt").code == 0
        rows = np.array([[0.0], [6.0]])
        for name in (*found.values(), "own.txt"):
            low, high = lightgbm.Booster(model_file=str(project.root / name)).predict(rows)
            assert low < high
        assert project.headrace("get", "latest", "straight").out == "straight.skops\n"
        whole = project.headrace("register", "latest", "lightgbm", "--dataset", "d")
        hint = "register it as that: `--model NAME`"
        check_error(whole, 2, "is a `Boosted` of a model and more, so it can't be registered as a dataset", hint=hint)
        wrong = project.headrace("get", "latest", "lightgbm.model", "--to", "m.csv")
        hint = "`--to` takes `.txt`, `.lgb`, `.model`, or no suffix"
        check_error(wrong, 2, "a `Booster` can't be written as `.csv`", hint=hint)
        wrong = project.headrace("get", "latest", "lightgbm", "--to", "m.txt")
        assert "hint: get one of its parts: `headrace get latest lightgbm.model`\n" in wrong.err
        assert skops.io.load(project.root / "straight.skops").classes_.tolist() == [0, 1]

        check_error(
            project.headrace("get", "latest", "raw"), 2, "the model `raw` isn't fitted", hint="fit the model first"
        )
        whole = project.headrace("get", "latest", "lightgbm")
        hint = "write it to a file of its own: `headrace get latest lightgbm.model`"
        check_error(whole, 2, "`lightgbm.model` is a `lightgbm.basic.Booster`", hint=hint)
        forced = ("register", "latest", "lightgbm", "--dataset", "d", "--force", "--why", "to see")
        assert project.headrace(*forced).code == 0
        hint = "write it to a file of its own: `headrace get dataset:d model`"
        check_error(
            project.headrace("get", "dataset:d"), 2, "`dataset:d model` is a `lightgbm.basic.Booster`", hint=hint
        )
