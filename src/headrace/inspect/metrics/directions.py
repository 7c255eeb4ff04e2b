"""Finds the direction in which a number improves: from its report, or else from the words in its name."""

from __future__ import annotations

import re
from itertools import pairwise

_WORDS = re.compile(r"[a-z]+[0-9]?|[0-9]+")
_LOWER = frozenset(
    _WORDS.findall("""
    loss losses logloss error errors err rmse mse mae mape smape rmsle brier ece perplexity ppl fpr fnr wer cer gap
    divergence deviance nll
    """)
)
_HIGHER = frozenset(
    _WORDS.findall("""
    accuracy acc auc auroc ap map precision recall f1 tpr tnr sensitivity specificity r2 kappa mcc bleu rouge chrf ndcg
    mrr iou dice reward likelihood
    """)
)
_NEGATIVE = frozenset(("neg", "negative"))
"""Words that reverse a direction: scikit-learn calls the negative of a loss `neg_log_loss`. `negative` may also be the
name of a class."""

_SIGNED = {("mean", "error"), ("mean", "errors"), ("bias", "error")}
_BETWEEN = {"difference": "lower", "ratio": "higher"}


def direction(name: str) -> str:
    """Return the direction in which a number of this name improves: `higher`, `lower`, or an empty text if unknown.

    The last word that implies a direction decides. The word "score" counts only if no other word implies one.

    >>> direction("valid/log_loss"), direction("test.AUC"), direction("auc_gap"), direction("rows")
    ('lower', 'higher', 'lower', '')
    >>> direction("recall difference by sex"), direction("FPR ratio by sex"), direction("worst-slice gap of recall")
    ('lower', 'higher', 'lower')
    >>> direction("valid/neg_log_loss"), direction("d2_absolute_error_score"), direction("negative log likelihood")
    ('higher', 'higher', 'lower')

    A signed mean of errors is best at 0, which is neither direction.

    >>> direction("test/mean error"), direction("bias"), direction("mean absolute error")
    ('', '', 'lower')
    """
    words = _WORDS.findall(name.lower())
    if any(pair in _SIGNED for pair in pairwise(words)):
        return ""
    if between := _between_groups(words):
        return between
    if "d2" in words:  # the share of an error that is explained, as scikit-learn's `d2_log_loss_score`
        return "higher"
    for place, word in reversed([*enumerate(words)]):
        if word in _LOWER:
            return "higher" if "neg" in words[:place] else "lower"
        if word in _HIGHER:
            return "lower" if word == "likelihood" and _NEGATIVE & {*words[:place]} else "higher"
    return "higher" if "score" in words else ""


def _between_groups(words: list[str]) -> str:
    """Return the direction of a difference, ratio or gap between groups, or an empty text if the words name no such
    comparison."""
    for place, word in enumerate(words[1:], start=1):
        if word == "by" and words[place - 1] in _BETWEEN:
            return _BETWEEN[words[place - 1]]
        if word == "of" and words[place - 1] == "gap":
            return "lower"
    return ""
