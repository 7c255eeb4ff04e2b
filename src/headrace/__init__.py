"""Headrace: the whole life of a model as one typed pipeline.

The facade is lazy: a worker that imports user code loads neither ledger nor command line.
"""

from __future__ import annotations

import sys

# Type checkers take it for true. Importing it from `typing` would hold up the start of the workers' parent by 8 ms.
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
    "runs": "headrace.operate.notebook.launcher",
    "secret": "headrace.define.secret",
    "stage": "headrace.define.stage",
    "value": "headrace.define.handle",
}
KEPT = {
    "Version": "headrace.define.version",
}
"""Classes that artifacts name, and nobody makes but Headrace: their names here stay too, wherever they lie."""
__all__ = sorted(PLACES)  # noqa: PLE0605  a list it is, and there is one table of the names


def __getattr__(name: str) -> Any:
    place = PLACES.get(name) or KEPT.get(name)
    if place is None:
        raise AttributeError(f"module `headrace` has no attribute `{name}`{_meant(name)}")
    import importlib  # noqa: PLC0415  2 ms, on the way of every command, during which ^C would be answered by Python

    module = importlib.import_module(place)
    if name == "pipeline":  # its `run` and `plan` want the application, which no layer below may know
        module.launching.launcher = lambda: importlib.import_module("headrace.operate.notebook.launcher").Launcher()
    found = getattr(module, name)
    globals()[name] = found
    return found


def _meant(name: str) -> str:
    """Return which name may be meant; nobody means one that begins with `_`, which Python and its tools look for."""
    if name.startswith("_"):
        return ""
    import difflib  # noqa: PLC0415  needed for an error only, and not cheap

    lower = {each.lower(): each for each in __all__}
    near = difflib.get_close_matches(name.lower(), lower, n=1)
    return f": did you mean `hr.{lower[near[0]]}`?" if near else ""


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


if "IPython" in sys.modules:  # a notebook, most often
    from headrace.operate.notebook.display import register

    register()
    del register
