"""What Ray's errors tell of the end of an actor."""

from __future__ import annotations

import re

from ray.exceptions import ActorDiedError, ActorUnavailableError, OutOfMemoryError, RayTaskError

from headrace.backends.ray.messages import DeathKind

_MEMORY = re.compile(r"running low on memory|NODE_OUT_OF_MEMORY|memory monitor", re.IGNORECASE)
_NODE = re.compile(r"node (has )?(died|failed|was terminated|is dead)|node.*(death|preempt)", re.IGNORECASE)
_IP = re.compile(r"\bip: (\S+)")


def cause(error: BaseException) -> tuple[DeathKind, str]:
    """Give the kind of a worker's end, and why in a line."""
    text = str(error)
    where = f" on node {found.group(1)}" if (found := _IP.search(text)) else ""
    if isinstance(error, ActorUnavailableError):
        return "lost", f"its actor{where} could not be reached any more"
    if isinstance(error, OutOfMemoryError):
        return "memory", "Ray ended its process, since its node ran low on memory"
    if not isinstance(error, ActorDiedError):
        return "lost", _last(error)
    if error.actor_init_failed:
        if "No module named 'headrace" in text:
            return "lost", "the nodes of the cluster have no Headrace: install it there, the version that is here"
        return "lost", f"its actor can't begin: {_last(error)}"
    detail = _short("\n".join([line for line in text.splitlines()[1:] if not line.startswith("\t")]))
    if _MEMORY.search(detail):
        return "memory", f"Ray ended its process{where}, since the node ran low on memory"
    if error.preempted or _NODE.search(detail):
        return "lost", f"its node{where} has died" if where else "its node has died"
    return "lost", f"its actor{where} has died: {detail}"


def _last(error: BaseException) -> str:
    """Give the last line of an error: what was raised, where it tells a traceback."""
    cause = error.cause if isinstance(error, RayTaskError) else error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _short(detail: str) -> str:
    """Give what Ray says without its advice."""
    return " ".join(detail.partition("Some common causes")[0].split())[:400]
