"""Finds what each call of an evaluation stage evaluated, if a run calls the stage several times."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from headrace.ledger.views.run_graph import ref_of
from headrace.ledger.views.steps import need_of
from headrace.ledger.views.views import Views
from headrace.spec.artifact import part_names
from headrace.spec.graph import Arg, Node, Out


def judged(views: Views, run: str, tasks: Iterable[str]) -> dict[str, str]:
    """For each evaluation stage with several calls in a run, return what each call evaluated, such as `fit[1].model`.

    If calls evaluate the same model, the text also has the other arguments that are needed to distinguish the calls.
    """
    bases = dict.fromkeys(_CALL.sub("", each) for each in tasks)
    twice = [  # elements of a map are not separate calls
        each
        for each in bases
        if not each.endswith("]") and views.has(run, f"{each}[1]") and views.task(run, f"{each}[1]").kind == "evaluate"
    ]
    found: dict[str, str] = {}
    nodes = views.story(run).nodes if twice else {}
    for base in twice:
        found |= _apart(views, run, [node for node in nodes.values() if _CALL.sub("", node.name) == base])
    return found


def _apart(views: Views, run: str, calls: Sequence[Node]) -> dict[str, str]:
    given = [dict(call.args) for call in calls]
    params = sorted(dict.fromkeys(param for each in given for param in each), key=lambda each: each != "model")
    words: list[str] = [""] * len(calls)
    for param in params:
        told = ["" if param not in each else _told(views, run, param, each[param]) for each in given]
        if len(set(told)) > 1:
            words = [", ".join(filter(None, each)) for each in zip(words, told, strict=True)]
        if len(set(words)) == len(words):
            break
    return {call.name: each for call, each in zip(calls, words, strict=True) if each}


def _told(views: Views, run: str, param: str, arg: Arg) -> str:
    if isinstance(arg, Out):
        return f"`{_part(views, run, arg)}`"
    need = need_of(param, arg)
    return f"`{param}` of {', '.join(f'`{each}`' for each in need.tasks)}" if need.tasks else f"{param}={need.text}"


def _part(views: Views, run: str, out: Out) -> str:
    """Return the name of the output, or part of an output, at which `out` points, such as `fit.model`. If the ledger
    doesn't have the output, the name of the part may be incomplete."""
    ref = ref_of(views.task(run, out.task)) if out.path and views.has(run, out.task) else None
    return ".".join([out.task, *part_names(ref, out.path)])


_CALL = re.compile(r"\[\d+\]$")
"""The number that follows the stage's name in the names of its second and later calls."""
