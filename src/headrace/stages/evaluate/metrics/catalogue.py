"""The catalogue of measured numbers: gates find a number by its name, with an interval of any confidence."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from headrace.errors import UsageError, listed
from headrace.spec.report import Fact, Report

ALIASES = {
    "roc auc": "auc",
    "auroc": "auc",
    "brier": "brier score",
    "logloss": "log loss",
    "expected calibration error": "ece",
    "calibration error": "ece",
    "tpr": "recall",
    "true positive rate": "recall",
    "sensitivity": "recall",
    "false positive rate": "fpr",
    "prevalence": "base rate",
    "demographic parity difference": "selection rate difference",
    "demographic parity ratio": "selection rate ratio",
    "equal opportunity difference": "recall difference",
    "r²": "r2",
    "r squared": "r2",
    "f1 score": "f1",
    "mean absolute error": "mae",
    "root mean squared error": "rmse",
    "mean absolute percentage error": "mape",
}
"""Other names of metrics. A name may begin with one of these."""


class Entry(NamedTuple):
    """A measured number: `fact` returns it at a confidence, `words` returns a sentence about it or an empty text."""

    fact: Callable[[float], Fact]
    words: Callable[[], str]


class Catalogue:
    """The measured numbers of an evaluation, by name.

    A name may be written in upper or lower case, with spaces, hyphens or underscores, or as an alias. If several names
    match, as with the columns `Sex` and `sex`, the exact spelling decides. `least` is the lowest confidence that an
    interval can have. `most` is the highest confidence that may be asked for, or None if there is no limit. If the
    numbers come from a report, both are the confidence of the report's intervals.
    """

    def __init__(self, least: float = 0.0, most: float | None = None) -> None:
        self._least, self._most = least, most
        self._entries: dict[str, Entry] = {}
        self._names: dict[str, list[str]] = {}

    def add(self, name: str, fact: Callable[[float], Fact], words: Callable[[], str] = str) -> None:
        """Add a number under a name."""
        self._entries[name] = Entry(fact, words)
        alike = self._names.setdefault(plain(name), [])
        if name not in alike:
            alike.append(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __contains__(self, asked: str) -> bool:
        return plain(asked) in self._names

    def fact(self, name: str, level: float, parts: int = 1) -> Fact:
        """Return a number as a fact, with its interval at a confidence.

        `parts` is the number of alternatives in a rule that share the allowed chance of error. It is used only in the
        message of the error.

        Raises:
            UsageError: the confidence is higher than that of the catalogue's intervals.
        """
        if self._most is not None and level > self._most + 1e-9:
            asked = f"{1 - (1 - level) * parts:.5g}"
            whole = f" for each of {parts} alternatives" if parts > 1 else ""
            raise UsageError(
                f"the gate asks for {level * 100:.5g}% confidence{whole}, and the report's intervals have"
                f" {self._most * 100:g}%",
                hint=f"evaluate with `confidence={math.ceil(level * 1e5) / 1e5:g}`, ask for"
                f" {(1 - (1 - self._most) * parts) * 100:.5g}%, or give the rule to the evaluation as `gates=`"
                if parts > 1
                else f"evaluate with `confidence={asked}`, or ask for {self._most * 100:g}%",
            )
        return self._entries[self.name(name)].fact(level)

    def sure(self, level: float) -> float:
        """Return the confidence of the interval that is shown for the confidence `level`. It is `level` or higher."""
        return max(level, self._least)

    def words(self, name: str) -> str:
        """Return a sentence about a number, or an empty text."""
        return self._entries[self.name(name)].words()

    def name(self, asked: str) -> str:
        """Return the full name of a number.

        Raises:
            UsageError: no number, or more than one, has this name. The error names the most similar ones.
        """
        alike = self._names.get(plain(asked), [])
        if not alike:
            raise unmeasured(asked, list(self._entries))
        column = asked.partition(" by ")[2]
        exact = [each for each in alike if each == asked] or [
            each for each in alike if each.partition(" by ")[2] == column
        ]
        found = exact if len(alike) > 1 else alike
        if len(found) != 1:
            raise UsageError(
                f"the gate asks for `{asked}`, which may be {' or '.join(f'`{each}`' for each in alike)}",
                hint="write the name exactly",
            )
        return found[0]


def unmeasured(asked: str, names: Sequence[str]) -> UsageError:
    """Return the error for a gate that asks for a number that isn't among `names`."""
    own = {plain(name): name for name in names}
    near = difflib.get_close_matches(plain(asked), own, 1, cutoff=0.5)
    first = listed((name for name in names if " less " not in name), 20)
    return UsageError(
        f"the gate asks for `{asked}`, which this evaluation doesn't measure",
        hint=f"did you mean `{own[near[0]]}`?" if near else f"it measures {first}",
    )


def catalogue_of(report: Report) -> Catalogue:
    """Return the numbers of a report as a catalogue.

    A report's intervals have one confidence. At a lower confidence, the same intervals are used, so they are wider than
    needed.
    """
    found = Catalogue(report.confidence, report.confidence)
    for fact in report.facts:
        found.add(fact.name, partial(_as_it_is, fact))
    return found


def _as_it_is(fact: Fact, _level: float) -> Fact:
    return fact


def plain(name: str) -> str:
    """Return a name in its normal form, which is the same for all spellings and aliases."""
    words = re.sub(r"[-_\s]+", " ", name.replace("×", "x")).strip().lower()  # noqa: RUF001  as people write it
    for alias, meant in ALIASES.items():
        if words == alias or words.startswith(f"{alias} "):
            return meant + words[len(alias) :]
    return words
