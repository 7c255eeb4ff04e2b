"""Tracing: each stage call in a pipeline's body becomes a node of a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from headrace.codec.classes import is_importable
from headrace.define.argument_check import one_of_its_fields, to_give, unfit
from headrace.define.call import OPTIONS, bind, hint_of, holds_handle, mapped_over, stands_for, user_line
from headrace.define.handle import UNKNOWN, Handle, named_fields
from headrace.define.ports import Resolver
from headrace.define.secret import Secret
from headrace.define.stage import StageFunction
from headrace.define.type_check import element, fits, misfit, shown
from headrace.errors import CodecError, EdgeTypeError, TraceError, UsageError
from headrace.spec import graph
from headrace.spec.graph import Arg, Const, Many, Node, Out
from headrace.spec.stage import Stage

CHUNK = 100
"""The number of nodes that are passed on together. The driver reads them while tracing goes on."""
_SHAPES: dict[type, Literal["list", "tuple", "dict"]] = {list: "list", tuple: "tuple", dict: "dict"}


class Trace:
    """One trace of one pipeline. It gathers nodes and passes them to the resolver in chunks."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._stages: dict[str, Stage] = {}
        self._new_stages: list[Stage] = []
        self._nodes: list[Node] = []
        self._calls: dict[str, int] = {}
        self.pipelines: list[str] = []

    def call(self, stage: StageFunction[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Handle:
        """Add a task for a stage call; return a handle to its output."""
        options = {name: kwargs.pop(name) for name in OPTIONS if name in kwargs}
        return self._add(stage, args, kwargs, options, mapped=False)

    def map(
        self, stage: StageFunction[..., Any], args: Sequence[Any], kwargs: dict[str, Any], options: dict[str, Any]
    ) -> Handle:
        """Add a mapped task; return a handle to the list of its outputs."""
        return self._add(stage, args, kwargs, options, mapped=True)

    def flush(self) -> None:
        """Pass the stages and nodes gathered so far to the resolver."""
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
        _ask(stage, dict(bound), over, line)
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
        return Handle(Out(node.name), list[hint] if mapped else hint, declared.name, declared.kind)  # type: ignore[valid-type]

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
        """Return the names of the arguments to map over. Each of them is a list, and its parameter takes one element of
        the list.

        Raises:
            TraceError: there is no such list, or the lists differ in length.
        """
        over = mapped_over(stage, bound)
        if not over:
            raise TraceError(
                f"`{stage.declaration.name}.map()` was given no list to map over ({line})",
                hint="give a list, or a handle to a stage that returns one, for a parameter that takes an element",
            )
        lengths = {name: len(value) for name, value in bound if name in over and not isinstance(value, Handle)}
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"`{name}` has {length}" for name, length in lengths.items())
            raise TraceError(
                f"the lists that `{stage.declaration.name}` maps over differ in length: {listed} ({line})",
                hint="make the lists equally long; a value that all calls share needs no list",
            )
        return over

    def _check(self, stage: StageFunction[..., Any], name: str, value: Any, line: str, *, mapped: bool) -> None:
        """Raise an error if an argument doesn't fit the type of its parameter.

        Raises:
            EdgeTypeError: the argument doesn't fit. The message names the argument's type and the parameter's type.
        """
        wanted = hint_of(stage, name)
        if wanted is UNKNOWN:
            return
        if mapped and isinstance(value, Handle):
            given = element(value._headrace_hint)
            if given is not None and not fits(given, wanted):
                raise _edge_error(value, given, stage, name, wanted, line)
            return
        for each in value if mapped or name.startswith("*") else [value]:
            mismatch = misfit(each, wanted, stands_for)
            if mismatch is None:
                continue
            part, need = mismatch
            if isinstance(part, Handle):
                raise _edge_error(part, part._headrace_hint, stage, name, wanted, line, need)
            if hasattr(stage.function, "__headrace_version__"):  # its annotations can't be changed, and may be long
                named = f"`{name}` of `{stage.declaration.name}`"
                raise EdgeTypeError(f"{unfit(part, each, named)} ({line})", hint=to_give(part, need))
            takes = _takes(stage, name, wanted)
            inside = f", where its parts are `{shown(need)}`" if part is not each else ""
            raise EdgeTypeError(
                f"{takes}, but was given `{_brief(part)}`, a `{shown(type(part))}`{inside} ({line})",
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
            shape: Literal["list", "tuple", "dict"] = _SHAPES[type(value)]
            return Many(shape, tuple([self._arg(item, name, stage) for item in items]), keys)
        try:
            return Const(self._resolver.keep(value))
        except CodecError as error:
            raise CodecError(
                f"argument `{name}` of `{stage.declaration.name}` ({user_line()}): {error.message}", hint=error.hint
            ) from error


def _ask(stage: StageFunction[..., Any], bound: Mapping[str, Any], over: Sequence[str], line: str) -> None:
    """Call a ready-made stage's own check with the arguments that are known already; for a mapped task, with the
    arguments for each element.

    Raises:
        UsageError: the arguments can't be right.
    """
    lists = {name: bound[name] for name in over if not isinstance(bound[name], Handle)}
    for each in zip(*lists.values(), strict=True) if lists else [()]:
        try:
            stage.check({**bound, **dict(zip(lists, each, strict=True))})
        except UsageError as error:
            message = f"`{stage.declaration.name}` ({line}): {error.message}"
            raise UsageError(message, hint=error.hint) from error


def _takes(stage: StageFunction[..., Any], name: str, wanted: Any) -> str:
    return f"parameter `{name}` of `{stage.declaration.name}` takes `{shown(wanted)}`"


def _condition(when: Any, stage: str) -> Out | None:
    if when is None or when is True:
        return None
    if not isinstance(when, Handle):
        raise TraceError(
            f"`when=` of `{stage}` is {when!r} ({user_line()})",
            hint="give a handle to a boolean; for a value that is known while tracing, use a plain `if`",
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
            raise TraceError(
                f"`after=` of `{stage}` contains {handle!r} ({user_line()})",
                hint="give the results of stage calls (handles)",
            )
    return tuple(dict.fromkeys(handle._headrace_out.task for handle in handles))


def _allowance(count: Any, stage: str, *, mapped: bool) -> int:
    if count and not mapped:
        raise TraceError(f"`allow_failures=` was given to a plain call of `{stage}`", hint="it belongs to `.map()`")
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise TraceError(f"`allow_failures=` of `{stage}` is {count!r}", hint="give a whole number from 0")
    return count


def _edge_error(
    handle: Handle, given: Any, stage: StageFunction[..., Any], name: str, wanted: Any, line: str, part: Any = UNKNOWN
) -> EdgeTypeError:
    """Return the error for an output that doesn't fit a parameter, or doesn't fit `part` of the parameter's type. If
    fields of the output fit, the hint names them."""
    hint = "change one of the two annotations, or put a stage between them"
    fitting = [field for field, hint_of_field in (named_fields(given) or {}).items() if fits(hint_of_field, part)]
    giver, taker = handle._headrace_stage, stage.declaration.name
    if str(given) in (str(wanted), str(part)) and "__main__." in str(given):  # of equal names, yet not the same
        sides = [f"`{side}`" for side, kind in ((giver, given), (taker, wanted)) if _has_older_class(kind)]
        old = sides[0] if len(sides) == 1 else f"`{giver}` or `{taker}`"
        hint = f"a notebook has defined the class again, and {old} uses the older class: run the cell of {old} again"
    elif fitting and part is not UNKNOWN:
        hint = one_of_its_fields(fitting)
    return EdgeTypeError(
        f"`{giver}` gives `{shown(given)}`, but {_takes(stage, name, wanted)} ({line})",
        hint=hint,
    )


def _has_older_class(hint: Any) -> bool:
    """Return whether a type is an outdated class of a notebook, or has one as an argument. A class is outdated when the
    notebook has defined it again."""
    if args := get_args(hint):
        return any(map(_has_older_class, args))
    return isinstance(hint, type) and hint.__module__ == "__main__" and not is_importable(hint)


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
