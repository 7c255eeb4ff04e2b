"""Estimators of scikit-learn, fitted, and forged ones that are used: a target of `fuzz`."""

from __future__ import annotations

import io
import json
import random
import resource
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import scipy

from headrace.codec.codecs import Codecs
from headrace.codec.sink import inline
from headrace.store.folder.folder import FolderStore

CHANCE = np.random.default_rng(0)
X = CHANCE.random((200, 4))
Y = (X[:, 0] + X[:, 1] * X[:, 2] > 0.7).astype(int)
KINDS = (X[:, :2] * 4).round()
TEXTS = ["aa bb", "bb cc dd"] * 100
RECORDS = [{"a": 1.0, "b": "x"}, {"c": 2.0, "b": "y"}] * 100

UNSAVED = {"Birch"}
"""Estimators that skops refuses."""
PICKLED = {"splines", "SplineTransformer"} if tuple(map(int, scipy.__version__.split(".")[:2])) >= (1, 18) else set()
"""The splines of SciPy 1.18 hold a module, so they are pickled, and a pickle isn't loaded safely."""

METHODS = (
    "predict",
    "predict_proba",
    "decision_function",
    "transform",
    "inverse_transform",
    "score_samples",
    "apply",
    "decision_path",
    "kneighbors",
    "kneighbors_graph",
    "radius_neighbors",
    "staged_predict",
)
"""What is asked of a model that was read."""

MEMORY_BYTES = 8 << 30
"""A forged model may ask for more than there is, as any code may: that is an error, and no crash."""

SIZES = {"n_estimators": 3, "max_iter": 5, "n_init": 1, "cv": 2}


def made(kind: Any) -> Any:
    """Return an estimator of this class, made with the first arguments that will do."""
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.preprocessing import StandardScaler

    logistic, ridge = LogisticRegression(), Ridge()
    for arguments in (
        (),
        (logistic,),
        (ridge,),
        ([("one", logistic)],),
        ([("one", ridge)],),
        (logistic, {"C": [1.0, 2.0]}),
        ([("one", StandardScaler(), [0])],),
        (np.eye(4),),
        ([logistic],),
    ):
        with suppress(TypeError):
            return kind(*arguments)
    raise AssertionError(f"it isn't known how a {kind} is made")


def fitted(model: Any) -> Any:
    """Fit an estimator to the first rows that it takes."""
    for rows in ((X, Y), (X, Y + 1.0), (X, np.column_stack([Y, 1 - Y])), (X[:, 0], Y), (X, X), (TEXTS,), (Y,)):
        with suppress(Exception):
            model.fit(*rows)
            break
    return model


@cache
def makers() -> dict[str, Callable[[], Any]]:
    """Return how each estimator is made and fitted: those of scikit-learn as they are, and forms that hold more."""
    from scipy.sparse import csr_array
    from sklearn import cluster, ensemble, feature_extraction, neighbors, pipeline, preprocessing, svm
    from sklearn.metrics.pairwise import rbf_kernel
    from sklearn.utils import all_estimators

    def small(kind: Any) -> Any:
        model = made(kind)
        known = model.get_params(deep=False)
        model.set_params(**{name: value for name, value in SIZES.items() if name in known})
        return fitted(model)

    classes = (np.arange(200) % 3).astype(int)
    found = {name: partial(small, kind) for name, kind in all_estimators()}
    text = feature_extraction.text
    return found | {
        "boosting of three": lambda: ensemble.GradientBoostingClassifier(n_estimators=2).fit(X, classes),
        "boosting from zero": lambda: ensemble.GradientBoostingRegressor(n_estimators=2, init="zero").fit(X, Y),
        "histograms of kinds": lambda: ensemble.HistGradientBoostingClassifier(
            max_iter=2, categorical_features=[0, 1], min_samples_leaf=1
        ).fit(np.hstack([KINDS, X]), KINDS[:, 0] % 2),
        "an isolation of some": lambda: ensemble.IsolationForest(n_estimators=3, max_features=0.5).fit(X),
        "a forest of three": lambda: ensemble.RandomForestClassifier(n_estimators=2).fit(X, classes),
        "support of three": lambda: svm.SVC(probability=True).fit(X, classes),
        "sparse support": lambda: svm.SVC().fit(csr_array(X), classes),
        "support by a kernel": lambda: svm.SVC(kernel=rbf_kernel).fit(X, Y),
        "support by distances": lambda: svm.NuSVC(kernel="precomputed").fit(rbf_kernel(X, X), Y),
        "neighbours by force": lambda: neighbors.KNeighborsClassifier(algorithm="brute").fit(X, Y),
        "neighbours by a tree": lambda: neighbors.KNeighborsClassifier(algorithm="kd_tree").fit(X, Y),
        "neighbours by balls": lambda: neighbors.NearestNeighbors(
            algorithm="ball_tree", metric="mahalanobis", metric_params={"VI": np.eye(4)}
        ).fit(X),
        "neighbours by weights": lambda: neighbors.RadiusNeighborsClassifier(
            algorithm="brute", metric="seuclidean", metric_params={"V": np.ones(4)}
        ).fit(X, Y),
        "kinds of which some are rare": lambda: preprocessing.OneHotEncoder(
            max_categories=3, sparse_output=False, handle_unknown="infrequent_if_exist"
        ).fit(KINDS),
        "kinds without the first": lambda: preprocessing.OneHotEncoder(drop="first", sparse_output=False).fit(KINDS),
        "bins": lambda: preprocessing.KBinsDiscretizer(encode="onehot-dense").fit(X),
        "splines": lambda: preprocessing.SplineTransformer().fit(X),
        "words": lambda: pipeline.make_pipeline(text.TfidfVectorizer(), svm.LinearSVC()).fit(TEXTS, Y),
        "hashed words": lambda: text.HashingVectorizer(n_features=64).fit(TEXTS),
        "records": lambda: feature_extraction.DictVectorizer(sparse=False).fit(RECORDS),
        "labels": lambda: _labels(preprocessing.MultiLabelBinarizer().fit([["a"], ["b", "c"]])),
        "halves": lambda: cluster.BisectingKMeans(n_clusters=4).fit(X),
    }


def _labels(model: Any) -> Any:
    model.transform([["a"]])  # which keeps their places
    return model


def _wide(trees: Any) -> None:
    for tree in np.ravel(trees):
        big = type(tree)(max_depth=9).fit(np.hstack([X * 0, X]), Y)
        vars(tree).update(tree_=big.tree_, n_features_in_=8)


def _shallow(model: Any) -> None:
    state = model.tree_.__getstate__() | {"max_depth": 0}
    model.tree_.__setstate__(state)


def _set(name: str, change: Callable[[Any], Any]) -> Callable[[Any], None]:
    return lambda model: setattr(model, name, change(getattr(model, name)))


def _put(name: str, place: Any, value: Any) -> Callable[[Any], None]:
    return lambda model: getattr(model, name).__setitem__(place, value)


def _late(model: Any) -> None:
    state = np.random.RandomState(0).get_state(legacy=False)
    state["state"]["pos"] = 10**6
    model.random_state = np.random.RandomState()
    model.random_state.set_state(state)


FORGERIES: tuple[tuple[str, str, Callable[[Any], Any]], ...] = (
    ("DecisionTreeClassifier", "a depth that is less than it is", _shallow),
    ("DecisionTreeClassifier", "no number of features", lambda model: vars(model).pop("n_features_in_")),
    ("RandomForestClassifier", "trees of more features", lambda model: _wide(model.estimators_)),
    ("ExtraTreesRegressor", "trees of more features", lambda model: _wide(model.estimators_)),
    ("IsolationForest", "trees of more features", lambda model: _wide(model.estimators_)),
    (
        "an isolation of some",
        "features left out",
        lambda model: model.estimators_features_.__setitem__(0, np.array([0])),
    ),
    ("GradientBoostingClassifier", "trees of more features", lambda model: _wide(model.estimators_)),
    ("boosting of three", "more columns", _set("estimators_", lambda trees: np.hstack([trees, trees]))),
    ("boosting from zero", "more columns", _set("estimators_", lambda trees: np.hstack([trees, trees]))),
    ("boosting of three", "fewer classes", lambda model: setattr(model, "init_", makers()["DummyClassifier"]())),
    ("HistGradientBoostingRegressor", "a feature beyond", lambda m: m._predictors[0][0].nodes["feature_idx"].fill(9)),
    (
        "HistGradientBoostingRegressor",
        "no nodes",
        lambda m: setattr(m._predictors[0][0], "nodes", m._predictors[0][0].nodes[:0]),
    ),
    (
        "HistGradientBoostingRegressor",
        "kinds that are none",
        lambda m: m._predictors[0][0].nodes["is_categorical"].fill(1),
    ),
    ("histograms of kinds", "kinds forgotten", lambda m: m._bin_mapper.is_categorical_.fill(0)),
    ("histograms of kinds", "columns lost", lambda m: setattr(m, "n_features_in_", 9)),
    ("SVC", "a support beyond", _put("support_", 0, 10**6)),
    ("SVC", "supports of more features", _set("support_vectors_", lambda rows: np.hstack([rows, rows]))),
    ("SVC", "too few supports", _set("support_vectors_", lambda rows: rows[:2])),
    ("support of three", "too few weights", _set("_dual_coef_", lambda rows: rows[:1])),
    ("support of three", "too few borders", _set("_intercept_", lambda rows: rows[:1])),
    ("support of three", "too few chances", _set("_probA", lambda rows: rows[:1])),
    ("support of three", "counts of others", _put("_n_support", 0, -5)),
    ("NuSVR", "another machine", lambda model: setattr(model, "_impl", "c_svc")),
    ("OneClassSVM", "too few weights", _set("_dual_coef_", lambda rows: rows[:, :1])),
    ("sparse support", "too few weights", lambda m: setattr(m, "_dual_coef_", m._dual_coef_[:1])),
    ("support by distances", "a support beyond", _put("support_", 0, 200)),
    ("neighbours by force", "rows of fewer features", _set("_fit_X", lambda rows: np.ascontiguousarray(rows[:, :1]))),
    ("neighbours by force", "a label beyond", _put("_y", 0, 10**6)),
    ("neighbours by a tree", "too few labels", _set("_y", lambda rows: rows[:5])),
    ("NearestNeighbors", "too few rows", lambda model: setattr(model, "n_samples_fit_", 3)),
    ("KMeans", "centers of fewer features", _set("cluster_centers_", lambda rows: np.ascontiguousarray(rows[:, :1]))),
    ("KMeans", "threads without end", lambda model: setattr(model, "_n_threads", 10**9)),
    ("halves", "a center of fewer features", lambda m: setattr(m._bisecting_tree.left, "center", np.zeros(1))),
    ("HDBSCAN", "a node beyond", lambda model: model._single_linkage_tree_["left_node"].fill(10**9)),
    ("CountVectorizer", "a column beyond", lambda model: model.vocabulary_.update(aa=10**6)),
    ("records", "a column beyond", lambda model: model.vocabulary_.update(a=-3)),
    ("hashed words", "no columns", lambda model: setattr(model, "n_features", 0)),
    ("kinds of which some are rare", "a column beyond", lambda m: m._default_to_infrequent_mappings[0].fill(10**6)),
    ("kinds without the first", "fewer columns", _set("_n_features_outs", lambda counts: [1 for _ in counts])),
    ("OneHotEncoder", "kinds without order", _set("categories_", lambda kinds: [each[::-1].copy() for each in kinds])),
    (
        "OneVsRestClassifier",
        "two numbers a row",
        lambda m: _set("coef_", lambda rows: np.vstack([rows, rows]))(m.estimators_[0]),
    ),
    ("labels", "a column beyond", lambda model: model._cached_dict.update(a=10**6)),
    ("SplineTransformer", "too few coefficients", lambda m: setattr(m.bsplines_[0], "c", m.bsplines_[0].c[:1])),
    ("GaussianMixture", "chance beyond its numbers", _late),
    ("FeatureAgglomeration", "a cluster beyond its features", _set("labels_", lambda labels: labels + 10**6)),
)
"""What compiled code would follow: a model, what is wrong in it, and how that came."""

FEW = (-1, 0, 1, 3, 7, 1000)
ODD = (*FEW, 10**6, 2**31 - 1, -(2**31), 2**40, -(2**62))


def of_models(folder: Path, *names: str) -> Callable[[random.Random], object]:
    """Return a round: one of these models, or of all, is read with other numbers than it was written with, and used."""
    store, codecs = FolderStore(folder), Codecs()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    chosen = names or sorted(makers().keys() - UNSAVED - PICKLED)

    @cache
    def written(name: str) -> tuple[str, bytes]:
        ref = codecs.save(makers()[name](), store)
        assert ref.codec == "skops", name
        return ref.type, ref.inline if ref.inline is not None else store.path(ref.digest, ref.nonce or "").read_bytes()

    def play(chance: random.Random) -> object:
        kind, data = written(chance.choice(chosen))
        model: Any = codecs.load(inline("skops", kind, changed(chance, data)), store)
        for method in METHODS:
            for rows in (X, np.hstack([KINDS, X]), KINDS, X[:, 0], TEXTS, RECORDS):
                with suppress(Exception):
                    found = getattr(model, method)(rows)
                    list(found) if method.startswith("staged") else found.toarray()
        return None

    return play


def changed(chance: random.Random, data: bytes) -> bytes:
    """Return an estimator's file of which some arrays and numbers are others."""
    with ZipFile(io.BytesIO(data)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    arrays = sorted(name for name in files if name.endswith(".npy"))
    schema = json.loads(files.pop("schema.json"))
    numbers = [node for node in _nodes(schema) if node.get("__loader__") == "JsonNode" and _is_number(node["content"])]
    for _ in range(chance.randint(1, 2)):
        if arrays and (not numbers or chance.random() < 0.7):
            name = chance.choice(arrays)
            made = io.BytesIO()
            np.save(made, _array(chance, np.load(io.BytesIO(files[name]))))
            files[name] = made.getvalue()
        elif numbers:
            node = chance.choice(numbers)
            told = str(chance.choice(FEW))  # a bigger one asks for no more than it says
            for each in numbers if chance.random() < 0.5 else ():
                if each["__id__"] == node["__id__"] and each is not node:
                    each["content"] = told
            node["content"] = told
            node["__id__"] = chance.choice((node["__id__"], 10**9))
    made = io.BytesIO()
    with ZipFile(made, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr("schema.json", json.dumps(schema))
    return made.getvalue()


def _nodes(schema: Any) -> Iterator[dict[str, Any]]:
    rest = [schema]
    while rest:
        node = rest.pop()
        if isinstance(node, dict):
            yield node
            rest.extend(node.values())
        elif isinstance(node, list):
            rest.extend(node)


def _is_number(text: object) -> bool:
    return isinstance(text, str) and text.lstrip("-").isdigit()


def _array(chance: random.Random, array: Any) -> Any:
    """Return another array: other values, or another shape."""
    array = array.copy()
    match chance.randrange(7):
        case 0 | 1 | 2 if array.size:
            part = array[chance.choice(array.dtype.names)] if array.dtype.names else array
            number = chance.choice(ODD)
            with suppress(OverflowError, ValueError):
                if chance.random() < 0.3:
                    part[...] = number
                else:
                    part.flat[chance.randrange(part.size)] = number
        case 3 if array.ndim:
            array = array[: chance.randint(0, len(array))]
        case 4 if array.ndim:
            array = np.concatenate([array] * chance.randint(2, 4))
        case 5 if array.ndim > 1:
            array = array[:, : chance.randint(0, array.shape[1])]
        case 6 if array.ndim > 1:
            array = np.concatenate([array, array], axis=1)
        case _:
            array = array.T.copy()
    return array
