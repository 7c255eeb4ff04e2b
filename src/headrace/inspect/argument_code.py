"""The code of functions and classes that stand in a task's arguments, as the run's trace kept it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from headrace.spec.artifact import Ref
from headrace.spec.code import Code, Part
from headrace.spec.graph import Node, constants


def code_given(node: Node, param: str, codes: Mapping[str, Code], identity: str = "") -> Code | None:
    """Return what the functions in an argument reach, taken together; None where it holds none, or nothing was kept.

    Of a list that is mapped over, the element of this `identity` counts alone if it is a function itself.
    """
    if not codes:
        return None  # most runs: the argument may be a list of many thousands, and each element asks
    if param in node.over and (alone := codes.get(identity.rpartition(":")[2])) is not None:
        return alone
    return code_in(constants(dict(node.args)[param]), codes) if param in dict(node.args) else None


def code_in(refs: Iterable[Ref], codes: Mapping[str, Code]) -> Code | None:
    """Return what the functions in some values reach, taken together; None where there are none, or one is unknown."""
    found: list[Code] = []
    rest = list(refs)
    while rest:
        each = rest.pop()
        if each.parts is not None:
            rest.extend(each.parts)
        elif each.codec == "code":
            code = codes.get(each.content or "")
            if code is None:
                return None
            found.append(code)
    return together(found) if found else None


def together(codes: Iterable[Code]) -> Code:
    """Return several functions' code as one, each part once."""
    parts: dict[tuple[str, str], Part] = {}
    digests = []
    for code in codes:
        digests.append(code.digest)
        parts.update(((part.kind, part.name), part) for part in code.parts)
    return Code(digest=" ".join(sorted(set(digests))), parts=tuple(parts.values()))
