"""The code of functions and classes that are arguments of a task, as the run's trace recorded it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from headrace.spec.artifact import Ref
from headrace.spec.code import Code, Part
from headrace.spec.graph import Node, constants


def code_given(node: Node, param: str, codes: Mapping[str, Code], identity: str = "") -> Code | None:
    """Return all code that the functions in an argument reach, as one `Code`. Return None if the argument has no
    functions, or if the code of a function is unknown.

    If the argument is a list that is mapped over, and the element with this `identity` is itself a function, return
    only that function's code.
    """
    if not codes:
        return None  # as in most runs: the argument, perhaps a list of many thousands, isn't searched
    if param in node.over and (alone := codes.get(identity.rpartition(":")[2])) is not None:
        return alone
    return code_in(constants(dict(node.args)[param]), codes) if param in dict(node.args) else None


def code_in(refs: Iterable[Ref], codes: Mapping[str, Code]) -> Code | None:
    """Return all code that the functions in some values reach, as one `Code`. Return None if the values have no
    functions, or if the code of a function is unknown."""
    reached: list[Code] = []
    rest = list(refs)
    while rest:
        each = rest.pop()
        if each.parts is not None:
            rest.extend(each.parts)
        elif each.codec == "code":
            code = codes.get(each.content or "")
            if code is None:
                return None
            reached.append(code)
    return together(reached) if reached else None


def together(codes: Iterable[Code]) -> Code:
    """Return the code of several functions as one `Code`, which has each part only once."""
    parts: dict[tuple[str, str], Part] = {}
    digests = []
    for code in codes:
        digests.append(code.digest)
        parts.update(((part.kind, part.name), part) for part in code.parts)
    return Code(digest=" ".join(sorted(set(digests))), parts=tuple(parts.values()))
