"""What a file in skops' format may hold: each name in it is checked before anything is made from it.

skops asks its caller for the names to trust, and resolves them with `getattr(import_module(module), name)`. So a name
may be unsafe even if it begins like a trusted name. For example, the module `sklearn.metrics._dist_metrics` also
contains `os`, and a second node could call a function of `os`. Here a node is accepted only under two conditions: its
type is known, and a class or function that fits this type is defined under exactly the node's name.
"""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from headrace.codec.classes import describe
from headrace.errors import CodecError

Node = dict[str, Any]

ESTIMATOR = "sklearn.base.BaseEstimator"

HELD = {
    ESTIMATOR,
    "sklearn._loss.link.BaseLink",
    "sklearn._loss.link.Interval",
    "sklearn._loss.loss.BaseLoss",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.cluster._bisect_k_means._BisectingTree",
    "sklearn.compose._column_transformer.make_column_selector",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.gaussian_process.kernels.Kernel",
    "sklearn.linear_model._linear_loss.LinearModelLoss",
    "sklearn.metrics._dist_metrics.DistanceMetric",
    "sklearn.metrics._dist_metrics.DistanceMetric32",
    "sklearn.metrics._dist_metrics.DistanceMetric64",
    "sklearn.metrics._scorer._BaseScorer",
    "sklearn.metrics._scorer._MultimetricScorer",
    "sklearn.metrics._scorer._PassthroughScorer",
    "sklearn.model_selection._split.BaseCrossValidator",
    "sklearn.model_selection._split.BaseShuffleSplit",
    "sklearn.model_selection._split._RepeatedSplits",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._ball_tree.BinaryTree32",
    "sklearn.neighbors._ball_tree.BinaryTree64",
    "sklearn.neighbors._kd_tree.BinaryTree32",
    "sklearn.neighbors._kd_tree.BinaryTree64",
    "sklearn.neural_network._stochastic_optimizers.BaseOptimizer",
    "sklearn.utils._metadata_requests.MetadataRequest",
    "sklearn.utils._metadata_requests.MetadataRouter",
    "sklearn.utils._metadata_requests.MethodMapping",
    "sklearn.utils._metadata_requests.MethodMetadataRequest",
}
"""Classes of scikit-learn whose objects may be made without calling the class: estimators, and objects inside
estimators. Their subclasses may be made in this way too."""

LOSSES = {"sklearn._loss._loss.CyHalfMultinomialLoss", "sklearn._loss._loss.CyLossFunction"}

BOOSTER = "lightgbm.basic.Booster"
OTHERS = {
    "scipy.interpolate._bsplines.BSpline",
    "scipy.interpolate._interpolate.interp1d",
    "lightgbm.sklearn.LGBMClassifier",
    "lightgbm.sklearn.LGBMRanker",
    "lightgbm.sklearn.LGBMRegressor",
}
"""Classes of other libraries whose objects may be made without calling the class. The distributions of scipy.stats are
left out, since they execute text that is part of their state."""

SPARSE = {f"scipy.sparse._{each}.{each}_{kind}" for each in ("csc", "csr") for kind in ("array", "matrix")}
TUPLES = {
    "builtins.tuple",
    "sklearn.gaussian_process.kernels.Hyperparameter",
    "sklearn.impute._iterative._ImputerTriplet",
}
DICTS = {"builtins.dict", "collections.OrderedDict", "sklearn.utils._bunch.Bunch"}
KEYS = {"builtins.bool", "builtins.float", "builtins.int", "builtins.str"}
TYPES = KEYS | DICTS | {"builtins.bytes", "builtins.complex", "builtins.list", "builtins.set", "builtins.tuple"}

FUNCTIONS = {
    "numpy.mean",
    "scipy._lib.array_api_compat.numpy._aliases.asarray",
    "sklearn.cluster._kmeans._kmeans_single_elkan",
    "sklearn.cluster._kmeans._kmeans_single_lloyd",
    "sklearn.utils.validation.check_array",
}
SCORES = ("sklearn.feature_selection.", "sklearn.metrics.")
"""Modules whose public functions an estimator may hold: functions that compute scores or kernels. None of these
functions reads or writes files. Compiled functions are refused, since they don't check their arguments."""

UFUNCS = {
    "numpy",
    "numpy._core._multiarray_umath",
    "scipy.special",
    "scipy.special._multiufuncs",
    "scipy.special._special_ufuncs",
    "scipy.special._ufuncs",
}
ABROAD = frozenset(("__main__", "conftest", "datasets", "externals", "tests"))
"""Parts of scikit-learn in which no estimator is defined. Their modules aren't even imported."""


def vet(schema: object) -> list[str]:
    """Return the names in a skops schema, after checking that all of them may be trusted.

    Raises:
        CodecError: a node of the schema has an unknown type, or a name that isn't known to be safe.
    """
    if not isinstance(schema, dict) or type(schema.get("protocol")) is not int or schema["protocol"] < 1:
        # no code here checks old forms
        raise CodecError("the estimator's schema has a format that is not known to be safe")
    first: dict[int, Node] = {}
    names: set[str] = set()
    for node in nodes(schema):
        if "__id__" in node or "__loader__" in node or "__class__" in node or "__module__" in node:
            names.add(_name_of(node))
            _check(node)
            _check_shared(node, first)
    return sorted(names)


def nodes(schema: Any) -> Iterator[Node]:
    """Yield the objects of a schema in the order in which they are written."""
    rest = [schema]
    while rest:
        node = rest.pop()
        if isinstance(node, dict):
            yield node
            rest.extend(reversed(list(node.values())))
        elif isinstance(node, list):
            rest.extend(reversed(node))


def _name_of(node: Node) -> str:
    module, name, loader = (node.get(key) for key in ("__module__", "__class__", "__loader__"))
    if not (isinstance(module, str) and isinstance(name, str) and isinstance(loader, str)):
        raise CodecError("the estimator's schema has an object without a class name or a loader")
    return f"{module}.{name}"


def _check(node: Node) -> None:
    loader, name = node["__loader__"], _name_of(node)
    is_known = LOADERS.get(loader)
    if is_known is None:
        raise CodecError(f"the estimator has a `{loader}` (type `{name}`), a kind of node that is not known to be safe")
    if not is_known(node, name):
        raise CodecError(f"the estimator holds a `{name}`, which is not known to be safe")


def _check_shared(node: Node, first: dict[int, Node]) -> None:
    """Raise `CodecError` if a node has the same number as an earlier node, but other contents. skops uses the earlier
    object for both, so the object that is checked might not be the object that is used."""
    number = node.get("__id__")
    if number is None:
        return
    if type(number) is not int or not _is_same(first.setdefault(number, node), node):
        raise CodecError("the estimator's schema has two objects with the same number")


def _is_same(one: Any, other: Any) -> bool:
    """Return whether two nodes, with all nodes inside them, have the same types and names.

    The files and the numbers of inner nodes may differ, since each inner node is itself compared with the first node
    that has its number.
    """
    pairs = [(one, other)]
    while pairs:
        one, other = pairs.pop()
        if one is other:
            continue
        if type(one) is not type(other):
            return False
        if isinstance(one, dict):
            if list(one) != list(other):
                return False
            pairs.extend((one[key], other[key]) for key in one if key not in ("__id__", "file"))
        elif isinstance(one, list):
            if len(one) != len(other):
                return False
            pairs.extend(zip(one, other, strict=True))
        elif one != other:
            return False
    return True


def _one_of(names: set[str]) -> Callable[[Node, str], bool]:
    return lambda _, name: name in names


def _is_array(_: Node, name: str) -> bool:
    return name == "numpy.ndarray" or _is_number(name)


def _is_number(name: str) -> bool:
    """Return whether this is the name of one of NumPy's scalar types."""
    module, _, inner = name.rpartition(".")
    kind = getattr(np, inner, None)
    return module == "numpy" and isinstance(kind, type) and issubclass(kind, np.generic)


def _is_held(node: Node, name: str) -> bool:
    if name == BOOSTER:
        return _is_booster(node)
    if name in OTHERS:
        return True
    kind = _defined(name) if name.startswith("sklearn.") else None
    return isinstance(kind, type) and not HELD.isdisjoint(map(describe, kind.__mro__))


def _is_booster(node: Node) -> bool:
    """Return whether a LightGBM model is plain text in a plain dictionary. Also check the text, since LightGBM reads it
    as soon as the object is made."""
    from headrace.codec.builtin.lightgbm_text import check_text  # noqa: PLC0415  LightGBM is optional

    state = node.get("content")
    if not (isinstance(state, dict) and state.get("__loader__") == "DictNode" and isinstance(state["content"], dict)):
        return False
    texts = [state["content"][key] for key in ("_handle", "handle") if key in state["content"]]
    for text in texts:
        model = json.loads(text["content"]) if text.get("__loader__") == "JsonNode" else None
        if not isinstance(model, str):
            return False
        check_text(model)
    return bool(texts)


def _is_type(node: Node, name: str) -> bool:
    return name in TYPES or _is_number(name) or (name.startswith("sklearn.") and _is_held(node, name))


def _is_loss(_: Node, name: str) -> bool:
    kind = _defined(name) if name.startswith("sklearn.") else None
    return isinstance(kind, type) and not LOSSES.isdisjoint(map(describe, kind.__mro__))


def _is_function(node: Node, name: str) -> bool:
    if "content" in node:  # an older format has the name there
        return False
    if name in FUNCTIONS:
        return True
    module, _, inner = name.rpartition(".")
    if module in UFUNCS:
        function = getattr(importlib.import_module(module), inner, None)
        return isinstance(function, np.ufunc) or type(function).__module__ in UFUNCS
    return name.startswith(SCORES) and not inner.startswith("_") and inspect.isfunction(_defined(name))


def _defined(name: str) -> object:
    """Return the object that scikit-learn defines under exactly this name, or None if there is no such object."""
    module, _, inner = name.rpartition(".")
    if not ABROAD.isdisjoint(module.split(".")):
        return None
    try:
        value = vars(importlib.import_module(module)).get(inner)
    except ImportError:
        return None
    is_there = getattr(value, "__module__", None) == module and getattr(value, "__name__", None) == inner
    return value if is_there else None


def _has_plain_keys(node: Node, name: str) -> bool:
    """Return whether all keys of a dictionary are numbers or texts, by their types. Such keys run no other code."""
    types = node.get("key_types")
    kinds = types.get("content") if isinstance(types, dict) and types.get("__loader__") == "ListNode" else None
    return (
        name in DICTS
        and isinstance(kinds, list)
        and all(
            isinstance(kind, dict)
            and kind.get("__loader__") == "TypeNode"
            and (_name_of(kind) in KEYS or _is_number(_name_of(kind)))
            for kind in kinds
        )
    )


def _is_default_dict(node: Node, name: str) -> bool:
    content = node.get("content")
    makes = content.get("default_factory") if isinstance(content, dict) else None
    return name == "collections.defaultdict" and isinstance(makes, dict) and makes.get("__loader__") in _PLAIN_MAKERS


_PLAIN_MAKERS = ("TypeNode", "JsonNode")


def _is_partial(node: Node, name: str) -> bool:
    content = node.get("content")
    function = content.get("func") if isinstance(content, dict) else None
    return name == "functools.partial" and isinstance(function, dict) and function.get("__loader__") == "FunctionNode"


def _is_generator(node: Node, name: str) -> bool:
    """Return whether a random generator uses one of NumPy's bit generators. This matters because skops looks up the bit
    generator by its name and calls it."""
    try:
        bits = node["content"]["bit_generator"]["content"]["bit_generator"]
        is_text = bits["__loader__"] == "JsonNode"
        kind = getattr(np.random, str(bits["content"]).strip('"'), None)
    except (KeyError, TypeError):
        return False
    is_bits = isinstance(kind, type) and issubclass(kind, np.random.BitGenerator)
    return name == "numpy.random._generator.Generator" and is_text and is_bits


LOADERS: dict[str, Callable[[Node, str], bool]] = {
    "BytearrayNode": _one_of({"builtins.bytearray"}),
    "BytesNode": _one_of({"builtins.bytes"}),
    "DTypeNode": _one_of({"numpy.dtype"}),
    "DefaultDictNode": _is_default_dict,
    "DictNode": _has_plain_keys,
    "FunctionNode": _is_function,
    "JsonNode": _one_of({"builtins.str"}),
    "ListNode": _one_of({"builtins.list"}),
    "LossNode": _is_loss,
    "MaskedArrayNode": _one_of({"numpy.ma.MaskedArray"}),
    "NdArrayNode": _is_array,
    "ObjectNode": _is_held,
    "PartialNode": _is_partial,
    "RandomGeneratorNode": _is_generator,
    "RandomStateNode": _one_of({"numpy.random.mtrand.RandomState"}),
    "SetNode": _one_of({"builtins.set"}),
    "SliceNode": _one_of({"builtins.slice"}),
    "SparseMatrixNode": _one_of(SPARSE),
    "TreeNode": _one_of({"sklearn.tree._tree.Tree"}),
    "TupleNode": _one_of(TUPLES),
    "TypeNode": _is_type,
}
"""Type of node that is allowed -> function that returns whether the name in such a node can be trusted. Nodes for
methods, for operators, and for objects that are made by calling their class are not allowed, since loading them runs
code."""
