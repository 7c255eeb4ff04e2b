"""A notebook in a bundle: its pipeline by value, since there is no file to import, and the cells that it came from."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

NOTEBOOK = "__notebook__.pickle"
CELLS = "__notebook__.json"


def enter_notebook(folder: Path) -> Mapping[str, str]:
    """Make a bundle's notebook, if it has one, this process's `__main__`; give its cells' sources by file name.

    The pickle was made by the same user's driver from the same user's notebook, like all code of a bundle.
    """
    if not (folder / NOTEBOOK).exists():
        return {}
    import json  # noqa: PLC0415  3 ms with `pickle`, in the parent of all workers, few of which have a notebook
    import pickle  # noqa: PLC0415  as above

    cells: dict[str, str] = json.loads((folder / CELLS).read_text())
    for name, source in cells.items():
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    pipeline = pickle.loads((folder / NOTEBOOK).read_bytes())
    main = ModuleType("__main__")
    vars(main).update(pipeline.function.__globals__)
    setattr(main, pipeline.name, pipeline)
    sys.modules["__main__"] = main
    return cells
