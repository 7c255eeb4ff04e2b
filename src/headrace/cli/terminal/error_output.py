"""Prints an error as text or as one JSON object, and returns its exit code."""

from __future__ import annotations

import os
import time
from pathlib import Path

from headrace.cli.terminal.terminal import say_json, tell
from headrace.errors import HeadraceError
from headrace.project.project import load
from headrace.spec.redaction import masked

INTERNAL = 5
DAMAGED = 5
"""The exit code if Headrace's state is damaged. It is also the exit code of an internal error."""
UNWRITTEN = 2


def show(error: HeadraceError, *, as_json: bool) -> int:
    """Print a Headrace error as text or JSON, and return its exit code."""
    return show_words(type(error).__name__, error.message, error.hint, error.exit_code, as_json=as_json)


def show_words(name: str, message: str, hint: str | None, code: int, *, as_json: bool) -> int:
    """Print an `error:` line and a `hint:` line, or one JSON object with both texts. Return `code`."""
    if as_json:
        say_json({"error": name, "message": message, "hint": hint})
        return code
    tell(message, "bold", "red", label="error:")
    if hint:
        tell(hint, "bold", "cyan", label="hint:")
    return code


def show_unwritten(error: OSError) -> int:
    """Print on stderr that stdout can't be written, and return the exit code. The message is plain text, even with
    `--json`."""
    message = f"stdout can't be written: {error.strerror}"
    return show_words("UsageError", message, "free some space, or send the output elsewhere", UNWRITTEN, as_json=False)


def show_internal(error: BaseException, *, as_json: bool) -> int:
    """Print an internal error of Headrace, write its traceback to a file that the hint names, and return the exit code.

    If no file can be written, the hint holds the traceback.
    """
    import traceback  # noqa: PLC0415  3 ms with `tempfile`, which every command would pay

    text = masked("".join(traceback.format_exception(error)))
    file = _keep(text)
    what = masked(f"internal error: {type(error).__name__}: {error}")
    hint = f"please report it with `{file}`, which holds the traceback" if file else f"please report it:\n{text}"
    return show_words("InternalError", what, hint, INTERNAL, as_json=as_json)


def _keep(text: str) -> Path | None:
    """Write a traceback to a file in the project's state folder or, if that fails, in the temporary folder. Return the
    file, or None if both fail."""
    import tempfile  # noqa: PLC0415  as above

    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    for folder in (_faults, lambda: Path(tempfile.gettempdir())):
        try:
            file = folder() / f"headrace-{name}"
            file.write_text(text, encoding="utf-8", errors="backslashreplace")
        except (HeadraceError, OSError):
            continue
        return file
    return None


def _faults() -> Path:
    folder = load().make_home() / "faults"
    folder.mkdir(exist_ok=True)
    return folder
