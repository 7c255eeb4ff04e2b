"""`@pipeline`: a plain function that wires stages."""

from __future__ import annotations

import datetime as dt
import enum
import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, ParamSpec, Protocol, cast, overload

import msgspec

from headrace.define.ports import Tracer, resolver, running, tracing
from headrace.define.type_check import shown
from headrace.errors import DefinitionError, Interrupted, RefusedError, TraceError, UsageError, listed, meant
from headrace.spec.policy import OURS

P = ParamSpec("P")


class Launcher(Protocol):
    """The port by which a pipeline's `run` and `plan` methods start a run or make a plan."""

    def run(self, pipeline: PipelineFunction[Any], params: Mapping[str, object]) -> Any: ...
    def plan(self, pipeline: PipelineFunction[Any], params: Mapping[str, object]) -> Any: ...


class Launching:
    """The place where a pipeline's `run` and `plan` methods find the `Launcher`. The package's facade puts the launcher
    there."""

    launcher: Callable[[], Launcher] | None = None


launching = Launching()


_INTERRUPTED = {
    "run": "interrupted: `hr.runs()` shows whether a run has begun",
    "plan": "interrupted before the plan was made",
}
"""What an interrupt means, by the method of a pipeline that was interrupted. A run that has begun tells it itself."""


class PipelineFunction(Generic[P]):
    """A pipeline. The method `run` runs it. If a pipeline is called inside another one, its stages are added to the
    other pipeline."""

    def __init__(self, function: Callable[P, Any], name: str, triggers: Sequence[object]) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.__headrace_function__ = function
        self.name = name
        self.triggers = tuple(triggers)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Add this pipeline's stages to the pipeline that is being traced, and return what the function returns.

        Raises:
            TraceError: no pipeline is being traced, or this pipeline calls itself.
        """
        trace = tracing.get()
        if trace is None:
            raise TraceError(
                f"pipeline `{self.name}` was called like a function",
                hint=f"`{self.name}.run(...)` runs it; its stages can be called as plain functions",
            )
        if self.name in trace.pipelines:
            path = " -> ".join([*trace.pipelines, self.name])
            raise TraceError(
                f"a cycle of pipelines: {path}",
                hint="a pipeline can't call itself, directly or through another pipeline",
            )
        trace.pipelines.append(self.name)
        try:
            return self.function(*args, **kwargs)
        finally:
            trace.pipelines.pop()

    def run(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Run the pipeline with these parameters, wait until it ends, and return the `Run`.

        Progress is shown in a notebook or a terminal.

        Raises:
            RunFailed: a task failed. The exception holds the run.
            UsageError: a parameter is missing, unknown or invalid.
        """
        return self._launch("run", args, kwargs)

    def plan(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Return the plan of a run with these parameters, without running anything.

        Raises:
            UsageError: a parameter is missing, unknown or invalid.
        """
        return self._launch("plan", args, kwargs)

    def _launch(self, what: str, args: Sequence[object], kwargs: Mapping[str, object]) -> Any:
        """Call the launcher's `run` or `plan`, as `what` says, and return its result.

        An error in the user's arguments, settings or code is raised without a traceback through Headrace's own code,
        which wouldn't help the user. The same holds for an interrupt by the user.
        """
        try:
            self._refuse_inside(what)
            return getattr(_launcher(), what)(self, bound(self, args, kwargs))
        except (UsageError, RefusedError) as error:
            raise error.with_traceback(None)  # noqa: B904  it is the same error
        except KeyboardInterrupt as error:
            told = error if isinstance(error, Interrupted) else Interrupted(_INTERRUPTED[what])
            raise told.with_traceback(None) from None

    def _refuse_inside(self, what: str) -> None:
        """Raise an error in a tracer or a worker: these processes can't reach the ledger or the project.

        `what` is `run` or `plan`, the method that was called.

        Raises:
            TraceError: the call is inside a pipeline.
            UsageError: the call is inside a stage, or in a module that is being imported.
        """
        if tracing.get() is not None:
            raise TraceError(
                f"`{self.name}.{what}()` was called inside a pipeline",
                hint=f"`{self.name}(...)` wires its stages into the pipeline that calls it",
            )
        if resolver.get() is not None:
            raise UsageError(
                f"`{self.name}.{what}()` was called while its module was imported",
                hint='put it under `if __name__ == "__main__":`, since workers import the module too',
            )
        if running.get() is not None:
            raise UsageError(
                f"`{self.name}.{what}()` was called inside a stage",
                hint="call it from a pipeline: a stage is one task, and can't drive others",
            )

    def trace(self, trace: Tracer, raw: Sequence[tuple[str, str]]) -> None:
        """Call the pipeline's function so that `trace` records its stage calls.

        `raw` are the parameters: pairs of a name and the value as the user wrote it.
        """
        params = convert(self, raw)
        token = tracing.set(trace)
        try:
            cast(Any, self)(**params)
            trace.flush()
        finally:
            tracing.reset(token)

    def __repr__(self) -> str:
        return f"<pipeline {self.name}>"


@overload
def pipeline(function: Callable[P, Any], /) -> PipelineFunction[P]: ...
@overload
def pipeline(
    *, name: str | None = None, triggers: Sequence[object] = ()
) -> Callable[[Callable[P, Any]], PipelineFunction[P]]: ...
def pipeline(function: Callable[..., Any] | None = None, /, **declared: Any) -> Any:
    """Declare a function to be a pipeline.

    Args:
        name: the pipeline's name; by default the function's name.
        triggers: reasons to start the pipeline automatically.

    Raises:
        DefinitionError: `function` isn't a plain function.
    """
    if function is None:
        return lambda function: _declare(function, **declared)
    return _declare(function, **declared)


def _declare(
    function: Callable[..., Any], *, name: str | None = None, triggers: Sequence[object] = ()
) -> PipelineFunction[Any]:
    if not inspect.isfunction(function):
        raise DefinitionError(f"`{function!r}` is not a function", hint="`@pipeline` goes above a `def`")
    kinds = inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction
    if any(is_one(function) for is_one in kinds):
        raise DefinitionError(
            f"pipeline `{function.__name__}` is asynchronous or a generator",
            hint="make the pipeline a plain `def` without `yield`; its stages may be asynchronous, or generators",
        )
    return PipelineFunction(function, name or function.__name__, triggers)


def bound(pipeline: PipelineFunction[Any], args: Sequence[object], kwargs: Mapping[str, object]) -> dict[str, str]:
    """Return the arguments of a Python call as texts by parameter name, in the form that `convert` reads.

    Raises:
        UsageError: a parameter is missing, unknown, given twice or invalid.
    """
    names = list(inspect.signature(pipeline.function).parameters)
    if len(args) > len(names):
        raise UsageError(
            f"pipeline `{pipeline.name}` takes {len(names)} parameters and was given {len(args)}",
            hint=_has(inspect.signature(pipeline.function)),
        )
    named = dict(zip(names, args, strict=False))
    twice = named.keys() & kwargs
    if twice:
        raise UsageError(
            f"`{min(twice)}` of pipeline `{pipeline.name}` is given twice: by position and by name",
            hint="leave one of them out",
        )
    texts = {name: _text(pipeline.name, name, value) for name, value in {**named, **kwargs}.items()}
    convert(pipeline, list(texts.items()), _in_python)
    return texts


def _text(pipeline: str, name: str, value: object) -> str:
    if isinstance(value, str):
        return value
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError):
        raise UsageError(
            f"`{name}` of pipeline `{pipeline}` is a `{type(value).__name__}`: parameters are plain values",
            hint="pass the plain values that it is made from, and make it in a stage",
        ) from None


def convert(
    pipeline: PipelineFunction[Any],
    raw: Sequence[tuple[str, str]],
    written: Callable[[str, Any], str] | None = None,
) -> dict[str, Any]:
    """Return a pipeline's parameters, converted from text to the types of its annotations.

    `written` takes a parameter's name and type, and returns an example of how to give the parameter, for the hint of an
    error. By default the example is a command line option.

    Raises:
        UsageError: a parameter is missing, unknown or invalid.
    """
    written = written or _as_option
    signature = inspect.signature(pipeline.function)
    try:
        hints = typing.get_type_hints(pipeline.function)
    except Exception as error:  # an annotation is user code
        raise UsageError(
            f"the annotations of pipeline `{pipeline.name}` can't be read: {error}",
            hint="import the names that they use",
        ) from error
    values: dict[str, Any] = {}
    for name, text in raw:
        if name not in signature.parameters:
            hint = meant(name, signature.parameters, _has(signature))
            raise UsageError(f"pipeline `{pipeline.name}` has no parameter `{name}`", hint=hint)
        default = signature.parameters[name].default
        values[name] = _value(pipeline.name, name, text, hints.get(name, Any), default, written)
    missing = [
        parameter.name
        for parameter in signature.parameters.values()
        if parameter.default is inspect.Parameter.empty and parameter.name not in values
    ]
    if missing:
        raise UsageError(
            f"pipeline `{pipeline.name}` needs `{missing[0]}`",
            hint=f"give it as `{written(missing[0], hints.get(missing[0], Any))}`",
        )
    return values


def _value(pipeline: str, name: str, text: str, hint: Any, default: Any, written: Callable[[str, Any], str]) -> Any:
    if hint is Any and default not in (inspect.Parameter.empty, None):
        hint = type(default)
    if hint is str or hint is Any:
        return text
    try:
        return msgspec.convert(text, hint, strict=False)
    except (msgspec.ValidationError, TypeError):
        pass
    inner = _inner(hint)
    try:
        if inner in (dt.datetime, dt.time):
            return inner.fromisoformat(text)  # it reads more forms of ISO 8601, such as a time without seconds
        return msgspec.json.decode(text, type=hint)
    except (msgspec.DecodeError, TypeError, ValueError):
        alone = ": an option without a value is `true`" if text == "true" else ""
        raise UsageError(
            f"`{name}` of pipeline `{pipeline}` is {_brief(text)}, which can't be read as `{shown(inner)}`",
            hint=f"give it as `{written(name, inner)}`{alone}",
        ) from None


def _inner(hint: Any) -> Any:
    """Return `X` for the type `X | None`, and every other type unchanged."""
    args = [each for each in typing.get_args(hint) if each is not types.NoneType]
    is_optional = typing.get_origin(hint) in (typing.Union, types.UnionType) and len(args) == 1
    return args[0] if is_optional else hint


def _brief(text: str) -> str:
    return repr(text) if len(text) <= 60 else f"{text[:57]!r}..."


def _as_option(name: str, hint: Any) -> str:
    """Return an example of a parameter on a command line: `--month 3`.

    If the command has an option of its own with the parameter's name, the example is `--param NAME=VALUE`.
    """
    if name in OURS:
        return f"--param {name}={_example(hint)}"
    return f"--{name.replace('_', '-')} {_example(hint)}"


def _in_python(name: str, hint: Any) -> str:
    """Return an example of a parameter in a Python call: `month=3`."""
    inner = _inner(hint)
    if inner is bool:
        return f"{name}=True` or `{name}=False"
    example = _example(inner).strip("'")
    is_text = inner in (dt.date, dt.datetime) or typing.get_origin(inner) is typing.Literal
    return f'{name}="{example}"'.replace("` or `", f'"` or `{name}="') if is_text else f"{name}={example}"


def _example(hint: Any) -> str:
    """Return an example of a value of this type on a command line; for enums and literals, all values."""
    hint = _inner(hint)
    if typing.get_origin(hint) is typing.Literal:
        return "` or `".join(str(each) for each in typing.get_args(hint))
    if isinstance(hint, enum.EnumMeta):
        return "` or `".join(str(each.value) for each in typing.cast("Iterable[enum.Enum]", hint))
    origin = typing.get_origin(hint) or hint
    return _EXAMPLES.get(origin, "VALUE") if isinstance(origin, type) else "VALUE"


_EXAMPLES: dict[Any, str] = {
    bool: "true` or `false",
    int: "3",
    float: "0.5",
    list: "'[1, 2]'",
    tuple: "'[1, 2]'",
    set: "'[1, 2]'",
    dict: """'{"a": 1}'""",
    dt.date: "2025-12-31",
    dt.datetime: "2025-12-31T08:00:00",
}


def _has(signature: inspect.Signature) -> str:
    return f"it has {listed(signature.parameters)}" if signature.parameters else "it has none"


def _launcher() -> Launcher:
    if launching.launcher is None:
        raise UsageError(
            "the part of Headrace that runs pipelines isn't loaded",
            hint="use `import headrace as hr` and `@hr.pipeline`",
        )
    return launching.launcher()
