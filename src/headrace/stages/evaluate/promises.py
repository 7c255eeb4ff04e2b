"""What can be told of gates before anything has run: whether they can be read, and whether there are such metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain

from headrace.stages.evaluate.findings import BASELINE, GAP, PREVIOUS
from headrace.stages.evaluate.known import plain, unmeasured
from headrace.stages.evaluate.part import Metric
from headrace.stages.evaluate.rules import comparisons, parse

SEEN, CHOSE = "rows seen in training", "rows seen in validation"
COUNTS = ("rows", "rows without a target", SEEN, CHOSE)
COUNTED = (*COUNTS, "empty texts")
_PEOPLE = (" difference", " ratio")
"""Words of what is measured of groups of people, whose columns and rates are known when the data are."""


def check_gates(*measured: Sequence[Metric], counts: Sequence[str] = COUNTS) -> Callable[[Mapping[str, object]], None]:
    """Give what refuses `gates` that can't be read, or that ask for what an evaluation with these metrics never has."""
    names = list(dict.fromkeys(each.name for each in chain.from_iterable(measured)))
    names += [*counts, GAP]

    def check(given: Mapping[str, object]) -> None:
        gates = given.get("gates")
        if isinstance(gates, str) and gates:
            for each in comparisons(parse(gates)):
                if not _is_one(plain(each.metric), map(plain, names)):
                    raise unmeasured(each.metric, names)

    return check


def _is_one(asked: str, names: Iterable[str]) -> bool:
    for other in (BASELINE, PREVIOUS):
        asked = asked.removesuffix(f" less {other}")
    return any(each in asked for each in _PEOPLE) or asked.removeprefix(f"{plain(GAP)} of ") in names
