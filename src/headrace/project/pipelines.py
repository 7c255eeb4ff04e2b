"""The pipelines of a project, read from the source text of its files without running code. They are used for completion
and hints.

Only functions decorated with `@pipeline` are found. A pipeline made in another way still runs.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from headrace.project.project import Project

Choices = Mapping[str, str]
"""The members of an enumeration: their names in code, such as `Mode.FAST`, and their values on a command line."""


class Written(Struct, frozen=True, kw_only=True):
    """A pipeline as its source text defines it: name, file, parameters, and the first line of its docstring (`doc`).

    `about` has the type and default of each parameter, such as `int, 1 if not given`. `defaults` has the defaults by
    parameter, as they would be written on a command line. `texts` are the parameters that are texts (`str`).
    """

    name: str
    file: str
    parameters: tuple[str, ...]
    about: tuple[str, ...]
    doc: str
    defaults: dict[str, str] = {}
    texts: tuple[str, ...] = ()


def written(project: Project) -> Iterator[Written]:
    """Yield the pipelines that a project's files define. Files that can't be read or parsed are skipped."""
    for file in project.files:
        try:
            yield from pipelines_in(file.read_bytes(), str(file))
        except OSError:
            continue


def written_as(target: str) -> Iterator[Written]:
    """Yield the pipeline that `FILE:NAME` names, if there is one. FILE is relative to the current folder."""
    file, _, name = target.rpartition(":")
    if not file.endswith(".py"):
        return
    try:
        yield from (each for each in pipelines_in(Path(file).read_bytes(), file) if each.name == name)
    except OSError:
        return


def pipelines_in(source: bytes, file: str) -> Iterator[Written]:
    """Yield the pipelines that a Python source text defines. A text that can't be parsed defines none."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    enums = dict(_enums(tree))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and any(_is_pipeline(each) for each in node.decorator_list):
            arguments, about = _parameters(node.args, enums)
            yield Written(
                name=node.name,
                file=file,
                parameters=arguments,
                about=about,
                doc=(ast.get_docstring(node) or "").partition("\n")[0],
                defaults=dict(_defaults(node.args, enums)),
                texts=tuple(_texts(node.args)),
            )


def _enums(tree: ast.Module) -> Iterator[tuple[str, Choices]]:
    """For each enumeration in a file, yield its name and members. An enumeration is left out if one of its values isn't
    a constant."""
    for node in tree.body:
        if not isinstance(node, ast.ClassDef) or not any(ast.unparse(base).endswith("Enum") for base in node.bases):
            continue
        members = [
            (each.targets[0].id, each.value)
            for each in node.body
            if isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name)
        ]
        if members and all(isinstance(value, ast.Constant) for _, value in members):
            yield node.name, {f"{node.name}.{name}": _text(value, {}) for name, value in members}


def _defaults(args: ast.arguments, enums: Mapping[str, Choices]) -> Iterator[tuple[str, str]]:
    placed = [*args.posonlyargs, *args.args]
    last = placed[len(placed) - len(args.defaults) :]
    for argument, default in (
        *zip(last, args.defaults, strict=True),
        *zip(args.kwonlyargs, args.kw_defaults, strict=True),
    ):
        if default is not None:
            yield argument.arg, _text(default, enums)


def _texts(args: ast.arguments) -> Iterator[str]:
    for argument in (*args.posonlyargs, *args.args, *args.kwonlyargs):
        if argument.annotation is not None and _last(_inner(argument.annotation)) == "str":
            yield argument.arg


def _text(default: ast.expr, enums: Mapping[str, Choices]) -> str:
    """Return a default as it would be written on a command line: text without quotes, `true`, `31`.

    A default that is computed is returned as source text.
    """
    match default:
        case ast.Constant(value=str() as text):
            return text
        case ast.Constant(value=bool() as is_true):
            return str(is_true).lower()
        case ast.Attribute(value=ast.Name(id=name)) if name in enums:
            return enums[name].get(ast.unparse(default), ast.unparse(default))
        case _:
            return ast.unparse(default)


def _parameters(given: ast.arguments, enums: Mapping[str, Choices]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the parameters, and a text with the type and default of each."""
    placed = [*given.posonlyargs, *given.args]
    defaults = [*[None] * (len(placed) - len(given.defaults)), *given.defaults, *given.kw_defaults]
    every = [*placed, *given.kwonlyargs]
    about = tuple(_about(each.annotation, default, enums) for each, default in zip(every, defaults, strict=True))
    return tuple(each.arg for each in every), about


def _about(annotation: ast.expr | None, default: ast.expr | None, enums: Mapping[str, Choices]) -> str:
    kind = None if annotation is None else _inner(annotation)
    choices = [] if kind is None else _choices(kind, enums)
    words = " or ".join(choices) or ("" if kind is None else ast.unparse(kind))
    value = "" if default is None else _text(default, enums) if choices else ast.unparse(default)
    return ", ".join(filter(None, (words, "must be given" if default is None else f"{value} if not given")))


def _inner(annotation: ast.expr) -> ast.expr:
    """Return `X` for the annotation `X | None` or `Optional[X]`, and every other annotation unchanged."""
    match annotation:
        case ast.BinOp(left=inner, op=ast.BitOr(), right=ast.Constant(value=None)):
            return inner
        case ast.Subscript(value=kind, slice=inner) if _last(kind) == "Optional":
            return inner
    return annotation


def _choices(kind: ast.expr, enums: Mapping[str, Choices]) -> list[str]:
    """Return the values of a `Literal` or an enumeration as written on a command line; empty for other types."""
    match kind:
        case ast.Subscript(value=literal, slice=one) if _last(literal) == "Literal":
            return [_text(each, enums) for each in (one.elts if isinstance(one, ast.Tuple) else [one])]
        case ast.Name(id=name) if name in enums:
            return list(enums[name].values())
    return []


def _last(name: ast.expr) -> str | None:
    """Return the last part of a name such as `hr.pipeline`, or None if the expression isn't a name."""
    part: str | None = getattr(name, "attr", None) or getattr(name, "id", None)
    return part


def _is_pipeline(decorator: ast.expr) -> bool:
    if isinstance(decorator, ast.Call):
        decorator = decorator.func
    return _last(decorator) == "pipeline"
