"""Questions to the nodes of a Ray cluster: a function is called on each node, and the nodes' answers are collected."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ray
from msgspec import Struct
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

_NONE = "No module named 'headrace'"
_OTHER = "No module named 'headrace."


class Answer(Struct, frozen=True, kw_only=True):
    """The answer of one node to a question.

    `given` is the answer. If there is no answer, `why` is the reason. `late` is true if the node did not answer within
    the time limit.
    """

    node: str
    given: Any = None
    why: str = ""
    late: bool = False


def ask(
    nodes: Sequence[Mapping[str, Any]], question: Callable[..., object], *given: object, within_s: float
) -> list[Answer]:
    """Call `question` on each of the nodes (as `ray.nodes()` returns them), and return their answers in the same order.

    A node that hasn't answered within `within_s` seconds gets an answer with `late` set.
    """
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
        except Exception as error:  # noqa: BLE001  the function may raise anything on the node, and so may Ray
            answers.append(Answer(node=name, why=_why(str(error))))
    return answers


def _why(text: str) -> str:
    if _NONE in text:
        return "it has no Headrace"
    if _OTHER in text:
        return "it has another version of Headrace"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"it can't be asked: {lines[-1] if lines else 'Ray gives no reason'}"
