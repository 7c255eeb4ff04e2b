"""Headrace: the whole life of a model as one typed pipeline.

Each public name is imported when it is first used. So a worker that imports user code loads neither the ledger nor the
command line.
"""

from __future__ import annotations

import sys

# Type checkers treat it as true. Importing it from `typing` would delay the start of the zygote by 8 ms.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

    from headrace.codec.values import File as File
    from headrace.codec.values import Folder as Folder
    from headrace.codec.values import Picture as Picture
    from headrace.define.attempt import attempt as attempt
    from headrace.define.cursor import Cursor as Cursor
    from headrace.define.cursor import advance as advance
    from headrace.define.cursor import cursor as cursor
    from headrace.define.handle import value as value
    from headrace.define.log import log as log
    from headrace.define.now import now as now
    from headrace.define.options import options as options
    from headrace.define.pipeline import pipeline as pipeline
    from headrace.define.secret import secret as secret
    from headrace.define.stage import stage as stage
    from headrace.errors import RunCancelled as RunCancelled
    from headrace.errors import RunFailed as RunFailed
    from headrace.errors import TaskFailed as TaskFailed
    from headrace.operate.notebook.launcher import load as load
    from headrace.operate.notebook.launcher import predictions as predictions
    from headrace.operate.notebook.launcher import runs as runs
    from headrace.spec.stage import Resources as Resources

__version__ = "0.1.0"

PLACES = {
    "Cursor": "headrace.define.cursor",
    "File": "headrace.codec.values",
    "Picture": "headrace.codec.values",
    "Folder": "headrace.codec.values",
    "Resources": "headrace.spec.stage",
    "RunCancelled": "headrace.errors",
    "RunFailed": "headrace.errors",
    "TaskFailed": "headrace.errors",
    "advance": "headrace.define.cursor",
    "attempt": "headrace.define.attempt",
    "cursor": "headrace.define.cursor",
    "load": "headrace.operate.notebook.launcher",
    "log": "headrace.define.log",
    "now": "headrace.define.now",
    "options": "headrace.define.options",
    "pipeline": "headrace.define.pipeline",
    "predictions": "headrace.operate.notebook.launcher",
    "runs": "headrace.operate.notebook.launcher",
    "secret": "headrace.define.secret",
    "stage": "headrace.define.stage",
    "value": "headrace.define.handle",
}
KEPT = {
    "Version": "headrace.define.version",
}
"""The modules of those classes that only Headrace instantiates, by the class's name in `headrace`. Stored artifacts
name these classes. So each name stays valid, even if its class moves to another module."""
__all__ = sorted(PLACES)  # noqa: PLE0605  it is a list, and `PLACES` is the only table of the names


def __getattr__(name: str) -> Any:
    place = PLACES.get(name) or KEPT.get(name)
    if place is None:
        raise AttributeError(f"module `headrace` has no attribute `{name}`{_meant(name)}")
    import importlib  # noqa: PLC0415  it takes 2 ms of each command's start, in which Python would handle ^C itself

    module = importlib.import_module(place)
    if name == "pipeline":  # its `run` and `plan` need the layer `operate`, which the layer `define` may not import
        module.launching.launcher = lambda: importlib.import_module("headrace.operate.notebook.launcher").Launcher()
    attribute = getattr(module, name)
    globals()[name] = attribute
    return attribute


def _meant(name: str) -> str:
    """Return the end of an error message for the unknown `name`: it suggests the most similar public name. If there is
    no similar one, return an empty text.

    A name that begins with `_` gets no suggestion: Python and its tools look for such names, users don't.
    """
    if name.startswith("_"):
        return ""
    import difflib  # noqa: PLC0415  needed for an error only, and slow to import

    lower = {public.lower(): public for public in __all__}
    near = difflib.get_close_matches(name.lower(), lower, n=1)
    return f": did you mean `hr.{lower[near[0]]}`?" if near else ""


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


if "IPython" in sys.modules:  # a notebook, most often
    from headrace.operate.notebook.display import register

    register()
    del register
