"""Tables in files that a user names on the command line."""

from __future__ import annotations

import io
import os
from collections.abc import Collection
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from headrace.errors import SourceError, UsageError
from headrace.inspect.get.table_file import JSON_SUFFIXES, SUFFIXES
from headrace.spec.noun import UNREADABLE

if TYPE_CHECKING:
    import pyarrow as pa


def table_in(path: Path) -> pa.Table:
    """Return the table in a file: Arrow, Parquet, CSV, JSON or JSON Lines.

    Raises:
        UsageError: there is no such file, it can't be read, or it isn't a table.
    """
    return TableInFile(path).table


class TableInFile:
    """A file with a table. Its bytes are kept if it is JSON or can be read only once, such as a pipe.

    Raises:
        UsageError: there is no such file, or its suffix isn't that of a table. The properties raise this error too, if
            the file can't be read or isn't a table.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            if path.is_dir():
                raise UsageError(f"`{path}` is a folder", hint="give one file with a table")
            if not path.exists():
                raise UsageError(f"there is no file `{path}`", hint="check the name, and the folder that you are in")
        self._path = path
        self._opened_as: tuple[int, int, int] | None = None  # its inode, size and time of change
        self._suffix = path.suffix.lower()
        if self._suffix not in SUFFIXES:
            raise UsageError(f"`{path}` isn't a table that can be read", hint=f"give a file of {', '.join(SUFFIXES)}")

    @property
    def is_csv(self) -> bool:
        """Whether the file's values are texts without types."""
        return self._suffix == ".csv"

    @property
    def is_json(self) -> bool:
        """Whether the file's rows are JSON. If such a file has no rows, its columns are unknown."""
        return self._suffix in JSON_SUFFIXES

    @cached_property
    def table(self) -> pa.Table:
        """The table. The types of columns in a text file are guessed from the values."""
        from headrace.stages.ingest._files.formats import format_of  # noqa: PLC0415  Arrow, 0.2 s

        return self._read("json" if self._is_list else "jsonl" if self.is_json else format_of(self._path.name))

    @cached_property
    def texts(self) -> pa.Table:
        """The table in a CSV file, with each cell as the text that is in the file. An empty cell is null."""
        import pyarrow as pa  # noqa: PLC0415  as above

        as_it_is = {"strings_can_be_null": True, "quoted_strings_can_be_null": False, "null_values": [""]}
        texts = self._read("csv", pa.schema([(name, pa.string()) for name in self.table.column_names]), as_it_is)
        if self._path.is_file():
            self._open().close()  # it may have changed during the second read
        if texts.num_rows != self.table.num_rows:
            raise self._changed()
        return texts

    @cached_property
    def objects(self) -> list[dict[str, msgspec.Raw]] | None:
        """The rows of a JSON file. Each value is the JSON text that is in the file, written on one line. None if the
        file isn't strict JSON, for example because Python wrote it with `NaN`: only Arrow reads such a file."""
        text = self._read("text")["text"][0].as_py().removeprefix("\ufeff")
        try:
            if self._is_list:
                rows = msgspec.json.decode(text, type=list[dict[str, msgspec.Raw]])
            else:
                rows = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode_lines(text)
        except UNREADABLE:
            return None
        return [{name: _on_one_line(value) for name, value in row.items()} for row in rows]

    def carried(self, form: str, taken: Collection[str], declared: pa.Table) -> pa.Table:
        """Return the table as it is to be written to another file, whose suffix is `form`.

        From CSV to CSV, all cells stay as they are. From CSV to another format, the columns in `taken` are those of
        `declared`, which have the types that a model takes; the other columns are texts. From JSON to CSV, each value
        is written as in the JSON. In all other cases, return `table`.
        """
        import pyarrow as pa  # noqa: PLC0415  as above

        if self.is_csv:
            keeps = [form != ".csv" and name in taken for name in self.table.column_names]
            pairs = zip(keeps, declared.columns, self.texts.columns, strict=True)
            columns = [typed if keep else text for keep, typed, text in pairs]
            return pa.Table.from_arrays(columns, names=self.table.column_names)
        if self.is_json and form == ".csv" and (rows := self.objects) is not None:
            names = self.table.column_names
            return pa.table({name: pa.array([_cell(row.get(name)) for row in rows], pa.string()) for name in names})
        return self.table

    def _read(self, form: str, schema: pa.Schema | None = None, options: dict[str, object] | None = None) -> pa.Table:
        from headrace.stages.ingest._files.formats import Source, read_table  # noqa: PLC0415  as above

        is_kept = self.is_json or not self._path.is_file()
        source = Source(str(self._path), lambda: io.BytesIO(self._bytes) if is_kept else self._open())
        try:
            return read_table(source, form, schema=schema, options=options or {})
        except SourceError as error:
            raise UsageError(error.message, hint="give a complete file whose content fits its suffix") from error

    def _open(self) -> BinaryIO:
        """Open the file. Raise UsageError if the file has changed since it was first opened."""
        file = self._path.open("rb")
        now = os.fstat(file.fileno())
        state = now.st_ino, now.st_size, now.st_mtime_ns
        if self._opened_as not in (None, state):
            file.close()
            raise self._changed()
        self._opened_as = state
        return file

    def _changed(self) -> UsageError:
        return UsageError(f"`{self._path}` changed while it was read", hint="try again when nobody writes to it")

    @cached_property
    def _bytes(self) -> bytes:
        return self._path.read_bytes()

    @property
    def _is_list(self) -> bool:
        """Whether a JSON file holds one list, as `headrace get --to rows.json` writes it. Other files have one row on
        each line."""
        if self._suffix != ".json":
            return False
        try:
            return self._bytes[: 1 << 12].removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["
        except OSError:
            return False  # `_read` tells why


def _on_one_line(value: msgspec.Raw) -> msgspec.Raw:
    json = bytes(value)
    return msgspec.Raw(msgspec.json.format(json, indent=-1)) if b"\n" in json else value


def _cell(value: msgspec.Raw | None) -> str | None:
    """Return a JSON value as the text of a CSV cell. A text loses its quotes. Null becomes None, an empty cell."""
    if value is None:
        return None
    json = bytes(value)
    return None if json == b"null" else str(msgspec.json.decode(json)) if json[:1] == b'"' else json.decode()
