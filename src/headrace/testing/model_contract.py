"""A test suite for the kinds of models. To use it, inherit from `ModelContract` in a test module and set `model`.

class TestForests(ModelContract):
    def model(self) -> Any:
        return RandomForestClassifier().fit(self.rows().select(["a", "b"]).to_pandas(), ...)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from headrace.codec.codecs import Codecs
from headrace.errors import CodecError, UsageError
from headrace.models.model import Model, model_of
from headrace.store.folder.folder import FolderStore

ROWS = 120


class ModelContract:
    """The test suite for models. A subclass must define `model`, a model that learned from `rows`.

    `columns` are the columns that the model learned from. Override `decisions` if the model's `predict` takes something
    other than a pandas frame with these columns, or returns something other than its decisions. Set `names` to False if
    the model doesn't name its columns. Set `classifies` to False for a regressor. Set `is_safe` to False if the model
    is code of a project: commands and servers don't load such a model.
    """

    columns: tuple[str, ...] = ("a", "b")
    names = True
    classifies = True
    is_safe = True

    def model(self) -> Any:
        """Return a trained model."""
        raise NotImplementedError

    def opened(self, model: Any) -> Model:
        """Return a trained model as a `Model`, through which the tests ask for predictions."""
        return model_of(model)

    def decisions(self, model: Any, rows: pa.Table) -> Any:
        """Return the class, or the number, that the model itself predicts for each row."""
        return np.asarray(model.predict(rows.select(list(self.columns)).to_pandas()))

    def rows(self) -> pa.Table:
        """Return rows to learn from and to predict: numbers `a` and `b`, the class `kind` and the number `size`."""
        random = np.random.default_rng(7)
        a, b = random.normal(size=ROWS), random.normal(size=ROWS)
        kind = np.where(a + b + random.normal(scale=0.3, size=ROWS) > 0, "up", "down")
        return pa.table({"a": a, "b": b, "kind": kind, "size": 2 * a - b})

    def answers(self, model: Any, rows: pa.Table) -> Any:
        """Return the model's predictions for rows, as one array."""
        asked = self.opened(model)
        if not self.classifies:
            return asked.numbers(rows, self.columns)
        scores = asked.scores(rows, self.columns)
        return scores.decided if scores.values is None else scores.values

    def test_it_names_the_columns_that_it_learned_from(self) -> None:
        takes = self.opened(self.model()).takes(self.rows().column_names)
        assert takes == (list(self.columns) if self.names else None)

    def test_it_answers_for_each_row(self) -> None:
        model, rows = self.model(), self.rows()
        assert len(self.answers(model, rows)) == ROWS
        assert len(self.answers(model, rows.slice(0, 1))) == 1

    def test_each_class_has_a_score_of_its_own(self) -> None:
        if not self.classifies:
            return
        scores = self.opened(self.model()).scores(self.rows(), self.columns)
        if scores.values is not None and scores.values.ndim == 2 and scores.classes is not None:
            assert scores.values.shape[1] == len(scores.classes)
        if scores.values is not None and scores.probable:
            assert (scores.values >= 0).all()
            assert (scores.values <= 1).all()

    def test_it_says_of_a_row_alone_what_it_says_of_it_among_others(self) -> None:
        model, rows = self.model(), self.rows()
        every = self.answers(model, rows)
        for place in (0, 7, ROWS - 1):
            alone = self.answers(model, rows.slice(place, 1))[0]
            assert np.array_equal(alone, every[place]) or np.allclose(alone, every[place], rtol=1e-6)

    def test_other_columns_and_their_order_change_nothing(self) -> None:
        model, rows = self.model(), self.rows()
        turned = rows.select(rows.column_names[::-1]).append_column("other", pa.nulls(ROWS, pa.string()))
        assert np.array_equal(self.answers(model, turned), self.answers(model, rows))

    def test_it_answers_as_before_once_it_was_stored(self, tmp_path: Path) -> None:
        model, rows, blobs = self.model(), self.rows(), FolderStore(tmp_path)
        ref = Codecs().save(model, blobs)
        stored = Codecs().load(ref, blobs, safe_only=self.is_safe)
        assert np.array_equal(self.answers(stored, rows), self.answers(model, rows))
        if not self.is_safe:
            with pytest.raises(CodecError):
                Codecs().load(ref, blobs, safe_only=True)

    def test_a_column_that_is_missing_is_named(self) -> None:
        if not self.names:
            return
        with pytest.raises(UsageError, match=f"no column `{self.columns[-1]}`"):
            self.answers(self.model(), self.rows().drop_columns([self.columns[-1]]))

    def test_it_gives_its_own_decision_and_the_score_of_each_class(self) -> None:
        model, rows = self.model(), self.rows()
        answers, own = self.opened(model).answers(rows, self.columns), self.decisions(model, rows)
        assert pa.table(answers).num_rows == ROWS
        assert next(iter(answers)) == "predicted"
        assert np.array_equal(answers["predicted"], own.reshape(ROWS))
        scores = self.opened(model).scores(rows, self.columns) if self.classifies else None
        if scores is not None and scores.values is not None and scores.classes is not None:
            wide = scores.values if scores.values.ndim == 2 else scores.values[:, None]
            named = scores.classes[-wide.shape[1] :]  # a single score is that of the second class
            assert list(answers)[1:] == [f"predicted_{each}" for each in named]
            assert np.array_equal(np.stack([answers[f"predicted_{each}"] for each in named], 1), wide)

    def test_rows_are_left_as_they_are(self) -> None:
        rows = self.rows()
        self.answers(self.model(), rows)
        assert rows.equals(self.rows())
