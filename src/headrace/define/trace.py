"""Tracing: the calls of stages in a pipeline's body become nodes of a graph."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

from headrace.codec.file import File, Folder
from headrace.define.edge import admits, element, fits, shown
from headrace.define.handle import UNKNOWN, Handle
from headrace.define.ports import Resolver
from headrace.define.secret import Secret
from headrace.define.stage import OPTIONS, StageFunction
from headrace.errors import CodecError, EdgeTypeError, TraceError
from headrace.spec import graph
from headrace.spec.graph import Arg, Const, Many, Node, Out
from headrace.spec.stage import Stage

CHUNK = 500
_DEEPEST = 50
_PACKAGE = __file__.rpartition("/define/")[0]


class Trace:
    """One trace of one pipeline: gathers nodes, and hands them on in chunks."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._stages: dict[str, Stage] = {}
        self._new_stages: list[Stage] = []
        self._nodes: list[Node] = []
        self._calls: dict[str, int] = {}
        self.pipelines: list[str] = []

    @staticmethod
    def current() -> Trace | None:
        """Give the trace that goes on, or None."""
        return tracing.get()

    def call(self, stage: StageFunction[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Handle:
        """Add a task for a stage call; give a handle to its output."""
        options = {name: kwargs.pop(name) for name in OPTIONS if name in kwargs}
        return self._add(stage, args, kwargs, options, mapped=False)

    def map(
        self, stage: StageFunction[..., Any], args: Sequence[Any], kwargs: dict[str, Any], options: dict[str, Any]
    ) -> Handle:
        """Add a mapped task; give a handle to the list of its outputs."""
        return self._add(stage, args, kwargs, options, mapped=True)

    def flush(self) -> None:
        """Hand on what has been gathered."""
        if self._nodes or self._new_stages:
            stages, nodes = self._new_stages, self._nodes
            self._new_stages, self._nodes = [], []
            self._resolver.extend(stages, nodes)

    def _add(
        self,
        stage: StageFunction[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        options: Mapping[str, Any],
        *,
        mapped: bool,
    ) -> Handle:
        declared = self._declare(stage)
        line = user_line()
        bound = bind(stage, args, kwargs, line)
        over = self._over(stage, bound, line) if mapped else ()
        for name, value in bound:
            self._check(stage, name, value, line, mapped=name in over)
        node = Node(
            name=self._name(declared.name),
            stage=declared.function,
            args=tuple([(name, self._arg(value, name, stage)) for name, value in bound]),
            over=over,
            when=_condition(options.get("when"), declared.name),
            after=_names(options.get("after"), declared.name),
            allow_failures=_allowance(options.get("allow_failures", 0), declared.name, mapped=mapped),
            always=bool(options.get("always", False)),
            line=line,
        )
        self._nodes.append(node)
        if len(self._nodes) >= CHUNK:
            self.flush()
        hint = stage.hints.get("return", UNKNOWN)
        return Handle(Out(node.name), list[hint] if mapped else hint, declared.name)  # type: ignore[valid-type]

    def _declare(self, stage: StageFunction[..., Any]) -> Stage:
        known = self._stages.get(stage.declaration.function)
        if known is None:
            known = self._resolver.declare(stage.declaration, stage.function)
            self._stages[stage.declaration.function] = known
            self._new_stages.append(known)
        return known

    def _name(self, stage: str) -> str:
        count = self._calls.get(stage, 0)
        self._calls[stage] = count + 1
        return stage if count == 0 else f"{stage}[{count}]"

    def _over(self, stage: StageFunction[..., Any], bound: Sequence[tuple[str, Any]], line: str) -> tuple[str, ...]:
        """Find the arguments to map over: lists where the parameter takes an element."""
        over = tuple(name for name, value in bound if _is_mapped(value, stage.hints.get(name, UNKNOWN)))
        if not over:
            raise TraceError(
                f"`{stage.declaration.name}.map()` was given no list to map over ({line})",
                hint="give a list, or a handle to a stage that returns one, for a parameter that takes an element",
            )
        return over

    def _check(self, stage: StageFunction[..., Any], name: str, value: Any, line: str, *, mapped: bool) -> None:
        """Refuse an argument that doesn't fit the type of its parameter."""
        wanted = stage.hints.get(name.lstrip("*"), UNKNOWN)
        if wanted is UNKNOWN:
            return
        if mapped and not isinstance(value, Handle):
            for each in value:
                self._check(stage, name, each, line, mapped=False)
        elif isinstance(value, Handle):
            given = element(value._headrace_hint) if mapped else value._headrace_hint
            if given is not None and not fits(given, wanted):
                raise EdgeTypeError(
                    f"`{value._headrace_stage}` gives `{shown(given)}`, but parameter `{name}` of"
                    f" `{stage.declaration.name}` takes `{shown(wanted)}` ({line})",
                    hint="change one of the two annotations, or put a stage between them",
                )
        elif isinstance(value, Secret | File | Folder) or holds_handle(value):
            return
        elif not admits(value, wanted):
            raise EdgeTypeError(
                f"parameter `{name}` of `{stage.declaration.name}` takes `{shown(wanted)}`, but was given"
                f" `{_brief(value)}`, a `{shown(type(value))}` ({line})",
                hint="change the argument or the annotation",
            )

    def _arg(self, value: Any, name: str, stage: StageFunction[..., Any]) -> Arg:
        if isinstance(value, Handle):
            return value._headrace_out
        if isinstance(value, Secret):
            return graph.Secret(value.name)
        if type(value) in (list, tuple, dict) and holds_handle(value):
            keys = tuple(value) if isinstance(value, dict) else ()
            items = value.values() if isinstance(value, dict) else value
            if not all(isinstance(key, str) for key in keys):
                raise TraceError(
                    f"a dictionary with handles for `{name}` of `{stage.declaration.name}` has keys that are not text",
                    hint="use text as keys",
                )
            return Many(type(value).__name__, tuple(self._arg(item, name, stage) for item in items), keys)
        try:
            return Const(self._resolver.keep(value))
        except CodecError as error:
            raise CodecError(
                f"argument `{name}` of `{stage.declaration.name}` ({user_line()}): {error.message}", hint=error.hint
            ) from error


tracing: ContextVar[Trace | None] = ContextVar("headrace_trace", default=None)


def bind(
    stage: StageFunction[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], line: str
) -> list[tuple[str, Any]]:
    """Pair arguments with parameters, by name; `*name` and `**name` gather the rest. Defaults are left out.

    Raises:
        TraceError: an argument is missing or superfluous.
    """
    try:
        bound = stage.signature.bind(*args, **kwargs)
    except TypeError as error:
        raise TraceError(
            f"`{stage.declaration.name}` {error} ({line})", hint=f"it takes {stage.declaration.name}{stage.signature}"
        ) from None
    found: list[tuple[str, Any]] = []
    for name, value in bound.arguments.items():
        match stage.signature.parameters[name].kind:
            case inspect.Parameter.VAR_POSITIONAL:
                found.append((f"*{name}", value))
            case inspect.Parameter.VAR_KEYWORD:
                found.extend(value.items())
            case _:
                found.append((name, value))
    return found


def holds_handle(value: Any) -> bool:
    """Say whether a list, tuple or dictionary has a handle, a secret or a file anywhere inside."""
    rest: list[tuple[Any, int]] = [(value, 0)]
    while rest:
        each, depth = rest.pop()
        if isinstance(each, Handle | Secret | File | Folder):
            return True
        if type(each) in (list, tuple, dict) and depth < _DEEPEST:
            items = each.values() if isinstance(each, dict) else each
            rest.extend((item, depth + 1) for item in items if type(item) not in _LEAVES)
    return False


_LEAVES = frozenset((int, float, str, bool, bytes, type(None)))


def check_no_handles(stage: StageFunction[..., Any], args: Iterable[Any], kwargs: Mapping[str, Any]) -> None:
    """Refuse a handle given to a stage that is called outside a pipeline."""
    for value in (*args, *kwargs.values()):
        if isinstance(value, Handle) or (type(value) in (list, tuple, dict) and _holds_only_handle(value)):
            raise TraceError(
                f"stage `{stage.declaration.name}` was called outside a pipeline with a handle ({user_line()})",
                hint="call it inside the pipeline that the handle comes from, or give it a value",
            )


def _holds_only_handle(value: Any) -> bool:
    items = value.values() if isinstance(value, dict) else value
    return any(isinstance(item, Handle) for item in items)


def plain_map(stage: StageFunction[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """What `.map()` does outside a pipeline: call the function for each element."""
    bound = bind(stage, args, kwargs, user_line())
    over = {name for name, value in bound if _is_mapped(value, stage.hints.get(name, UNKNOWN))}
    lengths = {len(value) for name, value in bound if name in over}
    if len(lengths) != 1:
        raise TraceError(
            f"`{stage.declaration.name}.map()` needs lists of one length, not of {sorted(lengths) or 'none'}",
            hint="give at least one list for a parameter that takes an element",
        )
    return [
        stage.function(**{name: value[index] if name in over else value for name, value in bound})
        for index in range(lengths.pop())
    ]


def user_line() -> str:
    """Give the file and line of the user's code that called us, `pipelines.py:31`."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno}"


def _is_mapped(value: Any, wanted: Any) -> bool:
    if isinstance(value, Handle):
        inner = element(value._headrace_hint)
        if inner is None:
            return False
        return wanted is UNKNOWN or not fits(value._headrace_hint, wanted)
    if not isinstance(value, list | tuple) or hasattr(value, "_fields"):
        return False
    return wanted is UNKNOWN or element(wanted) is None or (bool(value) and not admits_list(value, wanted))


def admits_list(value: Any, wanted: Any) -> bool:
    """Say whether a list as a whole may stand for a parameter."""
    inner = element(wanted)
    return all(
        fits(item._headrace_hint, inner) if isinstance(item, Handle) else admits(item, inner) for item in value
    )


def _condition(when: Any, stage: str) -> Out | None:
    if when is None or when is True:
        return None
    if not isinstance(when, Handle):
        raise TraceError(
            f"`when=` of `{stage}` is {when!r} ({user_line()})",
            hint="give a handle to a boolean; what is known while tracing can be a plain `if`",
        )
    if not fits(when._headrace_hint, bool):
        raise EdgeTypeError(
            f"`when=` of `{stage}` takes a boolean, but `{when._headrace_stage}` gives `{shown(when._headrace_hint)}`"
            f" ({user_line()})",
            hint="give a handle to a boolean, for instance a field of a report",
        )
    return when._headrace_out


def _names(after: Any, stage: str) -> tuple[str, ...]:
    handles = [after] if isinstance(after, Handle) else list(after or ())
    for handle in handles:
        if not isinstance(handle, Handle):
            raise TraceError(f"`after=` of `{stage}` holds {handle!r} ({user_line()})", hint="give handles")
    return tuple(dict.fromkeys(handle._headrace_out.task for handle in handles))


def _allowance(count: Any, stage: str, *, mapped: bool) -> int:
    if count and not mapped:
        raise TraceError(f"`allow_failures=` stands at a plain call of `{stage}`", hint="it belongs to `.map()`")
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise TraceError(f"`allow_failures=` of `{stage}` is {count!r}", hint="give a whole number from 0")
    return count


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
