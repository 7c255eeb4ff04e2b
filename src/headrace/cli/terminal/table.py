"""Lays out tables for a terminal. Each column is as wide as its longest cell. If the last column is too wide for the
terminal, its text is wrapped."""

from __future__ import annotations

import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Iterator, Sequence

from headrace.cli.terminal.terminal import paint
from headrace.report.marks import Style, printable
from headrace.report.measures import one_line

GAP = "  "
LEAST = 24
"""The least width of the last column, in characters. If less space is left, the column's text is printed on a line of
its own."""
ENDLESS = 10_000

Cell = str | tuple[str, Style]


def table(
    heads: Sequence[str], rows: Sequence[Sequence[Cell]], *, numbers: Sequence[int] = (), spare: Sequence[str] = ()
) -> Iterator[str]:
    """Yield the lines of a table.

    `numbers` holds the indexes of columns to align right. Columns without text are left out. If the terminal is too
    narrow, as many columns as needed are left out, in the order of their heads in `spare`, and the last column is
    wrapped. Output to a file is never shortened. A table without rows has no lines.
    """
    if not rows:
        return
    kept = _kept(heads, rows, spare)
    numbers = [place for place, column in enumerate(kept) if column in numbers]
    heads, rows = [heads[column] for column in kept], [[row[column] for column in kept] for row in rows]
    texts = [[_text(cell) for cell in row] for row in (heads, *rows)]
    widths = [max(map(_width, column)) for column in zip(*texts, strict=True)]
    left = sum(width + len(GAP) for width in widths[:-1])
    room = _columns() - left
    for number, row in enumerate([[(head, "dim") for head in heads], *rows]):
        cells = [
            paint(_pad(text, width, right=column in numbers), *_style(cell), stream=sys.stdout)
            for column, (cell, text, width) in enumerate(zip(row, texts[number], widths, strict=True))
        ]
        last, style = texts[number][-1], _style(row[-1])
        head = GAP.join(cells[:-1])
        if len(last) <= room:
            yield (head + GAP + paint(last, *style, stream=sys.stdout)).rstrip()
        elif room >= LEAST:
            first, *rest = textwrap.wrap(last, room)
            yield head + GAP + paint(first, *style, stream=sys.stdout)
            yield from (" " * left + paint(line, *style, stream=sys.stdout) for line in rest)
        else:
            yield head.rstrip()
            wrapped = textwrap.wrap(last, max(16, _columns() - 4))
            yield from ("    " + paint(line, *style, stream=sys.stdout) for line in wrapped)


def fits(heads: Sequence[str], rows: Sequence[Sequence[Cell]], *, spare: Sequence[str] = ()) -> bool:
    """Return whether a table fits the terminal's width without wrapping its last column; True for output to a file."""
    kept = _kept(heads, rows, spare)
    widths = [max(_width(_text(row[column])) for row in (heads, *rows)) for column in kept]
    return sum(widths) + len(GAP) * (len(widths) - 1) <= _columns()


def _kept(heads: Sequence[str], rows: Sequence[Sequence[Cell]], spare: Sequence[str]) -> list[int]:
    """Return the indexes of the columns to show. Empty columns are left out. If the terminal is too narrow, columns in
    `spare` are left out too."""
    kept = [column for column in range(len(heads)) if any(_text(row[column]) for row in rows)]
    widths = {column: max(_width(_text(row[column])) for row in (heads, *rows)) + len(GAP) for column in kept}
    for name in spare:
        if sum(widths[column] for column in kept[:-1]) <= _columns():
            break
        kept = [column for column in kept if heads[column] != name]
    return kept


def _columns() -> int:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else ENDLESS


def _text(cell: Cell) -> str:
    return printable(one_line(cell if isinstance(cell, str) else cell[0]), keep="")


def _style(cell: Cell) -> tuple[Style, ...]:
    return () if isinstance(cell, str) else (cell[1],)


def _pad(text: str, width: int, *, right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if right else text + space


def _width(text: str) -> int:
    """Return the width of a text in terminal cells: wide characters take two, combining characters none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text
    )
