"""Finds a regular expression that all texts of a column match, such as `N[0-9]{3}[A-Z]{2}` for tail numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence

DIGITS = "[0-9]"
CLASSES = ((DIGITS, re.compile("[0-9]+")), ("[A-Z]", re.compile("[A-Z]+")), ("[a-z]", re.compile("[a-z]+")))
LONGEST = 64
MOST_RUNS = 12


def pattern_of(texts: Sequence[str]) -> str | None:
    """Return a pattern that all of the texts match, or None if they have no useful pattern in common.

    Each text is cut into runs of digits, of capitals and of small letters; any other character is a run by itself. All
    texts must have the same sequence of runs. The pattern allows the lengths that the texts have. A run that is the
    same in all texts is copied into the pattern. Runs of digits are never copied, because later texts may have another
    year or batch number.

    >>> pattern_of(["N123AA", "N7UA", "N45DL"])
    'N[0-9]{1,3}[A-Z]{2}'
    >>> pattern_of(["INV-2026-07", "INV-2026-12"])
    'INV\\\\-[0-9]{4}\\\\-[0-9]{2}'
    >>> pattern_of(["one", "two three"]) is None
    True
    """
    if not texts or max(map(len, texts)) > LONGEST or not all(texts):
        return None
    cut = [_runs(text) for text in texts]
    shape = [kind for kind, _ in cut[0]]
    if len(shape) > MOST_RUNS or any([kind for kind, _ in each] != shape for each in cut):
        return None
    parts = [_run(kind, {each[place][1] for each in cut}) for place, kind in enumerate(shape)]
    # names and words would give a pattern too, `[A-Z][a-z]{2,9}`, which a longer name soon breaks
    of_letters = all(kind in ("[A-Z]", "[a-z]") for kind in shape)
    return None if of_letters and len({len(text) for text in texts}) > 1 else "".join(parts)


def _runs(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    at = 0
    while at < len(text):
        for kind, run in CLASSES:
            match = run.match(text, at)
            if match is not None:
                found.append((kind, match[0]))
                at = match.end()
                break
        else:
            found.append((text[at], text[at]))
            at += 1
    return found


def _run(kind: str, seen: set[str]) -> str:
    if len(seen) == 1 and kind != DIGITS:
        return re.escape(next(iter(seen)))
    lengths = {len(each) for each in seen}
    low, high = min(lengths), max(lengths)
    if low == high:
        return kind if low == 1 else f"{kind}{{{low}}}"
    return f"{kind}{{{low},{high}}}"
