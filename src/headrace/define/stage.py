"""`@stage`, which declares a plain function to be a stage, and `@ready`, which does so for Headrace's own stages."""

from __future__ import annotations

import functools
import inspect
import re
import typing
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Generic, Literal, ParamSpec, Protocol, TypeVar, overload

from msgspec.structs import replace

from headrace.define.argument_check import check_arguments, check_tables
from headrace.define.call import OPTIONS, awaited, check_no_handles, plain_map
from headrace.define.ports import declared as declared_around
from headrace.define.ports import tracing
from headrace.errors import DefinitionError, meant
from headrace.spec import stage as spec
from headrace.spec.code import NAMED, digest
from headrace.spec.duration import seconds
from headrace.spec.stage import Resources

P = ParamSpec("P")
R = TypeVar("R")
_GROUP = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
CHECK = "__headrace_check__"
"""The attribute of a ready-made stage's function that holds the check of the stage's arguments. The check is called
while a pipeline is traced."""
_CACHES: dict[bool | str, spec.Cache] = {True: "always", False: "never", "run": "run"}


class StageFunction(Generic[P, R]):
    """A stage. A call outside a pipeline calls the plain function. A call inside a pipeline adds a task to the graph.

    Every call also takes these arguments:

    - `when=`: a boolean handle. If its value is false, the task is skipped.
    - `after=`: handles. Their tasks must succeed first.
    - `always=True`: the task runs in every run, even if a task before it failed or was skipped. Earlier outputs are
      never reused.
    """

    def __init__(
        self,
        function: Callable[P, R],
        declaration: spec.Stage,
        declared: Mapping[str, Any],
        options: frozenset[str] = frozenset(),
    ) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.__headrace_function__ = function
        self.declaration = declaration
        self._declared = declared
        self._options = options

    @property
    def name(self) -> str:
        """The name of the stage's tasks."""
        return self.declaration.name

    @functools.cached_property
    def signature(self) -> inspect.Signature:
        """The function's signature."""
        return inspect.signature(self.function)

    @functools.cached_property
    def hints(self) -> dict[str, Any]:
        """The types of the parameters and of the output; empty if the annotations can't be evaluated."""
        try:
            return typing.get_type_hints(self.function)
        except Exception:  # noqa: BLE001  an annotation is user code: types that can't be read are not checked
            return {}

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def __call__(self, *args: Any, when: object, **kwargs: Any) -> R: ...
    @overload
    def __call__(self, *args: Any, after: object, **kwargs: Any) -> R: ...
    @overload
    def __call__(self, *args: Any, always: bool, **kwargs: Any) -> R: ...
    def __call__(self, *args: Any, **kwargs: Any) -> R:
        """Outside a pipeline, call the function. Inside one, add a task and return a handle to its output."""
        trace = tracing.get()
        if trace is not None:
            return typing.cast(R, trace.call(self._as_declared_around(), args, kwargs))
        check_no_handles(self, args, kwargs)
        for option in OPTIONS:
            kwargs.pop(option, None)
        if hasattr(self.function, "__headrace_version__"):
            check_tables(self.name, self.signature, self.hints, args, kwargs)
            check_arguments(self.name, self.signature, self.hints, args, kwargs)
            self._check_call(args, kwargs)
        return self.function(*args, **kwargs)

    def _check_call(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        try:
            arguments = self.signature.bind(*args, **kwargs).arguments
        except TypeError:
            return  # the call itself will raise Python's own error
        self.check(arguments)

    def check(self, given: Mapping[str, Any]) -> None:
        """Call a ready-made stage's own check with the arguments that are known already.

        `given` are the arguments by name; parameters that aren't given have their defaults. Arguments that a task will
        produce are left out. Stages without a check accept everything.

        Raises:
            UsageError: the arguments can't be right.
        """
        check = getattr(self.function, CHECK, None)
        if check is not None:
            parameters = self.signature.parameters.values()
            defaults = {each.name: each.default for each in parameters if each.default is not each.empty}
            known = {**defaults, **given}
            unread = getattr(self.function, "__headrace_unread__", ())
            check({name: value for name, value in known.items() if name in unread or not awaited(value)})

    def map(
        self,
        *args: Any,
        when: object = None,
        after: object = None,
        always: bool = False,
        allow_failures: int = 0,
        **kwargs: Any,
    ) -> list[R]:
        """Call the stage once for each element of the lists among the arguments, and return the list of its outputs.

        An argument is mapped over if it is a list and its parameter takes an element. If there are several lists, each
        call takes one element of each, so the lists must have the same length. Other arguments are passed to every
        call. The output of a task may be such a list, although its length isn't known yet. Up to `allow_failures`
        elements may fail; the output then lists the other elements' outputs only.
        """
        trace = tracing.get()
        if trace is None:
            return plain_map(self, args, kwargs)
        options = {"when": when, "after": after, "always": always, "allow_failures": allow_failures}
        return typing.cast(list[R], trace.map(self._as_declared_around(), args, kwargs, options))

    def with_options(self, **declared: Any) -> StageFunction[P, R]:
        """Return the same stage with other options: `with_options(resources=hr.Resources(gpu="1"), retries=2)`.

        The options are those of `@stage`. Options that aren't given keep their values. Except for `portable` and
        `environment`, options don't change the key, so both stages reuse each other's outputs.

        Raises:
            DefinitionError: there is no such option, or its value is invalid.
        """
        check_known("with_options", declared)
        together = {**self._declared, **declared}
        declaration = _declaration(self.function, **together)
        # A worker reads the function's name before the `#`. The digest after it distinguishes the declarations.
        written = repr(declaration).replace(", approval=None, within_s=None", "")  # as earlier releases wrote it
        unique = f"{declaration.function}#{digest(written, size=4)}"
        return StageFunction(
            self.function, replace(declaration, function=unique), together, self._options.union(declared)
        )

    def _as_declared_around(self) -> StageFunction[P, R]:
        """Return the stage with the options of the `hr.options` blocks around its call. Options that were set by
        `with_options` are kept."""
        around = {name: value for name, value in (declared_around.get() or {}).items() if name not in self._options}
        return self.with_options(**around) if around else self

    def __get__(self, instance: object, owner: type | None = None) -> StageFunction[P, R]:
        """Return the stage itself. Unlike a method, it isn't bound to an instance.

        Because of this method, `help()` treats a stage as a function and shows its signature.
        """
        return self

    def __repr__(self) -> str:
        return f"<stage {self.declaration.function}>"


class Declares(Protocol):
    """The type of the decorator that `@stage(...)` returns.

    For an async function, a call of the stage has the type that the function returns when awaited.
    """

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> StageFunction[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> StageFunction[P, R]: ...


@overload
def stage(function: Callable[P, Coroutine[Any, Any, R]], /) -> StageFunction[P, R]: ...
@overload
def stage(function: Callable[P, R], /) -> StageFunction[P, R]: ...
@overload
def stage(
    *,
    kind: spec.Kind = "stage",
    resources: Resources | None = None,
    retries: int = 0,
    backoff: str | float = 1.0,
    timeout: str | float | None = None,
    cache: bool | Literal["run"] = True,
    isolation: spec.Isolation = "warm",
    portable: bool = False,
    environment: str | None = None,
    approval: str | None = None,
    within: str | float | None = None,
    name: str | None = None,
) -> Declares: ...
def stage(function: Callable[..., Any] | None = None, /, **declared: Any) -> Any:
    """Declare a function to be a stage.

    Args:
        kind: the stage's role: `ingest`, `prepare`, `train`, `evaluate`, `deploy`, `monitor`, or `stage` for any other.
        resources: the resources that one attempt needs; by default one cpu.
        retries: how often a failed task is tried again.
        backoff: the wait before the second attempt, in seconds or text such as `"30s"`. It doubles for each further
            attempt.
        timeout: the longest time that one attempt may take, in seconds or text such as `"6h"`; None means no limit.
        cache: `True`: an output is reused as long as nothing that determines it changes. `"run"`: an output is reused
            within its run only. `False`: an output is never reused.
        isolation: `"fresh"` runs each attempt in a new process; with `"warm"`, a process may run many attempts.
        portable: True if the output is the same on every platform.
        environment: a group or extra of the project's lock that the stage needs besides the project's dependencies. The
            stage's attempts run in an environment that has the group and these dependencies. Stages that don't name the
            group run without it.
        approval: who must approve before the stage runs, such as `"risk-team"`. The task then waits, and costs nothing,
            until somebody approves it (`headrace approve`) or rejects it. Whoever started the run, or resumed it with
            new code, can't approve it.
        within: how long the task waits for the approval, in seconds or text such as `"3d"`; None means no limit. After
            that, the task counts as rejected.
        name: the name of the stage's tasks; by default the function's name.

    Raises:
        DefinitionError: an option is unknown or invalid, or `function` isn't a function.
    """
    check_known("@stage", declared)
    if function is None:
        return lambda function: _declare(function, **declared)
    return _declare(function, **declared)


def check_known(where: str, declared: Mapping[str, Any], *, without: Sequence[str] = ()) -> None:
    """Raise an error if `declared` has a name that isn't an option of stages.

    `where` is the call, for the message. `without` are options that this call doesn't take.

    Raises:
        DefinitionError: there is no such option.
    """
    known = [each for each in _DECLARED if each not in without]
    strange = [each for each in declared if each not in known]
    if strange:
        raise DefinitionError(
            f"`{where}` takes no `{strange[0]}`",
            hint=meant(strange[0], known, f"it takes {', '.join(known)}"),
        )


def _declare(function: Callable[..., Any], **declared: Any) -> StageFunction[..., Any]:
    if isinstance(function, StageFunction):
        raise DefinitionError(
            f"`{function.declaration.name}` is a stage already",
            hint="decorate the function once; `.with_options(...)` changes its options",
        )
    declaration = _declaration(function, **declared)
    _check_module(function, declaration.name)
    if declared.get("name") is not None:
        _mark_named(function)
    return StageFunction(function, declaration, declared)


def _mark_named(function: Any) -> None:
    """Mark a function whose stage was given a name by `name=`, and the functions that it wraps. The names of marked
    functions aren't part of any key."""
    while function is not None:
        inside = getattr(function, "__dict__", {})
        inside[NAMED] = True
        function = inside.get("__wrapped__")


def _declaration(
    function: Callable[..., Any],
    *,
    kind: spec.Kind = "stage",
    resources: Resources | None = None,
    retries: int = 0,
    backoff: str | float = 1.0,
    timeout: str | float | None = None,
    cache: bool | Literal["run"] = True,
    isolation: spec.Isolation = "warm",
    portable: bool = False,
    environment: str | None = None,
    approval: str | None = None,
    within: str | float | None = None,
    name: str | None = None,
) -> spec.Stage:
    if not inspect.isroutine(function):
        raise DefinitionError(f"`{function!r}` is not a function", hint="`@stage` goes above a `def`")
    called: Any = getattr(function, "__name__", "stage") if name is None else name
    if not isinstance(called, str) or not (called.isidentifier() or called == "<lambda>"):
        raise DefinitionError(f"a stage can't be called {called!r}", hint="use letters, digits and `_`")
    _check_declared(called, cache=cache, resources=resources, environment=environment, isolation=isolation)
    if inspect.isgeneratorfunction(function) and "return" not in function.__annotations__:
        raise DefinitionError(
            f"stage `{called}` yields, but its annotation doesn't say what",
            hint="annotate it `-> Iterator[pa.RecordBatch]`",
        )
    parameters = _parameters(function, called)
    return spec.Stage(
        name=called.replace("<lambda>", "lambda"),
        function=spec.function_name(function.__module__, getattr(function, "__qualname__", called)),
        kind=kind,
        resources=Resources() if resources is None else resources,
        retries=_whole(retries, called),
        backoff_s=seconds(backoff, name="backoff"),
        timeout_s=None if timeout is None else seconds(timeout),
        cache=_CACHES[cache],
        isolation=isolation,
        portable=bool(portable),
        environment=environment,
        defaults=tuple(p.name for p in parameters if p.default is not inspect.Parameter.empty),
        approval=_who(approval, called),
        within_s=None if within is None else seconds(within, name="within"),
    )


def _check_declared(called: str, *, cache: Any, resources: Any, environment: Any, isolation: Any) -> None:
    """Raise an error if one of these options has an invalid value.

    `called` is the stage's name, for the message.

    Raises:
        DefinitionError: a value is invalid. The message names the stage and the option.
    """
    if cache not in (True, False, "run"):
        raise DefinitionError(f"stage `{called}` has cache={cache!r}", hint='give True, False or "run"')
    if not isinstance(resources, Resources | None):
        raise DefinitionError(
            f"stage `{called}` has resources={resources!r}", hint="give `hr.Resources(cpu=4, memory_gib=8)`"
        )
    if environment is not None and not (isinstance(environment, str) and _GROUP.fullmatch(environment)):
        raise DefinitionError(
            f"stage `{called}` has environment={environment!r}", hint="name a group or an extra of the project's lock"
        )
    if isolation not in ("warm", "fresh"):
        raise DefinitionError(f"stage `{called}` has isolation={isolation!r}", hint='give "warm" or "fresh"')


_DECLARED = tuple(
    name for name, each in inspect.signature(_declaration).parameters.items() if each.kind is each.KEYWORD_ONLY
)
"""The names of the options of `@stage`."""


def _who(approval: object, name: str) -> str | None:
    if approval is not None and not isinstance(approval, str):
        raise DefinitionError(f"stage `{name}` has approval={approval!r}", hint="say who approves it: 'risk-team'")
    return approval


def _whole(retries: object, name: str) -> int:
    if isinstance(retries, bool) or not isinstance(retries, int):
        raise DefinitionError(f"stage `{name}` has retries={retries!r}", hint="give a whole number from 0")
    return retries


def _parameters(function: Callable[..., Any], name: str) -> Sequence[inspect.Parameter]:
    parameters = list(inspect.signature(function).parameters.values())
    for parameter in parameters:
        if parameter.name in OPTIONS:
            raise DefinitionError(
                f"stage `{name}` has a parameter `{parameter.name}`, which is reserved in every stage call",
                hint=f"rename the parameter; reserved are {', '.join(OPTIONS)}",
            )
    return parameters


def _check_module(function: Callable[..., Any], name: str) -> None:
    """Raise an error if the function's module already has a stage with this name. A second stage with the same name is
    allowed in a notebook, since a cell may be run again, and in a module that is loaded again.

    Raises:
        DefinitionError: two stages in a file have the same name.
    """
    space = getattr(function, "__globals__", {})
    qualname = getattr(function, "__qualname__", "")
    before = space.get(qualname)
    # A module that is loaded again keeps its globals, but gets a new `__spec__`. So the spec holds the names.
    declared = getattr(space.get("__spec__"), "__dict__", {}).setdefault("__headrace_stages__", set())
    may_be_older = space.get("__spec__") is not None and qualname not in declared
    declared.add(qualname)
    if may_be_older or "__file__" not in space:
        return
    if isinstance(before, StageFunction) and before.__module__ == function.__module__:
        raise DefinitionError(
            f"module `{function.__module__}` has two stages `{name}`, at lines"
            f" {before.function.__code__.co_firstlineno} and {function.__code__.co_firstlineno}",
            hint="give one of them another name",
        )


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
    """Declare a ready-made stage, with the options of `@stage`.

    The code of Headrace itself, and the names of its modules, are in no key. The key of a ready-made stage has the
    stage's name and version instead.

    Args:
        name: the stage's name in `headrace.stages`. It never changes.
        version: a number that is raised whenever the stage returns another output for the same inputs.
        on: the modules that the stage uses. The versions of their distributions are part of the key.
        unread: parameters whose values the stage doesn't read. The stage gets None for these parameters;
            `attempt().ref()` returns their artifacts, and `attempt().load()` the value of one.
        check: a function that is called while a pipeline is traced, before any task runs. The function gets the
            arguments that are known then, with defaults. Values that a task will produce are left out, except handles
            for `unread` parameters. The function raises a `UsageError` if the arguments can't be right.
        declared: the options of `@stage`.
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
