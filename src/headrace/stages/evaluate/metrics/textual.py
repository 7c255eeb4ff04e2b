"""Metrics of texts, on resampled rows. Each metric follows from sums of the counts that `wording` returns."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from headrace.stages.evaluate.metrics.part import Metric, divided
from headrace.stages.evaluate.metrics.wording import CHARACTERS, TOKENS, Wording
from headrace.watch.intervals import Ratio

METRICS = (
    Metric("exact match", "higher", 0, 1),
    Metric("token F1", "higher", 0, 1),
    Metric("ROUGE-L", "higher", 0, 1),
    Metric("BLEU", "higher", 0, 100),
    Metric("chrF", "higher", 0, 100),
)
MAIN = "token F1"


class TextPart:
    """Rows of texts that were compared with their references, with their metrics."""

    def __init__(self, wordings: Sequence[Wording], *, rows: Any = None) -> None:
        self.rows = rows
        self.size = len(wordings)
        self.counts = np.array([[1.0, *each[:3], *each.bleu, *each.chrf] for each in wordings]).reshape(self.size, -1)
        once = np.ones((1, self.size), np.uint8)
        point = {name: float(values[0]) for name, values in self.replicates(once).items()} if self.size else {}
        self.point: Mapping[str, float] = {name: value for name, value in point.items() if np.isfinite(value)}

    @property
    def sizes(self) -> Mapping[str, float]:
        """For each metric that is a share, the number of rows of which it is a share: all rows for exact match."""
        return {"exact match": self.size}

    def sums(self, name: str) -> Ratio:
        """Return a metric as a ratio of sums over texts.

        For BLEU and chrF, the value of each text says how far the text moves the metric.
        """
        means = {"exact match": 1, "token F1": 2, "ROUGE-L": 3}
        if name in means:
            return Ratio(self.counts[:, means[name]], np.ones(self.size), 0.0, 1.0)
        total = self.counts.sum(axis=0)
        steps = np.diag(1e-4 * total)
        up, down = (self._of(total + sign * steps)[name] for sign in (1, -1))
        slopes = divided(up - down, 2e-4 * total)
        moved = self.counts @ np.where(np.isfinite(slopes), slopes, 0.0) * self.size
        return Ratio(self.point[name] + moved - moved.mean(), np.ones(self.size))

    def replicates(self, counts: Any, only: Collection[str] = ()) -> Mapping[str, Any]:  # noqa: ARG002  all cost the same
        """Return each metric for each resample."""
        return self._of(counts.astype(np.float64) @ self.counts)

    def _of(self, sums: Any) -> dict[str, Any]:
        """Return each metric, computed from sums over rows."""
        rows, bleu, chrf = sums[:, 0], sums[:, 4 : 4 + 2 * TOKENS + 2], sums[:, 4 + 2 * TOKENS + 2 :]
        return {
            "exact match": divided(sums[:, 1], rows),
            "token F1": divided(sums[:, 2], rows),
            "ROUGE-L": divided(sums[:, 3], rows),
            "BLEU": _bleu(bleu),
            "chrF": _chrf(chrf.reshape(-1, CHARACTERS, 3)),
        }

    def why(self, name: str) -> str:
        """Return the reason why a metric is undefined."""
        return "there are no rows" if not self.size else f"the texts are too short for {name}"


def _bleu(counts: Any) -> Any:
    """Return BLEU from 0 to 100. If there is no match of n-grams of some lengths, the first such length counts as 1/2
    match, the second as 1/4 match, and so on (`exp` in sacreBLEU). BLEU is 0 if no single word matches.

    BLEU is undefined if no text has as many words as the longest n-gram, since there is no share of right n-grams then.
    In this case, sacreBLEU returns 0, even for a perfect text.
    """
    matches, totals = counts[:, :TOKENS], counts[:, TOKENS : 2 * TOKENS]
    mine, theirs = counts[:, -2], counts[:, -1]
    halves = np.cumsum(matches == 0, axis=1)
    logs = np.log(np.where(matches > 0, matches, 0.5**halves)) - np.log(np.maximum(totals, 1))
    brevity = np.where(mine < theirs, 1 - divided(theirs, mine), 0.0)
    found = 100 * np.exp(brevity + logs.mean(axis=1))
    none, short = (matches[:, 0] == 0) & (mine + theirs > 0), (totals == 0).any(axis=1)
    return np.where(short, np.nan, np.where(none, 0.0, found))


def _chrf(counts: Any) -> Any:
    """Return chrF from 0 to 100."""
    mine, theirs, both = np.moveaxis(counts, -1, 0)
    used = (mine > 0) & (theirs > 0)
    orders = used.sum(axis=1)
    precision = divided(np.where(used, divided(both, mine), 0).sum(axis=1), orders)
    recall = divided(np.where(used, divided(both, theirs), 0).sum(axis=1), orders)
    found = divided(500 * precision * recall, 4 * precision + recall)
    return np.where(np.isnan(found) & (counts.sum(axis=(1, 2)) > 0), 0.0, found)
