"""Callbacks that log the progress of a library's training. Pass one of them as the argument that the library has for
callbacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headrace.define.attempt import attempt
from headrace.define.log import log


class EachRound:
    """The callback that `lightgbm` returns.

    `cut` says where the driver ended the training early. It is empty if the training wasn't ended early.
    """

    def __init__(self) -> None:
        # LightGBM calls callbacks in the order of this number. This one comes after `record_evaluation` (20), so that
        # the last round is recorded, and before `early_stopping` (30), so that the last round is logged.
        self.order = 25
        self.cut = ""
        self._here = attempt()

    def __call__(self, env: Any) -> None:
        """Log a round. End the training if the driver says so, unless this is the last round anyway."""
        from lightgbm.callback import EarlyStopException  # noqa: PLC0415  the caller has LightGBM loaded

        for part, metric, value, *_ in env.evaluation_result_list:
            log(f"{part}/{metric}", value, env.iteration + 1)
        word = self._here.told()
        if word in ("stop", "prune") and env.iteration + 1 < env.end_iteration:
            self.cut = _shorten(word, f"round {env.iteration + 1} of {env.end_iteration}")
            raise EarlyStopException(env.iteration, env.evaluation_result_list)


def lightgbm() -> EachRound:
    """Return a callback for `lightgbm.train` that logs `TABLE/METRIC` each round, and ends the training if the driver
    says so.

    If the driver ends the training, the current round is the last one. The trees so far are the output, and other runs
    don't reuse this output.
    """
    return EachRound()


def optuna() -> Callable[[Any, Any], None]:
    """Return a callback for `optuna.Study.optimize` that logs the value of each trial, and the best value so far."""

    def each_trial(study: Any, trial: Any) -> None:
        if trial.values is None:
            return
        for index, value in enumerate(trial.values):
            log("trial/value" if len(trial.values) == 1 else f"trial/value_{index}", value, trial.number)
        if len(trial.values) == 1:
            log("trial/best", study.best_value, trial.number)

    return each_trial


def torch(*, every: int = 1) -> Callable[..., bool]:
    """Return a function to call after each step of your own training loop, as `done(step, loss=..., lr=...)`. It logs
    the values as `train/NAME`, and returns True if the driver wants the loop to end.

    After the function has returned True, other runs don't reuse the stage's output. Values are logged, and tensors are
    read, only once in `every` steps.
    """
    here = attempt()

    def done(step: int, **values: Any) -> bool:
        if step % every == 0:
            for name, value in values.items():
                log(f"train/{name}", value.detach() if hasattr(value, "detach") else value, step)
        word = here.told()
        if word not in ("stop", "prune"):
            return False
        _shorten(word, f"step {step}")
        return True

    return done


def transformers() -> Any:
    """Return a callback for a Hugging Face `Trainer` that logs its metrics, ends the training if the driver says so,
    and saves a checkpoint if the driver asks for one.

    The trainer's names are changed to ours: `eval_loss` becomes `valid/loss`, and other names become `train/NAME`. At
    the end, the trainer reports the mean loss of all steps as `train_loss`, which becomes `train/mean_loss`.
    """
    from transformers import TrainerCallback  # noqa: PLC0415  seconds; the caller has it loaded

    here = attempt()

    class Live(TrainerCallback):  # type: ignore[misc]
        def on_log(self, _args: Any, state: Any, _control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
            for name, value in (logs or {}).items():
                if isinstance(value, int | float):
                    log(_ours(name), value, state.global_step)

        def on_step_end(self, _args: Any, state: Any, control: Any, **_: Any) -> Any:
            match here.told():
                case "stop" | "prune" as word:
                    if state.global_step < state.max_steps:
                        _shorten(word, f"step {state.global_step} of {state.max_steps}")
                    control.should_training_stop = True
                case "checkpoint":
                    control.should_save = True
            return control

    return Live()


def _ours(name: str) -> str:
    if name.startswith("eval_"):
        return f"valid/{name[5:]}"
    return "train/mean_loss" if name == "train_loss" else f"train/{name.removeprefix('train_')}"


def _shorten(word: str, where: str) -> str:
    cut = f"it was told to {word}, and stopped after {where}"
    attempt().shortened(cut)
    return cut
