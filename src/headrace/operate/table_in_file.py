"""Tables in files that a user names on the command line."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.errors import SourceError, UsageError
from headrace.inspect.get.table_file import SUFFIXES

if TYPE_CHECKING:
    import pyarrow as pa


def table_in(path: Path) -> pa.Table:
    """Return the table in a file: Arrow, Parquet, CSV, JSON or JSON Lines.

    Raises:
        UsageError: there is no such file, it can't be read, or it isn't a table.
    """
    from headrace.stages.ingest._files.formats import Source, format_of, read_table  # noqa: PLC0415  Arrow, 0.2 s

    if not path.is_file():
        if path.is_dir():
            raise UsageError(f"`{path}` is a folder", hint="give one file with a table")
        if not path.exists():
            raise UsageError(f"there is no file `{path}`", hint="check the name, and the folder that you are in")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"`{path}` isn't a table that can be read", hint=f"give a file of {', '.join(SUFFIXES)}")
    form = "jsonl" if suffix == ".json" and not _is_list(path) else format_of(path.name)
    try:
        return read_table(Source(str(path), lambda: path.open("rb")), form)
    except SourceError as error:
        raise UsageError(error.message, hint="give a complete file whose content fits its suffix") from error


def _is_list(path: Path) -> bool:
    """Return whether a JSON file holds one list, as `headrace get --to rows.json` writes it. Other files have one row
    on each line."""
    with suppress(OSError), path.open("rb") as file:
        return file.read(1 << 12).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["
    return False
