"""scikit-learn's estimators in skops' format, which runs no code when it is read."""

from __future__ import annotations

import io
import json
import sys
from importlib import import_module
from types import ModuleType
from typing import Any
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import numpy as np
from sklearn.base import BaseEstimator

from headrace.codec.builtin.sklearn_index_check import check_bounds
from headrace.codec.builtin.skops_check import nodes, vet
from headrace.codec.classes import describe
from headrace.codec.misfit import Declined
from headrace.codec.sink import Sink
from headrace.codec.source import Source
from headrace.errors import CodecError


def _import_skops() -> ModuleType:
    """Import `skops.io`, but not PyTorch. skops asks scikit-learn for the names of all estimators, and scikit-learn
    looks for them in each of its packages. Three of these packages only adapt the arrays of another library, and they
    import it: with PyTorch installed, each process that holds an estimator would need 2 s and 200 MiB more.
    """
    adapters = [f"sklearn.externals.array_api_compat.{each}" for each in ("cupy", "dask", "torch")]
    hidden = [each for each in adapters if each not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: an import raises ImportError
    try:
        return import_module("skops.io")  # the search passes over what can't be imported
    finally:
        for each in hidden:
            del sys.modules[each]


skops_io = _import_skops()


class SklearnCodec:
    """An estimator in skops' format. Equal estimators make equal bytes: ids of this process and dates are removed.

    The codec takes estimators of scikit-learn that hold only objects and functions that `skops_check` knows. Trees are
    checked before they are used, since scikit-learn trusts their indices. An estimator that holds anything else (a
    function or class of the project) is pickled instead.
    """

    name = "skops"
    safe = True

    def takes(self, value: object) -> bool:
        return isinstance(value, BaseEstimator)

    def save(self, value: object, sink: Sink) -> None:
        made = io.BytesIO()
        try:
            skops_io.dump(value, made)
            _trusted(made)
        except Exception as error:  # the parts of an estimator may raise anything
            raise Declined(str(error)) from error
        _renumber(made, sink)

    def load(self, source: Source) -> object:
        data = io.BytesIO(source.read())
        _check_size(data)
        value = skops_io.load(data, trusted=_trusted(data))
        if describe(type(value)) != source.type:
            raise CodecError(f"the artifact is recorded as a `{source.type}`, but holds a `{describe(type(value))}`")
        if source.is_foreign:
            check_bounds(value)
        return value


CODECS = (SklearnCodec(),)


def _check_size(data: io.BytesIO) -> None:
    """Raise an error if an archive unpacks to more bytes than it has. `save` compresses nothing."""
    with ZipFile(data) as archive:
        if sum(info.file_size for info in archive.infolist()) > len(data.getbuffer()):
            raise CodecError(
                "the files in the artifact are compressed, but Headrace compresses none",
                hint="the artifact is damaged, or forged",
            )


def _trusted(data: io.BytesIO) -> list[str]:
    """Return the names of classes and functions in a file. Raise `CodecError` unless all of them can be trusted."""
    with ZipFile(data) as archive:
        return vet(json.loads(archive.read("schema.json")))


def _renumber(made: io.BytesIO, sink: Sink) -> None:
    """Write the archive again to `sink`: its objects are numbered in order instead of by memory address, and its files
    have no dates."""
    with ZipFile(made) as old, ZipFile(sink.file, "w", ZIP_STORED) as new:
        schema = json.loads(old.read("schema.json"))
        numbers: dict[int, int] = {}
        files: dict[str, str] = {}
        for node in nodes(schema):
            if "__id__" in node:
                node["__id__"] = numbers.setdefault(node["__id__"], len(numbers) + 1)
            if isinstance(file := node.get("file"), str) and file in old.NameToInfo:
                if file not in files:
                    files[file] = f"{len(files) + 1}{file[file.rindex('.') :]}"
                    new.writestr(ZipInfo(files[file]), _without_gaps(old.read(file)))
                node["file"] = files[file]
        new.writestr(ZipInfo("schema.json"), json.dumps(schema))


def _without_gaps(data: bytes) -> bytes:
    """Return the array `data` with zeros in the gaps between the fields of its records. In arrays of trees, these gaps
    contain whatever was in memory before."""
    if b"'|V" not in data[:1024]:
        return data
    array: Any = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    clean: Any = np.zeros(array.shape, array.dtype)
    for name in array.dtype.names or ():
        clean[name] = array[name]
    return data[: -clean.nbytes] + clean.tobytes() if clean.nbytes and clean.ndim == 1 else data
