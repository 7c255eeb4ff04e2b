"""Runs notebooks, each a list of cells: `python notebook.py HOW NOTEBOOKS.json RESULTS.json`."""

from __future__ import annotations

import json
import linecache
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from headrace.fingerprint.fingerprint import fingerprint, fingerprint_class
from headrace.fingerprint.project import Project


def by_ipython(cells: list[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Run cells as IPython does."""
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell()
    for cell in cells:
        shell.run_cell(cell, store_history=True).raise_error()
    return shell.user_ns, {}


def by_linecache(cells: list[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Run cells as a simple notebook does, which keeps their lines where tracebacks look for them."""
    return run(cells, lambda name, cell: linecache.cache.update({name: (len(cell), None, cell.splitlines(True), name)}))


def by_sources(cells: list[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Run cells whose sources only the project knows."""
    sources: dict[str, str] = {}
    scope, _ = run(cells, sources.__setitem__)
    return scope, sources


def run(cells: list[str], keep: Callable[[str, str], Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Run cells in a module named `__main__`."""
    module = ModuleType("__main__")
    sys.modules["__main__"] = module
    run.count += 1  # type: ignore[attr-defined]
    for index, cell in enumerate(cells):
        name = f"/tmp/kernel_{run.count}/cell-{index}.py"  # type: ignore[attr-defined]
        keep(name, cell)
        exec(compile(cell, name, "exec"), vars(module))
    return vars(module), {}


run.count = 0  # type: ignore[attr-defined]
HOW = {"ipython": by_ipython, "linecache": by_linecache, "sources": by_sources}


def main(how: str, notebooks: str, results: str) -> None:
    """Run all notebooks of a file."""
    found = []
    for cells in json.loads(Path(notebooks).read_text(encoding="utf-8")):
        linecache.clearcache()
        scope, sources = HOW[how](cells)
        project = Project([Path.cwd()], extra_sources=sources)
        code = fingerprint(scope["fit"], project)
        cls = scope.get("Model")
        found.append(
            {
                "digest": code.digest,
                "notes": code.notes,
                "uncached": code.uncached,
                "names": [part.name for part in code.parts],
                "class": fingerprint_class(cls, project) if cls is not None else None,
            }
        )
    Path(results).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
