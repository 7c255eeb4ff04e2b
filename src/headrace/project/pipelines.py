"""The pipelines of a project as its files are written: names for completion and hints, without running any code.

The tracer has the last word: what is made by other means than `@pipeline` above a function isn't found here.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from headrace.project.project import Project

Choices = Mapping[str, str]
"""The members of an enumeration as code has them, `Mode.FAST`, each with its value as a command is given it."""


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
    """Yield the pipelines that a project's files define; a file that can't be read or parsed has none."""
    for file in project.files:
        try:
            yield from pipelines_in(file.read_bytes(), str(file))
        except OSError:
            continue


def written_as(target: str) -> Iterator[Written]:
    """Yield the pipeline that `FILE:NAME` names, the file seen from the current folder; none where there is none."""
    file, _, name = target.rpartition(":")
    if not file.endswith(".py"):
        return
    try:
        yield from (each for each in pipelines_in(Path(file).read_bytes(), file) if each.name == name)
    except OSError:
        return


def pipelines_in(source: bytes, file: str) -> Iterator[Written]:
    """Yield the pipelines that a file defines; one that can't be parsed has none."""
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
            )


def _enums(tree: ast.Module) -> Iterator[tuple[str, Choices]]:
    """Yield the enumerations that a file defines, but for those of which a value isn't written there."""
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


def _text(default: ast.expr, enums: Mapping[str, Choices]) -> str:
    """Write a default as a command is given it: text as it is, `true`, `31`, and what is computed as it stands."""
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
    """Return the names of parameters, and what is written of each."""
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
    """Return the type that an optional one is of; all else as it is."""
    match annotation:
        case ast.BinOp(left=inner, op=ast.BitOr(), right=ast.Constant(value=None)):
            return inner
        case ast.Subscript(value=kind, slice=inner) if _last(kind) == "Optional":
            return inner
    return annotation


def _choices(kind: ast.expr, enums: Mapping[str, Choices]) -> list[str]:
    """Return what may be chosen, as a command is given it, where a type is a choice."""
    match kind:
        case ast.Subscript(value=literal, slice=one) if _last(literal) == "Literal":
            return [_text(each, enums) for each in (one.elts if isinstance(one, ast.Tuple) else [one])]
        case ast.Name(id=name) if name in enums:
            return list(enums[name].values())
    return []


def _last(name: ast.expr) -> str | None:
    """Return the last part of a name that may be dotted."""
    found: str | None = getattr(name, "attr", None) or getattr(name, "id", None)
    return found


def _is_pipeline(decorator: ast.expr) -> bool:
    if isinstance(decorator, ast.Call):
        decorator = decorator.func
    return _last(decorator) == "pipeline"
