"""The pipelines of a project as its files are written: names for completion and hints, without running any code.

The tracer has the last word: what is made by other means than `@pipeline` above a function isn't found here.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from headrace.app.project import Project


class Written(Struct, frozen=True, kw_only=True):
    """A pipeline as written: its name, file, parameters, and the first line of its docstring.

    `about` says of each parameter its type and its default: `int, 1 if not given`. `defaults` are the defaults alone,
    as a command would be given them.
    """

    name: str
    file: str
    parameters: tuple[str, ...]
    about: tuple[str, ...]
    doc: str
    defaults: dict[str, str] = {}


def written(project: Project) -> Iterator[Written]:
    """Give the pipelines that a project's files define; a file that can't be read or parsed has none."""
    for file in project.files:
        try:
            yield from pipelines_in(file.read_bytes(), str(file))
        except OSError:
            continue


def written_as(target: str) -> Iterator[Written]:
    """Give the pipeline that `FILE:NAME` names, the file seen from the current folder; none where there is none."""
    file, _, name = target.rpartition(":")
    if not file.endswith(".py"):
        return
    try:
        yield from (each for each in pipelines_in(Path(file).read_bytes(), file) if each.name == name)
    except OSError:
        return


def pipelines_in(source: bytes, file: str) -> Iterator[Written]:
    """Give the pipelines that a file defines; one that can't be parsed has none."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and any(_is_pipeline(each) for each in node.decorator_list):
            arguments, about = _parameters(node.args)
            yield Written(
                name=node.name,
                file=file,
                parameters=arguments,
                about=about,
                doc=(ast.get_docstring(node) or "").partition("\n")[0],
                defaults=dict(_defaults(node.args)),
            )


def _defaults(args: ast.arguments) -> Iterator[tuple[str, str]]:
    placed = [*args.posonlyargs, *args.args]
    last = placed[len(placed) - len(args.defaults) :]
    for argument, default in (
        *zip(last, args.defaults, strict=True),
        *zip(args.kwonlyargs, args.kw_defaults, strict=True),
    ):
        if default is not None:
            yield argument.arg, _text(default)


def _text(default: ast.expr) -> str:
    """Write a default as a command is given it: text as it is, `true`, `31`, and what is computed as it stands."""
    match default:
        case ast.Constant(value=str() as text):
            return text
        case ast.Constant(value=bool() as is_true):
            return str(is_true).lower()
        case _:
            return ast.unparse(default)


def _parameters(given: ast.arguments) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Give the names of parameters, and what is written of each."""
    placed = [*given.posonlyargs, *given.args]
    defaults = [*[None] * (len(placed) - len(given.defaults)), *given.defaults, *given.kw_defaults]
    every = [*placed, *given.kwonlyargs]
    about = tuple(_about(each.annotation, default) for each, default in zip(every, defaults, strict=True))
    return tuple(each.arg for each in every), about


def _about(annotation: ast.expr | None, default: ast.expr | None) -> str:
    kind = "" if annotation is None else ast.unparse(annotation)
    otherwise = "must be given" if default is None else f"{ast.unparse(default)} if not given"
    return ", ".join(filter(None, (kind, otherwise)))


def _is_pipeline(decorator: ast.expr) -> bool:
    if isinstance(decorator, ast.Call):
        decorator = decorator.func
    return "pipeline" in (getattr(decorator, "attr", None), getattr(decorator, "id", None))
