"""Checks the text of a LightGBM model before LightGBM reads it.

LightGBM trusts the indices in a tree, and ends the process if a list has an unexpected length. So a forged text could
read foreign memory, or crash the process that loads it.
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
"""The fields of a tree that are lists with one number for each inner node. Those in `LEAVES` have one number for each
leaf."""

LEAVES = ("leaf_value", "leaf_weight", "leaf_count")
PARAMETER = re.compile(r"\[(\w+): [^\n]*\]")
TREE = re.compile(r"Tree=(\d+)\n((?:[a-z_]+=[-+.0-9a-z ]*\n)+)\n*", re.ASCII)
"""A tree as LightGBM writes it. Text such as `1_0`, or lines after a blank line, doesn't match: LightGBM would read it
differently from this module."""
COUNT = re.compile(r"\d{1,9}", re.ASCII)
CATEGORICAL = 1
"""The bit of a node's `decision_type` that marks a test for a category."""


def check_text(text: str) -> None:
    """Raise `CodecError` if a node of a tree points outside the tree, back to an earlier node, or to a feature that the
    model doesn't have."""
    try:
        is_sound = _is_sound(text)
    except (KeyError, ValueError, OverflowError):
        is_sound = False
    if not is_sound:
        raise CodecError(
            "a tree of the LightGBM model has an index that is out of bounds, or another invalid value",
            hint="the artifact is damaged, or forged; run again the task that made it",
        )


def _is_sound(text: str) -> bool:
    if "\r" in text or "\0" in text:
        return False  # LightGBM takes either as the end of a line
    first = re.search(r"^Tree=", text, re.MULTILINE)
    head = _pairs(text if first is None else text[: first.start()])
    features, classes = _count(head["max_feature_idx"]) + 1, _count(head["num_class"])
    declared = re.findall(r"num_class:(\S+)", head.get("objective", ""))
    if first is None and head.get("tree_sizes", "").strip():
        return False
    trees = [] if first is None else list(_trees(text[first.start() :], head["tree_sizes"]))
    return (
        _has_parameters(text)
        and classes >= 1
        and _count(head["num_tree_per_iteration"]) == classes
        and all(_count(count) == classes for count in declared)
        and len(trees) % classes == 0
        and all(_is_sound_tree(tree, features) for tree in trees)
    )


def _has_parameters(text: str) -> bool:
    """Return whether LightGBM knows every name in the list of parameters. LightGBM itself would accept unknown
    names."""
    _, is_there, rest = text.partition("\nparameters:\n")
    parameters, is_whole, _ = rest.partition("\nend of parameters\n")
    lines = [PARAMETER.fullmatch(line) for line in parameters.split("\n") if line]
    known: Any = _ConfigAliases._get_all_param_aliases()
    return bool(is_there and is_whole) and all(line is not None and line[1] in known for line in lines)


def _trees(text: str, sizes: str) -> Iterator[dict[str, str]]:
    """Yield the fields of each tree. Check first that the trees have the sizes `sizes`, which the header gives."""
    blocks = re.split(r"(?=^Tree=)", text[: text.index("\nend of trees\n") + 1], flags=re.MULTILINE)[1:]
    if [_count(size) for size in sizes.split(" ")] != [len(block) for block in blocks]:
        raise ValueError("the trees have other sizes")
    for number, block in enumerate(blocks):
        tree = TREE.fullmatch(block)
        if tree is None or int(tree[1]) != number:
            raise ValueError("a tree has another form or number")
        yield _pairs(tree[2])


def _pairs(text: str) -> dict[str, str]:
    """Return the text before and after the first `=` of each line, as a dictionary. Raise `ValueError` if a line has
    no name, or if two lines have the same name."""
    pairs: dict[str, str] = {}
    for line in filter(None, text.split("\n")):
        key, _, value = line.partition("=")
        if not key or key in pairs:
            raise ValueError(f"`{key}` is there twice, or a line has no name")
        pairs[key] = value
    return pairs


def _count(text: str) -> int:
    """Return the number that a text consists of. The text may contain only digits, as LightGBM expects: Python's `int`
    alone would accept more forms."""
    if COUNT.fullmatch(text) is None:
        raise ValueError(f"`{text}` is not a count")
    return int(text)


def _is_sound_tree(tree: Mapping[str, str], features: int) -> bool:
    leaves = _count(tree["num_leaves"])
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
    count = _count(tree["num_cat"])
    if not np.all((places >= 0) & (places < count)):  # NaN is refused too
        return False
    if count == 0:
        return True
    ends, sets = _whole(tree, "cat_boundaries"), _whole(tree, "cat_threshold")
    return bool(len(ends) == count + 1 and ends[0] == 0 and np.all(np.diff(ends) >= 0) and ends[-1] == len(sets))


def _has_coefficients(tree: Mapping[str, str], features: int) -> bool:
    """Return whether the linear models in a tree's leaves have lists of the right length, and only known features. True
    if the tree has no linear models."""
    if int(tree.get("is_linear", "0")) == 0:
        return True
    counts, asks, leaves = _whole(tree, "num_features"), _whole(tree, "leaf_features"), int(tree["num_leaves"])
    total = int(counts.sum()) if np.all((counts >= 0) & (counts <= len(asks))) else -1
    return (
        len(counts) == leaves
        and _has(tree, "leaf_const", leaves)
        and total == len(asks)
        and bool(np.all((asks >= 0) & (asks < features)))
        and len(np.array(tree["leaf_coeff"].split(), dtype=float)) == total
    )


def _has(tree: Mapping[str, str], name: str, count: int) -> bool:
    """Return whether the list `name` of a tree has `count` numbers."""
    return len(np.array(tree[name].split(), dtype=float)) == count


def _whole(tree: Mapping[str, str], name: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(tree.get(name, "").split(), dtype=np.int64)
