"""Options of ready-made stages. Each option is declared once, as a field of a noun (a frozen struct), with its type,
default, check and docs.

    class Training(Options, frozen=True, kw_only=True):
        epochs: Annotated[int, Option("how many times the table is read.", whole(1))] = 10

    class Call(Training, frozen=True):
        table: Annotated[pa.Table, Option("the rows to learn from.")]

    @takes(Call)
    def fit(call: Call) -> Model: ...

Users then call `fit(table, epochs=3)`. The function's signature, help and errors are made from the noun. Type checkers
see that signature too.
"""

from __future__ import annotations

import functools
import inspect
import textwrap
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, ParamSpec, TypeVar

from headrace.define.call import OPTIONS, user_line
from headrace.define.handle import Handle
from headrace.define.stage import StageFunction
from headrace.errors import TraceError, UsageError, meant
from headrace.spec.noun import Noun
from headrace.spec.stage import Resources

P = ParamSpec("P")
N = TypeVar("N")
R = TypeVar("R")
Check = Callable[[str, Any], None]
"""A function that is called with an option's name and a value, and raises a UsageError if the value is bad."""


class Option(NamedTuple):
    """The declaration of an option, beside its type and default.

    `doc` is the option's line in the docs. `check` raises for bad values. If the type allows None, None is accepted
    without a check. If the type is a `Literal`, only its values are accepted. `before` names another option, and this
    option is listed right before that one. Without `before`, the options of a noun are listed before those of the noun
    that it extends. `later` is True for an option that was added when results of the stage already existed. If such an
    option has its default value, it is left out of the task's arguments, so that the keys of these results stay the
    same.
    """

    doc: str
    check: Check | None = None
    before: str = ""
    later: bool = False


class Declared(NamedTuple):
    """An option that is a field of a noun (a frozen struct): its declaration, and its parameter in the signature."""

    option: Option
    parameter: inspect.Parameter

    @property
    def type(self) -> Any:
        """The type of the option's values."""
        return self.parameter.annotation

    def is_left_out(self, value: Any) -> bool:
        """Return whether `value` is left out of a task's arguments. The default of a `later` option is left out,
        because the option didn't exist when older results were made."""
        return self.option.later and not isinstance(value, Handle) and bool(value == self.parameter.default)

    def refuse(self, name: str, value: Any) -> None:
        """Raise if a value is invalid for this option.

        Raises:
            UsageError: the value is invalid; the hint names valid ones.
        """
        types = (self.type, *typing.get_args(self.type))
        if value is None and type(None) in types:
            return
        words = next((typing.get_args(each) for each in types if typing.get_origin(each) is Literal), ())
        if words and value not in words:
            raise UsageError(f"`{name}` is {value!r}", hint=f"give one of {', '.join(words)}")
        if self.option.check is not None:
            self.option.check(name, value)


@functools.cache
def declared(noun: Any) -> dict[str, Declared]:
    """Return the options of a noun by name, in the order of the signature. If a subclass declares a field again without
    an `Option`, the field's earlier `Option` stays valid."""
    options: dict[str, Option] = {}
    types: dict[str, Any] = {}
    order: list[str] = []
    for cls in [each for each in reversed(noun.__mro__) if each is not Options and issubclass(each, Options)]:
        own = inspect.get_annotations(cls, eval_str=True)
        new = [name for name in own if name not in options]
        for name, hint in own.items():
            said = [each for each in getattr(hint, "__metadata__", ()) if isinstance(each, Option)]
            options[name] = said[0] if said else options[name]
            types[name] = hint.__origin__ if said else hint
        order[:0] = [name for name in new if not options[name].before]
        for name in new:
            if options[name].before:
                order.insert(order.index(options[name].before), name)
    takes = inspect.signature(noun).parameters
    order.sort(key=lambda name: takes[name].kind)  # positional arguments come first
    return {name: Declared(options[name], takes[name].replace(annotation=types[name])) for name in order}


class Options(Noun, frozen=True):
    """The base class of nouns (frozen structs) whose fields are options. Values are checked when a noun is created.
    If a value is the output of another stage, it is checked as soon as the output exists."""

    def __post_init__(self) -> None:
        refuse(type(self), {name: getattr(self, name) for name in self.__struct_fields__})


def refuse(noun: Any, given: Mapping[str, Any]) -> None:
    """Raise if a given value is invalid for its option. Handles to outputs of other stages aren't checked.

    Raises:
        UsageError: a value is invalid; the message names the first invalid value.
    """
    for name, each in declared(noun).items():
        if name in given and not isinstance(given[name], Handle):
            each.refuse(name, given[name])


class Called(Options, frozen=True, kw_only=True):
    """The options of a call of any stage, beside the stage's arguments."""

    resources: Annotated[
        Resources | None, Option('what an attempt needs, on each of its nodes; `hr.Resources(gpu="1")` for a GPU.')
    ] = None
    when: Annotated[Any, Option("a handle to a boolean, which must be true for the task to run.")] = None
    after: Annotated[Any, Option("handles to tasks that must succeed first.")] = None
    always: Annotated[bool, Option("run even if an earlier task failed or was skipped.")] = False


class Retried(Called, frozen=True, kw_only=True):
    """The options of a call of a stage whose attempts may fail or take long."""

    retries: Annotated[int, Option("how many more attempts a failed task gets.", before="when")] = 0
    timeout: Annotated[str | float | None, Option("the longest time that an attempt may take.", before="when")] = None


DECLARED = ("resources", "retries", "timeout")
"""Options that say how a task's attempts are run. They aren't arguments of the task."""


def arguments(call: Called) -> dict[str, Any]:
    """Return the arguments of the task that a call makes, by name."""
    own = {name: each for name, each in declared(type(call)).items() if name not in (*DECLARED, *OPTIONS)}
    return {name: value for name, each in own.items() if not each.is_left_out(value := getattr(call, name))}


def add_task(stage: StageFunction[..., R], call: Called, given: Mapping[str, Any]) -> R:
    """Call `stage` with the arguments `given` and with the options in `call`; return the stage's output."""
    made = stage.with_options(**{name: getattr(call, name) for name in DECLARED if hasattr(call, name)})
    around = {"when": call.when, "after": call.after, "always": call.always or None}
    return made(**given, **{name: value for name, value in around.items() if value is not None})


def takes(noun: Callable[P, N]) -> Callable[[Callable[[N], R]], Callable[P, R]]:
    """Return a decorator for a function whose only parameter is a `noun`. The decorator returns the function that users
    call: this new function has the fields of `noun` as parameters.

    In the new function's docs, the list of options comes before the list of errors.
    """
    options = declared(noun)

    def wrap(function: Callable[[N], R]) -> Callable[P, R]:
        gives = typing.get_type_hints(function)["return"]
        signature = inspect.Signature([each.parameter for each in options.values()], return_annotation=gives)

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            return function(noun(**_bound(function.__name__, signature, args, kwargs)))  # type: ignore[call-arg]

        made: Any = call
        made.__signature__ = signature
        made.__annotations__ = {name: each.type for name, each in options.items()} | {"return": gives}
        made.__doc__ = _doc(inspect.getdoc(function) or "", options)
        return call

    return wrap


def _bound(name: str, signature: inspect.Signature, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of `args` and `kwargs` by the names of their parameters.

    Raises:
        TraceError: a required argument is missing, or there is no parameter for an argument.
    """
    known = list(signature.parameters)
    strange = [each for each in kwargs if each not in known]
    if strange:
        raise TraceError(
            f"`{name}` has no parameter `{strange[0]}` ({user_line()})",
            hint=meant(strange[0], [*known, *OPTIONS], f"it takes {', '.join(known)}"),
        )
    try:
        return signature.bind(*args, **kwargs).arguments
    except TypeError as error:
        raise TraceError(f"`{name}`: {error} ({user_line()})", hint=f"it takes {', '.join(known)}") from None


def _doc(text: str, options: Mapping[str, Declared]) -> str:
    lines = ["Args:"]
    for name, each in options.items():
        lines += textwrap.wrap(f"{name}: {each.option.doc}", 116, initial_indent=" " * 4, subsequent_indent=" " * 8)
    head, raises, rest = text.partition("Raises:\n")
    return "\n".join([head.rstrip(), "", *lines, *(["", f"{raises}{rest}"] if raises else [""])])


def whole(least: int) -> Check:
    """Return a check that a value is a whole number, at least `least`."""

    def check(name: str, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise UsageError(f"`{name}` is {value!r}", hint=f"give a whole number from {least}")

    return check


def above_0(name: str, value: Any) -> None:
    """A check that a value is a number above 0. It is used for options that may be None.

    Raises:
        UsageError: the value isn't a number above 0.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise UsageError(f"`{name}` is {value!r}", hint="give a number above 0, or None")
