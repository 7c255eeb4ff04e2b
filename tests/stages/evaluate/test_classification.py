"""Classifiers judged: what is measured, what is said to be undefined, and what is refused."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from fairlearn import metrics as fair
from lightgbm import LGBMClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import precision_score, recall_score, roc_auc_score
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.svm import LinearSVC

from headrace.define.version import Version
from headrace.errors import UsageError
from headrace.spec.report import Fact, Report
from headrace.stages import evaluate
from headrace.stages.evaluate._classification import classification
from headrace.stages.evaluate._gate.gate import judge
from headrace.stages.evaluate.leaks import leaks
from headrace.stages.evaluate.metrics.binary import BinaryPart
from headrace.stages.evaluate.metrics.catalogue import catalogue_of
from headrace.stages.evaluate.robustness import _shifted
from headrace.watch.intervals import Spread, widest, widest_pair
from headrace.watch.rules import parse
from headrace.watch.thresholds import threshold_of


def judged(people: pa.Table, **options: Any) -> evaluate.Classification:
    given = {"target": "hired", "scores": "p", "resamples": 200, **options}
    return evaluate.classification(None, people, **given)


def fact(report: Report, name: str) -> Fact:
    return next(each for each in report.facts if each.name == name)


def test_a_model_is_judged_beside_a_baseline_with_intervals(people: pa.Table) -> None:
    found = judged(people, slices=["sex", "town"], sensitive=["sex"])
    auc = fact(found.report, "AUC")
    assert auc.value == pytest.approx(roc_auc_score(people["hired"].to_numpy(False), people["p"].to_numpy()))
    assert auc.low is not None
    assert auc.high is not None
    assert auc.low < found.metrics["AUC"] < auc.high
    assert found.passed  # the default gate: log loss surely below the constant's
    assert found.report.verdicts[0].rule == "log loss < baseline with 95% confidence"
    assert found.page.path.read_text().startswith("<!doctype html>")
    assert found.predictions.num_rows == 600
    assert found.predictions["row"].to_pylist() == list(range(600))
    assert {each["by"] for each in found.slices.to_pylist()} == {"sex", "town", "sex x town"}
    assert {each.title for each in found.report.drawings} >= {"ROC curve", "Calibration"}


def test_the_same_rows_give_the_same_report(people: pa.Table) -> None:
    assert judged(people, slices=["sex"]).report == judged(people, slices=["sex"]).report


def test_rates_by_group_are_those_of_fairlearn(people: pa.Table) -> None:
    found = judged(people, sensitive=["sex", "town"])
    true, decided = people["hired"].to_numpy(False), people["p"].to_numpy() >= 0.5
    frame = fair.MetricFrame(
        metrics={
            "selection_rate": fair.selection_rate,
            "tpr": fair.true_positive_rate,
            "fpr": fair.false_positive_rate,
        },
        y_true=true,
        y_pred=decided,
        sensitive_features=people["sex"].to_pandas(),
    )
    rows = {each["group"]: each for each in found.bias.to_pylist() if each["by"] == "sex"}
    for group, values in frame.by_group.iterrows():
        for name, value in values.items():
            assert rows[group][name] == pytest.approx(value)
    assert found.metrics["recall difference by sex"] == pytest.approx(frame.difference()["tpr"])
    assert found.metrics["selection rate ratio by sex"] == pytest.approx(frame.ratio()["selection_rate"])
    odds = fair.equalized_odds_difference(true, decided, sensitive_features=people["sex"].to_pandas())
    assert found.metrics["equalized odds difference by sex"] == pytest.approx(odds)


def test_a_rule_on_a_bias_is_undecided_while_a_group_was_not_judged(people: pa.Table) -> None:
    rule = "TPR difference by town <= 0.3"
    for gates in (rule, f"{rule} with 95% confidence", "recall difference <= 0.3 with 95% confidence"):
        found = judged(people, sensitive=["town"], slices=["town"], gates=gates)
        (verdict,) = found.report.verdicts
        assert (found.passed, verdict.holds) == (False, None)
        assert "By town, `alone` (0 positive rows) was not judged: that takes 30 positive rows" in verdict.why
        assert evaluate.gate(found.report, rule) is False
        assert judged(people, sensitive=["town"], min_group=30, gates=gates).passed
    alone = next(each for each in found.bias.to_pylist() if each["group"] == "alone")
    assert (alone["rows"], alone["tpr"], alone["note"]) == (1, None, "too small (fewer than 30 rows)")
    (said,) = [each for each in found.report.limits if "too small" in each]
    assert said.startswith("Of 3 groups by town, 1 is too small for all or some of the numbers: `alone`.")
    assert said.endswith("So a rule on a difference or ratio may be undecided, unless `min_group` is given.")
    given = judged(people, sensitive=["town"], min_group=30, gates="").report.limits
    (said,) = [each for each in given if "too small" in each]
    assert said.endswith("`alone`. Differences and ratios leave it out.")
    assert not [each for each in judged(people, sensitive=["sex"]).report.limits if "too small" in each]
    assert [each["note"] for each in found.slices.to_pylist() if each["slice"] == "alone"] == [alone["note"]]


def test_what_those_who_were_judged_break_fails_whoever_was_not_judged(people: pa.Table) -> None:
    towns, told = people["town"].to_pylist(), people["p"].to_numpy()
    apart = people.set_column(1, "p", pa.array(np.where(np.array(towns) == "south", told * 0.8, told)))
    for rule in ("recall difference by town <= 0.1", "selection rate ratio by town >= 0.9 with 95% confidence"):
        (verdict,) = judged(apart, sensitive=["town"], gates=rule).report.verdicts
        assert verdict.holds is False
        assert "`alone`" in verdict.why
    surely = "recall difference by town > 0.1 with 95% confidence"
    assert judged(apart, sensitive=["town"], gates=surely).passed


def test_a_group_whose_positive_rows_are_never_found_is_named_and_counted_as_fairlearn_counts_it() -> None:
    """30 people, 16 of them positive, whom the model never finds."""
    random = np.random.default_rng(0)
    race = np.array(["few"] * 30 + ["many"] * 600 + ["more"] * 600)
    true = np.where(race == "few", np.arange(1230) < 16, random.random(1230) < 0.5)
    said = np.where(race == "few", False, true ^ (random.random(1230) < 0.2))
    table = pa.table({"hired": true, "p": said.astype(float), "race": race})
    rule = "recall difference by race <= 0.15 with 95% confidence"
    found = judged(table, sensitive="race", gates=rule)
    assert not found.passed
    assert "`few` (16 positive rows) was not judged" in found.report.verdicts[0].why
    assert judged(table, sensitive="race", gates=rule, min_group=30).passed
    every = judged(table, sensitive="race", gates=rule, min_group=2)
    frame = fair.MetricFrame(
        metrics=fair.true_positive_rate, y_true=true, y_pred=said, sensitive_features=race
    )  # all groups
    assert every.metrics["recall difference by race"] == pytest.approx(frame.difference())
    assert every.report.verdicts[0].holds is False


def test_rows_of_few_days_are_judged_without_intervals(people: pa.Table) -> None:
    days = people.append_column("date", pa.array([place % 5 for place in range(len(people))]))
    rule = "selection rate difference <= 0.9 with 95% confidence"
    found = judged(days, groups="date", sensitive=["sex", "town"], slices=["sex"], gates=rule)
    assert [each.holds for each in found.report.verdicts] == [None]
    assert "5 groups don't tell" in found.report.verdicts[0].why
    assert {each.title for each in found.report.drawings} >= {"Calibration"}


def test_a_column_whose_people_came_on_few_days_is_not_passed_over(people: pa.Table) -> None:
    place = ["here" if row % 20 < 3 else "there" for row in range(len(people))]
    days = people.append_column("date", pa.array([row % 20 for row in range(len(people))]))
    days = days.append_column("place", pa.array(place))
    rule = "selection rate difference <= 0.9 with 95% confidence"
    assert judged(days, groups="date", sensitive=["sex"], gates=rule, min_group=30).passed
    found = judged(days, groups="date", sensitive=["sex", "place"], gates=rule, min_group=30)
    assert [each.holds for each in found.report.verdicts] == [None]
    assert "3 groups don't tell" in found.report.verdicts[0].why


def test_where_all_groups_are_too_small_nothing_is_said(people: pa.Table) -> None:
    found = judged(people, sensitive=["town"], min_group=500, gates="selection rate ratio by town >= 0.8")
    assert found.report.verdicts[0].holds is None
    assert "fewer than two groups" in found.report.verdicts[0].why
    assert not found.passed


def test_one_class_only_is_said_and_not_zero(people: pa.Table) -> None:
    none = people.filter(pa.array(~people["hired"].to_numpy(False)))
    found = judged(none, gates="AUC >= 0.5")
    assert "of one class" in fact(found.report, "AUC").why
    assert "none of the" in fact(found.report, "recall").why
    assert "AUC" not in found.metrics
    assert fact(found.report, "log loss").value is not None
    assert found.report.verdicts[0].holds is None
    assert not found.passed


def test_equal_scores_rank_nothing(people: pa.Table) -> None:
    flat = people.set_column(1, "p", pa.array(np.full(600, 0.4)))
    found = judged(flat)
    assert fact(found.report, "AUC").why == "all scores are equal, so they rank nothing"
    assert fact(found.report, "precision").why == "no row is predicted positive"


def test_rows_without_a_target_are_left_out_and_counted(people: pa.Table) -> None:
    holes = pa.array([None if place < 50 else each for place, each in enumerate(people["hired"].to_pylist())])
    found = judged(people.set_column(0, "hired", holes))
    assert found.metrics["rows"] == 550
    assert found.metrics["rows without a target"] == 50
    assert found.predictions["row"][0].as_py() == 50
    nans = pa.array([float("nan") if place < 50 else float(place % 2) for place in range(600)])
    assert judged(people.set_column(0, "hired", nans)).metrics["rows without a target"] == 50


def test_no_target_at_all_is_one_clear_error(people: pa.Table) -> None:
    with pytest.raises(UsageError, match="none of the 600 rows has a target"):
        judged(people.set_column(0, "hired", pa.nulls(600, pa.bool_())))
    with pytest.raises(UsageError, match="there are no rows"):
        judged(people.slice(0, 0))


def test_a_model_judged_by_the_rows_that_it_learned_from_does_not_pass(people: pa.Table) -> None:
    rule = "rows seen in training <= 0"
    for gates in (None, "AUC >= 0.6"):
        found = judged(people, train=people, key="day", gates=gates)
        assert not found.passed
        verdict = next(each for each in found.report.verdicts if each.rule == rule)
        assert (verdict.holds, "know them by heart" in verdict.why) == (False, True)
        assert found.report.about.startswith("600 of the 600 rows judged were trained on. The numbers flatter")
    assert judged(people, train=people, key="day", gates="AUC >= 0.6 and rows seen in training <= 600").passed
    assert judged(people, train=people, key="day", gates="").passed
    new = people.set_column(4, "day", pa.array(range(1000, 1600)))
    assert judged(people, train=new, key="day", gates="AUC >= 0.6").passed


def test_a_gate_with_a_choice_in_it_is_explained_beside_the_one_on_rows_trained_on(people: pa.Table) -> None:
    new = people.set_column(4, "day", pa.array(range(1000, 1600)))
    for choice in ("AUC >= 0.6 or F1 >= 0.99", "AUC >= 0.99 or F1 >= 0 and (AUC >= 0.6 or F1 >= 0.99)"):
        found = judged(people, train=new, key="day", gates=f"precision >= 0.1 and ({choice})")
        assert found.passed
        whole = found.report.verdicts[0]
        assert whole.rule == f"precision >= 0.1 and ({choice}) and rows seen in training <= 0"
        assert (whole.holds, whole.why) == (True, "Enough of its parts hold.")
        assert False in [each.holds for each in found.report.verdicts]


def test_without_a_key_one_in_a_hundred_rows_may_be_alike_by_chance(people: pa.Table) -> None:
    assert judged(people, train=people.slice(0, 6), gates="AUC >= 0.6").passed
    found = judged(people, train=people.slice(0, 7), gates="AUC >= 0.6")
    assert [each.rule for each in found.report.verdicts if not each.holds] == ["rows seen in training <= 6"]


def test_test_rows_that_were_trained_on_are_counted_and_named(people: pa.Table) -> None:
    train = people.slice(100, 20)
    found = judged(people, train=train, gates="rows seen in training <= 0")
    assert found.metrics["rows seen in training"] == 20
    assert not found.passed
    grid = next(each for each in found.report.grids if each.title == "Test rows that may have been trained on")
    assert ("100", "0") in {tuple(sorted(each, key=len, reverse=True)) for each in grid.rows}
    assert any("know them by heart" in each for each in found.report.limits)
    assert judged(people.slice(0, 100), train=train).metrics["rows seen in training"] == 0


def test_keys_too_great_for_floats_are_told_apart() -> None:
    mine = pa.table({"id": pa.array([2**60 + 3 * row for row in range(50)])})
    near = pa.table({"id": pa.array([2**60 + 3 * row + 1 for row in range(50)])})
    assert not len(leaks(mine, near, ["id"]).rows)
    assert leaks(mine, mine.slice(7, 5), ["id"]).rows.tolist() == [7, 8, 9, 10, 11]
    few = [-(2**63), 5, 2**63 - 1]
    assert len(leaks(pa.table({"id": few}), pa.table({"id": [*few, None]}), ["id"]).rows) == 3
    assert len(leaks(pa.table({"id": [5]}), pa.table({"id": [5.0, None]}), ["id"]).rows) == 1


def test_a_threshold_is_chosen_on_validation_rows_only(people: pa.Table) -> None:
    found = judged(people.slice(0, 300), valid=people.slice(300), threshold="valid:f1")
    assert "chosen on validation" in found.report.about
    for threshold, told in {"test:f1": "rows on which the model is judged", "valid:f2": "can't be read"}.items():
        with pytest.raises(UsageError, match=told):
            judged(people.slice(0, 300), valid=people.slice(300), threshold=threshold)
    with pytest.raises(UsageError, match="needs validation rows"):
        judged(people, threshold="valid:f1")
    with pytest.raises(UsageError, match="all rows of `valid` are among those that are judged"):
        judged(people, valid=people.slice(50, 100), threshold="valid:f1")


def test_a_report_says_that_the_model_itself_decides_at_another_threshold(people: pa.Table) -> None:
    def told(**options: Any) -> list[str]:
        return [each for each in judged(people, **options).report.limits if "doesn't know the threshold" in each]

    assert told(threshold=0.31)[0].startswith("The model itself doesn't know the threshold of 0.31: `headrace predict`")
    assert told() == told(threshold=0.5) == []


def test_each_rule_for_a_threshold_gives_what_it_says(people: pa.Table) -> None:
    true, score = people["hired"].to_numpy(False), people["p"].to_numpy()

    def metrics(rule: str | float) -> dict[str, float]:
        cut = threshold_of(rule, true, score).value
        return dict(BinaryPart(true, score, score >= cut, whole=True).point)

    assert metrics("valid:rate=20%")["selection rate"] == pytest.approx(0.2, abs=0.002)
    assert 0.9 <= metrics("valid:recall=0.9")["recall"] < 0.91
    assert metrics("valid:precision=0.8")["precision"] >= 0.8
    for rule, name in {"valid:f1": "F1", "valid:youden": "balanced accuracy", "valid:accuracy": "accuracy"}.items():
        others = [metrics(float(each))[name] for each in np.linspace(0.05, 0.9, 50)]
        assert metrics(rule)[name] >= max(others) - 1e-12
    with pytest.raises(UsageError, match="no threshold reaches"):
        threshold_of("valid:precision=1", true, -score)


def test_resampling_by_group_says_so_and_needs_groups(people: pa.Table) -> None:
    assert any("40 groups" in each for each in judged(people, groups="day").report.limits)
    with pytest.raises(UsageError, match="all rows have the same"):
        judged(people.append_column("one", pa.array([1] * 600)), groups="one")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"target": "hird"}, "no column `hird`"),
        ({"sensitive": ["race"]}, "no column `race`"),
        ({"gates": "AUC"}, "can't be read"),
        ({"gates": "AUX >= 0.7"}, "asks for `AUX`"),
        ({"positive": "maybe"}, "not a class of the target"),
        ({"confidence": 95}, "makes no sense"),
        ({"resamples": 10}, "too few"),
        ({"min_group": 1}, "single people"),
        ({"scores": None}, "nothing to judge"),
    ],
)
def test_bad_input_gets_one_clear_error(people: pa.Table, options: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        judged(people, **options)
    assert caught.value.hint


@pytest.fixture
def flights() -> pa.Table:
    random = np.random.default_rng(3)
    hour, wind = random.integers(0, 24, 900), random.normal(10, 4, 900)
    carrier = random.choice(["AA", "UA"], 900)
    late = hour / 24 + wind / 20 + random.normal(0, 0.3, 900) > 1.2
    return pa.table({"hour": hour, "wind": wind, "carrier": carrier, "late": late})


def test_the_target_is_the_column_that_the_model_does_not_take(flights: pa.Table) -> None:
    frame = flights.to_pandas()
    model = LGBMClassifier(n_estimators=20, verbose=-1, n_jobs=1).fit(frame[["hour", "wind"]], frame["late"])
    report = evaluate.classification(model, flights, sensitive=["carrier"], resamples=100)
    assert report.passed
    assert "which predicts late" in report.report.title
    assert any("Robustness" in each.title for each in report.report.grids)


def test_models_of_several_libraries_are_heard(flights: pa.Table) -> None:
    frame = flights.to_pandas()
    features, late = frame[["hour", "wind"]], frame["late"]
    booster = LGBMClassifier(n_estimators=20, verbose=-1, n_jobs=1).fit(features, late).booster_
    bare = LogisticRegression().fit(features.to_numpy(), late)
    margin = LinearSVC().fit(features, late.map({True: "late", False: "fine"}))
    given: dict[str, Any] = {"resamples": 100, "robust": False}
    assert evaluate.classification(booster, flights, target="late", **given).metrics["AUC"] > 0.8
    assert evaluate.classification(bare, flights, target="late", features=["hour", "wind"], **given).passed
    named = flights.set_column(3, "late", pa.array(np.where(late, "late", "fine")))
    found = evaluate.classification(margin, named, target="late", positive="late", **given)
    assert "no probabilities" in fact(found.report, "log loss").why
    assert found.metrics["recall"] > 0.5
    with pytest.raises(UsageError, match="the model can't predict these rows"):
        evaluate.classification(bare, flights, target="late", features=["hour", "carrier"], **given)
    with pytest.raises(UsageError, match="takes 2 columns, and 1 are given"):
        evaluate.classification(bare, flights, target="late", features=["hour"], **given)


def test_the_previous_version_stands_beside(flights: pa.Table) -> None:
    frame = flights.to_pandas()
    old = LogisticRegression().fit(frame[["hour"]], frame["late"])
    new = LogisticRegression(max_iter=1000).fit(frame[["hour", "wind"]], frame["late"])
    found = evaluate.classification(
        new, flights, target="late", previous=old, gates="AUC > previous with 95% confidence", robust=False
    )
    assert any("The previous model was judged at the threshold of this one, " in each for each in found.report.limits)
    assert found.passed
    assert found.metrics["AUC less previous"] > 0


def test_the_decisions_judged_are_those_that_the_model_makes(flights: pa.Table) -> None:
    frame = flights.to_pandas()
    plain = LogisticRegression().fit(frame[["hour", "wind"]], frame["late"])
    eager = FixedThresholdClassifier(LogisticRegression(), threshold=0.2).fit(frame[["hour", "wind"]], frame["late"])
    options: dict[str, Any] = {"target": "late", "gates": "recall > previous", "robust": False, "resamples": 100}
    found = evaluate.classification(eager, flights, previous=plain, **options)
    own = eager.predict(frame[["hour", "wind"]])
    assert found.metrics["recall"] == pytest.approx(recall_score(frame["late"], own))
    assert found.predictions["predicted"].to_pylist() == own.tolist()
    count = (own != plain.predict(frame[["hour", "wind"]])).sum()
    assert f"the model's own `predict`: in {count} rows, they differ from a threshold of 0.5." in found.report.about
    back = evaluate.classification(plain, flights, previous=eager, **options)
    assert back.metrics["recall less previous"] == pytest.approx(-found.metrics["recall less previous"])
    assert not any("judged at the threshold of this one" in each for each in back.report.limits)
    given = evaluate.classification(eager, flights, previous=plain, threshold=0.5, **options)
    assert given.metrics["recall"] == pytest.approx(back.metrics["recall"])


class Shy(LogisticRegression):
    """A classifier that never decides for a storm."""

    def predict(self, frame: Any) -> Any:
        likeliest = super().predict(frame)
        return np.where(likeliest == "storm", "breeze", likeliest)


def test_the_decisions_between_many_classes_are_those_that_the_model_makes(flights: pa.Table) -> None:
    kinds = np.array(["calm", "breeze", "storm"])[np.digitize(flights["wind"].to_numpy(), [8, 13])]
    table = flights.append_column("kind", pa.array(kinds))
    model = Shy(max_iter=1000).fit(table.to_pandas()[["wind", "hour"]], kinds)
    found = evaluate.classification(model, table, target="kind", resamples=100)
    assert "storm" not in found.predictions["predicted"].to_pylist()
    assert "they differ from the class with the highest score" in found.report.about
    [grid] = [each for each in found.report.grids if "Robustness" in each.title]
    assert f"from {found.metrics['accuracy']:.4g} " in str(grid.note)


def test_a_version_that_the_registry_found_stands_beside_and_none_where_there_is_none(flights: pa.Table) -> None:
    model = LogisticRegression().fit(flights.to_pandas()[["hour"]], flights["late"].to_pandas())
    given: dict[str, Any] = {"target": "late", "resamples": 100, "robust": False}
    found = evaluate.classification(model, flights, previous=Version("model", "delays", 1, model), **given)
    assert found.metrics["AUC less previous"] == 0
    first = evaluate.classification(model, flights, previous=Version("model", "delays", 0, None), **given)
    assert "AUC less previous" not in first.metrics


def test_many_classes_are_judged(flights: pa.Table) -> None:
    random = np.random.default_rng(0)
    kinds = np.array(["calm", "breeze", "storm"])[np.digitize(flights["wind"].to_numpy(), [8, 13])]
    table = flights.append_column("kind", pa.array(kinds))
    noisy = flights["wind"].to_numpy() + random.normal(0, 2, 900)
    model = LogisticRegression(max_iter=1000).fit(noisy[:, None], kinds)
    table = table.append_column("felt", pa.array(noisy))
    found = evaluate.classification(model, table, target="kind", features=["felt"], slices=["carrier"], resamples=100)
    assert found.passed
    assert {"accuracy", "macro F1", "AUC", "worst-slice gap"} <= set(found.metrics)
    assert "Confusion" in {each.title for each in found.report.drawings}
    one = evaluate.classification(
        model, table, target="kind", features=["felt"], positive="storm", resamples=100, robust=False
    )
    assert one.metrics["base rate"] == pytest.approx((kinds == "storm").mean())


@pytest.mark.parametrize("sought", ["calm", "breeze", "storm"])
def test_a_column_of_scores_is_of_the_class_that_is_looked_for(flights: pa.Table, sought: str) -> None:
    kinds = np.array(["calm", "breeze", "storm"])[np.digitize(flights["wind"].to_numpy(), [8, 13])]
    score = np.clip(0.3 + 0.4 * (kinds == sought) + np.random.default_rng(0).normal(0, 0.05, 900), 0, 1)
    table = pa.table({"kind": kinds, "score": score})
    given: dict[str, Any] = {"target": "kind", "scores": "score", "resamples": 100, "gates": ""}
    assert evaluate.classification(None, table, positive=sought, **given).metrics["AUC"] > 0.99
    two = table.append_column("is", pa.array((kinds == sought).astype(int)))
    less = two.set_column(1, "score", pa.array(1 - score))
    assert evaluate.classification(None, less, positive=0, **{**given, "target": "is"}).metrics["AUC"] > 0.99
    with pytest.raises(UsageError, match="one score per row is given, but there are 3 classes"):
        evaluate.classification(None, table, **given)


def test_what_is_disturbed_is_the_class_that_is_looked_for(flights: pa.Table) -> None:
    frame = flights.to_pandas()[["hour", "wind"]]
    kinds = np.digitize(flights["wind"].to_numpy(), [8, 13])
    two = LGBMClassifier(n_estimators=5, verbose=-1, n_jobs=1).fit(frame, kinds > 0).booster_
    three = LGBMClassifier(n_estimators=5, verbose=-1, n_jobs=1).fit(frame, kinds).booster_
    for model, target in ((two, (kinds > 0).astype(int)), (three, kinds)):
        table = flights.select(["hour", "wind"]).append_column("kind", pa.array(target))
        found = evaluate.classification(model, table, target="kind", positive=0, resamples=100, gates="")
        robust = next(each for each in found.report.grids if "Robustness" in each.title)
        assert found.metrics["AUC"] > 0.9
        assert f"of AUC from {found.metrics['AUC']:.4g}".rstrip("0").rstrip(".") in robust.note


def test_a_previous_version_that_knows_fewer_classes_is_put_in_order(flights: pa.Table) -> None:
    wind = flights["wind"].to_numpy()[:, None]
    kinds = np.array(["calm", "breeze", "storm"])[np.digitize(wind[:, 0], [8, 13])]
    table = pa.table({"wind": wind[:, 0], "kind": kinds})
    new = LogisticRegression(max_iter=1000).fit(wind, kinds)
    old = LogisticRegression(max_iter=1000).fit(wind[kinds != "calm"], kinds[kinds != "calm"])
    given: dict[str, Any] = {"target": "kind", "resamples": 100, "gates": "", "robust": False}
    found = evaluate.classification(new, table, previous=old, **given)
    beside = {row[0]: row for row in found.report.grids[0].rows}
    right = float((old.predict(wind) == kinds).mean())
    assert float(beside["accuracy"][3]) == pytest.approx(right, abs=1e-3)
    strange = LogisticRegression(max_iter=1000).fit(wind, np.where(kinds == "calm", "still", kinds))
    with pytest.raises(UsageError, match="`previous` knows a class `still`"):
        evaluate.classification(new, table, previous=strange, **given)
    with pytest.raises(UsageError, match="`previous` doesn't know the class `calm`"):
        evaluate.classification(new, table, previous=old, positive="calm", **given)


def test_validation_rows_without_a_target_choose_no_threshold(people: pa.Table) -> None:
    valid = people.slice(300)
    half = pa.array([None if row % 2 else value for row, value in enumerate(valid["hired"].to_pylist())], pa.bool_())
    gaps = valid.set_column(0, "hired", half)
    given: dict[str, Any] = {"target": "hired", "scores": "p", "threshold": "valid:accuracy", "resamples": 100}
    told = [
        evaluate.classification(None, people.slice(0, 300), valid=each, **given).report.about
        for each in (gaps, gaps.filter(gaps["hired"].is_valid()))
    ]
    assert told[0] == told[1]
    none = valid.set_column(0, "hired", pa.nulls(300, pa.bool_()))
    with pytest.raises(UsageError, match="no row of `valid` has a `hired`"):
        evaluate.classification(None, people.slice(0, 300), valid=none, **given)


def test_a_gate_over_all_columns_heeds_the_one_of_few_people() -> None:
    random = np.random.default_rng(3)
    many = random.random(20_000) < 0.5
    few = np.where(np.arange(20_000) < 40, "few", "rest")
    said = random.random(20_000) < np.where(many, 0.45, 0.55)
    table = pa.table({"y": random.random(20_000) < 0.5, "p": said.astype(float), "sex": many.astype(str), "race": few})
    found = evaluate.classification(
        None, table, target="y", scores="p", sensitive=["sex", "race"], resamples=200,
        gates="selection rate difference <= 0.15 with 95% confidence",
    )  # fmt: skip
    by = {name: fact(found.report, f"selection rate difference by {name}") for name in ("sex", "race")}
    both = fact(found.report, "selection rate difference")
    assert by["sex"].high is not None
    assert by["sex"].high < 0.15
    assert both.high is not None
    assert by["race"].high is not None
    assert both.high >= by["race"].high > 0.15
    assert not found.passed


def test_two_models_are_compared_on_the_rows_of_both(people: pa.Table) -> None:
    random = np.random.default_rng(1)
    worse = people.set_column(1, "p", pa.array(np.clip(people["p"].to_numpy() + random.normal(0, 0.3, 600), 0, 1)))
    first, second = judged(people, robust=False), judged(worse.slice(100), robust=False)
    shifted = second.predictions.set_column(0, "row", pa.array(np.arange(100, 600)))
    found = evaluate.paired(first.predictions, shifted, target="hired")
    row = next(each for each in found.differences.to_pylist() if each["metric"] == "AUC")
    assert row["high"] < 0
    assert row["difference"] == pytest.approx(row["second"] - row["first"])
    with pytest.raises(UsageError, match="no row in common"):
        evaluate.paired(first.predictions.slice(0, 5), first.predictions.slice(10), target="hired")


def three(rows: int = 300, *, noise: float = 0.3) -> pa.Table:
    """Rows of three classes with a number for each, `p_NAME`, that sum to 1."""
    random = np.random.default_rng(3)
    names = np.array(["ant", "bee", "cat"])
    true = random.integers(0, 3, rows)
    given = np.abs(np.eye(3)[true] + random.normal(0, noise, (rows, 3)))
    given /= given.sum(axis=1, keepdims=True)
    return pa.table({"kind": names[true], **{f"p_{name}": given[:, at] for at, name in enumerate(names)}})


NAMED = {"ant": "p_ant", "bee": "p_bee", "cat": "p_cat"}


def test_scores_of_many_classes_that_are_no_probabilities_tell_no_log_loss() -> None:
    table = three()
    votes = LinearSVC().fit(table.select(["p_ant", "p_bee"]).to_pandas(), table["kind"].to_pylist())
    for found in (
        evaluate.classification(votes, table, target="kind", robust=False, resamples=100),
        evaluate.classification(None, table, target="kind", scores={**NAMED, "cat": "p_ant"}, resamples=100),
        evaluate.classification(None, table, target="kind", scores=NAMED, probabilities=False, resamples=100),
    ):
        assert {"accuracy", "AUC"} <= {*found.metrics}
        assert not {"log loss", "Brier score", "ECE"} & {*found.metrics}
        assert fact(found.report, "log loss").why == "the scores are no probabilities"
        assert found.report.verdicts[0].rule == "balanced accuracy > baseline with 95% confidence"


def test_many_classes_are_paired_by_their_probabilities_too() -> None:
    table = three()
    sharp = three(noise=0.2)
    first, second = (
        evaluate.classification(None, each, target="kind", scores=NAMED, resamples=100) for each in (table, sharp)
    )
    found = evaluate.paired(first.predictions, second.predictions, target="kind", resamples=100)
    rows = {each["metric"]: each for each in found.differences.to_pylist()}
    for name in ("log loss", "AUC", "Brier score", "ECE", "accuracy"):
        assert rows[name]["difference"] == pytest.approx(second.metrics[name] - first.metrics[name])
        assert rows[name]["low"] is not None


def test_the_class_looked_for_is_the_last_in_order_however_scores_are_named(people: pa.Table) -> None:
    yes = np.where(people["hired"].to_numpy(False), "yes", "no")
    table = people.append_column("said", pa.array(yes)).append_column("no", pc.subtract(1.0, people["p"]))
    given = {"target": "said", "resamples": 100}
    found = evaluate.classification(None, table, scores={"yes": "p", "no": "no"}, **given)
    assert found.metrics["AUC"] == pytest.approx(roc_auc_score(people["hired"].to_numpy(False), people["p"]))
    worse = table.set_column(1, "p", pa.array(np.full(table.num_rows, 0.5)))
    other = evaluate.classification(None, worse, scores="p", **given)
    [auc] = [
        each
        for each in evaluate.paired(found.predictions, other.predictions, **given).differences.to_pylist()
        if each["metric"] == "log loss"
    ]
    assert auc["difference"] == pytest.approx(other.metrics["log loss"] - found.metrics["log loss"])


def test_groups_are_kept_apart_whatever_columns_and_values_are_called() -> None:
    random = np.random.default_rng(0)
    columns = {"a": random.choice(["b c", "z"], 400), "a b": random.choice(["c", "w"], 400, p=[0.3, 0.7])}
    table = pa.table({"y": random.random(400) < 0.4, "p": random.random(400), **columns})
    found = evaluate.classification(None, table, target="y", scores="p", sensitive=["a", "a b"], gates="")
    rows = {(each["by"], each["group"]): each["rows"] for each in found.bias.to_pylist()}
    assert rows["a", "b c"] == (columns["a"] == "b c").sum()
    assert rows["a b", "c"] == (columns["a b"] == "c").sum()


def test_a_column_may_be_called_as_an_intersection_is(people: pa.Table) -> None:
    table = people.rename_columns(["hired", "p", "north x south", "town", "day"])
    found = judged(table, sensitive=["north x south"], gates="recall difference <= 1")
    assert found.passed


def test_many_columns_of_people_name_only_the_groups_that_there_are() -> None:
    random = np.random.default_rng(0)
    columns = {f"c{place}": random.choice([f"v{each}" for each in range(18)], 100) for place in range(8)}
    table = pa.table({"y": random.random(100) < 0.4, "p": random.random(100), **columns})
    found = evaluate.classification(None, table, target="y", scores="p", sensitive=[*columns], gates="", resamples=100)
    assert found.bias.num_rows <= 8 * 18 + 100
    [grid] = [each for each in found.report.grids if each.title == f"Groups by {' x '.join(columns)}"]
    assert len(grid.rows) == 60
    assert "The 60 largest of 100 groups are shown." in grid.note


def test_the_widest_difference_of_many_pairs_is_that_of_all_pairs_at_once() -> None:
    random = np.random.default_rng(0)
    point, errors = random.random(6), np.full(6, 0.01)
    drawn = point + random.normal(0, 0.05, (500, 6))
    places = [(first, second) for first in range(6) for second in range(6) if first != second]
    every = np.stack([drawn[:, first] - drawn[:, second] for first, second in places], axis=1)
    values = np.array([point[first] - point[second] for first, second in places])
    whole = widest(values, every, np.full(len(places), np.hypot(0.01, 0.01)), values, 0.95)
    low, high = point - 0.1, point + 0.2
    value, ends = widest_pair([Spread(point, drawn, errors, low, high)], 0.95)
    assert value == pytest.approx(whole.value)
    assert ends.low == pytest.approx(whole.interval.low)
    assert ends.high == pytest.approx(value + np.hypot(0.1, 0.2))


def test_slices_have_names_that_tell_them_apart(people: pa.Table) -> None:
    random = np.random.default_rng(0)
    table = people.append_column("zip", pa.array(random.integers(10_001, 10_060, 600)))
    table = table.append_column("ticket", pa.array(random.choice([1_000_001.0, 1_000_002.0], 600)))
    said = ["missing" if place % 3 else None for place in range(600)]
    distance = np.where(np.arange(600) == 5, np.inf, random.random(600))
    table = table.append_column("said", pa.array(said)).append_column("distance", pa.array(distance))
    found = judged(table, slices=["zip", "ticket", "said", "distance"], gates="").slices.to_pylist()
    names: dict[str, list[str]] = {}
    for each in found:
        names.setdefault(each["by"], []).append(each["slice"])
    assert all(len(set(own)) == len(own) for own in names.values())
    assert all(each[:5].isdigit() and " to 100" in each for each in names["zip"])
    assert names["ticket"] == ["1000001.0", "1000002.0"]
    assert sorted(names["said"]) == ["(missing)", "missing"]
    assert not [each for each in names["distance"] if "nan" in each]


def test_a_slice_of_an_empty_text_has_a_name_that_is_seen(people: pa.Table) -> None:
    sources = np.array(["", '""', " ", "x"])[np.arange(600) % 4]
    table = people.append_column("source", pa.array(sources))
    found = judged(table, slices=["source", "sex"], sensitive=["source"], gates="")
    names = {each["slice"] for each in found.slices.to_pylist() if each["by"] == "source"}
    assert names == {'("")', '""', '" "', "x"}
    assert {each["group"] for each in found.bias.to_pylist()} == names
    alone = table.set_column(table.column_names.index("source"), "source", pa.array(["", "x"] * 300))
    names = {each["slice"] for each in judged(alone, slices=["source"], gates="").slices.to_pylist()}
    assert names == {'""', "x"}


def marked(found: evaluate.Classification) -> dict[str, tuple[str, str]]:
    """Return what the grid of slices by shop says of how much worse each is, and its remark."""
    [grid] = [each for each in found.report.grids if each.title == "Slices by shop"]
    return {str(row[0]): (str(row[3]), str(row[4])) for row in grid.rows}


def shops() -> pa.Table:
    """People of a shop where the score is right, one where it is wrong, and one as elsewhere; each came on 20 days."""
    random = np.random.default_rng(0)
    true = random.random(1200) < 0.5
    shop = np.arange(1200) % 3
    is_right = random.random(1200) < np.array([0.95, 0.5, 0.75])[shop]
    columns = {"hired": true, "p": np.where(true == is_right, 0.8, 0.2), "day": np.arange(1200) // 3 % 20}
    return pa.table({**columns, "shop": np.array(["good", "bad", "usual"])[shop].tolist()})


def test_a_slice_stands_out_for_the_worse_or_the_better() -> None:
    found = judged(shops(), slices=["shop"], gates="")
    assert {name: remark for name, (_, remark) in marked(found).items()} == {
        "bad": "stands out",
        "good": "stands out",
        "usual": "",
    }


def test_a_slice_of_few_days_is_not_compared() -> None:
    table = shops()
    few = np.where(np.array(table["shop"].to_pylist()) == "bad", table["day"].to_numpy() % 4, table["day"].to_numpy())
    table = table.set_column(2, "day", pa.array(few))
    found = judged(table, slices=["shop"], groups="day", gates="worst-slice gap <= 0.1")
    said = marked(found)
    assert said["good"][1] == "stands out"
    assert "[" in said["good"][0]
    assert "[" not in said["bad"][0]
    assert said["bad"][1] == "not compared: 4 groups don't tell how far off the value may be: 8 are needed"
    [bad] = [each for each in found.slices.to_pylist() if each["slice"] == "bad"]
    assert [bad[each] for each in ("value_low", "gap_low", "gap_high", "stands_out")] == [None] * 4
    [grid] = [each for each in found.report.grids if each.title == "Slices by shop"]
    assert grid.note.startswith("2 slices were compared")
    [verdict] = found.report.verdicts
    assert "The worst of 3 slices is shop = bad: its AUC is " in verdict.why
    assert verdict.why.endswith(
        " on all (not compared: 4 groups don't tell how far off the value may be: 8 are needed)."
    )


def test_if_all_slices_are_of_few_days_none_is_said_to_be_too_small() -> None:
    table = shops()
    few = table.set_column(2, "day", pa.array(table["day"].to_numpy() % 4))
    [grid] = [
        each
        for each in judged(few, slices=["shop"], groups="day", gates="").report.grids
        if each.title == "Slices by shop"
    ]
    assert grid.note == "No slice could be compared."


def test_of_many_slices_those_that_can_be_compared_are_shown(people: pa.Table) -> None:
    table = people.append_column("shop", pa.array([f"shop {place % 15}" for place in range(600)]))
    found = judged(table, slices=["shop", "day"], gates="")
    [grid] = [each for each in found.report.grids if each.title == "Slices by shop x day"]
    assert not grid.rows
    assert grid.note.startswith("No") is False
    assert "60 are not shown: 60 too small or undefined." in grid.note
    gap = fact(judged(table, slices=["shop"], min_group=50, gates="").report, "worst-slice gap")
    assert gap.why == "no slice has 50 rows, with 10 of each kind that AUC needs (such as positive rows)"


def categories(rows: int, seed: int) -> pa.Table:
    random = np.random.default_rng(seed)
    columns = {f"c{place}": random.choice(["a", "b", "c"], rows) for place in range(4)}
    return pa.table({**columns, "y": random.random(rows) < 0.4, "p": np.round(random.random(rows), 1)})


def test_equal_rows_of_a_few_categories_are_no_leak() -> None:
    train = categories(2000, 1).drop_columns(["p"])
    given = {"target": "y", "scores": "p", "train": train, "gates": "accuracy >= 0", "resamples": 100}
    found = evaluate.classification(None, categories(500, 2), **given)
    assert found.passed
    assert "trained on" not in found.report.about
    assert [each for each in found.report.limits if "proves nothing, since only 8% of the rows are distinct" in each]
    # rows that are different, judged on those that were trained on, are one for all that some stand there twice
    table = pa.table(
        {"x": np.arange(500) // 2 * 1.5 + np.arange(500) % 2 * (np.arange(500) > 9), "y": [True, False] * 250}
    )
    table = table.append_column("p", pa.array(np.linspace(0, 1, 500)))
    caught = evaluate.classification(None, table, **{**given, "train": table.drop_columns(["p"])})
    assert not caught.passed
    assert caught.report.about.startswith(
        "500 of the 500 rows judged may have been trained on. The numbers may flatter"
    )


def test_a_threshold_chosen_on_some_of_the_rows_judged_says_so(people: pa.Table) -> None:
    moved = people.set_column(1, "p", pc.multiply(people["p"], 0.9))
    valid = pa.concat_tables([people.slice(0, 100), moved.slice(100, 100)])
    about = judged(people, threshold="valid:f1", valid=valid).report.about
    assert "100 of the 200 validation rows are among the rows judged, which flatters the model" in about
    assert "are among the rows judged" not in judged(people, threshold="valid:f1", valid=moved).report.about


def test_a_reason_does_not_round_a_number_onto_its_bound() -> None:
    near = Fact(name="recall difference by sex", value=0.1004, low=0.0504, high=0.1504, better="lower")
    report = Report(title="", facts=(near, Fact(name="rows", value=12_000)), confidence=0.95)
    known = catalogue_of(report)

    def why(rule: str) -> str:
        return judge(parse(rule), known).verdicts[0].why

    assert why("recall difference by sex <= 0.1") == "recall difference by sex is 0.1004, which is not <= 0.1."
    assert "is 0.10, with 95% confidence between 0.0504 and 0.15;" in why(
        "recall difference by sex > 0.05 with 95% confidence"
    )
    # the report's interval is that of 95%, whatever less is asked for
    assert "with 95% confidence between" in why("recall difference by sex <= 0.2 with 80% confidence")
    sure = Report(title="", facts=(Fact(name="rows", value=20, low=20, high=20),), confidence=0.95)
    [counted] = judge(parse("rows >= 30 with 95% confidence"), catalogue_of(sure)).verdicts
    assert (counted.holds, counted.why) == (False, "the number of rows is 20, which is not >= 30.")
    assert why("rows >= 12001") == "the number of rows is 12,000, which is not >= 12001."


def test_numbers_that_are_0_but_for_rounding_are_shown_as_0(people: pa.Table) -> None:
    [beside] = [each for each in judged(people, gates="").report.grids if each.title == "Beside the baseline"]
    [ece] = [row for row in beside.rows if row[0] == "ECE"]
    assert ece[2] == "0"


@pytest.mark.parametrize("metric", ["recall", "precision"])
def test_a_gate_may_ask_for_each_of_many_classes_by_its_name(metric: str) -> None:
    table = three()
    score = {"recall": recall_score, "precision": precision_score}[metric]
    for name in NAMED:
        rule = f"{metric} of {name} >= 0.1 and {metric} of {name} >= baseline with 90% confidence"
        found = evaluate.classification(None, table, target="kind", scores=NAMED, gates=rule, resamples=100)
        said = table["kind"].to_pylist(), found.predictions["predicted"].to_pylist()
        own = fact(found.report, f"{metric} of {name}")
        assert own.value == pytest.approx(score(*said, labels=[name], average=None)[0])
        assert own.low is not None
        assert own.low < own.value
        assert found.report.verdicts[0].holds is True
        assert f"{metric} of {name} less baseline is " in found.report.verdicts[1].why


@pytest.mark.parametrize(
    ("rule", "options", "hint"),
    [
        (
            "recall >= 0.5",
            {"scores": {"a": "p_a", "b": "p_b", "c": "p_c"}, "positive": None},
            "did you mean `recall of CLASS`?",
        ),
        ("recall of a >= 0.5", {"positive": "a"}, "did you mean `recall`?"),
        ("recall of a >= 0.5", {"scores": "p_a"}, "did you mean `recall`?"),
        ("recall of a >= 50", {}, "a share is written as 0.9"),
    ],
)
def test_a_gate_that_so_many_classes_do_not_have_is_refused_before_anything_runs(
    rule: str, options: dict[str, Any], hint: str
) -> None:
    with pytest.raises(UsageError, match="the gate ") as told:
        classification._check({"gates": rule, **options})
    assert hint in (told.value.hint or "")
    for right in ("recall of a >= 0.5", "recall >= 0.5"):
        classification._check({"gates": right})


def test_the_hint_at_a_gate_of_many_classes_names_what_there_is() -> None:
    table = three()
    model = LogisticRegression().fit(table.select([*NAMED.values()]).to_pandas(), table["kind"].to_pylist())
    with pytest.raises(UsageError, match="the gate asks for `recall`") as told:
        evaluate.classification(model, table, target="kind", gates="recall >= 0.5", resamples=100)
    assert "did you mean `recall of " in (told.value.hint or "")


def test_each_of_many_classes_is_shown_with_its_recall_and_precision() -> None:
    table = three()
    found = evaluate.classification(None, table, target="kind", scores=NAMED, resamples=100)
    [grid] = [each for each in found.report.grids if each.title == "By class"]
    true, said = table["kind"].to_pylist(), found.predictions["predicted"].to_pylist()
    names = sorted(NAMED)
    recalls = dict(zip(names, recall_score(true, said, labels=names, average=None), strict=True))
    precisions = dict(zip(names, precision_score(true, said, labels=names, average=None), strict=True))
    assert [row[0] for row in grid.rows] == sorted(names, key=lambda each: recalls[each])
    for name, rows, recall, predicted, precision in grid.rows:
        assert (rows, predicted) == (true.count(name), said.count(name))
        assert float(str(recall).split()[0]) == pytest.approx(recalls[name], abs=0.006)
        assert float(str(precision).split()[0]) == pytest.approx(precisions[name], abs=0.006)


def test_a_ratio_of_rates_that_are_all_0_is_undefined(people: pa.Table) -> None:
    rule = "selection rate ratio >= 0.8 and selection rate ratio by sex >= 0.8 with 95% confidence"
    found = judged(people, threshold=2, sensitive="sex", gates=rule)
    assert not found.passed
    assert [each.holds for each in found.report.verdicts] == [None, None]
    assert all("the selection rate of all groups by `sex` is 0" in each.why for each in found.report.verdicts)
    assert not any("ratio" in name for name in found.metrics)


def test_the_interval_of_a_ratio_of_0_holds_0(people: pa.Table) -> None:
    score = [
        0.1 if sex == "f" else p for sex, p in zip(people["sex"].to_pylist(), people["p"].to_pylist(), strict=True)
    ]
    table = people.set_column(people.column_names.index("p"), "p", pa.array(score))
    rule = "selection rate ratio by sex > 0 with 95% confidence"
    found = judged(table, sensitive="sex", gates=rule)
    ratio = fact(found.report, "selection rate ratio by sex")
    assert ratio.value == ratio.low == 0
    assert found.report.verdicts[0].holds is None


@pytest.mark.parametrize("threshold", ["valid:recall=90", "valid:rate=20", "valid:precision=101%"])
def test_a_threshold_for_a_share_above_1_is_refused(people: pa.Table, threshold: str) -> None:
    with pytest.raises(UsageError, match="asks for more than 100%"):
        judged(people[:300], threshold=threshold, valid=people[300:])


def test_training_rows_without_a_target_tell_no_rates(people: pa.Table) -> None:
    unlabelled = people.set_column(0, "hired", pa.nulls(len(people), pa.bool_()))
    (beside,) = [each for each in judged(people).report.grids if each.title == "Beside the baseline"]
    for train in (people.slice(0, 0), unlabelled):
        report = judged(people, train=train, key="p").report
        assert beside in report.grids
        assert any("takes its rates from the rows judged" in each for each in report.limits)


def test_validation_rows_of_a_few_categories_are_not_taken_for_those_judged() -> None:
    random = np.random.default_rng(3)

    def rows(count: int) -> pa.Table:
        smokes, late = random.integers(0, 2, count), random.integers(0, 2, count)
        return pa.table({"smokes": smokes, "late": late, "p": (smokes + 1) / 3})

    some = rows(400)
    report = judged(some, target="late", threshold="valid:f1", valid=rows(100)).report
    assert "chosen on validation, valid:f1)" in report.about
    with pytest.raises(UsageError, match="all rows of `valid` are among those that are judged"):
        judged(some, target="late", threshold="valid:f1", valid=some)


def test_a_slice_with_a_few_of_a_class_makes_no_verdict_on_a_share_of_them() -> None:
    random = np.random.default_rng(0)
    score = random.random(600)
    true = random.random(600) < score
    true[570:], score[570:] = False, 0.1
    true[570] = True
    table = pa.table({"true": true, "p": score, "shop": ["a"] * 570 + ["b"] * 30})
    rule = "worst-slice gap of F1 <= 0.3 and worst-slice gap of balanced accuracy <= 0.2 with 95% confidence"
    found = judged(table, target="true", slices="shop", gates=rule)
    assert all("The worst of 1 slices is shop = a" in each.why for each in found.report.verdicts)


@pytest.mark.parametrize("option", ["slices", "sensitive", "groups"])
def test_rows_are_not_told_apart_by_lists(people: pa.Table, option: str) -> None:
    table = people.append_column("seen", pa.array([[each % 7] for each in range(len(people))]))
    with pytest.raises(UsageError, match="column `seen` is `list<"):
        judged(table, **{option: "seen"})


def test_views_of_text_are_texts(people: pa.Table) -> None:
    """As Polars gives them."""
    words = ["yes" if each else "no" for each in people["hired"].to_pylist()]
    table = people.set_column(0, "hired", pa.array(words, pa.string_view()))
    table = table.set_column(2, "sex", table["sex"].cast(pa.string_view()))
    found = judged(table, slices="sex", sensitive="sex")
    assert found.predictions["row"].to_pylist() == list(range(len(people)))
    assert found.metrics == judged(people, slices="sex", sensitive="sex").metrics


def test_whole_numbers_are_shifted_no_further_than_their_type_goes() -> None:
    shown = pa.chunked_array([pa.array([0, 200, None, 255], pa.uint8())])
    moved = _shifted(shown)
    assert moved.type == pa.uint8()
    assert moved.to_pylist() == [134, 255, None, 255]


def test_one_class_against_the_rest_is_paired_only_if_it_is_told() -> None:
    random = np.random.default_rng(1)
    table = pa.table({"pet": random.choice(["cat", "dog", "eel"], 300), "p": random.random(300)})
    one = judged(table, target="pet", positive="cat").predictions
    with pytest.raises(UsageError, match="the call doesn't say which class"):
        evaluate.paired(one, one, target="pet", resamples=100)
    assert evaluate.paired(one, one, target="pet", positive="cat", resamples=100).report.facts


def test_columns_that_differ_by_case_alone_are_told_apart(people: pa.Table) -> None:
    table = people.append_column("Sex", pa.array(np.random.default_rng(0).choice(["a", "b"], len(people))))
    own = {each: judged(table, sensitive=each).metrics[f"recall difference by {each}"] for each in ("sex", "Sex")}
    assert own["sex"] != own["Sex"]
    for name, value in own.items():
        rule = f"TPR difference by {name} >= {value} and recall difference by {name} <= {value}"
        report = judged(table, sensitive=["sex", "Sex"], gates=rule).report
        assert report.passed
        assert evaluate.gate(report, rule)
    with pytest.raises(UsageError, match="may be `recall difference by sex` or `recall difference by Sex`"):
        judged(table, sensitive=["sex", "Sex"], gates="recall difference by SEX <= 0.1")


def test_targets_of_other_types_are_not_paired(people: pa.Table) -> None:
    words = people.set_column(0, "hired", pa.array(["yes" if each else "no" for each in people["hired"].to_pylist()]))
    with pytest.raises(UsageError, match="differ in `hired`"):
        evaluate.paired(judged(people).predictions, judged(words).predictions, target="hired", resamples=100)


@pytest.mark.parametrize("column", ["loan ratio", "difference by age"])
def test_a_column_of_people_may_be_called_as_what_is_measured(people: pa.Table, column: str) -> None:
    table = people.rename_columns([column if each == "sex" else each for each in people.column_names])
    plain, found = judged(people, sensitive="sex").metrics, judged(table, sensitive=column).metrics
    assert found == {name.replace("by sex", f"by {column}"): value for name, value in plain.items()}
