"""What goes to stdout and stderr: in colour only where it is wanted, and with nothing in it that a terminal acts on."""

from __future__ import annotations

import codecs
import os
import re
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import msgspec

from headrace.report.marks import Style, printable

_CODES: dict[Style, int] = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "blue": 34, "cyan": 36}


def coloured(stream: TextIO) -> bool:
    """Return whether a stream takes colour: NO_COLOR and FORCE_COLOR say so, else whether it is a terminal."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def paint(text: str, *styles: Style, stream: TextIO) -> str:
    """Return a text in colour where the stream takes it."""
    if not styles or not coloured(stream):
        return text
    return f"\x1b[{';'.join(str(_CODES[style]) for style in styles)}m{text}\x1b[0m"


def bars() -> str:
    """Return the characters that a sparkline is drawn with: blocks where stdout can show them."""
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    return "▁▂▃▄▅▆▇█" if encoding.startswith("utf") else "_.-=+*#@"


class Unwritten(OSError):
    """Stdout takes no more: its disk is full."""


@contextmanager
def writing() -> Iterator[None]:
    """Write to stdout.

    Raises:
        Unwritten: it can't be written; `BrokenPipeError` where nobody reads it any more.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Unwritten(error.errno, error.strerror) from error


def say(text: str = "", *styles: Style) -> None:
    """Print a line of data on stdout."""
    say_styled(paint(printable(text), *styles, stream=sys.stdout))


def say_styled(line: str) -> None:
    """Print a line of data whose parts are printable and painted already."""
    with writing():
        sys.stdout.write(line + "\n")


def say_json(value: Any) -> None:
    """Print one JSON object on stdout."""
    say_bytes(msgspec.json.encode(value, enc_hook=_plain) + b"\n")


def say_bytes(data: bytes) -> None:
    """Print data on stdout as it is, at once."""
    with writing():
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


def _plain(value: Any) -> Any:
    """Return a NumPy scalar, such as a report may hold, as what it is in Python."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"a `{type(value).__name__}` has no form in JSON")


class Harmless:
    """Makes of what a program printed, in pieces, what a terminal may be given: text, colours and new lines. What else
    could act on the terminal (moving the cursor, its title, its clipboard) is written out."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="backslashreplace")
        self._rest = ""

    def text(self, data: bytes) -> bytes:
        """Return what is to be shown of the next piece; a colour that is cut off at its end is kept for the next."""
        text = self._rest + self._decoder.decode(data)
        cut = _BEGUN.search(text)
        self._rest = cut[0] if cut else ""
        text = text.removesuffix(self._rest)
        parts = _COLOUR.split(text)
        colours = [*_COLOUR.findall(text), ""]
        shown = "".join(printable(part, keep="\n\r\t") + colour for part, colour in zip(parts, colours, strict=True))
        return shown.encode(errors="backslashreplace")


_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_BEGUN = re.compile(r"\x1b(\[[0-9;]{0,32})?\Z")


def is_read() -> bool:
    """Return whether somebody may still read stdout: a pipe's reader may have left."""
    poll = select.poll()
    poll.register(1, 0)
    return not any(event & select.POLLERR for _, event in poll.poll(0))


def takes_more() -> bool:
    """Return whether stdout takes what is left for it: its disk may be full."""
    try:
        sys.stdout.flush()
    except OSError:
        return False
    return True


def tell(text: str, *styles: Style, label: str = "") -> None:
    """Print a message on stderr, its label in the style; where nobody can read it, that doesn't matter."""
    line = printable(f"{label} {text}" if label else text)
    painted = paint(line[: len(label) or None], *styles, stream=sys.stderr)
    try:
        sys.stderr.write(f"{painted}{line[len(label) :] if label else ''}\n")
        sys.stderr.flush()
    except OSError:
        pass


def prepare() -> None:
    """Make both streams accept any text: what their encoding lacks is escaped."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # they are text files here
