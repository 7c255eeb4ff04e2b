"""What labelling functions together say of a row: a vote in which those that agree with the others count more.

Nobody knows the true labels, so how much a function's vote is worth must come from how it agrees with the rest. The
generative model is that of Dawid and Skene (1979, "Maximum likelihood estimation of observer error-rates using the EM
algorithm"): given the true class, functions vote independently, each with its own error rates; an abstention says
nothing. Its EM was tried first and is the wrong tool here: labelling functions are few, and several look at the same
words, so after some rounds the classes that it finds are those of the functions that agree most, whatever these say
(on reviews of films it ended between the majority vote and a coin's toss). What is used is the one-step weighted vote
of Li and Yu (2014, "Error rate bounds and iterative weighted majority voting for crowdsourcing"), with two changes.
Each function is judged by the vote of the *others*, so that none vouches for itself; and functions that are as good as
copies of each other share one vote, and don't judge each other. The reference so made is noisy, which draws weights and
probabilities towards the middle. Where functions depend on each other a little, as most do, that is about right (log
loss on the reviews 0.45, against 0.64 for EM); where they don't, probabilities are too careful.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from headrace.spec.noun import Noun

Floats = np.ndarray[Any, np.dtype[np.float64]]
Codes = np.ndarray[Any, np.dtype[np.int8]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]

TRUST = 0.7
"""How often a function is right, as far as is known before its votes are looked at: better than chance."""
WEIGHT = 10.0
"""How many votes that belief is worth."""


COPY = 0.6
"""Functions that agree on this much of what the classes don't explain are taken for copies."""


class Consensus(Noun, frozen=True):
    """The label model: `scores` is functions x votes x classes, the log likelihood of a vote under each class.

    `probabilities` is rows x classes. A row on which all abstain has the classes' shares. `parts` is what of a vote
    each function has: less than 1 where it shares one with its copies, which `copies` says (functions x functions).
    """

    scores: Floats
    probabilities: Floats
    parts: Floats
    copies: Mask

    def borne_out(self, codes: Codes) -> Floats:
        """How far each function's votes are borne out by the probabilities, on average; NaN where it never voted."""
        voted = codes >= 0
        rows = np.arange(len(codes))
        found = np.full(codes.shape[1], np.nan)
        for place in range(codes.shape[1]):
            chosen = voted[:, place]
            if chosen.any():
                found[place] = self.probabilities[rows[chosen], codes[chosen, place]].mean()
        return found


def combine(codes: Codes, classes: int, balance: Floats | None = None) -> Consensus:
    """Combine votes (rows x functions, -1 for none) into probabilities of classes.

    `balance` are the classes' shares in the world, by default equal.
    """
    prior = np.log(np.full(classes, 1 / classes) if balance is None else balance)
    even = np.log(np.where(np.eye(classes, dtype=bool), TRUST, (1 - TRUST) / max(classes - 1, 1)))
    functions = range(codes.shape[1])
    plain = [_said(codes[:, place], even) for place in functions]
    copies = agreement(codes, _softmax(sum(plain, prior))) > COPY
    parts = 1 / (1 + copies.sum(axis=0))
    said = [part * each for part, each in zip(parts, plain, strict=True)]
    total = sum(said, prior)
    scores = []
    for place in functions:
        itself = copies[place].copy()
        itself[place] = True
        others = total - sum(said[each] for each in np.flatnonzero(itself))
        covered: Mask = np.asarray((codes[:, ~itself] >= 0).any(axis=1))
        scores.append(_judged(codes[:, place], covered, others))
    found = [part * _said(codes[:, each], scores[each]) for each, part in enumerate(parts)]
    return Consensus(scores=np.stack(scores), probabilities=_softmax(sum(found, prior)), parts=parts, copies=copies)


def agreement(codes: Codes, probabilities: Floats) -> Floats:
    """How far each two functions agree beyond what the classes explain: 0 not at all, 1 always; functions x functions.

    Abstaining counts as an answer, so that functions which know one label only are seen too. It is Cohen's kappa
    (1960) with the agreement of functions that are independent given the class in place of that by chance.
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
    """The plain majority vote as probabilities: one for the winner, equal parts where several tie or all abstain."""
    counts = np.stack([(codes == each).sum(axis=1) for each in range(classes)], axis=1)
    winners = counts == counts.max(axis=1, keepdims=True)
    shares: Floats = winners / winners.sum(axis=1, keepdims=True)
    return shares


def right(probabilities: Floats, truth: np.ndarray[Any, np.dtype[np.int64]]) -> Floats:
    """How right a label is in each row: 1, 0, or the share of a coin's toss where several classes tie."""
    best = probabilities >= probabilities.max(axis=1, keepdims=True) - 1e-12
    found: Floats = best[np.arange(len(truth)), truth] / best.sum(axis=1)
    return found


def _judged(votes: np.ndarray[Any, np.dtype[np.int8]], covered: Mask, others: Floats) -> Floats:
    """The log likelihoods of a function's votes under each class; the others' vote (logits, where `covered`) judges."""
    classes = others.shape[1]
    reference = _softmax(others[covered])
    votes = votes[covered]
    seen = np.maximum(reference.sum(axis=0), 1e-12)
    scores = np.zeros((classes, classes))
    for vote in range(classes):
        cast = votes == vote
        likelihoods = reference[cast].sum(axis=0) / seen
        believed = np.full(classes, (1 - TRUST) / max(classes - 1, 1))
        believed[vote] = TRUST
        count = cast.sum()
        observed = likelihoods / likelihoods.sum() if count else believed
        scores[vote] = np.log((count * observed + WEIGHT * believed) / (count + WEIGHT))
        scores[vote] -= scores[vote].mean()
    return scores


def _said(votes: np.ndarray[Any, np.dtype[np.int8]], scores: Floats) -> Floats:
    """What one function's votes say of each row; an abstention says nothing."""
    padded = np.vstack([scores, np.zeros(scores.shape[1])])  # the code of an abstention, -1, is the last line
    found: Floats = padded[votes]
    return found


def _softmax(logits: Floats) -> Floats:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    found: Floats = shifted / shifted.sum(axis=1, keepdims=True)
    return found
