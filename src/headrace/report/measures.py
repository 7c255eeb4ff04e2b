"""Durations, sizes, money and counts as text, for the terminal and pages."""

from __future__ import annotations

from collections.abc import Callable


def seconds_text(seconds: float | None) -> str:
    """Return a duration as text: `8.0 ms`, `3.2 s`, `4 min 10 s`, `2 h 05 min`, `3 d 4 h`. None gives an empty text."""
    if seconds is None:
        return ""
    if seconds < 1:
        if seconds < 0.001:
            return "<1 ms" if seconds > 0 else "0 s"
        return f"{seconds * 1000:.1f} ms" if seconds < 0.01 else f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def one_line(text: str) -> str:
    """Return a message and its hint on one line, for a table cell or a heading.

    >>> one_line("no room" + chr(10) + "hint: make some")
    'no room; hint: make some'
    """
    return text.replace("\nhint: ", "; hint: ").replace("\n", " ")


def bytes_text(size: float) -> str:
    """Return a size in bytes as text in binary units: `812 B`, `1.4 KiB`, `3.0 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def usd_text(usd: float | None) -> str:
    """Return an amount of US dollars as text: to the cent, or, if it is below 10 cents, with two significant digits.
    None gives an empty text."""
    if usd is None:
        return ""
    if usd == 0:
        return "$0"
    if usd < 0.0001:
        return "<$0.0001"
    return f"${usd:,.2f}" if usd >= 0.095 else f"${usd:.2g}"


def known_text(count: int, noun: str) -> str:
    """Return the text for things that existed before an import: `1 run was there already`."""
    return f"{count_text(count, noun)} {'was' if count == 1 else 'were'} there already"


def count_text(count: int, noun: str) -> str:
    """Return a count with its noun: `no runs`, `1 run`, `1,000 runs`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}" if count else f"no {noun}s"


def amount_text(amount: float | tuple[float, float] | None, text: Callable[[float], str]) -> str:
    """Return an amount, or a range of two amounts, as text. `text` formats one amount. None gives an empty text.

    >>> amount_text((1.0, 90.0), seconds_text), amount_text((2.0, 2.0), seconds_text), amount_text(None, usd_text)
    ('1.0 s to 1 min 30 s', '2.0 s', '')
    """
    if amount is None:
        return ""
    low, high = amount if isinstance(amount, tuple) else (amount, amount)
    return text(low) if text(low) == text(high) else f"{text(low)} to {text(high)}"
