"""Loads the project's own code of a version, inside a model process: functions from the files of a run's bundle."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from headrace.codec.codecs import Codecs
from headrace.errors import ProjectError
from headrace.models.model import Model, model_of
from headrace.models.own_code import Predict, Prepare
from headrace.spec.bundle import OwnCode
from headrace.store.store import Store
from headrace.work.archive import unpack
from headrace.work.user_code import enter_project, import_user, place_of


def load_own_code(own: OwnCode, model: Any, store: Store, folder: Path) -> tuple[Prepare | None, Model]:
    """Import a version's functions, and load the values that are passed to them. Return the function that prepares rows
    (None if there is none), and the model, which answers by the version's own `predict` if there is one. The bundle's
    files are in `folder` already.

    Raises:
        ProjectError: a function can't be imported here, for example because a package is missing.
        CodecError: a value can't be loaded, or not without running code.
    """
    bundle = unpack(own.bundle, store, folder)
    enter_project(bundle, own.bundle.roots)
    place = partial(place_of, folder=bundle)
    prepare, asked = None, model_of(model)
    if own.functions.prepare is not None:
        function = _function(own.functions.prepare, bundle)
        given: Any = Codecs().load(own.given, store)
        prepare = Prepare(function, given, own.signature, place)
    if own.functions.predict is not None:
        asked = Predict(model, _function(own.functions.predict, bundle), place)
    return prepare, asked


def _function(name: str, bundle: Path) -> Callable[..., Any]:
    module, _, inner = name.partition(":")
    function: Callable[..., Any] | None = getattr(import_user(module, bundle), inner, None)
    if not callable(function):
        raise ProjectError(
            f"there is no function `{inner}` in `{module}`",
            hint="define it at the top level of the module, without a condition that may fail in another process",
        )
    return function
