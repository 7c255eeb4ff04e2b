"""Stages that learn a model."""

from __future__ import annotations

from headrace.facade import lazily

# Type checkers read the imports below; a process that runs loads what it uses.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from headrace.stages.train.applying import complete as complete
    from headrace.stages.train.applying import foretell as foretell
    from headrace.stages.train.boosting import Boosted as Boosted
    from headrace.stages.train.boosting import lightgbm as lightgbm
    from headrace.stages.train.deep import Trained as Trained
    from headrace.stages.train.deep import torch as torch
    from headrace.stages.train.estimators import Fitted as Fitted
    from headrace.stages.train.estimators import sklearn as sklearn
    from headrace.stages.train.loader import Loader as Loader
    from headrace.stages.train.network import Network as Network
    from headrace.stages.train.searching import Found as Found
    from headrace.stages.train.searching import Study as Study
    from headrace.stages.train.searching import search as search
    from headrace.stages.train.searching import to_optuna as to_optuna
    from headrace.stages.train.tuning import Finetuned as Finetuned
    from headrace.stages.train.tuning import finetune as finetune

PLACES = {
    "Boosted": "headrace.stages.train.boosting",
    "Finetuned": "headrace.stages.train.tuning",
    "Fitted": "headrace.stages.train.estimators",
    "Found": "headrace.stages.train.searching",
    "Loader": "headrace.stages.train.loader",
    "Network": "headrace.stages.train.network",
    "Study": "headrace.stages.train.searching",
    "Trained": "headrace.stages.train.deep",
    "complete": "headrace.stages.train.applying",
    "finetune": "headrace.stages.train.tuning",
    "foretell": "headrace.stages.train.applying",
    "lightgbm": "headrace.stages.train.boosting",
    "search": "headrace.stages.train.searching",
    "sklearn": "headrace.stages.train.estimators",
    "to_optuna": "headrace.stages.train.searching",
    "torch": "headrace.stages.train.deep",
}
KEPT = {
    "Lesson": "headrace.stages.train.lesson",
    "Made": "headrace.stages.train.made",
}
"""Classes that artifacts name, and nobody makes but Headrace: their names here stay too, wherever they lie."""
__all__ = sorted(PLACES)  # noqa: PLE0605  a list it is, and there is one table of the names
__getattr__ = lazily(__name__, PLACES | KEPT)


def __dir__() -> list[str]:
    return __all__
