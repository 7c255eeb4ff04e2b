"""Each kind of model answers in the same way."""

from __future__ import annotations

from functools import partial
from typing import Any

import lightgbm
import numpy as np
import pyarrow as pa
import pytest
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from headrace.errors import UsageError
from headrace.models.model import Model, model_of
from headrace.stages import train
from headrace.testing.model_contract import ROWS, ModelContract


class Rule:
    """A model of a project, with no other method than `predict`."""

    def predict(self, frame: Any) -> Any:
        return np.where(frame["a"] + frame["b"] > 0, "up", "down")


class Contrary(LogisticRegression):
    """A classifier whose decisions don't follow from its probabilities, like those of `SVC(probability=True)`."""

    def predict(self, frame: Any) -> Any:
        return np.where(super().predict(frame) == "up", "down", "up")


class TestEstimator(ModelContract):
    def model(self) -> Any:
        rows = self.rows().to_pandas()
        return make_pipeline(StandardScaler(), LogisticRegression()).fit(rows[["a", "b"]], rows["kind"])


class TestEstimatorOfAnArray(ModelContract):
    names = False

    def model(self) -> Any:
        rows = self.rows().to_pandas()
        return LogisticRegression().fit(rows[["a", "b"]].to_numpy(), rows["kind"])

    def decisions(self, model: Any, rows: pa.Table) -> Any:
        return model.predict(rows.select(["a", "b"]).to_pandas().to_numpy())

    def test_an_array_of_another_width_is_refused(self) -> None:
        with pytest.raises(UsageError, match="takes 2 columns, and 1 are given"):
            self.opened(self.model()).scores(self.rows(), ["a"])


class TestEstimatorOfColumnsByPlace(ModelContract):
    def model(self) -> Any:
        rows = self.rows().to_pandas()
        return LogisticRegression().fit(rows[["a", "b"]], rows["kind"])

    def test_it_is_asked_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[str] = []
        given = LogisticRegression.decision_function

        def counted(model: Any, rows: Any) -> Any:
            asked.append(type(rows).__name__)
            return given(model, rows)

        monkeypatch.setattr(LogisticRegression, "decision_function", counted)
        self.opened(self.model()).answers(self.rows(), ["a", "b"])
        assert asked == ["ndarray"]

    @pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.int64(), pa.int8(), pa.float16(), pa.bool_()])
    def test_it_answers_as_for_a_frame(self, kind: pa.DataType) -> None:
        model, rows = self.model(), self.rows()
        rows = rows.set_column(1, "b", pa.array(rows["b"].to_numpy().round()).cast(kind, safe=False))
        found = self.opened(model).scores(rows, ["a", "b"]).values
        assert np.array_equal(found, model.predict_proba(rows.select(["a", "b"]).to_pandas()))

    def test_a_row_between_two_classes_is_decided_by_the_model(self) -> None:
        model = self.model()
        model.coef_, model.intercept_ = np.array([[1.0, -1.0]]), np.zeros(1)
        for nearly in (0.0, 1e-17, -1e-17, 1e-12, -1e-12, 0.5):
            rows = pa.table({"a": [nearly, 1.0], "b": [0.0, 0.0]})
            found = self.opened(model).answers(rows, ["a", "b"])["predicted"]
            assert list(found) == list(model.predict(rows.to_pandas()))

    def test_columns_in_another_order_are_not_taken_for_those_that_it_learned_from(self) -> None:
        with pytest.raises(UsageError, match="should match those that were passed during fit"):
            self.opened(self.model()).scores(self.rows(), ["b", "a"])

    @pytest.mark.parametrize("kind", [pa.float64(), pa.int64()])
    def test_a_value_that_is_missing_is_told_by_its_column(self, kind: pa.DataType) -> None:
        rows = self.rows().set_column(1, "b", pa.array([None, *range(ROWS - 1)], kind))
        with pytest.raises(UsageError) as error:
            self.opened(self.model()).scores(rows, ["a", "b"])
        assert "values are missing in `b`" in str(error.value.hint)


class TestEstimatorThatDecidesByItsProbabilities(ModelContract):
    def model(self) -> Any:
        rows = self.rows().to_pandas()
        model = RandomForestClassifier(n_estimators=4, random_state=1)
        return model.fit(rows[["a", "b"]], rows["kind"])


class TestEstimatorWithoutProbabilities(ModelContract):
    def model(self) -> Any:
        rows = self.rows().to_pandas()
        return LinearSVC().fit(rows[["a", "b"]], rows["kind"])


class TestEstimatorWithAThresholdOfItsOwn(ModelContract):
    def model(self) -> Any:
        rows = self.rows().to_pandas()
        model = FixedThresholdClassifier(LogisticRegression(), threshold=0.1, pos_label="up")
        return model.fit(rows[["a", "b"]], rows["kind"])


class TestEstimatorThatDecidesByOtherThanItsProbabilities(ModelContract):
    is_safe = False

    def model(self) -> Any:
        rows = self.rows().to_pandas()
        return Contrary().fit(rows[["a", "b"]], rows["kind"])


class TestEstimatorThatFindsOutliers(ModelContract):
    def model(self) -> Any:
        return IsolationForest(n_estimators=5, random_state=1).fit(self.rows().to_pandas()[["a", "b"]])


class TestEstimatorThatComparesClassesInPairs(ModelContract):
    def model(self) -> Any:
        rows = self.rows().to_pandas()
        return SVC(decision_function_shape="ovo").fit(rows[["a", "b"]], np.arange(len(rows)) % 4)


class TestEstimatorOfManyClasses(ModelContract):
    def model(self) -> Any:
        rows = self.rows().to_pandas()
        return RidgeClassifier().fit(rows[["a", "b"]], np.arange(len(rows)) % 3)


class TestRegressor(ModelContract):
    classifies = False

    def model(self) -> Any:
        rows = self.rows().to_pandas()
        return LinearRegression().fit(rows[["a", "b"]], rows["size"])


class TestRegressorOfAColumnVector(ModelContract):
    classifies = False

    def model(self) -> Any:
        rows = self.rows().to_pandas()
        return LinearRegression().fit(rows[["a", "b"]], rows[["size"]])


class TestLightgbmClassifier(ModelContract):
    def model(self) -> Any:
        rows = self.rows().to_pandas()
        return lightgbm.LGBMClassifier(n_estimators=5, verbose=-1).fit(rows[["a", "b"]], rows["kind"].to_numpy(str))


class TestLightgbmRegressor(ModelContract):
    classifies = False

    def model(self) -> Any:
        rows = self.rows().to_pandas()
        return lightgbm.LGBMRegressor(n_estimators=5, verbose=-1).fit(rows[["a", "b"]], rows["size"])


class TestBooster(ModelContract):
    def model(self) -> Any:
        rows = self.rows().to_pandas()
        data = lightgbm.Dataset(rows[["a", "b"]], rows["kind"] == "up")
        return lightgbm.train({"objective": "binary", "verbose": -1}, data, 5)

    def decisions(self, model: Any, rows: pa.Table) -> Any:
        return super().decisions(model, rows) >= 0.5

    def test_it_knows_its_classes_by_number(self) -> None:
        assert self.opened(self.model()).scores(self.rows(), self.columns).numbered

    def test_a_column_is_found_by_the_name_that_the_table_gives_it(self) -> None:
        rows = self.rows().rename_columns(["price [€]", "b", "kind", "size"])
        frame = rows.to_pandas().rename(columns={"price [€]": "price_%5B€%5D"})
        data = lightgbm.Dataset(frame[["price_%5B€%5D", "b"]], frame["kind"] == "up")
        model = lightgbm.train({"objective": "binary", "verbose": -1}, data, 5)
        assert model_of(model).takes(rows.column_names) == ["price [€]", "b"]


class TestBoosterOfNumbers(ModelContract):
    classifies = False

    def model(self) -> Any:
        rows = self.rows().to_pandas()
        return lightgbm.train({"verbose": -1}, lightgbm.Dataset(rows[["a", "b"]], rows["size"]), 5)


class TestNetwork(ModelContract):
    def model(self) -> Any:
        torch = pytest.importorskip("torch")
        module = partial(torch.nn.Linear, 2, 2)
        return train.torch(module, self.rows(), target="kind", features=["a", "b"], epochs=1, batch_size=32).model

    def decisions(self, model: Any, rows: pa.Table) -> Any:
        return model.predict(rows)


class TestNetworkOfNumbers(ModelContract):
    classifies = False

    def decisions(self, model: Any, rows: pa.Table) -> Any:
        return model.predict(rows)

    def model(self) -> Any:
        torch = pytest.importorskip("torch")
        module = partial(torch.nn.Linear, 2, 1)
        return train.torch(module, self.rows(), target="size", features=["a", "b"], epochs=1, batch_size=32).model


class TestClassOfAProject(ModelContract):
    names = False
    is_safe = False

    def model(self) -> Any:
        return Rule()


class TestFunctionThatAnswers(ModelContract):
    names = False
    is_safe = False

    def model(self) -> Any:
        return Rule()

    def opened(self, model: Any) -> Model:
        return model_of(model, lambda model, rows: model.predict(rows.to_pandas()) == "up")

    def decisions(self, model: Any, rows: pa.Table) -> Any:
        return super().decisions(model, rows) == "up"


@pytest.mark.parametrize("classes", [2, 3])
def test_a_classifier_of_several_targets_is_refused(classes: int) -> None:
    rows = ModelContract().rows()
    frame = rows.select(["a", "b"]).to_pandas()
    targets = np.stack([np.arange(len(frame)) % 2, np.arange(len(frame)) % classes], 1)
    model = DecisionTreeClassifier(max_depth=2).fit(frame, targets)
    with pytest.raises(UsageError, match=r"the model('s answers aren't an array of numbers| gives 2x120x2 values)"):
        model_of(model).answers(rows, ["a", "b"])


def test_a_booster_with_an_objective_of_the_user_is_not_asked_which_class_it_decides_for() -> None:
    rows = ModelContract().rows()

    def objective(scores: Any, data: lightgbm.Dataset) -> Any:
        return scores - np.eye(3)[np.asarray(data.get_label(), int)], np.ones_like(scores)

    data = lightgbm.Dataset(rows.select(["a", "b"]).to_pandas(), np.arange(len(rows)) % 3)
    model = lightgbm.train({"objective": objective, "num_class": 3, "verbose": -1}, data, 5)
    with pytest.raises(UsageError, match="the model gives 3 scores for each row, and names none of its classes"):
        model_of(model).answers(rows, ["a", "b"])


def test_what_has_no_predict_is_no_model() -> None:
    with pytest.raises(UsageError, match="a `dict` has no `predict`"):
        model_of({}).scores(ModelContract().rows(), ["a"])
