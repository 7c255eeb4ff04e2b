"""A model of one's own, learned over `train.Loader`: a weight for each piece of a word, and nothing else.

It reads every review whole, and learns from how *sure* the rules are of it, not only from which way they lean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

import headrace as hr
from headrace.stages import train

BATCH = 256
RATE = 0.1


@dataclass(frozen=True)
class Weights:
    """What each piece says of a review that holds it: above 0 for a good one. The last one stands in no review."""

    bias: float
    pieces: np.ndarray


def learn_weights(tokens: pa.Table, *, pieces: int, epochs: int) -> Weights:
    """Logistic regression by Adagrad on which of `pieces` a review holds (`input_ids`), to predict `probability`."""
    blank = pieces
    loader = train.Loader(tokens, batch_size=BATCH, columns=["input_ids", "probability"], pad={"input_ids": blank})
    weights, squares = np.zeros((2, pieces + 1))
    bias = 0.0
    kept = hr.attempt().checkpoint()  # of an attempt that was killed: it goes on with the batch that was next
    if kept is not None:
        weights, squares = kept["weights"].copy(), kept["squares"].copy()  # what is loaded can't be written to
        bias = kept["bias"]
        loader.load_state_dict(kept["loader"])
    while loader.epoch < epochs:
        loss = 0.0
        for batch in loader:
            held = once(batch["input_ids"], blank)
            said = chance(weights[held].sum(axis=1) + bias)
            wrong = said - batch["probability"]
            slope = np.bincount(held.ravel(), np.repeat(wrong, held.shape[1]), pieces + 1) / len(wrong)
            slope[blank] = 0
            squares += slope**2
            weights -= RATE * slope / np.sqrt(squares + 1e-12)
            bias -= RATE * wrong.mean()
            loss += float(np.abs(wrong).sum())
        hr.log("train/error", loss / loader.rows, loader.epoch)
        hr.attempt().keep({"weights": weights, "squares": squares, "bias": bias, "loader": loader.state_dict()})
    hr.log("train/input_wait_s", loader.input_wait_s)
    return Weights(float(bias), weights)


def weigh(model: Weights, tokens: pa.Table) -> np.ndarray:
    """How probable it is that each review is a good one."""
    blank = len(model.pieces) - 1
    loader = train.Loader(tokens, batch_size=BATCH, columns=["input_ids"], shuffle=False, pad={"input_ids": blank})
    said = [chance(model.pieces[once(batch["input_ids"], blank)].sum(axis=1) + model.bias) for batch in loader]
    return np.concatenate(said)


def once(ids: np.ndarray, blank: int) -> np.ndarray:
    """Each row's pieces once, in order; what is left over is `blank`."""
    found = np.sort(ids, axis=1)
    found[:, 1:][found[:, 1:] == found[:, :-1]] = blank
    return found


def chance(score: np.ndarray) -> np.ndarray:
    """A score as a probability."""
    return 1 / (1 + np.exp(-np.clip(score, -30, 30)))
