"""The pipelines of a project as its files are written: names for completion and hints, without running any code.

The tracer has the last word: what is made by other means than `@pipeline` above a function isn't found here.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from msgspec import Struct

from headrace.app.project import Project


class Written(Struct, frozen=True, kw_only=True):
    """A pipeline as written: its name, file, parameters, and the first line of its docstring."""

    name: str
    file: str
    parameters: tuple[str, ...]
    doc: str


def written(project: Project) -> Iterator[Written]:
    """Give the pipelines that a project's files define; a file that can't be read or parsed has none."""
    for file in project.files:
        try:
            tree = ast.parse(file.read_bytes())
        except (OSError, SyntaxError, ValueError):
            continue
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and any(_is_pipeline(each) for each in node.decorator_list):
                arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
                yield Written(
                    name=node.name,
                    file=str(file),
                    parameters=tuple(argument.arg for argument in arguments),
                    doc=(ast.get_docstring(node) or "").partition("\n")[0],
                )


def _is_pipeline(decorator: ast.expr) -> bool:
    if isinstance(decorator, ast.Call):
        decorator = decorator.func
    return "pipeline" in (getattr(decorator, "attr", None), getattr(decorator, "id", None))
