"""Runs rows of the table, many in one process: `python bench.py ROWS.json FOLDER RESULTS.json`."""

from __future__ import annotations

import importlib
import json
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from headrace.fingerprint.fingerprint import fingerprint, fingerprint_class
from headrace.fingerprint.project import Project

BESIDE = ("site-packages/", "elsewhere/")
"""Files under these lie beside the project's folder, and not in it."""


def write(folder: Path, files: dict[str, str]) -> None:
    """Write the files of a version; `{FOLDER}` in a text is where they lie."""
    for path, text in files.items():
        target = folder / path if path.startswith(BESIDE) else folder / "project" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text.replace("{FOLDER}", str(folder)), encoding="utf-8", newline="")


def describe(module: Any, stages: list[str], project: Project) -> dict[str, Any]:
    """Return what is to be known of each stage."""
    found = {}
    for stage in stages:
        if stage.startswith("class:"):
            cls = getattr(module, stage.removeprefix("class:"))
            found[stage] = {"digest": fingerprint_class(cls, project), "notes": [], "uncached": None, "parts": []}
            continue
        code = fingerprint(getattr(module, stage), project)
        parts = [[part.kind, part.name, part.digest, part.where, part.text] for part in code.parts]
        found[stage] = {"digest": code.digest, "notes": code.notes, "uncached": code.uncached, "parts": parts}
    return found


def import_and_describe(folder: Path, files: dict[str, str], stages: list[str], live: dict[str, str]) -> dict[str, Any]:
    """Import a version afresh; with `live`, change the files before they are looked at."""
    write(folder, files)
    paths = [str(folder / each) for each in ("project", "site-packages", "elsewhere") if (folder / each).is_dir()]
    before = set(sys.modules)
    sys.path[:0] = paths
    importlib.invalidate_caches()
    try:
        module = importlib.import_module("pipelines")
        write(folder, live)
        return describe(module, stages, Project([folder / "project"]))
    finally:
        del sys.path[: len(paths)]
        for name in set(sys.modules) - before:
            module = sys.modules[name]
            place = getattr(module, "__file__", None) or getattr(module, "__path__", "")
            if not isinstance(module, ModuleType) or str(folder) in str(place):  # one may put something in its place
                del sys.modules[name]


def main(rows_file: str, folder: str, results_file: str) -> None:
    """Run all rows of a file, and write what became of each stage to another."""
    results = []
    for index, each in enumerate(json.loads(Path(rows_file).read_text(encoding="utf-8"))):
        places = [Path(folder) / f"{index}" / version for version in ("before", "after")]
        try:
            before = import_and_describe(places[0], each["before"], each["stages"], {})
            if each["live"]:
                after = import_and_describe(places[1], each["before"], each["stages"], each["after"])
            else:
                after = import_and_describe(places[1], each["after"], each["stages"], {})
            results.append([before, after])
        except Exception as error:  # noqa: BLE001  the row's test shows it
            results.append("".join(traceback.format_exception(error)))
    Path(results_file).write_text(json.dumps(results), encoding="utf-8")


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    main(*sys.argv[1:])
