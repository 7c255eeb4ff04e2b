"""Asks nodes of a cluster, side by side, what only they can say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ray
from msgspec import Struct
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

_NONE = "No module named 'headrace'"
_OTHER = "No module named 'headrace."


class Answer(Struct, frozen=True, kw_only=True):
    """What a node gave, or else why it gave nothing; `late`: it had not by then."""

    node: str
    given: Any = None
    why: str = ""
    late: bool = False


def ask(
    nodes: Sequence[Mapping[str, Any]], question: Callable[..., object], *given: object, within_s: float
) -> list[Answer]:
    """Call a function on each of these nodes (as `ray.nodes()` gives them), and give what came of it in their order."""
    kind: Any = ray.remote(question)
    asked: list[tuple[str, Any]] = []
    answers: list[Answer] = []
    for node in nodes:
        place = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        asked.append(
            (
                node["NodeManagerHostname"],
                kind.options(num_cpus=0, max_retries=0, scheduling_strategy=place).remote(*given),
            )
        )
    ready, _ = ray.wait([call for _, call in asked], num_returns=len(asked), timeout=within_s)
    for name, call in asked:
        if call not in ready:
            ray.cancel(call, force=True)
            answers.append(Answer(node=name, why=f"it has not answered within {within_s:g} s", late=True))
            continue
        try:
            answers.append(Answer(node=name, given=ray.get(call)))
        except Exception as error:  # noqa: BLE001  whatever it met there, or Ray on the way
            answers.append(Answer(node=name, why=_why(str(error))))
    return answers


def _why(text: str) -> str:
    if _NONE in text:
        return "it has no Headrace"
    if _OTHER in text:
        return "it has another Headrace"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"it can't be asked: {lines[-1] if lines else 'Ray says nothing of why'}"
