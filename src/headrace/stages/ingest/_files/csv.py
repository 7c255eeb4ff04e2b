"""Reads CSV files with pyarrow and its options. Errors name the column."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.csv

from headrace.errors import DefinitionError

_OPTIONS = (pa.csv.ReadOptions, pa.csv.ParseOptions, pa.csv.ConvertOptions)
LEAST_BLOCK_BYTES = 1 << 16
_COLUMN = re.compile(r"In CSV column #(\d+)")


def check_options(form: str | None, options: Mapping[str, Any]) -> None:
    """Raise DefinitionError if an option is unknown, has a wrong value, or is given for a format other than CSV."""
    known = {name for each in _OPTIONS for name in dir(each) if not name.startswith("_")}
    for name in options:
        if name not in known or form not in (None, "csv"):
            raise DefinitionError(
                f"`ingest.files` takes no `{name}`" + (f" for `{form}`" if form not in (None, "csv") else ""),
                hint="for CSV it takes the options of pyarrow's ReadOptions, ParseOptions and ConvertOptions",
            )
    for name, value in options.items():
        try:
            _csv_options({name: value})
        except (pa.ArrowException, TypeError, ValueError, AttributeError) as error:
            raise DefinitionError(
                f"`{name}` of `ingest.files` is {value!r:.80}: {error}", hint="see pyarrow's option of that name"
            ) from error


def tabs_of(name: str) -> dict[str, Any]:
    """Return the options that a file's name implies: a tab between the columns if the name has the suffix `.tsv`."""
    return {"delimiter": "\t"} if ".tsv" in Path(name.lower()).suffixes else {}


def read_csv(file: BinaryIO, schema: pa.Schema | None, options: Mapping[str, Any]) -> pa.Table:
    """Return the rows of a CSV file as a table. The file must not be empty, and `file` must be a buffered reader.

    Raises:
        ArrowInvalid: the file isn't a CSV, or a value isn't of its column's type in `schema`.
    """
    typed = {} if schema is None else {"column_types": schema}
    # without `newlines_in_values`, reading fails if a line break inside a value is at the end of a block
    read, parse, convert = _csv_options({**typed, "newlines_in_values": True, **options})
    head = file.peek(1)  # type: ignore[attr-defined]  # a BufferedReader
    try:
        return pa.csv.read_csv(file, read_options=read, parse_options=parse, convert_options=convert)
    except pa.ArrowInvalid as error:
        raise pa.ArrowInvalid(_with_name(str(error), head, read, parse)) from error


def _with_name(said: str, head: bytes, read: Any, parse: Any) -> str:
    """Return pyarrow's message with a column's name in place of its number, if the name is found in the file's first
    bytes (`head`)."""
    found = _COLUMN.search(said)
    if found is None:
        return said
    read.block_size = max(len(head) // 2, LEAST_BLOCK_BYTES)  # only the first block is parsed: the last row may be cut
    stream = pa.BufferReader(head)
    with (
        suppress(pa.ArrowInvalid, IndexError),
        pa.csv.open_csv(stream, read_options=read, parse_options=parse) as opened,
    ):
        return _COLUMN.sub(lambda _: f"In CSV column `{opened.schema.names[int(found[1])]}`", said)
    return said


def _csv_options(options: Mapping[str, Any]) -> list[Any]:
    """Return pyarrow's three objects of CSV options: `ReadOptions`, `ParseOptions` and `ConvertOptions`."""
    found = [each(**{name: value for name, value in options.items() if hasattr(each, name)}) for each in _OPTIONS]
    for each in found:
        each.validate()
    return found
