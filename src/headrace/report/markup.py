"""HTML built by function calls. All text is escaped unless these functions built it, so text from users can't act as
HTML."""

from __future__ import annotations

import html
from collections.abc import Iterable

VOID = frozenset({"br", "img", "input", "link", "meta"})


class Markup(str):
    """Text that is HTML or SVG already, and so isn't escaped."""

    __slots__ = ()


Child = str | None | Iterable["Child"]
Value = str | float | bool | None


def tag(name: str, /, *children: Child, **attributes: Value) -> Markup:
    """Return an HTML element with its children and attributes.

    In the name of an attribute, `_` stands for a hyphen. A `_` at the end is dropped: `class_` stands for `class`,
    which is a keyword in Python.

    >>> tag("p", "1 < 2 ", tag("b", "so"), class_="note", data_x='"')
    '<p class="note" data-x="&quot;">1 &lt; 2 <b>so</b></p>'
    """
    opening = f"<{name}{_attributes(attributes)}>"
    return Markup(opening if name in VOID else f"{opening}{join(children)}</{name}>")


def join(children: Iterable[Child]) -> Markup:
    """Return several children as one markup. Each is escaped unless it is markup already."""
    return Markup("".join(_escape(child) for child in children))


def ticked(text: str) -> Markup:
    """Return a text as HTML, with the parts in `backticks` as `<code>` elements.

    >>> ticked("`fit` failed")
    '<code>fit</code> failed'
    """
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return join([text])
    return join(tag("code", part) if place % 2 else part for place, part in enumerate(parts))


def _escape(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child
    if isinstance(child, str):
        return html.escape(legal(child), quote=False)
    return join(child)


def _attributes(attributes: dict[str, Value]) -> str:
    parts = []
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        shown = name.rstrip("_").replace("_", "-")
        text = f"{value:g}" if isinstance(value, float) else str(value)
        parts.append(f" {shown}" if value is True else f' {shown}="{html.escape(legal(text))}"')
    return "".join(parts)


def legal(text: str) -> str:
    """Return a text in which each character that isn't printable, except tab and new line, is replaced by U+FFFD."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in "\n\t" else "\N{REPLACEMENT CHARACTER}" for each in text)
