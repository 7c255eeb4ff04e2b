"""How far people agree on labels, beyond agreement by chance.

Cohen's kappa of two annotators comes from scikit-learn. Fleiss' kappa and Krippendorff's alpha of many annotators are
computed here: the library for alpha is under the GPL, and both take a few lines of code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from sklearn.metrics import cohen_kappa_score

from headrace.spec.report import Cell, Fact, Grid

Counts = np.ndarray[Any, np.dtype[np.float64]]
RESAMPLES = 1000
FEW = "fewer than two rows have two labels"
ONE = "only one label was ever given, so nothing is left for chance to explain"


def counted(labels: Sequence[Mapping[str, int]], classes: int) -> Counts:
    """Return an array of rows by classes with the number of annotators who gave each label.

    `labels` has, for each row, a mapping from annotator to label.
    """
    counts = np.zeros((len(labels), classes))
    for row, given in enumerate(labels):
        for label in given.values():
            counts[row, label] += 1
    return counts


def alpha(counts: Counts) -> float | None:
    """Return Krippendorff's alpha for nominal labels, with any number of labels per row; None where it isn't defined.

    Alpha is 1 minus the quotient of observed and expected disagreement (Krippendorff 2011, "Computing Krippendorff's
    alpha-reliability"). Rows with fewer than two labels are left out, since they show no agreement.
    """
    found = _alphas(counts[counts.sum(axis=1) >= 2], None)
    return None if found is None or np.isnan(found[0]) else float(found[0])


def alpha_interval(counts: Counts, *, seed: int = 0) -> tuple[float, float] | None:
    """Return the 95% interval of alpha by resampling rows (a percentile bootstrap); None where alpha isn't defined."""
    paired = counts[counts.sum(axis=1) >= 2]
    if len(paired) < 2:
        return None
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(paired), np.full(len(paired), 1 / len(paired)), size=RESAMPLES)
    found = _alphas(paired, drawn.astype(float))
    if found is None or np.isnan(found).all():
        return None
    low, high = np.nanquantile(found, [0.025, 0.975])
    return float(low), float(high)


def _alphas(paired: Counts, weights: Counts | None) -> Counts | None:
    """Return alpha for each resample. If `weights` is None, return one alpha, for all rows.

    A line of `weights` is a resample: it says how often each row is drawn.
    """
    if len(paired) < 2:
        return None
    width = paired.sum(axis=1)
    agreeing = (paired * (paired - 1)).sum(axis=1) / (width - 1)
    drawn = np.ones((1, len(paired))) if weights is None else weights
    shares = drawn @ paired  # resamples x classes
    pairable = shares.sum(axis=1)
    expected = (shares * (shares - 1)).sum(axis=1) / np.maximum(pairable - 1, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Counts = 1 - (pairable - drawn @ agreeing) / (pairable - expected)
    return np.where(np.isfinite(found), found, np.nan)


def fleiss(counts: Counts) -> float | None:
    """Return Fleiss' kappa (1971); None where it isn't defined.

    The kappa is defined if the same number of annotators labelled each row.
    """
    width = counts.sum(axis=1)
    if len(counts) < 2 or width.min() < 2 or width.min() != width.max():
        return None
    raters = width[0]
    observed = ((counts * counts).sum(axis=1) - raters) / (raters * (raters - 1))
    shares = counts.sum(axis=0) / counts.sum()
    chance = (shares**2).sum()
    return None if chance == 1 else float((observed.mean() - chance) / (1 - chance))


def facts(labels: Sequence[Mapping[str, int]], classes: int) -> list[Fact]:
    """Return the agreement of all annotators as facts. If a measure can't be computed, its fact has no value and gives
    the reason."""
    counts = counted([each for each in labels if len(each) >= 2], classes)
    found = []
    why = FEW if len(counts) < 2 else ONE
    value, interval = alpha(counts), alpha_interval(counts)
    if value is None or interval is None:
        found.append(Fact(name="Krippendorff's alpha", value=None, why=why))
    else:
        found.append(Fact(name="Krippendorff's alpha", value=value, low=interval[0], high=interval[1], better="higher"))
    kappa = fleiss(counts) if len(counts) else None
    if kappa is None:
        uneven = len(counts) >= 2 and len({*counts.sum(axis=1)}) > 1
        why = "rows have different numbers of labels; alpha allows for that" if uneven else why
        found.append(Fact(name="Fleiss' kappa", value=None, why=why))
    else:
        found.append(Fact(name="Fleiss' kappa", value=kappa, better="higher"))
    return found


def pairs(labels: Sequence[Mapping[str, int]]) -> Grid:
    """Return a grid with a line for each pair of annotators.

    A line has the number of rows that both annotators labelled, the share of these rows with the same label, and
    Cohen's kappa (1960).
    """
    names = sorted({name for each in labels for name in each})
    rows: list[tuple[Cell, ...]] = []
    for one, two in combinations(names, 2):
        both = [(each[one], each[two]) for each in labels if one in each and two in each]
        if not both:
            rows.append((one, two, 0, None, None))
            continue
        first, second = zip(*both, strict=True)
        same = sum(a == b for a, b in both) / len(both)
        kappa = None if len({*first, *second}) == 1 else round(float(cohen_kappa_score(first, second)), 4)
        rows.append((one, two, len(both), round(same, 4), kappa))
    return Grid(
        title="Annotators, two by two",
        columns=("annotator", "and", "rows", "same label", "Cohen's kappa"),
        rows=tuple(rows),
        note="There is no kappa if the two labelled no row in common, or used only one label.",
    )
