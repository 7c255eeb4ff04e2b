"""The user's loss, optimizer and scheduler, converted from a pipeline's arguments to PyTorch's objects."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

from headrace.errors import UsageError


def loss_of(loss: Any) -> Callable[[Any, Any], Any]:
    """Return the loss as a function of prediction and target. `loss` may be a name in PyTorch, a class, or a function.

    Raises:
        UsageError: PyTorch has no loss of that name.
    """
    if isinstance(loss, str):
        found = getattr(torch.nn, loss, None) or getattr(torch.nn.functional, loss, None)
        if found is None:
            raise UsageError(f"PyTorch has no loss `{loss}`", hint='name one of `torch.nn`, such as "CrossEntropyLoss"')
        loss = found
    inner = loss.func if isinstance(loss, functools.partial) else loss
    return loss() if isinstance(inner, type) else loss  # type: ignore[no-any-return]


def loss_name(loss: Any) -> str:
    """Return the loss's name."""
    inner = loss.func if isinstance(loss, functools.partial) else loss
    return inner if isinstance(inner, str) else str(getattr(inner, "__name__", type(inner).__name__))


def optimizer_of(optimizer: Any, lr: float | None) -> Callable[[Any], Any]:
    """Return a function that makes the optimizer for parameters. `optimizer` may be a name in `torch.optim`, a class,
    or a partial of a class."""
    made: Any = _named(optimizer, torch.optim, "optimizer", "AdamW")
    return functools.partial(made, lr=lr) if lr is not None else made


def scheduler_of(scheduler: Any) -> Callable[[Any], Any] | None:
    """Return a function that makes the scheduler for an optimizer, from a partial of a class in
    `torch.optim.lr_scheduler`."""
    return None if scheduler is None else _named(scheduler, torch.optim.lr_scheduler, "scheduler", "ExponentialLR")


def _named(given: Any, space: Any, what: str, example: str) -> Callable[[Any], Any]:
    if isinstance(given, str):
        found = getattr(space, given, None)
        if not isinstance(found, type):
            raise UsageError(f"PyTorch has no {what} `{given}`", hint=f'name one of `{space.__name__}`: "{example}"')
        return found
    if not callable(given):
        raise UsageError(f"`{what}` is {given!r}", hint=f"give a class of `{space.__name__}`, or a partial of one")
    return given  # type: ignore[no-any-return]
