"""The faces of the packages of stages: what they offer is imported when it is first asked for.

A pipeline that takes `ingest.sql` alone should load neither the libraries of the other sources nor those of training.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from headrace.codec.classes import distribution
from headrace.errors import UsageError


def lazily(package: str, places: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a `__getattr__` for a package, which finds each name of `places` in the module that stands there.

    It raises `UsageError` where a library that the stage stands on isn't installed.
    """
    extra = package.rpartition(".")[2]

    def find(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module `{package}` has no attribute `{name}`")
        try:
            return getattr(importlib.import_module(places[name]), name)
        except ModuleNotFoundError as error:
            missing = (error.name or "").partition(".")[0]
            if missing in ("", "headrace"):
                raise
            raise UsageError(
                f"`{extra}.{name}` needs the library `{missing}`, which isn't installed",
                hint=f"pip install 'headrace[{extra}]', or `{distribution(missing)}` alone",
            ) from error

    return find
