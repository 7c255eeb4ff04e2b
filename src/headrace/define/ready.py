"""`@ready`: a stage that Headrace brings along."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar, overload

from headrace.define.stage import CHECK, Declares, StageFunction, stage

P = ParamSpec("P")
R = TypeVar("R")


def ready(
    name: str,
    /,
    *,
    version: int,
    on: Sequence[str] = (),
    unread: Sequence[str] = (),
    check: Callable[[Mapping[str, Any]], None] | None = None,
    **declared: Any,
) -> Declares:
    """Declare a ready-made stage: `@stage`, with what its key is made of.

    Headrace's own code is in no key, nor is where it lies. So a ready-made stage carries its `name` in
    `headrace.stages`, which never changes, and a `version`, which is raised whenever it gives another output for the
    same inputs. It names the modules that it stands `on`, whose distributions' versions count.
    Those of its parameters that are `unread` are given as None: the stage only names their artifacts, by
    `attempt().ref()`. `check` is called while a pipeline is traced, with the arguments that are known then (defaults
    among them; what a task will give is left out), and raises a UsageError where they can't be right: nothing has run
    by then. `declared` is as for `@stage`.
    """
    declare = stage(**declared)

    @overload
    def mark(function: Callable[P, Coroutine[Any, Any, R]], /) -> StageFunction[P, R]: ...
    @overload
    def mark(function: Callable[P, R], /) -> StageFunction[P, R]: ...
    def mark(function: Callable[..., Any], /) -> StageFunction[..., Any]:
        marks = vars(function)
        marks["__headrace_name__"] = f"headrace.stages.{name}"
        marks["__headrace_version__"] = version
        marks["__headrace_stands_on__"] = tuple(on)
        marks["__headrace_unread__"] = tuple(unread)
        marks[CHECK] = check
        return declare(function)

    return mark
