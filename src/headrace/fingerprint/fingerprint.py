"""The fingerprint of user code: the code part of a task's key."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from headrace.fingerprint.graph import Node, graph_digest, in_order, parts
from headrace.fingerprint.loaded.walk import Walk
from headrace.fingerprint.ports import IMPORT_TIME
from headrace.fingerprint.project import Project
from headrace.fingerprint.reached_code import ReachedCode
from headrace.fingerprint.source.code_piece import Aside
from headrace.spec.code import Code, digest


def fingerprint(function: Callable[..., Any], project: Project) -> Code:
    """Return the code that a stage's function reaches: the digest of all of it, its parts, notes for the user, and the
    reason why the stage can't be cached, if there is one."""
    root, reach = _reached(function, project, signature=True)
    root.edges["~environment"] = _environment()
    order = in_order(root)
    never = sorted(reason for node in in_order(root, without=IMPORT_TIME) for reason in node.never)
    return Code(
        digest=graph_digest(order),
        parts=parts(order),
        notes=tuple(sorted(reach.notes)),
        uncached=never[0] if never else None,
    )


def fingerprint_class(cls: type, project: Project) -> str | None:
    """Return the first twelve hex digits of the digest of a class of the project and all code that it reaches. Return
    None for any other class."""
    if project.homes.of_module(cls.__module__) != "project":
        return None
    root, _ = _reached(cls, project, signature=False)
    return graph_digest(in_order(root))[:12]


def fingerprint_argument(value: object, project: Project) -> Code:
    """Return all code that an argument of a stage reaches, with its digest and its parts. The argument is a function,
    class or partial, of the project or of any library."""
    root, _ = _reached(value, project, signature=True)
    order = in_order(root)
    return Code(digest=graph_digest(order), parts=parts(order))


def counts_by_source(value: object, project: Project) -> bool:
    """Return whether the value of a notebook's global variable can't be read. A fingerprint then has, in place of the
    value, the text of the statements that make it."""
    return bool(Walk(ReachedCode(project, frozenset())).read.encode(value, states=True).unread)


def _reached(value: object, project: Project, *, signature: bool) -> tuple[Node, ReachedCode]:
    """Return the graph of all code that a value reaches. If some of this code reads docstrings or annotations, the
    graph is built a second time, with the docstrings or annotations included."""
    acting: frozenset[Aside] = frozenset()
    while True:
        reach = ReachedCode(project, acting)
        root = Node("", None)
        walk = Walk(reach)
        if signature:
            walk.root(root, value)
        else:
            walk.value(root, "root", value, "")
        reach.graph.fill()
        if reach.read <= acting:
            return root, reach
        acting = acting | reach.read


def _environment() -> Node:
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    flags = f"-O{sys.flags.optimize}" if sys.flags.optimize else ""
    own = digest(sys.implementation.name, version, flags)
    return Node(sys.implementation.name, "environment", own=own, text=f"{version} {flags}".strip())
