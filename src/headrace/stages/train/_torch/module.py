"""How to make a PyTorch module, as data that can be stored: the name of the class or function that makes the module,
and the arguments."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Mapping
from typing import Any

from headrace.errors import UsageError
from headrace.spec.noun import Noun


class Named(Noun, frozen=True):
    """A class or function that is an argument of a model, such as `torch.nn.ReLU`. `name` is its `module:qualname`."""

    name: str


class Made(Noun, frozen=True):
    """How to make a PyTorch module again: the `module:qualname` of a class or function (`factory`), and its
    arguments."""

    factory: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def module(self) -> Any:
        """Return a new module, with initial weights.

        Raises:
            UsageError: the class or function can't be imported any more, or returns no module.
        """
        return self.module_of(_found(self.factory))

    def module_of(self, model: Any) -> Any:
        """Return a new module, made by `model`. The caller has imported `model` already: it is the class or function
        that `factory` names."""
        args = [_found(each.name) if isinstance(each, Named) else each for each in self.args]
        kwargs = {key: _found(each.name) if isinstance(each, Named) else each for key, each in self.kwargs.items()}
        while isinstance(model, functools.partial):
            model = model.func  # the partial's arguments are in `args` and `kwargs`
        _check_call(model, self.factory, args, kwargs)
        module = model(*args, **kwargs)
        if not _is_module(module):
            raise UsageError(
                f"`{self.factory}` gives `{type(module).__name__}`, not a `torch.nn.Module`",
                hint="give `model=` a class that inherits from `torch.nn.Module`, or a function that makes one",
            )
        return module


def made_by(model: Any, *, inputs: int | None, outputs: int) -> Made:
    """Return how a model is made. A parameter `inputs` of the model gets the number of features, and a parameter
    `outputs` gets the number of scores."""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    while isinstance(model, functools.partial):
        args, kwargs = [*model.args, *args], {**model.keywords, **kwargs}
        model = model.func
    check_maker(model)
    known = _parameters(model)
    for name, value in (("inputs", inputs), ("outputs", outputs)):
        if name in known and name not in kwargs and value is not None:
            kwargs[name] = value
    return Made(
        factory=_name(model),
        args=tuple(_plain(each) for each in args),
        kwargs={k: _plain(v) for k, v in kwargs.items()},
    )


def check_maker(model: Any) -> None:
    """Check that `model` can be called to make a module.

    Raises:
        UsageError: it can't be called, or is a module already.
    """
    while isinstance(model, functools.partial):
        model = model.func
    if not callable(model) or (not isinstance(model, type) and _is_module(model)):
        raise UsageError(
            f"`model` is a `{type(model).__name__}`",
            hint="give the class or function that makes it, not the module: `model=Net`, or `partial(Net, width=64)`",
        )


def _name(code: Any) -> str:
    return f"{code.__module__}:{code.__qualname__}"


def _is_module(value: Any) -> bool:
    """Return whether a value is a PyTorch module. This compares the names of the value's type and of all its base
    classes, since importing PyTorch would take 2 s."""
    return any(f"{each.__module__}.{each.__name__}" == "torch.nn.modules.module.Module" for each in type(value).__mro__)


def _plain(value: Any) -> Any:
    return Named(name=_name(value)) if isinstance(value, type) or inspect.isroutine(value) else value


def _found(name: str) -> Any:
    module, _, qualname = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for each in qualname.split("."):
            found = getattr(found, each)
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"`{name}`, which makes the model, can't be found: {error}",
            hint="load the model in a project that still has this class or function",
        ) from error
    return found


def _check_call(model: Any, name: str, args: list[Any], kwargs: dict[str, Any]) -> None:
    try:
        inspect.signature(model).bind(*args, **kwargs)
    except ValueError:
        return  # its signature can't be read
    except TypeError as error:
        raise UsageError(
            f"`{name}` can't make the model: {error}",
            hint="pass its arguments by `functools.partial`; `inputs` and `outputs` are passed if it takes them",
        ) from error


def _parameters(model: Any) -> Mapping[str, Any]:
    try:
        return inspect.signature(model).parameters
    except (TypeError, ValueError):
        return {}
