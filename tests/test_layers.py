"""Layers and cycles, with what modules import by a name in a text: import-linter sees `import` statements only. And the
size of files and classes."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

grimp = pytest.importorskip("grimp", reason="import-linter, which brings it, is not installed")

ROOT = Path(__file__).parents[1]
MOST_FILES, MOST_LINES, MOST_METHODS = 18, 450, 25
FUNCTIONS = ast.FunctionDef, ast.AsyncFunctionDef


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


def _rooms() -> Iterator[tuple[Path, list[str]]]:
    """Yield each package below `headrace` with the names of its modules."""
    for door in sorted((ROOT / "src" / "headrace").rglob("*/__init__.py")):
        yield door.parent, sorted(path.stem for path in door.parent.glob("*.py") if path != door)


def test_the_door_of_each_room_says_where_to_begin_and_that_is_there() -> None:
    seen, wrong = 0, []
    for room, _ in _rooms():
        says = " ".join((ast.get_docstring(ast.parse((room / "__init__.py").read_text())) or "").split())
        begin = re.search(r"Begin with ([^.]*(?:\.\w[^.]*)*)\.", says)
        names = re.findall(r"`([\w.]+)`", begin[1]) if begin else []
        for name in names:
            places = [base / name.replace(".", "/") for base in (room, room.parent, ROOT / "src" / "headrace")]
            if not any(place.with_suffix(".py").exists() or (place / "__init__.py").exists() for place in places):
                wrong.append(f"{room.name}: `{name}`")
        seen += bool(names)
    assert not wrong
    assert seen > 30, "or nothing is found any more"


def test_no_room_holds_more_files_than_a_newcomer_takes_in() -> None:
    by_kind = {"cli/commands", "codec/builtin"}  # a file for each command, and for each kind of value
    full = {
        str(room.relative_to(ROOT / "src" / "headrace")): len(modules)
        for room, modules in _rooms()
        if len(modules) > MOST_FILES
    }
    assert set(full) <= by_kind, full


def test_no_file_or_class_is_too_large_to_be_read_at_once() -> None:
    large = []
    for path in sorted((ROOT / "src").rglob("*.py")):
        text = path.read_text()
        name = path.relative_to(ROOT / "src" / "headrace")
        if (lines := text.count("\n")) > MOST_LINES:
            large.append(f"{name} has {lines} lines")
        if name.parts[0] != "testing":  # the methods of a suite are tests
            classes = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ClassDef))
            methods = {each.name: sum(isinstance(part, FUNCTIONS) for part in each.body) for each in classes}
            large += [f"{each} in {name} has {n} methods" for each, n in methods.items() if n > MOST_METHODS]
    assert not large


def test_who_handles_bytes_that_msgspec_refuses_handles_invalid_utf_8_too() -> None:
    """msgspec raises Python's `UnicodeDecodeError` for it: `UNREADABLE` of `spec.noun` holds all that it may raise."""
    narrow = []
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ExceptHandler) and node.type is not None:
                handled = ast.unparse(node.type)
                if re.search(r"\b(MsgspecError|DecodeError)\b", handled) and "tomllib" not in handled:
                    wide = re.search(r"Unicode(Decode|Encode)?Error|\bValueError", handled)
                    narrow += [] if wide else [f"{path.relative_to(ROOT)}:{node.lineno} handles {handled}"]
    assert not narrow
