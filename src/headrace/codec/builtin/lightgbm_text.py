"""The text of a LightGBM model, checked before LightGBM reads it.

LightGBM follows a tree's indices without a look at bounds, and ends the process where a list has another length than it
expects. So a forged text would read memory that isn't its own, or end who reads it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from lightgbm.basic import _ConfigAliases

from headrace.errors import CodecError

INNER = (
    "split_feature", "split_gain", "threshold", "decision_type", "left_child", "right_child",
    "internal_value", "internal_weight", "internal_count",
)  # fmt: skip
"""Lists with a number for each inner node; those of `LEAVES` have one for each leaf."""

LEAVES = ("leaf_value", "leaf_weight", "leaf_count")
PARAMETER = re.compile(r"\[(\w+): [^\n]*\]")
CATEGORICAL = 1
"""The bit of a node's `decision_type` that says that it asks for a category."""


def check_text(text: str) -> None:
    """Raise `CodecError` if a tree of a model points outside of itself, back, or beyond its features."""
    try:
        is_sound = _is_sound(text)
    except (KeyError, ValueError, OverflowError):
        is_sound = False
    if not is_sound:
        raise CodecError(
            "a tree of the LightGBM model points outside of itself",
            hint="the artifact is damaged, or forged; run what made it again",
        )


def _is_sound(text: str) -> bool:
    start = text.find("Tree=0\n")
    head = _pairs(text if start < 0 else text[:start])
    features, classes = int(head["max_feature_idx"]) + 1, int(head["num_class"])
    told = re.search(r"\bnum_class:(\S+)", head.get("objective", ""))
    if start < 0 and head.get("tree_sizes", "").strip():
        return False
    trees = [] if start < 0 else list(_trees(text, start, head))
    return (
        _has_parameters(text)
        and classes >= 1
        and int(head["num_tree_per_iteration"]) == classes
        and (told is None or int(told[1]) == classes)
        and len(trees) % classes == 0
        and all(_is_sound_tree(tree, features) for tree in trees)
    )


def _has_parameters(text: str) -> bool:
    """Tell whether each line of the parameters is one that LightGBM knows: it follows other names unchecked."""
    _, is_there, rest = text.partition("\nparameters:\n")
    told, is_whole, _ = rest.partition("\nend of parameters\n")
    lines = [PARAMETER.fullmatch(line) for line in told.split("\n") if line]
    known: Any = _ConfigAliases._get_all_param_aliases()
    return bool(is_there and is_whole) and all(line is not None and line[1] in known for line in lines)


def _trees(text: str, start: int, head: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Go over the trees: each begins where the sizes of those before it end, if the head tells them."""
    end = text.find("end of trees", start)
    blocks = re.split(r"(?=^Tree=\d+\n)", text[start : end if end >= 0 else len(text)], flags=re.MULTILINE)[1:]
    sizes = head["tree_sizes"].split() if "tree_sizes" in head else None
    if sizes is not None and [int(size) for size in sizes] != [len(block.encode()) for block in blocks]:
        raise ValueError("the trees have other sizes")
    for number, block in enumerate(blocks):
        tree = _pairs(block)
        if int(tree["Tree"]) != number:
            raise ValueError("the trees have other numbers")
        yield tree


def _pairs(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in text.split("\n"):
        key, is_pair, value = line.partition("=")
        if is_pair and key in found:
            raise ValueError(f"`{key}` is there twice")
        if is_pair:
            found[key] = value
    return found


def _is_sound_tree(tree: Mapping[str, str], features: int) -> bool:
    leaves = int(tree["num_leaves"])
    if leaves == 1:
        return _has(tree, "leaf_value", 1) and _has_coefficients(tree, features)
    if leaves < 1 or not all(_has(tree, name, leaves - 1) for name in INNER):
        return False
    if not all(_has(tree, name, leaves) for name in LEAVES):
        return False
    nodes = np.arange(leaves - 1)
    children = np.concatenate([_whole(tree, "left_child"), _whole(tree, "right_child")])
    parents = np.concatenate([nodes, nodes])
    is_node = children >= 0
    asks = _whole(tree, "split_feature")
    return (
        bool(np.all(children[is_node] > parents[is_node]) and np.all(children < leaves - 1))
        and bool(np.all(~children[~is_node] < leaves))
        and bool(np.all((asks >= 0) & (asks < features)))
        and _has_categories(tree)
        and _has_coefficients(tree, features)
    )


def _has_categories(tree: Mapping[str, str]) -> bool:
    asked = (_whole(tree, "decision_type") & CATEGORICAL) != 0
    places = np.array(tree["threshold"].split(), dtype=float)[asked]
    count = int(tree["num_cat"])
    if count < 0 or np.any((places < 0) | (places >= count)) or (count == 0 and asked.any()):
        return False
    if count == 0:
        return True
    ends, sets = _whole(tree, "cat_boundaries"), _whole(tree, "cat_threshold")
    return bool(len(ends) == count + 1 and ends[0] == 0 and np.all(np.diff(ends) >= 0) and ends[-1] == len(sets))


def _has_coefficients(tree: Mapping[str, str], features: int) -> bool:
    """Look at the linear models that leaves of some trees hold."""
    if int(tree.get("is_linear", "0")) == 0:
        return True
    counts, asks, leaves = _whole(tree, "num_features"), _whole(tree, "leaf_features"), int(tree["num_leaves"])
    total = int(counts.sum()) if np.all(counts >= 0) else -1
    return (
        len(counts) == leaves
        and _has(tree, "leaf_const", leaves)
        and total == len(asks)
        and bool(np.all((asks >= 0) & (asks < features)))
        and len(np.array(tree["leaf_coeff"].split(), dtype=float)) == total
    )


def _has(tree: Mapping[str, str], name: str, count: int) -> bool:
    """Tell whether a list has so many numbers."""
    return len(np.array(tree[name].split(), dtype=float)) == count


def _whole(tree: Mapping[str, str], name: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(tree.get(name, "").split(), dtype=np.int64)
