"""Decision trees of scikit-learn, checked before they are used.

scikit-learn follows a node's indices without a look at bounds, so a forged tree would read memory that isn't its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
from sklearn.tree._tree import Tree

from headrace.errors import CodecError


def check_trees(model: object) -> None:
    """Raise `CodecError` if a tree anywhere in a model points outside of itself, back, or beyond its features."""
    for tree, features in _trees(model):
        if not (_is_sound(tree, features) if isinstance(tree, Tree) else _is_sound_predictor(tree, features)):
            raise CodecError(
                "a decision tree of the model points outside of itself",
                hint="the artifact is damaged, or forged; run what made it again",
            )


def _trees(model: object) -> Iterator[tuple[Any, int | None]]:
    """Go over the trees inside a model, each with how many features its nearest owner takes."""
    rest: list[tuple[Any, int | None]] = [(model, None)]
    seen: set[int] = set()
    while rest:
        value, features = rest.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Tree | TreePredictor):
            yield value, features
        elif isinstance(value, dict):
            rest.extend((each, features) for each in value.values())
        elif isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.dtype == object):
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


def _go_on(parents: Any, children: Any, count: int) -> bool:
    """Tell whether children stand after their parents, so that each way down ends, and inside."""
    return bool(np.all(children.astype(np.int64) > parents) and np.all(children < count))


def _below(places: Any, count: int | None) -> bool:
    return bool(np.all(places >= 0) and (count is None or np.all(places < count)))
