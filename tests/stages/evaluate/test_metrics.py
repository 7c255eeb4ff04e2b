"""Metrics under counts of rows agree with scikit-learn's under weights; intervals cover what they should."""

import math
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta
from sklearn import metrics as reference

from headrace.report.drawing import COLOURS
from headrace.stages import evaluate
from headrace.stages.evaluate.figures import found, ranking
from headrace.stages.evaluate.findings import Findings
from headrace.stages.evaluate.metrics import binary, multiclass, numeric, textual
from headrace.stages.evaluate.metrics.binary import BinaryPart
from headrace.stages.evaluate.metrics.multiclass import ManyPart
from headrace.stages.evaluate.metrics.numeric import NumericPart
from headrace.stages.evaluate.metrics.part import Metric, resample
from headrace.stages.evaluate.metrics.part import found as measured
from headrace.stages.evaluate.metrics.textual import TextPart
from headrace.stages.evaluate.metrics.wording import wording
from headrace.stages.evaluate.slices import Slice, cut
from headrace.watch.intervals import _deviate, percentile, standing_out, widest
from headrace.watch.ranking import Ranking
from headrace.watch.resamples import Resamples


@given(st.integers(0, 2**32 - 1), st.integers(2, 60), st.integers(1, 3))
def test_ranking_agrees_with_scikit_learn_under_counts_and_ties(seed: int, rows: int, digits: int) -> None:
    random = np.random.default_rng(seed)
    positive, score = random.random(rows) < 0.4, np.round(random.random(rows), digits)
    counts = random.poisson(1, rows).astype(np.uint8)
    ranking = Ranking(positive, score)
    kept = counts > 0
    auc, precision = ranking.auc(counts[None])[0], ranking.average_precision(counts[None])[0]
    both = positive[kept].any() and not positive[kept].all()
    if ranking.constant or not both:
        assert np.isnan(auc)
    else:
        assert auc == pytest.approx(reference.roc_auc_score(positive, score, sample_weight=counts))
    if not ranking.constant and positive[kept].any():
        assert precision == pytest.approx(reference.average_precision_score(positive, score, sample_weight=counts))


@given(st.integers(0, 2**32 - 1), st.integers(2, 60), st.sampled_from([2, 8, 1000]), st.integers(1, 12))
def test_auc_by_blocks_of_rows_and_by_wins_between_groups_is_that_of_plain_passes_to_the_bit(
    seed: int, rows: int, values: int, groups: int
) -> None:
    random = np.random.default_rng(seed)
    positive, score = random.random(rows) < 0.4, random.integers(0, values, rows) / values
    group = random.integers(0, groups, rows)
    drawn = random.multinomial(groups, [1 / groups] * groups, 20).astype(np.uint8)
    ranking = Ranking(positive, score)
    plain = _plain_auc(positive, score, drawn[:, group])
    assert np.array_equal(ranking.auc(drawn[:, group]), plain, equal_nan=True)
    assert np.array_equal(ranking.placed(group, shared=False).auc(drawn), plain, equal_nan=True)
    assert np.array_equal(ranking.placed(group, shared=True).auc(drawn), plain, equal_nan=True)


def _plain_auc(positive: np.ndarray, score: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """AUC as it follows from its definition: a pass over the rows for each resample."""
    order = np.argsort(score, kind="stable")
    positive, score = positive[order], score[order]
    places = np.flatnonzero(positive)
    below, upto = (np.searchsorted(score, score[places], side) for side in ("left", "right"))
    found = np.full(len(counts), np.nan)
    for place, row in enumerate(counts[:, order].astype(float)):
        before = np.concatenate([[0], np.cumsum(row * ~positive)])
        pairs = row[places].sum() * before[-1]
        if pairs and score[0] != score[-1]:
            found[place] = row[places] @ ((before[below] + before[upto]) / 2) / pairs
    return found


def test_what_is_drawn_by_group_has_the_replicates_that_it_has_row_by_row() -> None:
    random = np.random.default_rng(2)
    positive, score, day = random.random(600) < 0.3, random.random(600), random.integers(0, 25, 600)
    rows = np.flatnonzero(random.random(600) < 0.5)
    part = BinaryPart(positive[rows], score[rows], score[rows] > 0.5, rows=rows, whole=True)
    drawn = Resamples(600, count=200, seed=4, groups=day)
    counts = np.concatenate(list(drawn))[:, day[rows]]
    by_group, by_row = resample({"a": part}, drawn)["a"], part.replicates(counts)
    assert by_group.keys() == by_row.keys()
    assert np.array_equal(by_group["AUC"], by_row["AUC"])
    for name, values in by_row.items():
        assert by_group[name] == pytest.approx(values, rel=1e-5, abs=1e-6), name


@pytest.mark.parametrize("groups", [None, np.arange(900) // 30])
def test_a_slice_has_the_replicates_of_a_metric_that_is_asked_for_late(groups: np.ndarray | None) -> None:
    random = np.random.default_rng(2)
    positive, score = random.random(900) < 0.3, random.random(900)
    slices = [Slice("half", name, rows) for name, rows in (("a", np.arange(450)), ("b", np.arange(450, 900)))]
    whole = BinaryPart(positive, score, score > 0.5, whole=True)
    parts = [
        BinaryPart(positive[each.rows], score[each.rows], score[each.rows] > 0.5, rows=each.rows) for each in slices
    ]
    drawn = Resamples(900, count=100, seed=4, groups=groups)
    findings = Findings(
        binary.METRICS, binary.MAIN, {"model": whole}, slices, parts, drawn, level=0.95, least=30, more={}
    )
    for metric in ("AUC", "recall", "log loss"):
        *sliced, own = findings.sliced(metric, [0, 1])
        assert np.array_equal(own[metric], resample({"all": whole}, drawn)["all"][metric])
        for place, each in enumerate(sliced):
            assert np.array_equal(each[metric], resample({"all": parts[place]}, drawn)["all"][metric])
    assert findings.catalogue.fact("worst-slice gap of log loss", 0.95).value is not None


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_binary_metrics_agree_with_scikit_learn(seed: int, ordered: bool) -> None:
    random = np.random.default_rng(seed)
    positive, score = random.random(200) < 0.4, np.round(random.random(200), 2)
    if ordered:
        score = np.sort(score)
    decided = score >= 0.5
    found = BinaryPart(positive, score, decided, whole=True).point
    assert found["log loss"] == pytest.approx(reference.log_loss(positive, score))
    assert found["Brier score"] == pytest.approx(reference.brier_score_loss(positive, score))
    for name, own in {
        "accuracy": reference.accuracy_score,
        "balanced accuracy": reference.balanced_accuracy_score,
        "F1": reference.f1_score,
        "precision": reference.precision_score,
        "recall": reference.recall_score,
    }.items():
        assert found[name] == pytest.approx(own(positive, decided))


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_metrics_of_many_classes_agree_with_scikit_learn(seed: int) -> None:
    random = np.random.default_rng(seed)
    truth, chances = random.integers(0, 4, 300), random.dirichlet(np.ones(4), 300)
    decided = chances.argmax(axis=1)
    found = ManyPart(truth, chances, decided, 4, whole=True).point
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(truth, decided))
    assert found["balanced accuracy"] == pytest.approx(reference.balanced_accuracy_score(truth, decided))
    assert found["macro F1"] == pytest.approx(reference.f1_score(truth, decided, average="macro"))
    assert found["log loss"] == pytest.approx(reference.log_loss(truth, chances))
    assert found["AUC"] == pytest.approx(reference.roc_auc_score(truth, chances, multi_class="ovr"))


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.floats(-1e4, 1e4))
def test_metrics_of_numbers_agree_with_scikit_learn(seed: int, far: float) -> None:
    random = np.random.default_rng(seed)
    truth = random.normal(far, 2, 101)
    predicted = truth + random.normal(0, 1, 101)
    found = NumericPart(truth, predicted, whole=True).point
    assert found["MAE"] == pytest.approx(reference.mean_absolute_error(truth, predicted))
    assert found["RMSE"] == pytest.approx(reference.root_mean_squared_error(truth, predicted))
    assert found["R2"] == pytest.approx(reference.r2_score(truth, predicted), rel=1e-6)
    assert found["median absolute error"] == pytest.approx(reference.median_absolute_error(truth, predicted))


@pytest.mark.parametrize("rows", [400, 30_000])
def test_replicates_vary_as_the_metric_does_from_sample_to_sample(rows: int) -> None:
    random = np.random.default_rng(5)

    def sample() -> BinaryPart:
        positive = random.random(rows) < 0.3
        return BinaryPart(positive, np.sort(random.random(rows) * 0.6 + positive * 0.2), None)

    own = resample({"a": sample()}, Resamples(rows, count=300, seed=1))["a"]
    others = [sample().point for _ in range(60)]
    for name in ("AUC", "log loss"):
        assert np.std(own[name]) == pytest.approx(np.std([each[name] for each in others]), rel=0.35)


def test_resamples_by_group_take_groups_whole_and_are_the_same_each_time() -> None:
    groups = np.repeat(np.arange(20), 5)
    drawn = Resamples(100, count=200, seed=3, groups=groups)
    counts = np.concatenate(list(drawn))
    assert counts.shape == (200, 20)
    assert (counts.sum(axis=1) == 20).all()
    assert np.array_equal(counts, np.concatenate(list(drawn)))


@pytest.mark.parametrize("rows", [50, 20_001])
def test_each_row_is_drawn_once_on_average(rows: int) -> None:
    counts = np.concatenate(list(Resamples(rows, count=400, seed=3))).astype(float)
    assert counts.mean() == pytest.approx(1, abs=0.01)
    assert counts.var() == pytest.approx(1, abs=0.05)


def test_the_widest_of_many_equal_slices_does_not_stand_out() -> None:
    """Twenty slices without a difference: the interval of the widest gap reaches down to none in 95 of 100 samples."""
    random = np.random.default_rng(0)
    below = 0
    for _ in range(200):
        values = random.normal(0, 1, 20)
        replicates = values + random.normal(0, 1, (300, 20))
        found = widest(values, replicates, np.zeros(20), values + 2, 0.95)
        assert found.interval.low is not None
        assert found.interval.high is not None
        assert found.interval.low <= found.value <= found.interval.high
        below += found.interval.low <= 0
    assert below >= 185


def test_the_chance_of_a_sum_has_no_jump_where_its_mean_is_0() -> None:
    """Of three exponentials less one thrice as large: 10,000,000 draws give a deviate of 0.197."""
    deviates = [_deviate(np.array([-1.0, -1.0, -1.0, 3.0 + more]), np.ones(4)) for more in (-0.01, 0.0, 0.01)]
    assert np.diff(deviates) == pytest.approx([-0.0027, -0.0027], abs=0.001)
    assert deviates[1] == pytest.approx(0.197, abs=0.01)


def test_one_slice_of_many_stands_out_only_if_it_is_far_off() -> None:
    assert standing_out(np.array([2.2, 0.1, 0.0, -0.3]), np.ones(4), 0.95) == [False] * 4
    assert standing_out(np.array([4.0, 0.1, 0.0, -0.3]), np.ones(4), 0.95) == [True, False, False, False]


def _marks(make: Callable[[np.ndarray, np.ndarray | None], Any], metric: Metric, slice_of: np.ndarray) -> list[bool]:
    """Return which slices stand out, of those that could be compared."""
    rows = len(slice_of)
    slices = [Slice("of", str(each), np.flatnonzero(slice_of == each)) for each in np.unique(slice_of)]
    measured = Findings(
        [metric],
        metric.name,
        {"model": make(np.arange(rows), None)},
        slices,
        [make(each.rows, each.rows) for each in slices],
        Resamples(rows, count=200, seed=0),
        level=0.95,
        least=10,
        more={},
    )
    return [each["stands_out"] for each in measured.table().to_pylist() if each["stands_out"] is not None]


@pytest.mark.parametrize("rows", [300, 500])
def test_a_slice_of_half_of_the_rows_with_a_far_lower_auc_stands_out(rows: int) -> None:
    found = 0
    for seed in range(10):
        random = np.random.default_rng(seed)
        slice_of, true = random.integers(0, 2, rows), random.random(rows) < 0.4
        score = 2.0 * true + random.normal(size=rows) * np.where(slice_of == 1, 6, 1.2)

        def make(at: np.ndarray, own: np.ndarray | None, true: Any = true, score: Any = score) -> BinaryPart:
            return BinaryPart(true[at], score[at], None, rows=own, probable=False)

        found += all(_marks(make, binary.METRICS[0], slice_of))
    assert found >= 7


@pytest.mark.parametrize("slices", [2, 8])
def test_of_slices_without_a_difference_hardly_one_stands_out(slices: int) -> None:
    """A small slice has few large errors or none, so its replicates vary too little."""
    marked = 0
    for seed in range(100):
        random = np.random.default_rng(seed)
        slice_of = np.minimum(random.geometric(0.3 if slices > 2 else 0.5, 300), slices)
        error = random.normal(size=300)

        def make(at: np.ndarray, own: np.ndarray | None, error: Any = error) -> NumericPart:
            return NumericPart(np.ones(len(at)), 1 + error[at], rows=own)

        marked += any(_marks(make, next(each for each in numeric.METRICS if each.name == "MAE"), slice_of))
    assert marked <= 5


def test_a_metric_that_many_resamples_leave_undefined_has_no_interval() -> None:
    found = percentile(np.array([0.5] * 80 + [np.nan] * 20), 0.95)
    assert found.low is None
    assert "20 of 100" in found.why


def test_a_constant_score_is_a_flat_line_of_precision_at_the_base_rate() -> None:
    positive = np.arange(10) < 3
    recall, precision = found(positive, np.full(10, 0.3))
    assert (recall[0], recall[-1]) == (1, 0)
    assert set(precision) == {0.3}
    drawn = ranking(positive, {"model": np.arange(10.0), "baseline": np.full(10, 0.3)})[1]
    assert "stays at the share of positive rows (dashed)" in drawn.caption
    dashed = [line for line in drawn.svg.splitlines() if "stroke-dasharray" in line]
    assert [COLOURS[1] in line for line in dashed] == [True, True, False], (
        "its name, its line, and the share of positives"
    )


def test_a_perfect_score_on_few_rows_is_not_certain() -> None:
    true = np.arange(40) < 12
    table = pa.table({"y": true, "p": np.where(true, 0.9, 0.1), "day": np.arange(40) % 8})
    rule = "AUC >= 0.99 and recall >= 0.9 and FPR <= 0.01 and accuracy >= 0.99 and F1 >= 0.9 with 95% confidence"
    found = evaluate.classification(None, table, target="y", scores="p", gates=rule, resamples=100)
    assert not found.passed
    assert {each.holds for each in found.report.verdicts} == {None}
    told = {each.name: each for each in found.report.facts}
    assert told["recall"].low == pytest.approx(beta.ppf(0.025, 12, 1), rel=0.01)
    assert told["FPR"].high == pytest.approx(beta.ppf(0.975, 1, 28), rel=0.01)
    assert told["AUC"].low is not None
    assert 0.7 < told["AUC"].low < 0.9
    # of eight days no one can be surer than of eight rows
    days = evaluate.classification(None, table, target="y", scores="p", groups="day", resamples=100)
    high = next(each for each in days.report.facts if each.name == "FPR").high
    assert high == pytest.approx(beta.ppf(0.975, 1, 8), rel=0.01)


ECE = next(each for each in binary.METRICS if each.name == "ECE")
BOUNDS = {
    **dict.fromkeys(
        ["AUC", "average precision", "ECE", "accuracy", "balanced accuracy", "F1", "macro F1", "precision", "recall"],
        (0, 1),
    ),
    **dict.fromkeys(["FPR", "selection rate", "base rate", "exact match", "token F1", "ROUGE-L"], (0, 1)),
    **dict.fromkeys(["BLEU", "chrF"], (0, 100)),
    **dict.fromkeys(["log loss", "MAE", "RMSE", "median absolute error", "MAPE"], (0, math.inf)),
    **dict.fromkeys(["mean error", "mean target"], (-math.inf, math.inf)),
    "Brier score": (0, 2),
    "R2": (-math.inf, 1),
}


def test_the_bounds_of_each_metric_are_known() -> None:
    every = [*binary.METRICS, *multiclass.METRICS, *numeric.METRICS, *textual.METRICS]
    assert {each.name for each in every} == set(BOUNDS)
    for each in every:
        low, high = BOUNDS[each.name]
        assert (each.lowest, each.highest) == (
            low,
            1 if each in binary.METRICS and each.name == "Brier score" else high,
        )


@given(
    st.sampled_from(["binary", "many", "numbers", "texts"]),
    st.integers(0, 2**32 - 1),
    st.integers(12, 60),
    st.sampled_from([0.0, 0.2, 1.0]),
    st.booleans(),
)
@settings(max_examples=60)
def test_no_interval_reaches_beyond_what_its_metric_can_be(
    kind: str, seed: int, rows: int, noise: float, days: bool
) -> None:
    random = np.random.default_rng(seed)
    metrics, main, parts = _two_of(kind, random, rows, noise)
    half = [Slice("half", name, places) for name, places in zip("ab", np.array_split(np.arange(rows), 2), strict=True)]
    groups = np.arange(rows) % 9 if days else None
    drawn = Resamples(rows, count=100, seed=0, groups=groups)
    some = [parts(each.rows)[0] for each in half]
    mine, other = parts(None)
    wholes = {"model": mine, "baseline": other}
    found = Findings(metrics, main, wholes, half, some, drawn, level=0.95, least=2, more={})
    table = found.table().to_pylist()
    ends = [(main, each["value_low"], each["value_high"]) for each in table]
    ends += [(f"gap of {main}", each["gap_low"], each["gap_high"]) for each in table]
    for name in found.catalogue:
        fact = found.catalogue.fact(name, 0.95)
        ends.append((name, fact.low, fact.high))
    for name, low, high in ends:
        metric = name.removesuffix(" less baseline").removesuffix(" less previous").rpartition(" of ")[2]
        least, most = BOUNDS[main if metric == "worst-slice gap" else metric]
        if metric != name or metric == "worst-slice gap":
            least, most = least - most, most - least
        assert low is None or least <= low <= most, (name, low)
        assert high is None or least <= high <= most, (name, high)


def _two_of(kind: str, random: np.random.Generator, rows: int, noise: float) -> tuple[Any, str, Any]:
    """Return metrics, the main one, and what makes parts of some rows: one with so much noise, and one of noise."""
    said = random.normal(size=rows) * noise
    idle = random.random(rows)

    def of(make: Callable[[Any, Any, bool], Any]) -> Callable[[Any], list[Any]]:
        return lambda places: [
            make(own, slice(None) if places is None else places, places is None) for own in (said, idle)
        ]

    if kind == "binary":
        true = np.arange(rows) % 3 == 0

        def two(own: Any, some: Any, whole: bool) -> Any:
            chance = np.clip(true * 0.98 + 0.01 + own, 0, 1)[some]
            return BinaryPart(true[some], chance, chance > 0.5, rows=None if whole else some, whole=whole)

        return binary.METRICS, binary.MAIN, of(two)
    if kind == "many":
        classes = np.arange(rows) % 3

        def many(own: Any, some: Any, whole: bool) -> Any:
            chances = np.abs(np.eye(3)[classes] + own[:, None])[some] + 0.01
            chances /= chances.sum(axis=1, keepdims=True)
            best = chances.argmax(axis=1)
            return ManyPart(classes[some], chances, best, 3, rows=None if whole else some, whole=whole)

        return multiclass.METRICS, multiclass.MAIN, of(many)
    if kind == "numbers":
        truth = random.normal(size=rows) + 3

        def numbers(own: Any, some: Any, whole: bool) -> Any:
            return NumericPart(truth[some], (truth + own)[some], rows=None if whole else some, whole=whole)

        return numeric.METRICS, numeric.MAIN, of(numbers)
    words = [" ".join(random.choice([*"abcdefgh"], 8)) for _ in range(rows)]

    def texts(own: Any, some: Any, whole: bool) -> Any:
        judged = [wording(each if off < 0.5 else "a b", [each]) for each, off in zip(words, own, strict=True)]
        places = range(rows) if whole else some
        return TextPart([judged[place] for place in places], rows=None if whole else some)

    return textual.METRICS, textual.MAIN, of(texts)


def test_the_interval_of_ece_holds_perfect_probabilities_and_its_value() -> None:
    holding = inside = 0
    for seed in range(20):
        random = np.random.default_rng(seed)
        chance = random.beta(2, 3, 200)
        part = BinaryPart(random.random(200) < chance, chance, None, whole=True)
        drawn = resample({"all": part}, Resamples(200, count=200, seed=seed))["all"]
        low, high, _ = measured(part, drawn, ECE, None).interval(0.95)
        assert low is not None
        assert high is not None
        holding += low == 0
        inside += low <= part.point["ECE"] <= high
    assert holding >= 18
    assert inside == 20


def test_an_ece_that_chance_does_not_explain_is_surely_above_0() -> None:
    random = np.random.default_rng(1)
    chance = random.beta(2, 3, 500)
    part = BinaryPart(random.random(500) < chance**2, chance, None, whole=True)
    drawn = resample({"all": part}, Resamples(500, count=200, seed=1))["all"]
    low, _, _ = measured(part, drawn, ECE, 500).interval(0.95)
    assert low is not None
    assert low > 0.05


def test_the_ece_of_many_classes_does_not_hang_on_the_order_of_rows_with_one_probability() -> None:
    random = np.random.default_rng(5)
    truth, grade = random.integers(0, 3, 900), random.integers(0, 3, 900)
    chances = np.array([[0.6, 0.2, 0.2], [0.3, 0.4, 0.3], [0.1, 0.1, 0.8]])[grade]
    decided = chances.argmax(axis=1)
    by_class = np.argsort(truth, kind="stable")
    found = ManyPart(truth[by_class], chances[by_class], decided[by_class], 3, whole=True).point["ECE"]
    right = truth == decided
    # three probabilities are three bins: how often they are right, against what they said
    expected = sum(abs((right - chances.max(axis=1))[grade == each].sum()) for each in range(3)) / 900
    assert found == pytest.approx(expected)


def test_one_who_knows_the_rates_of_many_classes_has_no_ece() -> None:
    truth = np.repeat([0, 1, 2], [400, 300, 300])
    chances = np.broadcast_to([0.4, 0.3, 0.3], (1000, 3))
    assert ManyPart(truth, chances, np.zeros(1000, int), 3, whole=True).point["ECE"] == pytest.approx(0, abs=1e-9)


def test_many_classes_take_no_table_of_all_pairs_for_each_resample() -> None:
    random = np.random.default_rng(2)
    truth, decided = random.integers(0, 300, (2, 600))
    part = ManyPart(truth, None, decided, 300)
    counts = random.poisson(1, (500, 600)).astype(np.uint8)
    tracemalloc.start()
    try:
        part.replicates(counts)
        assert tracemalloc.get_traced_memory()[1] < 100 << 20  # all tables would be 360 MB
    finally:
        tracemalloc.stop()


def test_a_column_is_cut_by_what_its_values_are_written_as() -> None:
    random = np.random.default_rng(3)
    place = random.integers(0, 4, 200)
    kinds = {
        "text": pa.array(["b", "a", "missing", None]),
        "number": pa.array([0.5, 1.0, float("nan"), None]),
        "close": pa.array([1.0000001, 1.0000002, 2.0, None]),
        "whole": pa.array([3, 1, 2, 10]),
        "flag": pa.array([True, False, None, True]),
        "day": pa.array([0, 1, None, 3], pa.date32()),
        "time": pa.array([0, 1, None, 3], pa.timestamp("us", "UTC")),
        "code": pa.array(["b", "a", "c", None]).dictionary_encode(),
    }
    told = {
        "text": ["b", "a", "missing", "(missing)"],
        "number": ["0.5", "1", "missing", "missing"],
        "close": ["1.0000001", "1.0000002", "2.0", "missing"],
        "whole": ["3", "1", "2", "10"],
        "flag": ["True", "False", "missing", "True"],
        "day": ["1970-01-01", "1970-01-02", "missing", "1970-01-04"],
        "time": [*(f"1970-01-01 00:00:00{more}+00:00" for more in ("", ".000001")), "missing", ""],
        "code": ["b", "a", "c", "missing"],
    }
    told["time"][3] = "1970-01-01 00:00:00.000003+00:00"
    for kind, values in kinds.items():
        made = cut(pa.table({kind: values.take(pa.array(place))}), kind)
        assert [made.names[code] for code in made.codes] == [told[kind][each] for each in place], kind
        assert made.names == sorted(set(told[kind]))
    assert cut(pa.table({"x": pa.array([], pa.string())}), "x").names == []
