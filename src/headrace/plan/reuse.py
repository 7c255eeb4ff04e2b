"""Whether a task's output may be reused, and in words why, or why not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from msgspec import Struct

from headrace.errors import listed
from headrace.plan.keys import told
from headrace.spec.graph import Node
from headrace.spec.policy import Policy
from headrace.spec.stage import Stage


class Before(Struct, frozen=True):
    """What the key of the same task was made of in an earlier run."""

    run: str
    key: str
    code: str
    inputs: bytes


def barred(stage: Stage, policy: Policy, *, always: bool) -> str | None:
    """Return why an output of an earlier run may not be used for this stage, or None where it may.

    A call that is to run whatever happens (`always`) is there for what it does.
    """
    if stage.name in policy.force:
        return "forced (`--force`)"
    if always:
        return "never reused (`always=True`)"
    if stage.cache == "never":
        return "never reused (`cache=False`)"
    if stage.code.uncached is not None:
        return f"not reusable: {stage.code.uncached}"
    if stage.cache == "run":
        return 'reused within a run only (`cache="run"`)'
    return None


def within_run(stage: Stage) -> bool:
    """Return whether two tasks of one run may share an output under one key."""
    return stage.cache != "never" and stage.code.uncached is None


class Change(NamedTuple):
    """An input whose identity was another in an earlier run."""

    param: str
    before: str
    after: str


ChangedGiven = Callable[[str, Node, Change], Sequence[str]]
"""Names what differs from an earlier run in the code of functions that a node's task is given as an argument."""


def told_change(param: str, parts: Sequence[str]) -> str:
    """Say that an input changed; with the parts of its code that did, where it is or holds code."""
    return f"`{param}` changed: {listed(parts, 3)}" if parts else f"`{param}` changed"


def why_run(
    stage: Stage,
    key: str,
    inputs: bytes,
    before: Before | None,
    changed_code: Sequence[str] | None,
    changed_given: Callable[[Change], Sequence[str]] = lambda _: (),
) -> str:
    """Return why no output is there: what differs from the same task in an earlier run.

    `changed_code` names the parts of the code that differ, where that is known; `changed_given` those of an argument.
    """
    if before is None:
        return "no earlier result"
    words = []
    if before.code != stage.code.digest:
        words.append(f"code changed: {listed(changed_code, 3)}" if changed_code else "code changed")
    now, then = told(inputs), told(before.inputs)
    for name in now:
        if name not in then:
            words.append(f"`{name}` is new")
        elif now[name] != then[name]:
            words.append(told_change(name, changed_given(Change(name, then[name], now[name]))))
    words += [f"`{name}` is gone" for name in then if name not in now]
    if words:
        return "; ".join(words)
    return "no output of it is there to be reused" if before.key == key else "the platform changed"
