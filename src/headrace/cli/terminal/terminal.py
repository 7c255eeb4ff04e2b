"""Output to stdout and stderr: coloured only where that is wanted, and without control codes in data."""

from __future__ import annotations

import codecs
import os
import re
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import msgspec

from headrace.report.marks import Style, printable

_CODES: dict[Style, int] = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "blue": 34, "cyan": 36}


def coloured(stream: TextIO) -> bool:
    """Return whether to colour a stream's output: as NO_COLOR or FORCE_COLOR says, else only on a terminal."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def paint(text: str, *styles: Style, stream: TextIO) -> str:
    """Return `text` with the codes of `styles` if output to `stream` is coloured. Else return `text` unchanged."""
    if not styles or not coloured(stream):
        return text
    return f"\x1b[{';'.join(str(_CODES[style]) for style in styles)}m{text}\x1b[0m"


def bars() -> str:
    """Return the characters to draw a sparkline with: blocks if stdout's encoding is UTF, else ASCII."""
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    return "▁▂▃▄▅▆▇█" if encoding.startswith("utf") else "_.-=+*#@"


class Unwritten(OSError):
    """The error when stdout can't be written, for example because its disk is full."""


@contextmanager
def writing() -> Iterator[None]:
    """Return a context for code that writes to stdout: an `OSError` in it is raised as `Unwritten`.

    Raises:
        Unwritten: stdout can't be written.
        BrokenPipeError: stdout is a pipe whose reader has left.
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


def say_file(path: Path) -> None:
    """Print the path of a file that was written, unless the file is stdout itself, whose reader wants nothing else."""
    from headrace.inspect.get.output_file import is_stdout  # noqa: PLC0415  most commands write no file

    if not is_stdout(path):
        say(str(path))


def say_styled(line: str) -> None:
    """Print a line of data unchanged on stdout. The caller has coloured it and made it printable."""
    with writing():
        sys.stdout.write(line + "\n")


def say_json(value: Any) -> None:
    """Print one JSON object on stdout."""
    say_bytes(msgspec.json.encode(value, enc_hook=_plain) + b"\n")


def say_bytes(data: bytes) -> None:
    """Print bytes unchanged on stdout, and flush it."""
    with writing():
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


def _plain(value: Any) -> Any:
    """Return a NumPy scalar as the Python value for JSON. A report may hold such scalars."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"a `{type(value).__name__}` has no form in JSON")


class Harmless:
    """A filter that makes a program's output, which comes in pieces, safe for a terminal.

    Text, colours and line breaks are passed on. All other control codes, which could move the cursor or set the title
    or the clipboard, are shown as text.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="backslashreplace")
        self._rest = ""

    def text(self, data: bytes) -> bytes:
        """Return the next piece in a form that is safe to print. A colour code that is cut off at the end of the piece
        is kept for the next call."""
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
    """Return False if stdout is a pipe whose reader has left, else True."""
    poll = select.poll()
    poll.register(1, 0)
    return not any(event & select.POLLERR for _, event in poll.poll(0))


def takes_more() -> bool:
    """Flush stdout, and return whether that worked. It fails if the disk is full, for example."""
    try:
        sys.stdout.flush()
    except OSError:
        return False
    return True


def tell(text: str, *styles: Style, label: str = "") -> None:
    """Print a message on stderr. The styles apply to `label`, or to the whole line without a label.

    Errors of writing are ignored: stderr may be closed.
    """
    line = printable(f"{label} {text}" if label else text)
    painted = paint(line[: len(label) or None], *styles, stream=sys.stderr)
    try:
        sys.stderr.write(f"{painted}{line[len(label) :] if label else ''}\n")
        sys.stderr.flush()
    except OSError:
        pass


def prepare() -> None:
    """Make stdout and stderr accept any text: characters that their encoding lacks are escaped."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # they are text files here
