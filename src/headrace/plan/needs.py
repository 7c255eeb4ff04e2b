"""Finds the tasks that a policy asks for, and all tasks that these tasks need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from headrace.errors import UsageError, near
from headrace.spec.graph import Node, outs
from headrace.spec.policy import Policy
from headrace.spec.stage import Stage


def check_policy(policy: Policy, nodes: Sequence[Node], stages: Mapping[str, Stage]) -> None:
    """Check that the pipeline has the stages and tasks that a policy names.

    `only` may name stages and single tasks; `force` may name stages.

    Raises:
        UsageError: the pipeline has no such stage or task, or `force` names a stage that `only` leaves out.
    """
    called = dict.fromkeys(stage.name for stage in stages.values())
    either = called | dict.fromkeys(node.name for node in nodes)
    for option, names, known in (("--only", policy.only, either), ("--force", policy.force, called)):
        for name in names:
            if name not in known:
                what = "stage" if known is called else "stage or task"
                hint = near(name, [*known], "it has")
                raise UsageError(f"`{option} {name}`: the pipeline has no such {what}", hint=hint)
    if policy.only:
        wanted = needed_by(policy.only, nodes, stages)
        asked = {stages[node.stage].name for node in nodes if node.name in wanted}
        for name in policy.force:
            if name not in asked:
                raise UsageError(
                    f"`--force {name}`: `--only` leaves this stage out",
                    hint=f"add `--only {name}`, or leave `--force {name}` out",
                )


def names_needed(node: Node) -> list[str]:
    """Return the names of the tasks that a node waits for, without duplicates."""
    names: dict[str, None] = {}
    for _, arg in node.args:
        for out in outs(arg):
            names[out.task] = None
    if node.when is not None:
        names[node.when.task] = None
    for name in node.after:
        names[name] = None
    return list(names)


def needed_by(only: Iterable[str], nodes: Sequence[Node], stages: Mapping[str, Stage]) -> set[str]:
    """Return the names of the tasks that `only` names, by stage or by task, and of all tasks that they need."""
    asked = set(only)
    return with_needs([node.name for node in nodes if stages[node.stage].name in asked or node.name in asked], nodes)


def with_needs(names: Iterable[str], nodes: Sequence[Node]) -> set[str]:
    """Return the given names of tasks, and the names of all tasks that they need, directly or indirectly."""
    needs = {node.name: names_needed(node) for node in nodes}
    needed = set(names)
    rest = list(needed)
    while rest:
        for name in needs[rest.pop()]:
            if name not in needed:
                needed.add(name)
                rest.append(name)
    return needed
