"""Stages that train a model, and stages that use it to predict."""

from __future__ import annotations

from headrace.facade import lazily

# Only type checkers read the imports below. At run time, each name is imported when it is first used.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from headrace.stages.train._finetune.finetune import Finetuned as Finetuned
    from headrace.stages.train._finetune.finetune import finetune as finetune
    from headrace.stages.train._finetune.predict import complete as complete
    from headrace.stages.train._finetune.predict import foretell as foretell
    from headrace.stages.train._finetune.predict import predict as predict
    from headrace.stages.train._lightgbm import Boosted as Boosted
    from headrace.stages.train._lightgbm import lightgbm as lightgbm
    from headrace.stages.train._search import Found as Found
    from headrace.stages.train._search import Study as Study
    from headrace.stages.train._search import search as search
    from headrace.stages.train._search import to_optuna as to_optuna
    from headrace.stages.train._sklearn import Fitted as Fitted
    from headrace.stages.train._sklearn import sklearn as sklearn
    from headrace.stages.train._torch.network import Network as Network
    from headrace.stages.train._torch.torch import Trained as Trained
    from headrace.stages.train._torch.torch import torch as torch
    from headrace.stages.train.loader import Loader as Loader

PLACES = {
    "Boosted": "headrace.stages.train._lightgbm",
    "Finetuned": "headrace.stages.train._finetune.finetune",
    "Fitted": "headrace.stages.train._sklearn",
    "Found": "headrace.stages.train._search",
    "Loader": "headrace.stages.train.loader",
    "Network": "headrace.stages.train._torch.network",
    "Study": "headrace.stages.train._search",
    "Trained": "headrace.stages.train._torch.torch",
    "complete": "headrace.stages.train._finetune.predict",
    "finetune": "headrace.stages.train._finetune.finetune",
    "foretell": "headrace.stages.train._finetune.predict",
    "lightgbm": "headrace.stages.train._lightgbm",
    "predict": "headrace.stages.train._finetune.predict",
    "search": "headrace.stages.train._search",
    "sklearn": "headrace.stages.train._sklearn",
    "to_optuna": "headrace.stages.train._search",
    "torch": "headrace.stages.train._torch.torch",
}
KEPT = {
    "Lesson": "headrace.stages.train._torch.target",
    "Made": "headrace.stages.train._torch.module",
}
"""Classes whose names are in stored artifacts, and that only Headrace creates. Their names in this module must not
change, even if a class moves to another file."""
__all__ = sorted(PLACES)  # noqa: PLE0605  it is a list, and `PLACES` is the only table of the names
__getattr__ = lazily(__name__, PLACES | KEPT)


def __dir__() -> list[str]:
    return __all__
