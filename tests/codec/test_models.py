"""Models are saved in safe forms and predict the same, to the last digit."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from headrace.codec.codecs import Codecs
from headrace.codec.sink import inline
from headrace.errors import CodecError
from headrace.store.folder.folder import FolderStore

pytest.importorskip("sklearn")
pytest.importorskip("skops")
lightgbm = pytest.importorskip("lightgbm")

from sklearn.base import BaseEstimator, TransformerMixin  # noqa: E402
from sklearn.compose import ColumnTransformer, make_column_selector  # noqa: E402
from sklearn.ensemble import (  # noqa: E402
    BaggingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    StackingClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: E402
from sklearn.feature_selection import SelectKBest, mutual_info_classif  # noqa: E402
from sklearn.isotonic import IsotonicRegression  # noqa: E402
from sklearn.linear_model import LogisticRegression, Ridge  # noqa: E402
from sklearn.metrics import f1_score, make_scorer  # noqa: E402
from sklearn.metrics.pairwise import rbf_kernel  # noqa: E402
from sklearn.model_selection import GridSearchCV, RepeatedStratifiedKFold  # noqa: E402
from sklearn.neighbors import KNeighborsClassifier  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler  # noqa: E402
from sklearn.random_projection import SparseRandomProjection  # noqa: E402
from sklearn.svm import SVC  # noqa: E402
from sklearn.tree import DecisionTreeClassifier  # noqa: E402
from sklearn.utils import all_estimators  # noqa: E402

from headrace.codec.builtin.lightgbm_text import check_text  # noqa: E402
from tests.hostile.models import PICKLED, UNSAVED, X, Y, fitted, made  # noqa: E402

WORDS = np.where(Y == 1, "late", "on time")

SAFE = [
    LogisticRegression(),
    make_pipeline(StandardScaler(), LogisticRegression()),
    make_pipeline(SelectKBest(k=2), Ridge()),
    make_pipeline(FunctionTransformer(np.log1p), Ridge()),
    RandomForestClassifier(n_estimators=5, random_state=0),
    GradientBoostingRegressor(n_estimators=5),
    HistGradientBoostingClassifier(max_iter=5, random_state=0),
    HistGradientBoostingRegressor(max_iter=5, loss="poisson"),
    HistGradientBoostingRegressor(max_iter=5, categorical_features=[3]),
    StackingClassifier([("tree", DecisionTreeClassifier(random_state=0))], LogisticRegression()),
    GridSearchCV(DecisionTreeClassifier(random_state=0), {"max_depth": [1, 2]}),
    KNeighborsClassifier(),
    IsolationForest(n_estimators=5, random_state=0),
    make_pipeline(ColumnTransformer([("hot", OneHotEncoder(), [3])], remainder="passthrough"), Ridge()),
    make_pipeline(StandardScaler(), lightgbm.LGBMClassifier(n_estimators=3, verbose=-1)),
]  # fmt: skip


def table() -> Any:
    features = X.copy()
    features[:, 3] = features[:, 3].round(1) * 10 // 2
    return features


@pytest.mark.parametrize("model", SAFE, ids=lambda each: type(each).__name__)
def test_an_estimator_predicts_the_same_and_servers_read_it(model: Any, codecs: Codecs, store: FolderStore) -> None:
    model.fit(table(), Y)
    ref = codecs.save(model, store)
    assert ref.codec == "skops"
    found: Any = codecs.load(ref, store, verify=True, safe_only=True)
    assert type(found) is type(model)
    assert np.array_equal(found.predict(table()), model.predict(table()))
    assert str(found.get_params()) == str(model.get_params())


@pytest.mark.parametrize("model", [SAFE[1], SAFE[4], SAFE[6]], ids=lambda each: type(each).__name__)
def test_fitting_again_makes_the_same_artifact(model: Any, codecs: Codecs, store: FolderStore) -> None:
    first = codecs.save(model.fit(X, Y), store)
    assert codecs.save(model.fit(X, Y), store).identity == first.identity


def test_an_estimator_without_a_fit_is_saved(codecs: Codecs, store: FolderStore) -> None:
    found: Any = codecs.load(codecs.save(Ridge(alpha=3), store), store, safe_only=True)
    assert found.get_params() == Ridge(alpha=3).get_params()


def test_one_dimensional_regressions_are_safe(codecs: Codecs, store: FolderStore) -> None:
    model = IsotonicRegression(out_of_bounds="clip").fit(X[:, 0], Y)
    found: Any = codecs.load(codecs.save(model, store), store, safe_only=True)
    assert np.array_equal(found.predict(X[:, 0]), model.predict(X[:, 0]))


class Double(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """A project's own estimator."""

    def fit(self, x: Any, y: Any = None) -> Any:
        return self

    def transform(self, x: Any) -> Any:
        return x * 2


@pytest.mark.parametrize("model", [Double(), make_pipeline(Double(), Ridge()), FunctionTransformer(np.loadtxt)])
def test_an_estimator_that_holds_other_code_is_pickled_and_servers_refuse_it(
    model: Any, codecs: Codecs, store: FolderStore
) -> None:
    ref = codecs.save(model, store)
    assert ref.codec == "pickle"
    with pytest.raises(CodecError, match="runs code"):
        codecs.load(ref, store, safe_only=True)


def forged(ref: Any, store: FolderStore, change: Any) -> Any:
    """Return the artifact of a model whose schema and arrays were changed."""
    data = ref.inline or store.path(ref.digest, ref.nonce).read_bytes()
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    blob = store.put(made.getvalue())
    return type(ref)(digest=blob.digest, size=blob.size, nonce=blob.nonce, codec=ref.codec, type=ref.type)


def test_a_forged_estimator_that_names_other_code_is_refused(codecs: Codecs, store: FolderStore) -> None:
    def rename(name: str, data: bytes) -> bytes:
        return data.replace(b'"log1p"', b'"loadtxt"').replace(b'"numpy.log1p"', b'"numpy.loadtxt"')

    ref = codecs.save(FunctionTransformer(np.log1p), store)
    with pytest.raises(CodecError, match="not known to be safe"):
        codecs.load(forged(ref, store, rename), store)


def test_a_forged_tree_is_refused(codecs: Codecs, store: FolderStore) -> None:
    def bend(name: str, data: bytes) -> bytes:
        if name == "schema.json" or b"left" not in data[:200]:
            return data
        array = np.load(io.BytesIO(data)).copy()
        array["left_child" if "left_child" in array.dtype.names else "left"][0] = 10**6
        made = io.BytesIO()
        np.save(made, array)
        return made.getvalue()

    for model in (DecisionTreeClassifier(), HistGradientBoostingClassifier(max_iter=1)):
        ref = codecs.save(model.fit(X, Y), store)
        assert codecs.load(forged(ref, store, lambda _, data: data), store)
        with pytest.raises(CodecError, match="out of bounds"):
            codecs.load(forged(ref, store, bend), store)


def test_no_address_and_no_date_is_in_what_is_saved(codecs: Codecs, store: FolderStore) -> None:
    ref = codecs.save(SAFE[1].fit(X, Y), store)
    data = ref.inline or store.path(ref.digest, ref.nonce or "").read_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert {each.date_time for each in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        numbers: list[int] = []
        json.loads(archive.read("schema.json"), object_hook=lambda node: numbers.append(node.get("__id__", 0)))
    assert max(numbers) < 1000


@pytest.mark.filterwarnings("ignore:The argument 'eval_set' is deprecated")
@pytest.mark.parametrize("labels", [Y, WORDS], ids=["numbers", "words"])
def test_a_lightgbm_classifier_predicts_the_same(labels: Any, codecs: Codecs, store: FolderStore) -> None:
    stop = lightgbm.early_stopping(3, verbose=False)
    model = lightgbm.LGBMClassifier(n_estimators=30, verbose=-1, num_leaves=5, random_state=1)
    model.fit(X, labels, eval_set=[(X[:50], labels[:50])], callbacks=[stop])
    ref = codecs.save(model, store)
    assert ref.codec == "lightgbm"
    found: Any = codecs.load(ref, store, verify=True, safe_only=True)
    assert type(found) is type(model)
    assert np.array_equal(found.predict_proba(X), model.predict_proba(X))
    assert np.array_equal(found.predict(X), model.predict(X))
    assert found.best_iteration_ == model.best_iteration_
    assert found.best_score_ == model.best_score_
    assert found.get_params() == model.get_params()
    assert codecs.save(found, store).identity == ref.identity


def test_a_lightgbm_regressor_booster_and_an_unfitted_model_come_back(codecs: Codecs, store: FolderStore) -> None:
    model = lightgbm.LGBMRegressor(n_estimators=5, verbose=-1).fit(X, X[:, 0])
    for each in (model, model.booster_):
        found: Any = codecs.load(codecs.save(each, store), store, safe_only=True)
        assert type(found) is type(each)
        assert np.array_equal(found.predict(X), each.predict(X))
    blank: Any = codecs.load(codecs.save(lightgbm.LGBMRanker(n_estimators=3), store), store, safe_only=True)
    assert blank.get_params()["n_estimators"] == 3
    assert vars(blank).keys() == vars(lightgbm.LGBMRanker()).keys()
    assert blank.fit(X, Y, group=[200]).predict(X).shape == (200,)


def test_categories_of_a_frame_go_with_the_model(codecs: Codecs, store: FolderStore) -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": X[:, 0], "b": pd.Categorical(np.where(X[:, 1] > 0.5, "x", "y"))})
    model = lightgbm.LGBMClassifier(n_estimators=5, verbose=-1).fit(frame, Y)
    found: Any = codecs.load(codecs.save(model, store), store, safe_only=True)
    assert np.array_equal(found.predict_proba(frame), model.predict_proba(frame))


def test_a_lightgbm_model_with_a_function_inside_is_pickled(codecs: Codecs, store: FolderStore) -> None:
    def squared(truth: Any, guess: Any) -> Any:
        return guess - truth, np.ones_like(truth)

    model = lightgbm.LGBMRegressor(objective=squared, n_estimators=3, verbose=-1).fit(X, X[:, 0])
    ref = codecs.save(model, store)
    assert ref.codec == "pickle"
    found: Any = codecs.load(ref, store, safe_only=False)
    assert np.array_equal(found.predict(X), model.predict(X))


@pytest.mark.parametrize("fit", [False, pytest.param(True, marks=pytest.mark.heavy)], ids=["made", "fitted"])
@pytest.mark.filterwarnings("ignore")
def test_every_estimator_of_scikit_learn_is_saved_and_read_safely(
    fit: bool, codecs: Codecs, store: FolderStore
) -> None:
    left = set()
    every = all_estimators()
    for name, kind in every:
        model = fitted(made(kind)) if fit else made(kind)
        ref = codecs.save(model, store)
        if ref.codec == "skops":
            assert type(codecs.load(ref, store)) is kind
        else:
            left.add(name)
    assert left <= UNSAVED | PICKLED
    assert len(every) > 200


def _frame() -> Any:
    pd = pytest.importorskip("pandas")
    return pd.DataFrame({"a": X[:, 0], "b": np.where(X[:, 1] > 0.5, "x", "y"), "c": ["aa bb", "bb cc"] * 100})


def _of_columns() -> Any:
    return ColumnTransformer(
        [
            ("numbers", StandardScaler(), make_column_selector(dtype_include=float)),
            ("words", OneHotEncoder(handle_unknown="ignore", dtype=np.float32), ["b"]),
            ("texts", TfidfVectorizer(), "c"),
        ]
    )


def _boosted() -> Any:
    return lightgbm.LGBMClassifier(n_estimators=2, verbose=-1)


NESTED = [
    make_pipeline(_of_columns(), _boosted()),
    make_pipeline(_of_columns(), BaggingClassifier(_boosted(), n_estimators=2)),
    make_pipeline(
        _of_columns(),
        GridSearchCV(
            LogisticRegression(),
            {"C": [1.0, 2.0]},
            scoring=make_scorer(f1_score, average="macro"),
            cv=RepeatedStratifiedKFold(n_splits=2, n_repeats=1, random_state=np.random.RandomState(1)),
        ),
    ),
    make_pipeline(
        _of_columns(), SelectKBest(partial(mutual_info_classif, random_state=0), k=2), SVC(kernel=rbf_kernel)
    ),
    StackingClassifier([("inner", make_pipeline(_of_columns(), LogisticRegression(class_weight={0: 1, 1: 2.0})))]),
]


@pytest.mark.parametrize("model", NESTED, ids=range(len(NESTED)))
@pytest.mark.filterwarnings("ignore")
def test_what_is_made_of_estimators_is_saved_and_read_safely(model: Any, codecs: Codecs, store: FolderStore) -> None:
    frame = _frame()
    model.fit(frame, Y)
    ref = codecs.save(model, store)
    assert ref.codec == "skops"
    assert np.array_equal(codecs.load(ref, store).predict(frame), model.predict(frame))  # type: ignore[attr-defined]


def _text(**options: Any) -> str:
    """Return the text of a model of two trees that ask for numbers and a category."""
    rows, labels = table(), options.pop("labels", table()[:, 3] % 2)
    rows[:, 2] = np.arange(200) % 7
    model = lightgbm.LGBMClassifier(n_estimators=2, num_leaves=4, min_child_samples=1, verbose=-1, **options)
    return str(model.fit(rows, labels, categorical_feature=[3]).booster_.model_to_string(num_iteration=-1))


FORMS: list[dict[str, Any]] = [
    {},
    {"labels": np.arange(200) % 3},
    {"labels": np.zeros(200)},
    {"boosting_type": "dart"},
    {"boosting_type": "rf", "subsample": 0.5, "subsample_freq": 1},
    {"linear_tree": True},
    {"monotone_constraints": [1, 0, 0, 0]},
]


@pytest.mark.parametrize("options", FORMS, ids=str)
def test_every_form_of_a_lightgbm_text_is_read_safely(options: dict[str, Any]) -> None:
    check_text(_text(**options))


def _sized(text: str) -> str:
    """Return a text whose head tells the sizes of its trees as they are now."""
    trees = re.split(r"(?=^Tree=)", text[: text.index("\nend of trees\n") + 1], flags=re.MULTILINE)[1:]
    return re.sub(r"tree_sizes=.*", "tree_sizes=" + " ".join(str(len(tree)) for tree in trees), text, count=1)


def _tree(text: str) -> str:
    return text[text.index("Tree=0\n") : text.index("Tree=1\n")]


READ_OTHERWISE: dict[str, Callable[[str], str]] = {
    "a category that is not a number": lambda text: _sized(
        re.sub(r"threshold=.*", lambda found: re.sub(r"[\d.e+-]+", "nan", found[0]), text)
    ),
    "a tree before the first": lambda text: re.sub(r"tree_sizes=.*\n", "", text).replace(
        "Tree=0\n", _tree(text).replace("Tree=0", "Tree=7") + "Tree=0\n", 1
    ),
    "trees after what only looks like their end": lambda text: re.sub(r"tree_sizes=.*\n", "", text).replace(
        "shrinkage=1\n", "shrinkage=1\nx=end of trees\n", 1
    ),
    "a line that ends as on old Macs": lambda text: _sized(
        text.replace("shrinkage=1\n", "shrinkage=1\rleft_child=99999999 9 9\n", 1)
    ),
    "a text that ends early": lambda text: text.replace("Tree=1\n", "Tree=1\0", 1),
    "a name after two equal signs": lambda text: text.replace("\nnum_class=", "\n=num_class=9999\nnum_class=", 1),
    "a number of classes that is told twice": lambda text: text.replace(
        "objective=binary", "objective=multiclass num_class:1 num_class:9999", 1
    ),
    "digits that only Python reads": lambda text: text.replace("max_feature_idx=3", "max_feature_idx=\uff13", 1),
    "a number beyond 32 bits": lambda text: text.replace("max_feature_idx=3", f"max_feature_idx={2**32 + 3}", 1),
    "an underscore in a number": lambda text: _sized(re.sub(r"leaf_count=(\d)", r"leaf_count=\1_", text, count=1)),
}


@pytest.mark.parametrize("change", READ_OTHERWISE.values(), ids=READ_OTHERWISE)
def test_a_lightgbm_text_that_lightgbm_reads_otherwise_than_we_do_is_refused(change: Callable[[str], str]) -> None:
    text = _text()
    check_text(_sized(text))
    assert change(text) != text
    with pytest.raises(CodecError, match="out of bounds"):
        check_text(change(text))


def test_a_forged_booster_in_a_pipeline_is_refused_before_lightgbm_reads_it(codecs: Codecs, store: FolderStore) -> None:
    def bend(name: str, data: bytes) -> bytes:
        return data.replace(b"split_gain=", b"split_gain=9") if name == "schema.json" else data

    ref = codecs.save(SAFE[-1].fit(X, Y), store)
    assert codecs.load(forged(ref, store, lambda _, data: data), store)
    with pytest.raises(CodecError, match="out of bounds"):
        codecs.load(forged(ref, store, bend), store)


def test_an_estimator_whose_files_unpack_to_more_than_they_are_is_refused(codecs: Codecs, store: FolderStore) -> None:
    ref = codecs.save(Ridge().fit(X, Y), store)
    made = io.BytesIO(ref.inline or store.path(ref.digest, ref.nonce or "").read_bytes())
    with zipfile.ZipFile(made, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("more.npy", bytes(1 << 20))
    with pytest.raises(CodecError, match="compressed, but Headrace compresses none"):
        codecs.load(inline("skops", ref.type, made.getvalue()), store)


def test_a_sparse_matrix_that_a_function_is_given_is_looked_at_too(codecs: Codecs, store: FolderStore) -> None:
    matrix = SparseRandomProjection(n_components=2, random_state=0).fit(X).components_
    ref = codecs.save(FunctionTransformer(partial(rbf_kernel, Y=matrix.copy())), store)
    assert codecs.load(ref, store)
    matrix.indices[0] = 10**6
    with pytest.raises(CodecError, match="out of bounds"):
        codecs.load(codecs.save(FunctionTransformer(partial(rbf_kernel, Y=matrix)), store), store)


@pytest.mark.parametrize("algorithm", ["kd_tree", "ball_tree"])
def test_a_forged_tree_of_neighbours_or_sparse_matrix_is_refused(
    algorithm: str, codecs: Codecs, store: FolderStore
) -> None:
    def bend(name: str, data: bytes) -> bytes:
        if not name.endswith(".npy"):
            return data
        array = np.load(io.BytesIO(data)).copy()
        if array.dtype.names:
            array["idx_end"][0] = 10**6
        made = io.BytesIO()
        np.save(made, array)
        return made.getvalue()

    ref = codecs.save(KNeighborsClassifier(algorithm=algorithm).fit(X, Y), store)
    assert codecs.load(forged(ref, store, lambda _, data: data), store)
    with pytest.raises(CodecError, match="out of bounds"):
        codecs.load(forged(ref, store, bend), store)
    model = SparseRandomProjection(n_components=2, random_state=0).fit(X)
    model.components_.indices[0] = 10**6
    with pytest.raises(CodecError, match="out of bounds"):
        codecs.load(codecs.save(model, store), store)
