"""Layers and cycles, with what modules import by a name in a text: import-linter sees `import` statements only."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

grimp = pytest.importorskip("grimp", reason="import-linter, which brings it, is not installed")

ROOT = Path(__file__).parents[1]


def _named(modules: set[str]) -> Iterator[tuple[str, str, bool]]:
    """Yield each module that imports by name, what it names, and whether surely: of an f-string, all that begin so."""
    for path in sorted((ROOT / "src").rglob("*.py")):
        text = path.read_text()
        if "import_module(" not in text and "__import__(" not in text:
            continue
        module = ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")
        for node in ast.walk(ast.parse(text)):
            match node:
                case ast.JoinedStr(values=[ast.Constant(value=str(start)), *_]) if start.startswith("headrace."):
                    yield from ((module, each, False) for each in modules if each.startswith(start))
                case ast.Constant(value=str(name)) if name in modules:
                    yield module, name, True
                case _:
                    pass


def _layers() -> dict[str, int]:
    """Return how deep each package of `headrace` lies, from the contract in pyproject.toml."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = settings["tool"]["importlinter"]["contracts"]
    layers = next(each["layers"] for each in contracts if each["id"] == "layers")
    return {name: depth for depth, layer in enumerate(layers) for name in re.findall(r"\w+", layer)}


def test_what_is_imported_by_name_lies_below_and_closes_no_cycle() -> None:
    graph = grimp.build_graph("headrace", cache_dir=None)
    named = set(_named(graph.modules))
    assert ("headrace.cli.catalogue", "headrace.cli.commands.run", False) in named, "or nothing is found any more"
    depth, wrong = _layers(), []
    for importer, imported, sure in sorted(named):
        if "headrace" in (importer, imported):
            continue  # the facade, which stands above all
        above = depth[importer.split(".")[1]] > depth[imported.split(".")[1]]
        if above or (sure and graph.chain_exists(importer=imported, imported=importer)):
            wrong.append(f"{importer} names {imported}")
    assert not wrong
