"""What a model is indexed by (trees, sparse matrices), checked before it is used.

scikit-learn and SciPy follow such indices without a look at bounds, so a forged one would read memory that isn't its
own.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from scipy.interpolate import BSpline
from scipy.sparse import issparse
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
from sklearn.neighbors import BallTree, KDTree
from sklearn.tree._tree import Tree

from headrace.errors import CodecError


def check_trees(model: object) -> None:
    """Raise `CodecError` if a tree or sparse matrix anywhere in a model points outside of itself, back, or beyond its
    features."""
    for part, features in _parts(model):
        if not _is_good(part, features):
            raise CodecError(
                f"a `{type(part).__name__}` of the model points outside of itself",
                hint="the artifact is damaged, or forged; run what made it again",
            )


def _is_good(part: Any, features: int | None) -> bool:
    if isinstance(part, Tree):
        return _is_sound(part, features)
    if isinstance(part, TreePredictor):
        return _is_sound_predictor(part, features)
    if isinstance(part, BSpline):
        return _is_sound_spline(part)
    return _is_sound_neighbours(part) if isinstance(part, KDTree | BallTree) else _is_sound_matrix(part)


def _parts(model: object) -> Iterator[tuple[Any, int | None]]:
    """Go over the trees and sparse matrices inside a model, each with how many features its nearest owner takes."""
    rest: list[tuple[Any, int | None]] = [(model, None)]
    seen: set[int] = set()
    while rest:
        value, features = rest.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Tree | TreePredictor | KDTree | BallTree | BSpline) or issparse(value):
            yield value, features
        elif isinstance(value, dict):
            rest.extend((each, features) for each in value.values())
        elif isinstance(value, partial):
            rest.extend((each, features) for each in (value.args, value.keywords))
        elif isinstance(value, list | tuple | set) or (isinstance(value, np.ndarray) and value.dtype == object):
            rest.extend((each, features) for each in (value.flat if isinstance(value, np.ndarray) else value))
        elif hasattr(value, "__dict__") and not isinstance(value, type):
            features = vars(value).get("n_features_in_", features)
            rest.extend((each, features) for each in vars(value).values())


def _is_sound(tree: Any, features: int | None) -> bool:
    inner = tree.children_left != -1
    return (
        (features is None or tree.n_features == features)
        and _go_on(np.flatnonzero(inner), tree.children_left[inner], tree.node_count)
        and _go_on(np.flatnonzero(inner), tree.children_right[inner], tree.node_count)
        and _below(tree.feature[inner], tree.n_features)
    )


def _is_sound_predictor(tree: Any, features: int | None) -> bool:
    nodes = tree.nodes
    inner = nodes["is_leaf"] == 0
    kinds = nodes["bitset_idx"][inner & (nodes["is_categorical"] != 0)]
    return (
        _go_on(np.flatnonzero(inner), nodes["left"][inner], len(nodes))
        and _go_on(np.flatnonzero(inner), nodes["right"][inner], len(nodes))
        and _below(nodes["feature_idx"][inner], features)
        and _below(kinds, len(tree.raw_left_cat_bitsets))
    )


def _is_sound_neighbours(tree: Any) -> bool:
    data, rows, nodes, bounds, *_, metric, weights = tree.__getstate__()
    count, width = data.shape
    starts, ends = nodes["idx_start"], nodes["idx_end"]
    inner = np.flatnonzero(nodes["is_leaf"] == 0)
    try:
        metric._validate_data(data[:1])
    except ValueError:
        return False
    _, _, matrix = metric.__getstate__()
    return (
        rows.shape == (count,)
        and _below(rows, count)
        and bool(np.all(starts >= 0) and np.all(starts <= ends) and np.all(ends <= count))
        and _below(2 * inner + 2, len(nodes))
        and bounds.shape[1:] == (len(nodes), width)
        and (weights is None or weights.shape == (count,))
        and matrix.shape[0] == matrix.shape[1]  # what `metric` has looked at is one side of it
    )


def _is_sound_spline(spline: Any) -> bool:
    knots, coefficients, degree = spline.t, spline.c, spline.k
    return (
        type(degree) is int
        and degree >= 0
        and getattr(knots, "ndim", 0) == 1
        and len(coefficients) >= len(knots) - degree - 1 > degree
    )


def _is_sound_matrix(matrix: Any) -> bool:
    try:
        matrix.check_format(full_check=True)
    except (TypeError, ValueError):
        return False
    return True


def _go_on(parents: Any, children: Any, count: int) -> bool:
    """Tell whether children stand after their parents, so that each way down ends, and inside."""
    return bool(np.all(children.astype(np.int64) > parents) and np.all(children < count))


def _below(places: Any, count: int | None) -> bool:
    return bool(np.all(places >= 0) and (count is None or np.all(places < count)))
