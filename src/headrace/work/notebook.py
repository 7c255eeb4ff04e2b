"""Loads the notebook of a bundle. A notebook can't be imported like a file. So its pipeline is pickled, together with
the cells in which it is defined."""

from __future__ import annotations

import functools
import importlib
import linecache
import operator
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from headrace.errors import ProjectError

NOTEBOOK = "__notebook__.pickle"
CELLS = "__notebook__.json"
NAMES = "__notebook__.names.json"
"""The bundle's file with the names by which the user knows the cells."""

_BROKEN = (SyntaxError, ImportError, AttributeError)
"""What an import raises if a module is gone or broken, or lacks a name by now."""


def in_file(make: Callable[..., CodeType], arguments: tuple[Any, ...], file: str) -> CodeType:
    """Return the code object that `make` makes of `arguments`. Its file name is `file`, the file or cell that the code
    came from. This name is needed to find the code's source."""
    return make(*arguments).replace(co_filename=file)


def caching(function: Callable[..., Any], parameters: Mapping[str, Any]) -> Any:
    """Return `function` wrapped by `functools.lru_cache` with these parameters; the cache is empty."""
    return functools.lru_cache(**parameters)(function)


def decorated(module: str, qualname: str) -> Any:
    """Return the function that a module defines under this name, without its decorator, such as `@stage`."""
    return operator.attrgetter(qualname)(importlib.import_module(module)).__wrapped__


def enter_notebook(folder: Path) -> Mapping[str, str]:
    """If a bundle has a notebook, make this notebook the `__main__` of this process. Return the sources of the
    notebook's cells by file name.

    Loading the pickle of the notebook's pipeline runs code, but only code of the user who started the run, like all
    code of a bundle.

    Raises:
        ProjectError: the pipeline can't be loaded in this process.
    """
    if not (folder / NOTEBOOK).exists():
        return {}
    import json  # noqa: PLC0415  3 ms with `pickle` in the parent of all workers, and few have a notebook
    import pickle  # noqa: PLC0415  as above

    cells: dict[str, str] = json.loads((folder / CELLS).read_text())
    for name, source in cells.items():
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    try:
        loaded = pickle.loads((folder / NOTEBOOK).read_bytes())
    except Exception as error:  # loading runs code of the objects
        raise ProjectError(
            f"the notebook's pipeline can't be loaded in another process: {type(error).__name__}: {error}",
            hint="correct what the message names in its module, and run the cell that imports it again"
            if isinstance(error, _BROKEN)
            else "move what the message names into a module, and import it in the notebook",
        ) from error
    pipeline, beside = loaded if isinstance(loaded, tuple) else (loaded, {})  # older bundles hold only the pipeline
    for name, value in beside.items():
        pipeline.function.__globals__.setdefault(name, value)
    if pipeline.function.__globals__.get("open") is open:  # IPython's, which isn't a name that the user made
        del pipeline.function.__globals__["open"]
    main = ModuleType("__main__")
    vars(main).update(pipeline.function.__globals__)
    setattr(main, pipeline.name, pipeline)
    sys.modules["__main__"] = main
    return cells


def cell_names(folder: Path) -> Mapping[str, str]:
    """Return the names by which the user knows the cells of a bundle's notebook, such as `In[3]`, by file name.

    The names are missing if the bundle has no notebook, or was made by an older Headrace.
    """
    if not (folder / NAMES).exists():
        return {}
    import json  # noqa: PLC0415  as above

    names: dict[str, str] = json.loads((folder / NAMES).read_text())
    return names
