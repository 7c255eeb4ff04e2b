"""Lazy imports for the packages of ready-made stages: each public name is imported when it is first used.

So a pipeline that uses only `ingest.sql` loads neither the libraries of the other sources nor those of training.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from headrace.codec.classes import distribution
from headrace.errors import UsageError


def lazily(package: str, places: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a `__getattr__` for a package that imports each public name from its module when it is first used.

    `places` maps each public name to the module that defines it. The `__getattr__` raises `UsageError` if a library
    that the module imports isn't installed.
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
