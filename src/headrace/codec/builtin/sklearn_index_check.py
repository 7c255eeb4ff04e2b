"""Checks the indices in a model (trees, supports, vocabularies, sparse matrices) before they are used.

The compiled parts of scikit-learn, SciPy and NumPy trust such numbers, so a forged one could read or write foreign
memory. First, the parts of a model are checked one by one (`PARTS`). Then parts of some models are called with one
row (`PROBES`), because only the result shows how many columns such a part returns.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from headrace.codec.classes import describe
from headrace.errors import CodecError

THREADS = 1024
"""The most threads that a model may ask for. No real model needs more. If a library can't start the threads that it was
asked for, it may end the process."""

HASHED = 2**31 - 1
"""The most columns that a table of hashed texts may have."""


def check_bounds(model: object) -> None:
    """Raise `CodecError` if an index in a model points outside the model's tables, back to an earlier node, or to a
    feature that the model doesn't have."""
    parts = list(_parts(model))
    for checks, checked in ((PARTS, parts), (PROBES, reversed(parts))):  # the innermost parts are probed first
        for part in checked:
            for kind in type(part).__mro__:
                check = checks.get(describe(kind))
                if check is not None and not _holds(check, part):
                    raise CodecError(
                        f"a `{type(part).__name__}` of the model has an index that is out of bounds",
                        hint="the artifact is damaged, or forged; run again the task that made it",
                    )


def _holds(check: Callable[[Any], bool], part: Any) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return bool(check(part))
    except Exception:  # noqa: BLE001  an unsound part may raise anything
        return False


def _parts(model: object) -> Iterator[Any]:
    """Yield a model and the objects inside it, the model first."""
    rest: list[Any] = [model]
    seen: set[int] = set()
    while rest:
        value = rest.pop()
        if id(value) in seen or isinstance(value, type | str | bytes | int | float | None):
            continue
        seen.add(id(value))
        if isinstance(value, dict):
            rest.extend(value.values())
        elif isinstance(value, partial):
            rest.extend((value.args, value.keywords))
        elif isinstance(value, list | tuple | set):
            rest.extend(value)
        elif isinstance(value, np.ndarray):
            rest.extend(value.flat if value.dtype == object else ())
        else:
            yield value
            rest.extend(getattr(value, "__dict__", {}).values())


# -- trees -------------------------------------------------------------------------------------------------------------


def _is_sound(tree: Any) -> bool:
    left, right = tree.children_left, tree.children_right
    inner = np.flatnonzero(left != -1)
    return (
        _is_tree(inner, left[inner], right[inner], tree.node_count)
        and _below(tree.feature[inner], tree.n_features)
        and _depth(left, right) <= tree.max_depth
    )


def _is_sound_predictor(tree: Any) -> bool:
    nodes, sets = tree.nodes, tree.raw_left_cat_bitsets
    inner = np.flatnonzero(nodes["is_leaf"] == 0)
    kinds = nodes["bitset_idx"][inner][nodes["is_categorical"][inner] != 0]
    return (
        _is_tree(inner, nodes["left"][inner], nodes["right"][inner], len(nodes))
        and _below(kinds, len(sets))
        and (not len(kinds) or sets.shape[1:] == (8,))
    )


def _is_tree(parents: Any, left: Any, right: Any, count: int) -> bool:
    """Return whether nodes form a tree: each child comes after its parent, and has only one parent."""
    children = np.concatenate([left, right]).astype(np.int64)
    return bool(
        count > 0
        and np.all(children > np.concatenate([parents, parents]))
        and np.all(children < count)
        and len(np.unique(children)) == len(children)
    )


def _depth(left: Any, right: Any) -> int:
    depth, level = 0, np.zeros(1, np.int64)
    while len(level := level[left[level] != -1]):
        level = np.concatenate([left[level], right[level]])
        depth += 1
    return depth


def _takes_its_features(model: Any) -> bool:
    return not hasattr(model, "tree_") or model.tree_.n_features == model.n_features_in_


def _is_sound_forest(model: Any) -> bool:
    """Return whether all trees of a forest take as many features as the forest. The compiled code doesn't check the
    table that a tree gets."""
    return all(tree.tree_.n_features == model.n_features_in_ for tree in getattr(model, "estimators_", ()))


def _is_sound_isolation(model: Any) -> bool:
    if not hasattr(model, "estimators_"):
        return True
    is_whole = model._max_features == model.n_features_in_
    pairs = zip(model.estimators_, model.estimators_features_, strict=True)
    return all(tree.tree_.n_features == (model.n_features_in_ if is_whole else len(some)) for tree, some in pairs)


def _is_sound_boosting(model: Any) -> bool:
    if not hasattr(model, "estimators_"):
        return True
    features = model.n_features_in_
    wide = model._raw_predict_init(np.ones((1, features), np.float32)).shape[1]
    return model.estimators_.shape[1] == wide and all(
        tree.tree_.n_features == tree.n_features_in_ == features for tree in model.estimators_.flat
    )


def _is_sound_histogram(model: Any) -> bool:
    if not hasattr(model, "_predictors"):
        return True
    features, encoder = model.n_features_in_, model._preprocessor
    if encoder is not None and np.shape(encoder.transform(np.ones((1, features), object))) != (1, features):
        return False
    kinds = model._bin_mapper.is_categorical_
    return kinds.shape == (features,) and all(
        _below(nodes["feature_idx"], features) and np.all(kinds[nodes["feature_idx"][nodes["is_categorical"] != 0]])
        for nodes in (
            predictor.nodes[predictor.nodes["is_leaf"] == 0] for row in model._predictors for predictor in row
        )
    )


def _is_sound_hierarchy(model: Any) -> bool:
    tree = getattr(model, "_single_linkage_tree_", None)
    return tree is None or all(_below(tree[side], 2 * len(tree) + 1) for side in ("left_node", "right_node"))


# -- neighbours, clusters, supports ------------------------------------------------------------------------------------


def _is_sound_search(tree: Any) -> bool:
    data, rows, nodes, bounds, _, _, node_count, *_, metric, weights = tree.__getstate__()
    count, width = data.shape
    starts, ends = nodes["idx_start"], nodes["idx_end"]
    inner = np.flatnonzero(nodes["is_leaf"] == 0)
    metric._validate_data(data[:1])
    return (
        rows.shape == (count,)
        and _below(rows, count)
        and len(nodes) == node_count > 0
        and bool(np.all(starts >= 0) and np.all(starts <= ends) and np.all(ends <= count))
        and _below(2 * inner + 2, len(nodes))
        and bounds.shape[1:] == (len(nodes), width)
        and (weights is None or weights.shape == (count,))
        and _is_sound_metric(metric)
    )


def _is_sound_metric(metric: Any) -> bool:
    matrix = metric.__getstate__()[2]
    return bool(matrix.shape[0] == matrix.shape[1])  # the class itself checks only one side


def _is_sound_neighbours(model: Any) -> bool:
    if not hasattr(model, "_fit_X"):
        return True
    rows, width = model._fit_X.shape
    labels, classes = getattr(model, "_y", None), getattr(model, "classes_", None)
    return (
        width == model.n_features_in_
        and rows == model.n_samples_fit_
        and (model._tree is None or model._tree.__getstate__()[0].shape == (rows, width))
        and (labels is None or len(labels) == rows)
        and (not isinstance(classes, np.ndarray) or _below(labels, len(classes)))
    )


def _is_sound_clustering(model: Any) -> bool:
    if not hasattr(model, "cluster_centers_"):
        return True
    return (
        model.cluster_centers_.shape[1:] == (model.n_features_in_,)
        and _within(model._n_threads, THREADS)
        and all(
            node.center.shape == (model.n_features_in_,)
            for node in _parts(getattr(model, "_bisecting_tree", None))
            if hasattr(node, "center")
        )
    )


def _is_sound_machine(model: Any) -> bool:
    """Return whether the counts and array sizes of a support vector machine fit together, since `libsvm` trusts
    them."""
    if not hasattr(model, "support_"):
        return True
    vectors, counts, rows = model.support_vectors_, model.n_support_, len(model.support_)
    kinds = len(model._n_support)
    pairs = kinds * (kinds - 1) // 2
    is_asked = callable(model.kernel)
    if is_asked and not _is_kernel(model.kernel):
        return False
    weights = model._dual_coef_
    if model._sparse:
        is_whole = vectors.shape[0] == rows and weights.data.shape == ((kinds - 1) * rows,)
    elif is_asked or model.kernel == "precomputed":
        is_whole = weights.shape == (kinds - 1, rows)
    else:
        is_whole = vectors.shape == (rows, model.n_features_in_) and weights.shape == (kinds - 1, rows)
    learned = model.shape_fit_[0]
    return (
        is_whole
        and kinds > 1
        and _below(counts, rows + 1)
        and sum(counts.tolist()) == rows
        and _below(model.support_, learned)
        and model._intercept_.shape == (pairs,)
        and all(array.shape in ((0,), (pairs,)) for array in (model._probA, model._probB))
        and len(model._probA) == len(model._probB)
        and (not is_asked or model._BaseLibSVM__Xfit.shape[0] == learned)
    )


def _is_kernel(function: Any) -> bool:
    """Return whether `function` is a kernel of scikit-learn. A kernel takes two tables. It returns a table with one row
    for each row of the first, and one column for each row of the second."""
    if isinstance(function, partial):
        return not function.args and _is_kernel(function.func)
    return str(function.__name__).endswith("_kernel") and function.__module__ == "sklearn.metrics.pairwise"


# -- columns that are numbered -----------------------------------------------------------------------------------------


def _is_sound_encoder(model: Any) -> bool:
    if not hasattr(model, "categories_"):
        return True
    known = model.categories_
    groups = model._infrequent_indices if model._infrequent_enabled else [None] * len(known)
    dropped = [None] * len(known) if model._drop_idx_after_grouping is None else model._drop_idx_after_grouping
    counts = [
        len(categories) - (0 if group is None else len(group) - 1)
        for categories, group in zip(known, groups, strict=True)
    ]
    maps = model._default_to_infrequent_mappings if model._infrequent_enabled else groups
    return (
        len(known) == model.n_features_in_
        and model._n_features_outs == model._compute_n_features_outs()
        and all(map(_is_ordered, known))
        and all(drop is None or _within(drop, count - 1, 0) for drop, count in zip(dropped, counts, strict=True))
        and all(
            (places is None) == (group is None)
            and (places is None or (len(places) == len(categories) and _below(places, count)))
            for places, group, categories, count in zip(maps, groups, known, counts, strict=True)
        )
    )


def _is_ordered(values: Any) -> bool:
    """Return whether categories are sorted, as a binary search needs. Texts and objects needn't be sorted, since they
    are looked up in another way."""
    if values.dtype.kind in "OUS":
        return bool(values.ndim == 1)
    rest = values[:-1] if values.dtype.kind in "fc" and len(values) and np.isnan(values[-1]) else values
    return values.ndim == 1 and bool(np.all(rest[:-1] <= rest[1:]))


def _is_sound_vocabulary(model: Any) -> bool:
    words = getattr(model, "vocabulary_", None)
    return not words or _below(np.array([*words.values()]), len(words))


def _is_sound_labelling(model: Any) -> bool:
    places = getattr(model, "_cached_dict", None)
    return not places or _below(np.array([*places.values()]), len(model.classes_))


def _is_sound_rest(model: Any) -> bool:
    """Return whether each estimator of a one-vs-rest model returns, for one row, one decision value or two
    probabilities. A model that gives each row exactly one of several labels needs no check."""
    if not hasattr(model, "estimators_") or model.label_binarizer_.y_type_ == "multiclass":
        return True
    last = [estimator[-1] if hasattr(estimator, "steps") else estimator for estimator in model.estimators_]
    names = ("decision_function", "predict_proba")
    return all(
        np.shape(answer)[:1] == (1,) and np.size(answer) == (1 if name == names[0] else 2)
        for estimator in last
        for name in names
        if hasattr(estimator, name)
        for answer in (getattr(estimator, name)(np.ones((1, getattr(estimator, "n_features_in_", 1)))),)
    )


def _is_sound_hashing(model: Any) -> bool:
    return _within(model.n_features, HASHED)


# -- splines, sparse matrices and random numbers -----------------------------------------------------------------------


def _is_sound_spline(spline: Any) -> bool:
    knots, coefficients, degree = spline.t, spline.c, spline.k
    return (
        type(degree) is int
        and degree >= 0
        and getattr(knots, "ndim", 0) == 1
        and len(coefficients) >= len(knots) - degree - 1 > degree
    )


def _is_sound_matrix(matrix: Any) -> bool:
    matrix.check_format(full_check=True)
    return True


def _is_sound_chance(bits: Any) -> bool:
    state = bits.state["state"] if isinstance(bits.state.get("state"), dict) else {}
    return _within(state.get("pos", 0), 624, 0) and _within(bits.state.get("buffer_pos", 0), 4, 0)


def _within(number: Any, most: int, least: int = 1) -> bool:
    return isinstance(number, int | np.integer) and bool(least <= number <= most)


def _is_sound_agglomeration(model: Any) -> bool:
    """Return whether the cluster number of each feature is valid: at least 0, and below the number of features."""
    return not hasattr(model, "labels_") or _below(model.labels_, model.n_features_in_)


def _below(places: Any, count: int) -> bool:
    return places.dtype.kind in "biu" and bool(np.all(places >= 0) and np.all(places < count))


PARTS: dict[str, Callable[[Any], bool]] = {
    "numpy.random._generator.Generator": lambda made: _is_sound_chance(made.bit_generator),
    "numpy.random.mtrand.RandomState": lambda made: _is_sound_chance(made._bit_generator),
    "scipy.interpolate._bsplines.BSpline": _is_sound_spline,
    "scipy.sparse._base._spbase": _is_sound_matrix,
    "sklearn.cluster._agglomerative.FeatureAgglomeration": _is_sound_agglomeration,
    "sklearn.cluster._hdbscan.hdbscan.HDBSCAN": _is_sound_hierarchy,
    "sklearn.cluster._kmeans._BaseKMeans": _is_sound_clustering,
    "sklearn.ensemble._forest.BaseForest": _is_sound_forest,
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor": _is_sound_predictor,
    "sklearn.ensemble._iforest.IsolationForest": _is_sound_isolation,
    "sklearn.feature_extraction._dict_vectorizer.DictVectorizer": _is_sound_vocabulary,
    "sklearn.feature_extraction._hash.FeatureHasher": _is_sound_hashing,
    "sklearn.feature_extraction.text.CountVectorizer": _is_sound_vocabulary,
    "sklearn.feature_extraction.text.HashingVectorizer": _is_sound_hashing,
    "sklearn.metrics._dist_metrics.DistanceMetric": _is_sound_metric,
    "sklearn.neighbors._ball_tree.BinaryTree32": _is_sound_search,
    "sklearn.neighbors._ball_tree.BinaryTree64": _is_sound_search,
    "sklearn.neighbors._base.NeighborsBase": _is_sound_neighbours,
    "sklearn.neighbors._kd_tree.BinaryTree32": _is_sound_search,
    "sklearn.neighbors._kd_tree.BinaryTree64": _is_sound_search,
    "sklearn.preprocessing._encoders.OneHotEncoder": _is_sound_encoder,
    "sklearn.preprocessing._label.MultiLabelBinarizer": _is_sound_labelling,
    "sklearn.svm._base.BaseLibSVM": _is_sound_machine,
    "sklearn.tree._classes.BaseDecisionTree": _takes_its_features,
    "sklearn.tree._tree.Tree": _is_sound,
}
"""Class whose compiled code trusts the numbers in an object -> function that returns whether these numbers are safe."""

PROBES: dict[str, Callable[[Any], bool]] = {
    "sklearn.ensemble._gb.BaseGradientBoosting": _is_sound_boosting,
    "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.BaseHistGradientBoosting": _is_sound_histogram,
    "sklearn.multiclass.OneVsRestClassifier": _is_sound_rest,
}
