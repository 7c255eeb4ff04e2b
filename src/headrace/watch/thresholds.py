"""The threshold of a classifier: the lowest score that is predicted positive.

A threshold is chosen on validation rows only.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np

from headrace.errors import UsageError

RULES = ("f1", "youden", "accuracy", "rate", "precision", "recall")
_RULE = re.compile(r"(?P<rows>\w+)\s*:\s*(?P<name>\w+)\s*(?:=\s*(?P<value>\d*\.?\d+%?))?")


class Threshold(NamedTuple):
    """A threshold: a row is predicted positive if its score is `value` or more.

    `how` says, in words, where `value` came from.
    """

    value: float
    how: str


class Rule(NamedTuple):
    """A rule for choosing a threshold.

    `name` is the name of the rule. `aim` is the share that the rule must reach, or None if the rule has no such share.
    """

    name: str
    aim: float | None


def read(asked: str | float | None) -> float | Rule:
    """Return the threshold number, or the rule that chooses it.

    `asked` is a number, or one of these rules:

    - `valid:f1`, `valid:accuracy`, or `valid:youden` (recall minus false positive rate): the threshold with the highest
      value of that metric;
    - `valid:rate=0.2`: the threshold at which about this share of rows is predicted positive;
    - `valid:precision=0.8`: the lowest threshold that reaches this precision;
    - `valid:recall=0.9`: the highest threshold that reaches this recall.

    None means 0.5.

    Raises:
        UsageError: the text can't be read, or the threshold would be chosen on the rows on which the model is judged.
    """
    if asked is None:
        return 0.5
    if isinstance(asked, int | float) and not isinstance(asked, bool) and asked == asked:
        return float(asked)
    match = _RULE.fullmatch(str(asked).strip())
    if match is None or match["name"] not in RULES:
        told = f"give a number, or `valid:` and one of {', '.join(RULES)}"
        raise UsageError(f"`threshold={asked!r}` can't be read", hint=f"{_unquoted(asked)}{told}")
    if match["rows"] != "valid":
        raise UsageError(
            f"`threshold={asked!r}` would be chosen on the rows on which the model is judged",
            hint=f"that flatters the model: give other rows as `valid=`, and set `threshold='valid:{match['name']}'`",
        )
    name, told = match["name"], match["value"]
    if (name in ("rate", "precision", "recall")) != (told is not None):
        way = f"write `valid:{name}`" if told is not None else f"write `valid:{name}=0.5`"
        raise UsageError(f"`threshold={asked!r}` can't be read", hint=way)
    aim = None if told is None else float(told.rstrip("%")) / (100 if told.endswith("%") else 1)
    if aim is not None and aim > 1:
        raise UsageError(
            f"`threshold={asked!r}` asks for more than 100%", hint=f"write a share: `valid:{name}=0.8`, or 80%"
        )
    return Rule(name, aim)


def _unquoted(asked: object) -> str:
    """Return a hint on how to write a number that was given as a text. If the text isn't a number, the hint is
    empty."""
    try:
        return f"write `threshold={float(str(asked)):g}`, without quotes; else " if isinstance(asked, str) else ""
    except ValueError:
        return ""


def threshold_of(asked: str | float | None, positive: Any | None, score: Any | None) -> Threshold:
    """Return the threshold that `asked` stands for.

    A rule chooses the threshold on the validation rows: `positive` says of each row whether it is of the positive
    class, and `score` has the rows' scores. Both are None if there are no validation rows, and are used only if `asked`
    is a rule.

    Raises:
        UsageError: `asked` can't be read. Or a threshold must be chosen, but there are no validation rows, all
            validation rows are of one class, or no threshold reaches the precision that `asked` names.
    """
    rule = read(asked)
    if not isinstance(rule, Rule):
        return Threshold(rule, "not given, so 0.5" if asked is None else "as given")
    if positive is None or score is None:
        raise no_rows(asked)
    return Threshold(_chosen(rule.name, rule.aim or 0.0, positive, score, asked), f"chosen on validation, {asked}")


def no_rows(asked: object) -> UsageError:
    """Return the error for a threshold that must be chosen on validation rows although there are none."""
    return UsageError(f"`threshold={asked!r}` needs validation rows", hint="give them as `valid=`")


def _chosen(name: str, aim: float, positive: Any, score: Any, asked: object) -> float:
    if not positive.any() or positive.all():
        raise UsageError(f"`threshold={asked!r}`: all validation rows are of one class", hint="give other rows")
    order = np.argsort(-score, kind="stable")
    ordered, truth = score[order], positive[order].astype(np.float64)
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    caught, chosen = np.cumsum(truth)[ends], ends + 1.0
    total, rows = truth.sum(), float(len(truth))
    false = chosen - caught
    worth = {
        "f1": 2 * caught / (chosen + total),
        "youden": caught / total - false / (rows - total),
        "accuracy": (caught + rows - total - false) / rows,
        "rate": -np.abs(chosen / rows - aim),
        "precision": np.where(caught / chosen >= aim, chosen, -1.0),
        "recall": np.where(caught / total >= aim, -chosen, -rows - 1),
    }[name]
    best = int(np.argmax(worth))
    if name == "precision" and worth[best] < 0:
        raise UsageError(
            f"`threshold={asked!r}`: no threshold reaches that precision on the validation rows", hint="ask for less"
        )
    following = ordered[ends[best] + 1] if ends[best] + 1 < len(ordered) else None
    here = float(ordered[ends[best]])
    return here if following is None else (here + float(following)) / 2
