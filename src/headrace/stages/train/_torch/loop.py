"""The training loop: epochs and steps, from the start or from a checkpoint."""

from __future__ import annotations

import math
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from headrace.errors import UsageError, sentence
from headrace.spec.noun import Noun
from headrace.stages.train._torch.checkpoints import Keeper, unpack
from headrace.stages.train._torch.host import Host, Word
from headrace.stages.train._torch.learner import Learner
from headrace.stages.train._torch.memory import is_short_of_memory
from headrace.stages.train._torch.random_state import random_state, restore_random
from headrace.stages.train._torch.target import TARGET
from headrace.stages.train.loader import Loader

TOGETHER_EVERY = 8
"""Rank 0 passes the driver's requests on to the other ranks once in this many steps, because each time costs a
message."""
PATIENCE_S = 0.2
"""If a checkpoint is due while the previous checkpoint is being written, the step waits up to this many seconds for the
previous one. So small checkpoints are stored on time."""
LOOK_S = 1.0
"""The time between two measurements of a GPU's utilisation, in seconds."""
_WORDS: tuple[Word | None, ...] = (None, "checkpoint", "stop", "prune")


class Fitted(Noun, frozen=True):
    """The result of a training: the weights, one entry of `history` for each epoch, and how it ended.

    The weights are those of epoch `given_epoch`, from 1. `cut` says where the driver ended the training early. It is
    empty if the training wasn't ended early.
    """

    weights: dict[str, Any]
    history: list[dict[str, float]]
    best_epoch: int
    given_epoch: int
    stopped_early: bool
    cut: str = ""


class Fitting:
    """One training, as one of the `world` ranks that train together.

    A batch's loss is a mean over items, and `counts` returns the number of these items. By default, the items are the
    rows.
    """

    def __init__(
        self,
        learner: Learner,
        loader: Loader,
        valid: Loader | None,
        host: Host,
        *,
        counts: Callable[[dict[str, Any]], float] | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self._learner = learner
        self._loader = loader
        self._valid = valid
        self._host = host
        self._counts = counts
        self._rank, self._world = rank, world
        self._options = learner.options
        self._keeper = Keeper(host)
        self._gpu = Gpu(learner.device)
        self._step = 0
        self._sum = self._count = 0.0
        self._history: list[dict[str, float]] = []
        self._best: tuple[float, int, dict[str, Any] | None] = (math.inf, -1, None)
        self._before = {"seconds": 0.0, "samples": 0.0, "input_wait_s": 0.0}
        self._samples = 0
        self._ending: Word | None = None
        self._owed = False
        self._began = self._saved_at = time.perf_counter()

    def run(self) -> Fitted:
        """Train to the end, or until the driver ends the training. Return the result.

        Raises:
            UsageError: the loss is not finite, or the model can't use its input.
        """
        self._resume()
        early = self._is_enough()
        try:
            while self._loader.epoch < self._options.epochs and not early:
                for batch, mine, size in self._batches():
                    self._learn(batch, mine, size)
                    if self._ending is not None:
                        break
                self._end_epoch()
                early = self._is_enough()
            self._keeper.settle()
        finally:
            self._keeper.close()
            self._gpu.close()
        return self._fitted()

    def _batches(self) -> Iterator[tuple[dict[str, Any], int, int]]:
        """Yield the batches that are left of the epoch: for each batch this rank's part, the number of rows in this
        part, and the number of rows over all ranks."""
        before = self._loader.position
        for batch in self._loader:
            size = self._loader.position - before
            before = self._loader.position
            yield batch, part(size, self._rank, self._world), size

    def _learn(self, batch: dict[str, Any], mine: int, size: int) -> None:
        self._step += 1
        try:
            loss = self._learner.step(batch, mine * self._world / size)
        except UsageError as error:
            hint = _missing_in(batch) or error.hint
            raise UsageError(f"{error.message} at step {self._step}", hint=hint) from error
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            told = _told(error, batch, first=self._step == 1)
            if told is None:
                raise
            self._host.say(_trace(error))
            raise told from error
        if math.isfinite(loss):
            count = mine if self._counts is None else self._counts(batch)
            self._sum += loss * count
            self._count += count
        self._samples += size
        if self._step % self._options.log_every == 0 and self._rank == 0:
            self._log(loss)
        self._heed(self._word())

    def _word(self) -> Word | None:
        """Return what to do after the current step, such as `checkpoint`, or None to continue with the next step. All
        ranks return the same value."""
        if self._world > 1 and self._step % TOGETHER_EVERY and not self._is_due_by_step():
            return None
        word = self._own_word() if self._rank == 0 else None
        if self._world > 1:
            said = torch.tensor(_WORDS.index(word), device=self._learner.device)
            torch.distributed.broadcast(said, 0)
            word = _WORDS[int(said.item())]
        return word

    def _own_word(self) -> Word | None:
        self._keeper.look()
        word = self._host.told()
        if word is not None:
            return word
        every, every_s = self._options.checkpoint_steps, self._options.checkpoint_s
        passed_s = time.perf_counter() - self._saved_at
        if (every is not None and self._step >= every // 2) or (every_s is not None and passed_s >= every_s / 2):
            self._keeper.reserve(self._learner.state)
        due = self._is_due_by_step()
        self._owed = self._owed or due or (every_s is not None and passed_s >= every_s)
        # While the previous checkpoint is being written, a checkpoint that is due must wait, but the training goes on.
        if self._owed and self._keeper.is_free(within_s=PATIENCE_S if due else 0.0):
            self._owed = False
            return "checkpoint"
        return None

    def _is_due_by_step(self) -> bool:
        every = self._options.checkpoint_steps
        return every is not None and self._step % every == 0

    def _heed(self, word: Word | None) -> None:
        if word is None:
            return
        state = self._state()
        if self._rank == 0:
            self._keeper.begin(lambda: state)
            self._saved_at = time.perf_counter()
        if word == "checkpoint":
            return
        self._host.say(f"training was told to {word}: it ends with step {self._step}")
        self._ending = word

    def _end_epoch(self) -> None:
        """Record the measures of the epoch: the losses, and the measures on `valid` if this is given."""
        total, count = self._together(self._sum, self._count)
        self._sum = self._count = 0.0
        entry = {"epoch": float(len(self._history) + 1), "step": float(self._step)}
        entry["train_loss"] = total / count if count else math.nan
        for name, value in self._judged().items():
            entry[f"valid_{name}"] = value
        entry["lr"] = self._learner.lr
        self._history.append(entry)
        watched = entry.get("valid_loss", entry["train_loss"])
        self._learner.end_epoch(watched)
        if watched < self._best[0]:
            weights = self._learner.weights() if self._options.patience is not None else None
            self._best = (watched, len(self._history), weights)
        if self._rank == 0:
            for name, value in entry.items():
                if name.startswith("valid_"):
                    self._host.log(f"valid/{name.removeprefix('valid_')}", value, self._step)
            self._host.log("train/epoch_loss", entry["train_loss"], self._step)

    def _judged(self) -> dict[str, float]:
        """Return the means of the measures over all rows of `valid`."""
        if self._valid is None:
            return {}
        self._valid.epoch = self._valid.position = 0
        sums: dict[str, float] = {}
        whole, before = 0.0, 0
        for batch in self._valid:
            mine = part(self._valid.position - before, self._rank, self._world)
            before = self._valid.position
            count = mine if self._counts is None else self._counts(batch)
            whole += count
            for name, value in self._learner.judge(batch).items():
                sums[name] = sums.get(name, 0.0) + value * count
        if self._world > 1:
            *values, whole = self._together(*sums.values(), whole)
            sums = dict(zip(sums, values, strict=True))
        return {name: value / whole if whole else math.nan for name, value in sums.items()}

    def _together(self, *values: float) -> tuple[Any, ...]:
        """Return each value summed over all ranks."""
        if self._world == 1:
            return values
        found = torch.tensor(values, dtype=torch.float64, device=self._learner.device)
        torch.distributed.all_reduce(found)
        return tuple(found.tolist())

    def _is_enough(self) -> bool:
        return self._is_tired() or self._ending is not None

    def _is_tired(self) -> bool:
        patience = self._options.patience
        return patience is not None and len(self._history) - max(self._best[1], 0) >= patience

    def _cut(self) -> str:
        """Return where the driver ended the training early, or an empty text."""
        if self._ending is None:
            return ""
        is_whole = self._loader.position in (0, self._loader.rows)
        came, epochs = len(self._history), self._options.epochs
        if is_whole and (came >= epochs or self._is_tired()):
            return ""
        where = f"stopped {'after' if is_whole else 'in'} epoch {came} of {epochs}, with step {self._step}"
        return f"it was told to {self._ending}, and {where}"

    def _state(self) -> dict[str, Any]:
        """Return all state that the rest of the training depends on. All ranks must call this method together, since
        each rank has its own random state."""
        own = {"random": random_state(), "sums": [self._sum, self._count]}
        everyone: list[Any] = [own]
        if self._world > 1:
            everyone = [None] * self._world
            torch.distributed.all_gather_object(everyone, own)
        best, epoch, weights = self._best
        return {
            **self._learner.state(),
            "ranks": everyone,
            "loader": self._loader.state_dict(),
            "step": self._step,
            "history": self._history,
            "best": {"loss": best, "epoch": epoch, "weights": weights},
            "facts": self._facts(),
        }

    def _resume(self) -> None:
        packed = self._host.checkpoint()
        if packed is None:
            return
        state = unpack(packed)
        self._learner.load(state)
        self._loader.load_state_dict(state["loader"])
        self._step = state["step"]
        if self._rank < len(state["ranks"]):
            own = state["ranks"][self._rank]
            restore_random(own["random"])
            self._sum, self._count = own["sums"]
        self._history = list(state["history"])
        best = state["best"]
        self._best = (best["loss"], best["epoch"], best["weights"])
        self._before = state["facts"]
        if self._rank == 0:
            self._host.say(f"training goes on from the checkpoint of step {self._step}")

    def _log(self, loss: float) -> None:
        facts = self._facts(of_before=False)
        self._host.log("train/loss", loss, self._step)
        self._host.log("train/lr", self._learner.lr, self._step)
        self._host.log("train/samples_per_s", facts["samples"] / max(facts["seconds"], 1e-9), self._step)
        self._host.log("train/input_wait_s", facts["input_wait_s"], self._step)
        for name, value in self._gpu.now().items():
            self._host.log(f"gpu/{name}", value, self._step)

    def _facts(self, *, of_before: bool = True) -> dict[str, float]:
        before = self._before if of_before else dict.fromkeys(self._before, 0.0)
        return {
            "seconds": before["seconds"] + time.perf_counter() - self._began,
            "samples": before["samples"] + self._samples,
            "input_wait_s": before["input_wait_s"] + self._loader.input_wait_s,
        }

    def _log_going(self) -> None:
        """Log the totals over all attempts, such as times. Such totals differ between equal trainings, so they aren't
        part of the output."""
        facts = self._facts()
        facts["mean_samples_per_s"] = facts["samples"] / max(facts["seconds"], 1e-9)
        facts["total_input_wait_s"] = facts.pop("input_wait_s")
        facts["checkpoints"] = float(self._keeper.kept)
        facts["checkpoint_stall_s"] = self._keeper.stalled_s
        facts["longest_stall_s"] = self._keeper.longest_s
        for name, value in facts.items():
            self._host.log(f"train/{name}", value, self._step)
        for name, value in self._gpu.mean().items():
            self._host.log(f"gpu/{name}", value, self._step)

    def _fitted(self) -> Fitted:
        _, best_epoch, weights = self._best
        if self._rank == 0:
            self._log_going()
        return Fitted(
            weights=self._learner.weights() if weights is None else weights,
            history=self._history,
            best_epoch=best_epoch,
            given_epoch=len(self._history) if weights is None else best_epoch,
            stopped_early=self._is_tired(),
            cut=self._cut(),
        )


class Gpu:
    """Measures the device's utilisation (percent) once a second, and this process's memory on it (GiB).

    On a CPU, all results are empty. If NVML isn't usable, the utilisation is left out.
    """

    def __init__(self, device: Any) -> None:
        self._device = device
        self._seen: list[float] = []
        self._ended = threading.Event()
        if device.type == "cuda":
            threading.Thread(target=self._watch, name="headrace-gpu", daemon=True).start()

    def now(self) -> dict[str, float]:
        """Return the latest measurements."""
        if self._device.type != "cuda":
            return {}
        found = {"memory_gib": torch.cuda.memory_allocated(self._device) / 2**30}
        return {**found, "busy_percent": self._seen[-1]} if self._seen else found

    def mean(self) -> dict[str, float]:
        """Return the mean utilisation, and the peak memory."""
        if self._device.type != "cuda":
            return {}
        found = {"peak_memory_gib": torch.cuda.max_memory_allocated(self._device) / 2**30}
        return {**found, "mean_busy_percent": sum(self._seen) / len(self._seen)} if self._seen else found

    def close(self) -> None:
        """Stop measuring."""
        self._ended.set()

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_S):
            try:
                self._seen.append(float(torch.cuda.utilization(self._device)))
            except Exception:  # noqa: BLE001  NVML may be missing, too old or forbidden: nothing depends on it
                return


def part(size: int, rank: int, world: int) -> int:
    """Return how many rows of a batch belong to a rank."""
    return size * (rank + 1) // world - size * rank // world


def _told(error: Exception, batch: dict[str, Any], *, first: bool) -> Exception | None:
    """Return our error for a failure in the user's model, with the shapes of the model's input. Return None if the
    original error should be raised."""
    if not first or is_short_of_memory(error) or "CUDA error" in str(error):  # not the model's fault
        return None
    given = ", ".join(f"{_shown(name)} {each.dtype}{list(each.shape)}" for name, each in batch.items())
    words = sentence(error)
    return UsageError(
        f"the model or its loss can't take a batch: {type(error).__name__}: {words}",
        hint=f"a batch is {given}; `headrace logs` shows where in the model it failed",
    )


def _missing_in(batch: dict[str, Any]) -> str | None:
    """Return a hint that names an input of a batch with values that aren't finite, or None if there is none."""
    for name, each in batch.items():
        if isinstance(each, np.ndarray) and each.dtype.kind == "f" and not np.isfinite(each).all():
            return f"{_shown(name)} has values that are missing or not finite: drop or fill them in a `prepare` stage"
    return None


def _shown(name: str) -> str:
    return "the target" if name == TARGET else f"`{name}`"


def _trace(error: Exception) -> str:
    """Return the traceback of an error, without the frames of our own code at its start."""
    trace = error.__traceback__
    while trace is not None and str(trace.tb_frame.f_globals.get("__name__")).startswith("headrace."):
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace)).rstrip()
