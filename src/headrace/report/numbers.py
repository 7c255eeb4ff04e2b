"""Numbers as text. A number with an interval gets as many digits as the interval justifies, and at least two."""

from __future__ import annotations

import math

from headrace.spec.report import Cell, Fact, Report

NOTHING = "-"
DIGITS = 4
MOST_DECIMALS = 6
VAST = 1e15
"""Floats from this size on are written with an exponent, since most of their digits mean nothing. Integers, such as
ids, are written in full."""
MOST_TOLD = 17
"""The most decimals that are written to show on which side of a bound a number is."""


def number(value: float | None, decimals: int | None = None) -> str:
    """Return a number as text, with `decimals` decimals, or with four digits if `decimals` is None.

    >>> number(0.75), number(1234567), number(0.000123456), number(float("nan")), number(81.25), number(-3.0)
    ('0.75', '1,234,567', '0.0001235', 'not a number', '81.25', '-3')
    >>> number(0.75, 3), number(1234.5678, 1), number(None), number(float("inf"))
    ('0.750', '1,234.6', '-', 'infinity')
    >>> number(8.388e35), number(8.388e35, 0), number(-1e15, 2), number(10**15)
    ('8.388e+35', '8.388e+35', '-1e+15', '1,000,000,000,000,000')
    """
    if value is None:
        return NOTHING
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "infinity" if value > 0 else "-infinity"
    if abs(value) >= VAST and not isinstance(value, int):
        return f"{value:.{DIGITS}g}"
    if decimals is not None:
        return _unsigned_zero(f"{value:,.{decimals}f}")
    if isinstance(value, int) or value.is_integer():
        return f"{int(value):,}"
    size = abs(value)
    if size >= 1e9 or size < 1e-5:
        return f"{value:.{DIGITS}g}"
    places = max(0, DIGITS - 1 - math.floor(math.log10(size)))
    return f"{value:,.{places}f}".rstrip("0").rstrip(".") if places else f"{value:,.0f}"


def value_of(fact: Fact) -> str:
    """Return a fact's value with its unit as text, or `undefined` if it has no value.

    >>> value_of(Fact(name="AUC", value=0.75, low=0.7261, high=0.7709)), value_of(Fact(name="bias", value=0))
    ('0.750', '0')
    >>> value_of(Fact(name="bias", value=0.0571, low=0, high=1)), value_of(Fact(name="bias", value=1e-9, low=0, high=1))
    ('0.057', '0.0')
    """
    if fact.value is None:
        return "undefined"
    return with_unit(number(fact.value, decimals_of_value(fact)), fact.unit)


def told_from(value: float, bound: float, decimals: int | None) -> str:
    """Return `value` as text. It has at least `decimals` decimals, and more if they are needed to show on which side of
    `bound` it is.

    >>> told_from(0.1004, 0.1, 2), told_from(0.1, 0.1, 2), told_from(0.2, 0.1, 2), told_from(1.000001e20, 1e20, 0)
    ('0.1004', '0.10', '0.20', '1.000001e+20')
    """
    written, places = number(value, decimals), DIGITS - 1 if decimals is None else decimals
    side = (value > bound, value < bound)
    while math.isfinite(value) and places < MOST_TOLD:
        shown = float(written.replace(",", ""))
        if (shown > bound, shown < bound) == side:
            break
        places += 1
        written = number(value, places) if abs(value) < VAST else f"{value:.{places}g}"
    return written


def interval_of(fact: Fact) -> str:
    """Return a fact's interval as text; empty if it has none.

    >>> interval_of(Fact(name="AUC", value=0.75, low=0.7261, high=0.7709))
    '0.726 to 0.771'
    """
    if fact.low == fact.high:
        return ""  # there is no interval, or the number is certain
    decimals = decimals_of(fact)
    if fact.low is None or fact.high is None:
        return f"from {number(fact.low, decimals)}" if fact.high is None else f"up to {number(fact.high, decimals)}"
    return f"{number(fact.low, decimals)} to {number(fact.high, decimals)}"


def bracketed(value: float | None, low: float | None, high: float | None) -> str:
    """Return a number as text, with its interval in brackets if it has one.

    >>> bracketed(0.75, 0.7261, 0.7709), bracketed(0.75, None, None)
    ('0.750 [0.726, 0.771]', '0.75')
    >>> bracketed(1.234e-7, 1.1e-7, 1.3e-7)
    '1.234e-07 [1.1e-07, 1.3e-07]'
    """
    if value is None:
        return NOTHING
    decimals = decimals_of(Fact(name="", value=value, low=low, high=high))
    if low is None or high is None:
        return number(value, decimals)
    return f"{number(value, decimals)} [{number(low, decimals)}, {number(high, decimals)}]"


def interval_name(report: Report) -> str:
    """Return the head of the column of intervals, such as `95% interval`."""
    return f"{report.confidence * 100:g}% interval"


def decimals_of(fact: Fact) -> int | None:
    """Return how many decimals are needed to show two digits of the width of a fact's interval, at most
    `MOST_DECIMALS`.

    The result is None if the fact has no usable interval, or if the interval's ends are so small that this many
    decimals would show zeros only.
    """
    if fact.low is None or fact.high is None or not math.isfinite(fact.high - fact.low):
        return None
    if fact.why:  # then the interval is how far the value may go, and says nothing of how certain the number is
        return None
    width = fact.high - fact.low
    if width <= 1e-9 * max(abs(fact.low), abs(fact.high)):
        return None
    needed = max(0, 1 - math.floor(math.log10(width)))
    if needed > MOST_DECIMALS and max(abs(fact.low), abs(fact.high)) < 10 ** (DIGITS - MOST_DECIMALS):
        return None
    return min(MOST_DECIMALS, needed)


def decimals_of_value(fact: Fact) -> int | None:
    """Return how many decimals a fact's value is written with: as many as its interval, or more if the value needs more
    to show two digits.

    If the value would need more than `MOST_DECIMALS`, it gets as many as the interval. Return None if `decimals_of`
    does.
    """
    decimals, value = decimals_of(fact), fact.value
    if decimals is None or not value or not math.isfinite(value) or value == round(value):
        return decimals
    own = 1 - math.floor(math.log10(abs(value)))
    return max(decimals, own) if own <= MOST_DECIMALS else decimals


def cell(value: Cell) -> str:
    """Return the text of a grid's cell: `-` for None, `yes` or `no` for a boolean, a number, or a text unchanged."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else number(value)


def with_unit(written: str, unit: str) -> str:
    """Return a number's text with its unit after it.

    >>> with_unit("3", "%"), with_unit("3", "rows"), with_unit("3", "")
    ('3%', '3 rows', '3')
    """
    return f"{written}{'' if unit == '%' else ' '}{unit}" if unit else written


def _unsigned_zero(written: str) -> str:
    return written[1:] if written.startswith("-") and not written.strip("-0.,") else written
