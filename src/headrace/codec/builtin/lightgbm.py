"""LightGBM's models, saved as LightGBM's own text."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from typing import Any

import lightgbm
from lightgbm.compat import _LGBMLabelEncoder as LabelEncoder  # scikit-learn's, where it is installed

from headrace.codec.builtin.lightgbm_text import check_text
from headrace.codec.classes import is_exactly
from headrace.codec.misfit import Declined, Misfit
from headrace.codec.sink import Sink
from headrace.codec.source import Source
from headrace.errors import CodecError

MODELS = ("LGBMClassifier", "LGBMRanker", "LGBMRegressor")


class LightGbmCodec:
    """A booster, classifier, regressor or ranker. It is saved as the model's text with all trees, together with what
    this text leaves out (parameters, classes, scores).

    The loaded model makes exactly the same predictions. Training data and the order of keys in scores are not kept. A
    model that holds a function (a custom objective) is pickled instead. Equal models make equal bytes.
    """

    name = "lightgbm"
    safe = True

    def takes(self, value: object) -> bool:
        names = (f"lightgbm.sklearn.{model}" for model in MODELS)
        return is_exactly(value, "lightgbm.basic.Booster", *names)

    def save(self, value: object, sink: Sink) -> None:
        booster = value if isinstance(value, lightgbm.Booster) else vars(value).get("_Booster")
        try:
            sink.part(None if booster is None else _text(booster), "model")
            sink.part(None if booster is None else _state_of(booster), "booster")
            if booster is not value:
                sink.part(_estimator(value), "estimator")
        except Misfit as misfit:
            raise Declined(misfit.why) from misfit

    def load(self, source: Source) -> object:
        parts: dict[str, Any] = dict(zip(source.names or (), source.parts(), strict=True))
        if source.is_foreign and parts["model"] is not None:
            check_text(parts["model"])
        booster = None if parts["model"] is None else _booster(parts["model"], parts["booster"])
        kind = source.type.rpartition(".")[2]
        if kind == "Booster":
            return booster
        if kind not in MODELS:
            raise CodecError(f"`{source.type}` is not a model of LightGBM")
        model: Any = object.__new__(getattr(lightgbm, kind))
        model.__dict__.update(_attributes(parts["estimator"]))
        if booster is not None:
            model._Booster = booster
        return model


CODECS = (LightGbmCodec(),)


def _estimator(model: Any) -> dict[str, Any]:
    """Return a model's attributes without its booster. The label encoder is replaced by the list of its labels, in
    order."""
    state = {key: None if key == "_Booster" else _plain(attribute) for key, attribute in vars(model).items()}
    if isinstance(encoder := state.get("_le"), LabelEncoder):
        state["_le"] = encoder.classes_
    return state


def _attributes(state: dict[str, Any]) -> dict[str, Any]:
    """Undo `_estimator`: return the attributes with the label encoder and the scores restored."""
    if state.get("_le") is not None:
        encoder = LabelEncoder()
        encoder.classes_ = state["_le"]
        state["_le"] = encoder
    if "_best_score" in state:
        state["_best_score"] = _scores(state["_best_score"])
    return state


def _text(booster: Any) -> str:
    return str(booster.model_to_string(num_iteration=-1))


def _state_of(booster: Any) -> dict[str, Any]:
    state = {"best_iteration": booster.best_iteration, "best_score": booster.best_score, "params": booster.params}
    return {key: _plain(attribute) for key, attribute in state.items()}


def _booster(text: str, state: dict[str, Any]) -> Any:
    booster: Any = lightgbm.Booster(model_str=text)
    booster.best_iteration = state["best_iteration"]
    booster.best_score = _scores(state["best_score"])
    booster.params = state["params"]
    return booster


def _plain(value: Any) -> Any:
    """Return a value with plain dictionaries instead of LightGBM's own ones. Those have default factories, which only
    pickle can save."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return value


def _scores(value: dict[str, Any]) -> Any:
    scores: Any = defaultdict(OrderedDict)
    scores.update({key: OrderedDict(inner) for key, inner in value.items()})
    return scores
