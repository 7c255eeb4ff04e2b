"""The names that import statements bind."""

from __future__ import annotations

import ast
from typing import NamedTuple


class Imported(NamedTuple):
    """An import in a piece of source code, such as a function. `name` is the name that the import binds.
    `attribute` is the name that is imported from `module`: None if the module itself is imported, `*` if all of its
    names are."""

    name: str
    module: str
    level: int
    attribute: str | None


def imports_of(node: ast.Import | ast.ImportFrom) -> list[Imported]:
    """Return the imports of an import statement. An import with the name "" loads a module and binds no name."""
    if isinstance(node, ast.ImportFrom):
        module, level = node.module or "", node.level
        return [
            Imported("" if entry.name == "*" else entry.asname or entry.name, module, level, entry.name)
            for entry in node.names
        ]
    imports = []
    for alias in node.names:
        name = alias.asname or alias.name.partition(".")[0]
        imports.append(Imported(name, alias.name if alias.asname else name, 0, None))
        if not alias.asname and name != alias.name:
            imports.append(Imported("", alias.name, 0, None))
    return imports


def absolute(module: str, level: int, package: str) -> str:
    """Return the absolute name of a module that code in `package` imports with `level` leading dots."""
    if not level:
        return module
    base = package.split(".") if package else []
    base = base[: len(base) - (level - 1)] if level > 1 else base
    return ".".join([*base, module] if module else base)
