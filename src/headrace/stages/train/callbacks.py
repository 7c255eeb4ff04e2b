"""Callbacks that log how a library gets on: give one to the library's own `callbacks`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headrace.define.attempt import attempt
from headrace.define.log import log


class EachRound:
    """What `lightgbm` gives. `cut` says where the training was told to end, if that was before its own end."""

    def __init__(self) -> None:
        # LightGBM calls them in this order: after `record_evaluation` (20), which would else never hear of the last
        # round, and before `early_stopping` (30), whose last round would else not be logged.
        self.order = 25
        self.cut = ""
        self._here = attempt()

    def __call__(self, env: Any) -> None:
        """Log a round, and end the training if it is told, before its last one."""
        from lightgbm.callback import EarlyStopException  # noqa: PLC0415  who asks for it has LightGBM

        for part, metric, value, *_ in env.evaluation_result_list:
            log(f"{part}/{metric}", value, env.iteration + 1)
        word = self._here.told()
        if word in ("stop", "prune") and env.iteration + 1 < env.end_iteration:
            self.cut = _shorten(word, f"round {env.iteration + 1} of {env.end_iteration}")
            raise EarlyStopException(env.iteration, env.evaluation_result_list)


def lightgbm() -> EachRound:
    """Return a callback for `lightgbm.train`: it logs `TABLE/METRIC` each round, and ends the training when it is told.

    The round that a word to stop comes at is the last one; the trees so far are the output, which nobody reuses.
    """
    return EachRound()


def optuna() -> Callable[[Any, Any], None]:
    """Return a callback for `optuna.Study.optimize`: it logs the value of each trial, and the best one so far."""

    def each_trial(study: Any, trial: Any) -> None:
        if trial.values is None:
            return
        for index, value in enumerate(trial.values):
            log("trial/value" if len(trial.values) == 1 else f"trial/value_{index}", value, trial.number)
        if len(trial.values) == 1:
            log("trial/best", study.best_value, trial.number)

    return each_trial


def torch(*, every: int = 1) -> Callable[..., bool]:
    """Return what a loop of yours calls after each step, `done(step, loss=..., lr=...)`: it logs them as `train/NAME`.

    It says whether the driver wants the loop to end; what the stage then gives is no other run's to reuse. Only every
    so many steps something is logged, and a tensor read.
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
    """Return a callback for a Hugging Face `Trainer`: it logs how that gets on, and ends the training when it is told.

    The trainer's names become ours: `eval_loss` is `valid/loss`, all others `train/NAME`; `train_loss`, the mean over
    all steps that it tells at the end, is `train/mean_loss`. `checkpoint` has it save.
    """
    from transformers import TrainerCallback  # noqa: PLC0415  seconds; who asks for it has it loaded

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
