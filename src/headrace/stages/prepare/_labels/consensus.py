"""The label model: a vote of labelling functions, in which a function that agrees with the others counts more.

The true labels are unknown, so the weight of a function's vote comes from its agreement with the other functions. The
model of the data is that of Dawid and Skene (1979, "Maximum likelihood estimation of observer error-rates using the EM
algorithm"): given the true class, functions vote independently, each with its own error rates. An abstention has no
effect.

The EM algorithm of Dawid and Skene was tried first, and fails for labelling functions. There are few labelling
functions, and several of them look at the same words. After some rounds, EM's classes are those of the functions that
agree most, right or wrong. On film reviews, its accuracy was between that of the majority vote and a coin toss.

So this module uses the one-step weighted vote of Li and Yu (2014, "Error rate bounds and iterative weighted majority
voting for crowdsourcing"), with two changes. Each function is judged by the vote of the *other* functions, so that none
confirms itself. Functions that are near copies of each other share one vote, and don't judge each other.

The vote of the others is a noisy reference, which makes weights and probabilities less extreme than they should be. If
functions depend on each other a little, as most do, the probabilities are about right (the log loss on the reviews is
0.45, and 0.64 with EM). If functions are independent, the probabilities are too cautious.

A vote for a class is judged only as far as another function could have confirmed it. Often, only one function votes for
a class. If this function were judged like the others, no function could agree with it. It would count as worse than
chance, and no row would get the class. Instead, its votes for the class get the weight that is assumed for each
function before any votes are looked at.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from headrace.spec.noun import Noun

Floats = np.ndarray[Any, np.dtype[np.float64]]
Codes = np.ndarray[Any, np.dtype[np.int8]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]

TRUST = 0.7
"""The share of right votes that is assumed for each function before its votes are looked at, if classes have equal
shares. A guess by chance is right less often."""
WEIGHT = 10.0
"""The assumption `TRUST` counts as much as this number of votes."""


COPY = 0.6
"""Two functions count as copies if their `agreement` is above this."""


class Consensus(Noun, frozen=True):
    """The result of the label model.

    `scores` is an array of functions by votes by classes: the log likelihood of a vote under each class.
    `probabilities` is an array of rows by classes. A row on which all functions abstain has the classes' shares.
    `parts` has each function's part of a vote: less than 1 if the function shares a vote with its copies. `copies` is
    an array of functions by functions that says which functions are copies of each other.
    """

    scores: Floats
    probabilities: Floats
    parts: Floats
    copies: Mask

    def borne_out(self, codes: Codes) -> Floats:
        """Return, for each function, the mean probability of the labels that it voted for; NaN if it never voted."""
        voted = codes >= 0
        rows = np.arange(len(codes))
        found = np.full(codes.shape[1], np.nan)
        for place in range(codes.shape[1]):
            chosen = voted[:, place]
            if chosen.any():
                found[place] = self.probabilities[rows[chosen], codes[chosen, place]].mean()
        return found


def combine(codes: Codes, classes: int, balance: Floats | None = None) -> Consensus:
    """Return the `Consensus` of the votes, which has the probabilities of the classes for each row.

    `codes` are the votes, an array of rows by functions: the number of a class, or -1 for an abstention. `balance` has
    the classes' shares in reality. None means equal shares.
    """
    shares = np.full(classes, 1 / classes) if balance is None else balance
    prior = np.log(shares)
    believed = _believed(shares)
    functions = range(codes.shape[1])
    plain = [_said(codes[:, place], np.log(believed)) for place in functions]
    copies = agreement(codes, _softmax(sum(plain, prior))) > COPY
    parts = 1 / (1 + copies.sum(axis=0))
    said = [part * each for part, each in zip(parts, plain, strict=True)]
    total = sum(said, prior)
    scores = []
    for place in functions:
        itself = copies[place].copy()
        itself[place] = True
        others = total - sum(said[each] for each in np.flatnonzero(itself))
        scores.append(_judged(codes[:, place], codes[:, ~itself], others, believed))
    found = [part * _said(codes[:, each], scores[each]) for each, part in enumerate(parts)]
    return Consensus(scores=np.stack(scores), probabilities=_softmax(sum(found, prior)), parts=parts, copies=copies)


def agreement(codes: Codes, probabilities: Floats) -> Floats:
    """Return how far each pair of functions agrees beyond what the classes explain, as an array of functions by
    functions.

    0 means no agreement beyond that, and 1 means full agreement. An abstention counts as an answer, so that the
    agreement of functions which vote for only one label is measured too. The formula is that of Cohen's kappa (1960),
    with one change: the expected agreement is that of two functions that are independent given the class.
    """
    shares = probabilities.mean(axis=0)
    answers = [codes == each for each in range(-1, probabilities.shape[1])]
    rates = np.stack([each.T @ probabilities for each in answers]) / np.maximum(probabilities.sum(axis=0), 1e-12)
    expected = np.einsum("k,aik,ajk->ij", shares, rates, rates)
    agreed = sum(each.T.astype(float) @ each.astype(float) for each in answers) / max(len(codes), 1)
    found: Floats = (agreed - expected) / np.maximum(1 - expected, 1e-9)
    np.fill_diagonal(found, 0)
    return found


def majority(codes: Codes, classes: int) -> Floats:
    """Return the plain majority vote as probabilities.

    The class with the most votes has probability 1. If several classes tie, each of them has the same probability. If
    all functions abstain, all classes have the same probability.
    """
    counts = np.stack([(codes == each).sum(axis=1) for each in range(classes)], axis=1)
    winners = counts == counts.max(axis=1, keepdims=True)
    shares: Floats = winners / winners.sum(axis=1, keepdims=True)
    return shares


def right(probabilities: Floats, truth: np.ndarray[Any, np.dtype[np.int64]]) -> Floats:
    """Return, for each row, 1 if the most probable label is right and 0 if not. If n labels tie as the most probable,
    and one of them is right, return 1/n."""
    best = probabilities >= probabilities.max(axis=1, keepdims=True) - 1e-12
    found: Floats = best[np.arange(len(truth)), truth] / best.sum(axis=1)
    return found


def _believed(shares: Floats) -> Floats:
    """Return what is assumed of each function before its votes are looked at: the likelihoods of a vote under each
    class, as an array of votes by classes.

    If all classes have equal shares, a vote is right with the probability `TRUST`. A vote for a rarer class has more
    weight, so that it is right with the same probability. Without more weight, a function's votes for a rare class
    could never give a row this class. A vote for a class whose share is above an equal share has the same weight as
    with equal shares, and so is right with a probability above `TRUST`.
    """
    classes = len(shares)
    times = TRUST / (1 - TRUST) * np.maximum(max(classes - 1, 1), (1 - shares) / shares)
    likelihoods = np.where(np.eye(classes, dtype=bool), times[:, None], 1.0)
    found: Floats = likelihoods / likelihoods.sum(axis=1, keepdims=True)
    return found


def _judged(votes: np.ndarray[Any, np.dtype[np.int8]], rest: Codes, logits: Floats, believed: Floats) -> Floats:
    """Return the log likelihoods of a function's votes under each class, judged by the vote of the other functions.

    `rest` has the votes of the other functions, and `logits` their weighted sum. For each class, the observed
    likelihoods are averaged with `believed`, which has the weight `WEIGHT`. The weight of the observed likelihoods is
    the number of the function's votes for the class that another function could have confirmed. A function could have
    confirmed a vote if it voted on the same row, and voted for the same class on at least one row.
    """
    covered = (rest >= 0).any(axis=1)
    reference = _softmax(logits[covered])
    votes, rest = votes[covered], rest[covered]
    seen = np.maximum(reference.sum(axis=0), 1e-12)
    scores = np.zeros_like(believed)
    for vote in range(len(believed)):
        cast = votes == vote
        able = rest[:, (rest == vote).any(axis=0)]
        count = (cast & (able >= 0).any(axis=1)).sum()
        likelihoods = reference[cast].sum(axis=0) / seen
        observed = likelihoods / likelihoods.sum() if count else believed[vote]
        scores[vote] = np.log((count * observed + WEIGHT * believed[vote]) / (count + WEIGHT))
        scores[vote] -= scores[vote].mean()
    return scores


def _said(votes: np.ndarray[Any, np.dtype[np.int8]], scores: Floats) -> Floats:
    """Return the numbers that one function's votes add to the logits of each row. An abstention adds nothing."""
    padded = np.vstack([scores, np.zeros(scores.shape[1])])  # the code of an abstention, -1, is the last line
    found: Floats = padded[votes]
    return found


def _softmax(logits: Floats) -> Floats:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    found: Floats = shifted / shifted.sum(axis=1, keepdims=True)
    return found
