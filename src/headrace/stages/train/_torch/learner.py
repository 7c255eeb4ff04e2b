"""A network with all state that changes in training. It learns one step at a time, and all of its state can be saved
and loaded."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch.nn.parallel import DistributedDataParallel

from headrace.errors import UsageError, sentence
from headrace.stages.train.options import TrainingOptions

Objective = Callable[[Any, dict[str, Any]], tuple[Any, dict[str, float]]]
"""A function of a module and a batch of tensors. It returns the mean loss over the batch's rows, and other means."""

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Learner:
    """A module with its optimizer, scheduler and gradient scaler on a device, as one of `world` processes that train
    together.

    `optimizer` is called with the module's parameters, and `scheduler` with the optimizer.
    """

    def __init__(
        self,
        module: Any,
        objective: Objective,
        optimizer: Callable[[Any], Any],
        scheduler: Callable[[Any], Any] | None,
        options: TrainingOptions,
        *,
        world: int = 1,
    ) -> None:
        self.options = options
        self.device = pick_device(options.device)
        self.module = module.to(self.device)
        self._objective = objective
        self._world = world
        parameters = [each for each in self.module.parameters() if each.requires_grad]
        if not parameters:
            raise UsageError("the model has no parameters to learn", hint="make layers in its `__init__`")
        self.optimizer = _made("optimizer", optimizer, parameters)
        self.scheduler = _made("scheduler", scheduler, self.optimizer) if scheduler is not None else None
        if self._watches_loss and options.scheduler_every == "step":
            raise UsageError(
                "`ReduceLROnPlateau` needs the loss of an epoch, but makes a step for each batch",
                hint='give `scheduler_every="epoch"`, or another scheduler',
            )
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=options.precision == "fp16")
        self._parameters = parameters
        self._steps = 0
        self._shared = DistributedDataParallel(self.module) if world > 1 else self.module

    @property
    def _watches_loss(self) -> bool:
        return isinstance(self.scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)

    @property
    def lr(self) -> float:
        """The learning rate of the optimizer's first group, as used in the last step."""
        return float(self.optimizer.param_groups[0]["lr"]) * self._warmth

    @property
    def _warmth(self) -> float:
        """The share of the full learning rate that the last step used. It is below 1 only during a warm-up, and is
        never 0."""
        return min(1.0, max(1, self._steps) / max(1, self.options.warmup_steps))

    def step(self, batch: dict[str, Any], weight: float = 1.0) -> float:
        """Learn from a batch, and return its mean loss.

        If the loss isn't finite, `on_nonfinite` decides: `"fail"` raises an error, and `"skip"` learns nothing and
        returns NaN. `weight` is this rank's number of rows divided by the mean number over all ranks, so that each row
        counts the same in the gradient.

        Raises:
            UsageError: the loss is not finite, or has no gradient.
        """
        if not self.module.training:  # asked of the module itself: its wrapper for several ranks isn't told of `eval`
            self._shared.train()
        self.optimizer.zero_grad(set_to_none=True)
        with self._precision():
            loss, _ = self._objective(self._shared, self.on_device(batch))
        self._check_loss(loss)
        value = float(loss.item())
        if self.options.on_nonfinite == "fail":
            if not math.isfinite(value):
                raise UsageError(f"the loss is {value}", hint=_NONFINITE_HINT)
        elif not self._all_agree(math.isfinite(value)):
            return math.nan
        self._scaler.scale(loss if weight == 1.0 else loss * weight).backward()
        if self.options.clip_norm is not None:
            self._scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self._parameters, self.options.clip_norm)
        self._take_step()
        if self.scheduler is not None and self.options.scheduler_every == "step":
            self.scheduler.step()
        return value

    def _take_step(self) -> None:
        """Make the optimizer's step. During a warm-up, this step uses a lower learning rate. Schedulers don't see the
        lower rate."""
        self._steps += 1
        groups = self.optimizer.param_groups if self._warmth < 1 else []
        rates = [group["lr"] for group in groups]
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate * self._warmth
        self._scaler.step(self.optimizer)
        self._scaler.update()
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate

    def end_epoch(self, loss: float) -> None:
        """Make the scheduler's step, if the scheduler makes a step each epoch. A scheduler that watches the loss gets
        `loss`."""
        if self.scheduler is None or self.options.scheduler_every != "epoch":
            return
        if self._watches_loss:
            self.scheduler.step(loss)
        else:
            self.scheduler.step()

    def judge(self, batch: dict[str, Any]) -> dict[str, float]:
        """Return the loss of a batch as `loss`, and the objective's other measures, without learning from it."""
        self.module.eval()
        with torch.no_grad(), self._precision():
            loss, measures = self._objective(self.module, self.on_device(batch))
        return {"loss": float(loss.item()), **measures}

    def on_device(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return a batch as tensors on the device, copied into new memory, since the alignment of memory may change the
        last bit of results."""
        return {name: _own(torch.from_numpy(np.asarray(each)), self.device) for name, each in batch.items()}

    def weights(self) -> dict[str, Any]:
        """Return a copy of the module's state, on the CPU."""
        return {name: each.detach().cpu().clone() for name, each in self.module.state_dict().items()}

    def state(self) -> dict[str, Any]:
        """Return all state that the next step depends on, except the data and the random generators."""
        return {
            "model": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
            "scaler": self._scaler.state_dict(),
            "steps": self._steps,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Continue from a state that `state` returned."""
        self.module.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state["scheduler"])
        self._scaler.load_state_dict(state["scaler"])
        self._steps = state.get("steps", 0)  # older checkpoints, from before warm-ups, lack it

    def _precision(self) -> AbstractContextManager[Any]:
        dtype = _DTYPES.get(self.options.precision)
        return nullcontext() if dtype is None else torch.autocast(self.device.type, dtype)

    def _check_loss(self, loss: Any) -> None:
        if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
            told = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, torch.Tensor) else f"{type(loss)}"
            raise UsageError(f"the loss is {told}", hint="give the mean over the batch, one number")
        if not loss.requires_grad:
            raise UsageError("the loss depends on no parameter of the model", hint="is it computed under `no_grad`?")

    def _all_agree(self, here: bool) -> bool:
        """Return whether `here` is True on all ranks, since all ranks must do the same."""
        if self._world == 1:
            return here
        found = torch.tensor(float(here), device=self.device)
        torch.distributed.all_reduce(found, torch.distributed.ReduceOp.MIN)
        return bool(found.item())


_NONFINITE_HINT = (
    "lower `lr`, set `clip_norm`, or look for extreme values in the data; on_nonfinite='skip' leaves such batches out"
)


def _made(what: str, maker: Callable[[Any], Any], of: Any) -> Any:
    """Return what `maker` returns for `of`: an optimizer for parameters, or a scheduler for an optimizer. `what` names
    it in the error."""
    try:
        return maker(of)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"the {what} can't be made: {sentence(error)}",
            hint=f"pass its arguments by `functools.partial`: `{what}=partial(...)`",
        ) from error


def pick_device(name: str) -> Any:
    """Return the device with this name. `auto` stands for a GPU if this process may use one, and otherwise for the CPU.

    Raises:
        UsageError: there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"`device` is `{name}`", hint='give "auto", "cpu" or "cuda"') from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError("there is no GPU that this process may use", hint='ask for one: `hr.Resources(gpu="1")`')
    try:
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError) as error:  # a backend that PyTorch lacks, or a GPU number that doesn't exist
        raise UsageError(
            f"`device` is `{name}`, which doesn't exist on this machine", hint='give "auto", "cpu" or "cuda"'
        ) from error
    return device


def _own(tensor: Any, device: Any) -> Any:
    return tensor.clone() if device.type == "cpu" else tensor.to(device, non_blocking=True)
