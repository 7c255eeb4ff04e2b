"""Decides whether the output of an earlier run may be reused, and gives the reason in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct

from headrace.errors import listed
from headrace.plan.keys import told
from headrace.spec.code import Code
from headrace.spec.graph import Node, outs
from headrace.spec.intent import CURSOR
from headrace.spec.policy import Policy
from headrace.spec.stage import Stage

NOTHING_STORED = "there is no stored output to reuse"
"""The reason of a task that has to run although neither its code nor its inputs have changed."""
NEW = "no result in the latest runs of this pipeline"
"""The reason of a task that has to run and that the latest runs of its pipeline didn't have."""


class Declared(NamedTuple):
    """How a task was declared: its node and its stage. `codes` has, by digest, the code of functions and classes that
    are arguments of the task."""

    node: Node
    stage: Stage
    codes: Mapping[str, Code]


class Before(Struct, frozen=True):
    """The key that a task had in an earlier run, with the digest of the task's code and its encoded inputs.

    An empty `run` means the present run: the key is from before the run got new code, and `declared` says how the old
    code declared the task.
    """

    run: str
    key: str
    code: str
    inputs: bytes
    declared: Declared | None = None


def barred(stage: Stage, policy: Policy, *, always: bool) -> str | None:
    """Return why an output of an earlier run may not be used for this stage, or None if it may.

    A call with `always=True` is never reused, because it is made for its side effects.
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
    """Return whether two tasks of the same run with the same key may share one output."""
    return stage.cache != "never" and stage.code.uncached is None


class Change(NamedTuple):
    """An input that has changed: the parameter, and the identity of its argument in an earlier run and now."""

    param: str
    before: str
    after: str


ChangedCode = Callable[[Before, Node, Stage], Sequence[str]]
"""A function that takes an earlier key, a node and its stage, and returns the names of the parts of the stage's code
that have changed."""
ChangedGiven = Callable[[Before, Node, Change], Sequence[str]]
"""A function that takes an earlier key, a node and a changed input, and returns the parts of code that have changed in
that input. The code is that of functions and classes that are passed to a stage as arguments."""


def told_change(change: Change, parts: Sequence[str]) -> str:
    """Return a text that says that an input has changed. If the input is or contains code, name the `parts` that have
    changed. If the input is a cursor, the text says so, since the user of a ready-made stage may not know the
    parameter's name."""
    what = f"its cursor (`{change.param}`)" if f":{CURSOR}:" in change.after else f"`{change.param}`"
    return f"{what} changed: {listed(parts, 3)}" if parts else f"{what} changed"


def made_by(node: Node, unknown: Sequence[str]) -> str:
    """Return a text such as "its list comes from `load`", which names the tasks that make the lists that `node` maps
    over. Only tasks in `unknown` are named: those whose outputs aren't known yet."""
    args = dict(node.args)
    needed = [{out.task for out in outs(args[param])}.intersection(unknown) for param in node.over]
    names = ", ".join(f"`{name}`" for name in unknown if any(name in tasks for tasks in needed))
    return f"its lists come from {names}" if sum(map(bool, needed)) > 1 else f"its list comes from {names}"


def why_run(
    stage: Stage,
    key: str,
    inputs: bytes,
    before: Before | None,
    changed_code: Sequence[str] | None,
    changed_given: Callable[[Change], Sequence[str]] = lambda _: (),
) -> str:
    """Return why there is no output to reuse: the differences from the same task's earlier key, in words.

    `before` is the earlier key (None: there is none). `changed_code` names the parts of the stage's code
    that have changed (None or empty: not known). `changed_given` returns the parts of code that have changed in an
    argument.
    """
    if before is None:
        return NEW
    words = []
    if before.code != stage.code.digest:
        words.append(f"code changed: {listed(changed_code, 3)}" if changed_code else "code changed")
    now, then = told(inputs), told(before.inputs)
    for name in now:
        if name not in then:
            words.append(f"`{name}` is new")
        elif now[name] != then[name]:
            change = Change(name, then[name], now[name])
            words.append(told_change(change, changed_given(change)))
    words += [f"`{name}` is gone" for name in then if name not in now]
    if words:
        return "; ".join(words)
    return NOTHING_STORED if before.key == key else "the platform changed"
