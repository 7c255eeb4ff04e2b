"""scikit-learn's estimators in skops' form, which runs no code when it is read."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import numpy as np
import skops.io
from sklearn.base import BaseEstimator

from headrace.codec.builtin.trees import check_trees
from headrace.codec.classes import describe, resolve
from headrace.codec.misfit import Declined
from headrace.codec.sink import Sink
from headrace.codec.source import Source
from headrace.errors import CodecError

CLASSES = {
    "collections.OrderedDict",
    "functools.partial",
    "numpy.dtype",
    "scipy.interpolate._bsplines.BSpline",
    "scipy.interpolate._interpolate.interp1d",
    "scipy.sparse._csc.csc_array",
    "scipy.sparse._csc.csc_matrix",
    "scipy.sparse._csr.csr_array",
    "scipy.sparse._csr.csr_matrix",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "lightgbm.sklearn.LGBMRanker",
    "lightgbm.sklearn.LGBMRegressor",
}
"""Classes outside of scikit-learn that its estimators hold, and that do no more than hold data. Not the distributions
of scipy.stats: they execute text that is part of their state."""

FUNCTIONS = (
    "numpy.mean",
    "sklearn.cluster._kmeans._kmeans_single_",
    "sklearn.feature_selection.",
    "sklearn.metrics.",
    "sklearn.utils.validation.check_array",
)
"""Where functions come from that an estimator may hold: scores, and nothing that reads or writes."""


class SklearnCodec:
    """An estimator in skops' form, made the same for the same estimator: no ids of this process, no dates.

    Read are skops' own list of types, classes of scikit-learn and the few above, and scores; decision trees are checked
    before use, since scikit-learn follows their indices unchecked. An estimator that holds anything else (a function
    or class of the project) is left to pickle.
    """

    name = "skops"
    safe = True

    def takes(self, value: object) -> bool:
        return isinstance(value, BaseEstimator)

    def save(self, value: object, sink: Sink) -> None:
        made = io.BytesIO()
        try:
            skops.io.dump(value, made)
            _trusted(made)
        except Exception as error:  # whatever the parts of an estimator raise
            raise Declined(str(error)) from error
        _renumber(made, sink)

    def load(self, source: Source) -> object:
        data = io.BytesIO(source.read())
        value = skops.io.load(data, trusted=_trusted(data))
        if describe(type(value)) != source.type:
            raise CodecError(f"a `{source.type}` was saved, and a `{describe(type(value))}` came back")
        check_trees(value)
        return value


CODECS = (SklearnCodec(),)


def _trusted(data: io.BytesIO) -> list[str]:
    """Give the types beyond skops' own list that an estimator holds, if all of them are to be trusted."""
    found: list[str] = skops.io.get_untrusted_types(file=data)
    for name in found:
        if not _is_trusted(name):
            raise CodecError(f"the estimator holds a `{name}`, which is not known to be safe")
    return found


def _is_trusted(name: str) -> bool:
    if name in CLASSES or name.startswith(FUNCTIONS):
        return True
    if not name.startswith("sklearn.") or name.startswith("sklearn.externals."):
        return False
    try:
        return resolve(name).__module__.startswith("sklearn.")
    except CodecError:
        return False


def _renumber(made: io.BytesIO, sink: Sink) -> None:
    """Write the archive anew: objects numbered in their order instead of by their address, files without dates."""
    with ZipFile(made) as old, ZipFile(sink.file, "w", ZIP_STORED) as new:
        schema = json.loads(old.read("schema.json"))
        numbers: dict[int, int] = {}
        files: dict[str, str] = {}
        for node in _nodes(schema):
            if "__id__" in node:
                node["__id__"] = numbers.setdefault(node["__id__"], len(numbers) + 1)
            if isinstance(file := node.get("file"), str) and file in old.NameToInfo:
                if file not in files:
                    files[file] = f"{len(files) + 1}{file[file.rindex('.') :]}"
                    new.writestr(ZipInfo(files[file]), _without_gaps(old.read(file)))
                node["file"] = files[file]
        new.writestr(ZipInfo("schema.json"), json.dumps(schema))


def _without_gaps(data: bytes) -> bytes:
    """Write zeros between the fields of an array of records: trees leave there what was in memory before."""
    if b"'|V" not in data[:1024]:
        return data
    array: Any = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    clean: Any = np.zeros(array.shape, array.dtype)
    for name in array.dtype.names or ():
        clean[name] = array[name]
    return data[: -clean.nbytes] + clean.tobytes() if clean.nbytes and clean.ndim == 1 else data


def _nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """Go over the nodes of a schema in the order in which they are written."""
    rest = [schema]
    while rest:
        node = rest.pop()
        if isinstance(node, dict):
            yield node
            rest.extend(reversed(list(node.values())))
        elif isinstance(node, list):
            rest.extend(reversed(node))
