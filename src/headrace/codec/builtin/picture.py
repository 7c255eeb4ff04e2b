"""Pictures."""

from __future__ import annotations

import io
import sys
from typing import Any

from headrace.codec.classes import is_a
from headrace.codec.sink import Sink
from headrace.codec.source import Source
from headrace.codec.values import Picture


class PictureCodec:
    """A matplotlib figure as SVG. It is loaded as a `Picture`, which can be shown but not drawn on.

    Equal figures make equal bytes: no date is written, and the ids in the SVG are computed with a fixed salt.
    """

    name = "svg"
    safe = True

    def takes(self, value: object) -> bool:
        return type(value) is Picture or is_a(value, "matplotlib.figure.Figure")

    def save(self, value: object, sink: Sink) -> None:
        sink.kind = Picture
        sink.write((value.svg if isinstance(value, Picture) else _draw(value)).encode())

    def load(self, source: Source) -> object:
        return Picture(svg=source.read().decode())


def _draw(figure: Any) -> str:
    matplotlib: Any = sys.modules["matplotlib"]  # already imported, since there is a figure
    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "headrace"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
