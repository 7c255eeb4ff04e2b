"""Pickle, for values that no other codec takes; the artifact names this codec."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import cloudpickle

from headrace.codec.classes import describe, is_a
from headrace.codec.misfit import Misfit
from headrace.codec.sink import Sink
from headrace.codec.source import Source

REFUSED: dict[str, str] = {
    "builtins.function": "return what the function returns, or its name",
    "builtins.builtin_function_or_method": "return what the function returns, or its name",
    "builtins.method": "return the object, and call its method in the stage that takes it",
    "builtins.method-wrapper": "return the object, and call its method in the stage that takes it",
    "builtins.type": "return an instance of the class, or its name",
    "builtins.module": "import the module in the stage that needs it",
    "builtins.generator": "return a list; a generator may yield only `pyarrow.RecordBatch`",
    "builtins.async_generator": "return a list",
    "builtins.coroutine": "await it and return its result",
    "builtins.map": "return a list",
    "builtins.filter": "return a list",
    "builtins.zip": "return a list",
    "builtins.memoryview": "return `bytes(...)` of it",
    "builtins.frame": "return the values that you need from it",
    "builtins.traceback": "return its text",
    "_io._IOBase": "return `headrace.File(path)` of a closed file, or what the file holds",
    "_thread.lock": "open or make it in the stage that needs it",
    "_thread.RLock": "open or make it in the stage that needs it",
    "_socket.socket": "open it in the stage that needs it",
    "threading.Thread": "start it in the stage that needs it",
    "subprocess.Popen": "start it in the stage that needs it",
    "sqlite3.Connection": "return the query's result, and connect in the stage that needs it",
    "polars.lazyframe.frame.LazyFrame": "call its `.collect()` and return the frame",
    "pyarrow._dataset.Dataset": "return its `.to_table()`, or its path as `headrace.Folder`",
    "matplotlib.axes._axes.Axes": "return its `.figure`",
}
"""Class whose values mean nothing in another process, or run code there -> hint that says what to return instead."""


class PickleCodec:
    """Any value that pickle takes; classes of `__main__` are saved with their code. Loading runs code, so pickles
    are loaded only where the project's code runs anyway: in stages, in pipelines and by `headrace.load`.

    Equal values may make different bytes, since the bytes depend on which parts of the value are the same object. This
    codec can't compute a digest of the value itself either (see `HasContent`). So a task that makes an equal value
    again makes a new artifact.
    """

    name = "pickle"
    safe = False

    def takes(self, value: object) -> bool:  # noqa: ARG002 - the last codec takes all the rest, or `save` says why not
        return True

    def save(self, value: object, sink: Sink) -> None:
        refuse(value)
        try:
            cloudpickle.dump(value, sink.file, protocol=5)
        except RecursionError as error:
            raise Misfit(describe(type(value)), "it is nested too deep", "return a flatter value") from error
        except (TypeError, pickle.PicklingError, AttributeError, NotImplementedError) as error:
            raise _culprit(value) or Misfit(
                describe(type(value)), f"pickle says: {error}", "return plain values, or write a codec for the class"
            ) from error

    def load(self, source: Source) -> object:
        if source.inline is not None:
            return pickle.loads(source.inline)
        with source.path.open("rb") as file:
            return pickle.load(file)


CODECS = (PickleCodec(),)


def refuse(value: object) -> None:
    """Raise `Misfit` for a value that should not leave this process, not even pickled."""
    for name, hint in REFUSED.items():
        if is_a(value, name):
            raise Misfit(describe(type(value)), "it means nothing in another process", hint)


def _culprit(value: object) -> Misfit | None:
    """Return a `Misfit` for the innermost value that can't be pickled, or None if no such value is found. Attributes
    and elements are searched up to ten levels deep."""
    misfit: Misfit | None = None
    way: list[str] = []
    while len(way) < 10:
        inner = next(((step, item) for step, item in _inside(value) if not _pickles(item)), None)
        if inner is None:
            break
        way.append(inner[0])
        value = inner[1]
        misfit = Misfit(describe(type(value)), "it can't be pickled", "leave it out of what the stage returns")
        try:
            refuse(value)
        except Misfit as known:
            misfit = known
            break
    if misfit is not None:
        misfit.where = way[::-1]
    return misfit


def _inside(value: object) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from ((f"[{key!r}]", item) for key, item in value.items())
    elif isinstance(value, list | tuple | set | frozenset):
        yield from ((f"[{index}]", item) for index, item in enumerate(value))
    yield from ((f".{name}", item) for name, item in getattr(value, "__dict__", {}).items())


def _pickles(value: object) -> bool:
    try:
        cloudpickle.dumps(value)
    except Exception:  # noqa: BLE001 - the user's class may raise anything
        return False
    return True
