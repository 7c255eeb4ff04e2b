"""HTML built from calls: every text is escaped unless it was built here, so that nothing a user names can act."""

from __future__ import annotations

import html
from collections.abc import Iterable

VOID = frozenset({"br", "img", "input", "link", "meta"})


class Markup(str):
    """Text that is HTML or SVG already."""

    __slots__ = ()


Child = str | None | Iterable["Child"]
Value = str | float | bool | None


def tag(name: str, /, *children: Child, **attributes: Value) -> Markup:
    """Return an element. Attributes that Python has other plans for end in `_`, hyphens are written `_`.

    >>> tag("p", "1 < 2 ", tag("b", "so"), class_="note", data_x='"')
    '<p class="note" data-x="&quot;">1 &lt; 2 <b>so</b></p>'
    """
    opening = f"<{name}{_attributes(attributes)}>"
    return Markup(opening if name in VOID else f"{opening}{join(children)}</{name}>")


def join(children: Iterable[Child]) -> Markup:
    """Return several children as one, each escaped unless it is markup."""
    return Markup("".join(_escape(child) for child in children))


def ticked(text: str) -> Markup:
    """Return a text with what stands in `backticks` as code.

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
    """Return a text without the characters that no HTML may hold."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in "\n\t" else "\N{REPLACEMENT CHARACTER}" for each in text)
