"""How a network is to be trained: what of it is plain data."""

from __future__ import annotations

from typing import Any, Literal

from headrace.define.handle import Handle
from headrace.errors import UsageError
from headrace.spec.duration import seconds
from headrace.spec.noun import Noun

Precision = Literal["fp32", "bf16", "fp16"]
OnNonfinite = Literal["fail", "skip"]


class Recipe(Noun, frozen=True):
    """How long to train, and how.

    `checkpoint_every` is a number of steps, or a time such as `"1m"`; None: only when the driver says so.
    `clip_norm` is the most that the gradients' norm may be. `patience` is after how many epochs without a better loss
    (on `valid` where there is one) training ends; the best epoch's weights are then the result.
    """

    epochs: int
    batch_size: int
    seed: int = 0
    precision: Precision = "fp32"
    clip_norm: float | None = None
    patience: int | None = None
    checkpoint_every: int | str | None = "1m"
    device: str = "auto"
    on_nonfinite: OnNonfinite = "fail"
    scheduler_every: Literal["epoch", "step"] = "epoch"
    log_every: int = 50

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "log_every"):
            _check(name, getattr(self, name), least=1)
        for name in ("patience", "checkpoint_every"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                _check(name, value, least=1)
        _check("seed", self.seed, least=0)
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise UsageError(f"`{name}` is {getattr(self, name)!r}", hint=f"give one of {', '.join(known)}")
        if isinstance(self.checkpoint_every, str):
            seconds(self.checkpoint_every, name="checkpoint_every")
        is_number = isinstance(self.clip_norm, int | float) and not isinstance(self.clip_norm, bool)
        if self.clip_norm is not None and not (is_number and self.clip_norm > 0):
            raise UsageError(f"`clip_norm` is {self.clip_norm!r}", hint="give a number above 0, or None")

    @property
    def checkpoint_steps(self) -> int | None:
        """After how many steps a checkpoint is due."""
        return self.checkpoint_every if isinstance(self.checkpoint_every, int) else None

    @property
    def checkpoint_s(self) -> float | None:
        """After how many seconds a checkpoint is due."""
        every = self.checkpoint_every
        return seconds(every, name="checkpoint_every") if isinstance(every, str) else None


def check_recipe(**given: Any) -> None:
    """Refuse what makes no sense before anything runs. What another stage is to give is judged when it is there.

    Raises:
        UsageError: a number is out of its range, or a word is none of those there are.
    """
    known = {name: each for name, each in given.items() if not isinstance(each, Handle)}
    Recipe(**{"epochs": 1, "batch_size": 1, **known})


def check_sharing(batch_size: Any, *, procs: Any, nodes: Any) -> None:
    """Refuse numbers of processes that can't train together.

    Raises:
        UsageError: one is no number from 1, or a batch has not a row for each.
    """
    _check("procs", procs, least=1)
    _check("nodes", nodes, least=1)
    if not isinstance(batch_size, Handle) and batch_size < procs * nodes:
        raise UsageError(
            f"a batch of {batch_size} rows can't be shared by {procs * nodes} processes", hint="raise `batch_size`"
        )


_CHOICES = {
    "precision": ("fp32", "bf16", "fp16"),
    "on_nonfinite": ("fail", "skip"),
    "scheduler_every": ("epoch", "step"),
}


def _check(name: str, value: object, *, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UsageError(f"`{name}` is {value!r}", hint=f"give a whole number from {least}")
