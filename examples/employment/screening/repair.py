"""A model that passes people alike, whatever their race, and does not ask for it when it decides.

The work is fairlearn's: its exponentiated gradient (Agarwal et al. 2018) trains one model after the other, each on rows
weighed so as to mend what those before got wrong between the groups, and mixes them. Race is looked at while it learns,
and never again. The mixture draws a model for each decision; here the weighted majority decides, so that equal people
get equal answers.
"""

from dataclasses import dataclass

import lightgbm as lgb
import numpy as np
import pandas as pd
import pyarrow as pa
from fairlearn.reductions import ErrorRate, ExponentiatedGradient, TruePositiveRateParity

from screening.people import FEATURES

LEARNING = {"num_leaves": 15, "learning_rate": 0.1, "deterministic": True, "force_row_wise": True, "verbosity": -1}
ROUNDS = 40
MODELS = 20
DIFFERENCE = 0.02
COST_OF_A_WRONG_PASS = 2.3
"""In wrong refusals. The first model passes people from a score of 0.7 on: there the odds are 0.7 to 0.3."""
LEAST = 800
"""Races of fewer people are joined: a bound on few is a bound on noise."""


@dataclass(frozen=True)
class Council:
    """Models that vote, each with its weight; the weights add up to 1."""

    models: list[lgb.Booster]
    weights: list[float]


def learn_council(train: pa.Table, rounds: int) -> Council:
    """Learn models, in at most so many rounds, whose votes pass those who are employed alike in each race."""
    frame = train.select(FEATURES).to_pandas()
    employed = train["employed"].to_pandas()
    learner = lgb.LGBMClassifier(n_estimators=ROUNDS, n_jobs=1, random_state=0, **LEARNING)
    costs = {"fp": COST_OF_A_WRONG_PASS / (1 + COST_OF_A_WRONG_PASS), "fn": 1 / (1 + COST_OF_A_WRONG_PASS)}
    search = ExponentiatedGradient(
        learner,
        TruePositiveRateParity(difference_bound=DIFFERENCE),
        objective=ErrorRate(costs=costs),
        max_iter=rounds,
    )
    search.fit(frame, employed, sensitive_features=groups(train))
    found = [(model, float(weight)) for model, weight in zip(search.predictors_, search.weights_, strict=True)]
    kept = [(model, weight) for model, weight in found if weight > 1e-6]
    return Council([_booster(model) for model, _ in kept], [weight for _, weight in kept])


def votes(council: Council, people: pa.Table) -> np.ndarray:
    """The share of the votes for each of n people, from 0 to 1; half of them pass. It is no probability."""
    frame = people.select(FEATURES).to_pandas()
    said = [
        weight * (model.predict(frame) >= 0.5) for model, weight in zip(council.models, council.weights, strict=True)
    ]
    return np.sum(said, axis=0)


def groups(people: pa.Table) -> pd.Series:
    """The race of each, small groups joined."""
    found = people["race"].to_pandas()
    counts = found.value_counts()
    return found.where(found.map(counts) >= min(LEAST, len(found) // 50), "a small group")


def _booster(model: lgb.LGBMClassifier) -> lgb.Booster:
    return lgb.Booster(model_str=model.booster_.model_to_string())
