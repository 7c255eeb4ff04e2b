"""A notebook in a bundle. There is no file to import, so its pipeline is pickled, together with the cells that it came
from."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

NOTEBOOK = "__notebook__.pickle"
CELLS = "__notebook__.json"


def in_file(make: Callable[..., CodeType], arguments: tuple[Any, ...], file: str) -> CodeType:
    """Return the code object that `make` makes, with the name of the file or cell that it came from. By this name its
    source is found."""
    return make(*arguments).replace(co_filename=file)


def enter_notebook(folder: Path) -> Mapping[str, str]:
    """Make a bundle's notebook, if it has one, this process's `__main__`; return the source of its cells by file name.

    The pickle was made by the same user's driver from the same user's notebook, like all code of a bundle.
    """
    if not (folder / NOTEBOOK).exists():
        return {}
    import json  # noqa: PLC0415  3 ms with `pickle` in the parent of all workers, and few have a notebook
    import pickle  # noqa: PLC0415  as above

    cells: dict[str, str] = json.loads((folder / CELLS).read_text())
    for name, source in cells.items():
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    loaded = pickle.loads((folder / NOTEBOOK).read_bytes())
    pipeline, beside = loaded if isinstance(loaded, tuple) else (loaded, {})  # older bundles hold only the pipeline
    for name, value in beside.items():
        pipeline.function.__globals__.setdefault(name, value)
    main = ModuleType("__main__")
    vars(main).update(pipeline.function.__globals__)
    setattr(main, pipeline.name, pipeline)
    sys.modules["__main__"] = main
    return cells
