"""Reads files of the usual formats as tables with pyarrow. Errors name the file and the column."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.json

from headrace.codec.builtin.arrow import look_into
from headrace.codec.builtin.arrow_metadata import GROWTH, claims_of
from headrace.errors import DefinitionError, SourceError
from headrace.stages.ingest._files.csv import read_csv, tabs_of
from headrace.stages.ingest._files.pictures import picture
from headrace.stages.ingest._files.suffixes import BY_SUFFIX, PACKED
from headrace.stages.ingest._files.texts import CHUNK_BYTES, LINE_BYTES, Utf8

Promote = Literal["none", "default", "permissive"]
Pairs = Sequence[tuple[str, pa.DataType]]
"""A schema as pairs of a column's name and its type."""

FORMATS = ("csv", "jsonl", "json", "parquet", "arrow", "text", "image")
LEAST_LIMIT_BYTES = 1 << 30
"""A file may unpack to this many bytes, or to `GROWTH` times its size if that is more.

A file that unpacks to more may be an attack that fills the memory.
"""
COUNTED_BYTES = 64 << 20
"""For Parquet files up to this size, the unpacked size of texts and lists is counted before the file is read."""
_CELL = re.compile(
    r"In CSV column (`.*?`|#\d+): (?:Row #(\d+): )?CSV conversion error to (.+?): invalid value '(.*)'", re.DOTALL
)
_RAGGED = re.compile(r"(?:Row #(\d+): )?Expected (\d+) columns, got (\d+)")
_CHANGED = re.compile(r"Column\(/(.*?)\) changed from (\S+) to (\S+) in row (\d+)")


class Source(NamedTuple):
    """A file: its name in errors, and a function that opens it."""

    name: str
    open: Callable[[], BinaryIO]

    @staticmethod
    def of_bytes(name: str, data: bytes) -> Source:
        """Return a source whose content is `data`."""
        return Source(name, lambda: io.BytesIO(data))


def format_of(name: str) -> str:
    """Return a file's format, found from its name. For a packed file, the ending before `.gz` counts.

    >>> format_of("a/b.csv.gz"), format_of("x.parquet")
    ('csv', 'parquet')
    """
    path = Path(name.lower())
    suffix = Path(path.stem).suffix if path.suffix in PACKED else path.suffix
    found = BY_SUFFIX.get(suffix)
    if found is None:
        raise SourceError(
            f"the name of `{name}` doesn't show its format", hint=f"give `format=`: one of {', '.join(FORMATS)}"
        )
    return found


def schema_of(told: pa.Schema | Pairs | None) -> pa.Schema | None:
    """Return `told`, a user's `schema` argument, as a pyarrow schema. Return None if `told` is None.

    Raises:
        DefinitionError: the argument is neither a schema nor pairs of a name and a type.
    """
    if told is None or isinstance(told, pa.Schema):
        return told
    try:
        return pa.schema(told)
    except (pa.ArrowException, TypeError, ValueError, AttributeError) as error:
        raise DefinitionError(
            f"`schema` can't be used: {error}", hint='give names and types: `[("status", pa.int64())]`'
        ) from error


def read_table(
    source: Source,
    form: str,
    *,
    schema: pa.Schema | None = None,
    encoding: str | None = None,
    line_bytes: int = LINE_BYTES,
    options: Mapping[str, Any] = {},
) -> pa.Table:
    """Return a file as a table. An empty file becomes a table without rows, with the columns of `schema` if that is
    given.

    Raises:
        SourceError: the file isn't in the format `form`, or a column has values of several types.
    """

    def read(block_bytes: int, **more: Any) -> pa.Table:
        with source.open() as raw:
            most_bytes = max(LEAST_LIMIT_BYTES, GROWTH * _size(raw))
            file = _unpacked(raw, source.name, most_bytes)
            if form not in _TEXTS:
                return _BINARIES[form](file if file is raw else io.BytesIO(file.read()), source.name, most_bytes)
            told = Utf8(file, source.name, encoding=encoding, line_bytes=line_bytes)
            text = io.BufferedReader(told, buffer_size=CHUNK_BYTES)
            return _TEXTS[form](text, schema, {**tabs_of(source.name), "block_size": block_bytes, **options, **more})

    try:
        try:
            # small blocks of CSV are read by many threads; in JSON, a column's type may change between blocks
            table = read(CHUNK_BYTES if form == "csv" and line_bytes > CHUNK_BYTES else line_bytes)
        except pa.ArrowInvalid as error:
            if _CELL.search(str(error)) or _RAGGED.search(str(error)):
                table = read(line_bytes, use_threads=False)  # raises too, with the number of the row
            elif "straddling" in str(error) and "block_size" not in options:
                table = read(line_bytes)  # a row is longer than a block
            else:
                raise
    except (
        pa.ArrowInvalid,
        pa.ArrowNotImplementedError,
        pa.ArrowKeyError,
        msgspec.DecodeError,
        UnicodeDecodeError,
        OSError,
    ) as error:
        raise _refusal(error, source.name, form, schema) from error
    except RecursionError as error:
        raise SourceError(
            f"`{source.name}` can't be read as `{form}`: it is nested too deep", hint="look at the file"
        ) from error
    except pa.ArrowException as error:
        raise SourceError(f"`{source.name}` can't be read: {error}", hint="look at the file") from error
    return table.replace_schema_metadata(None)


def unify(tables: Sequence[tuple[str, pa.Table]], *, schema: pa.Schema | None, promote: str) -> list[pa.Table]:
    """Return the tables, all converted to one schema: `schema`, or if it is None, a schema that fits all of them.

    A table that already has that schema is returned unchanged. `promote` means the same as `promote_options` of
    pyarrow's `concat_tables`. `"none"`: all schemas must be the same. `"default"`: a column may be missing in a table,
    and is null there. `"permissive"`: numbers may also become wider, and integers become floats.

    Raises:
        SourceError: the tables don't fit together. The error names the files, the column and both types.
    """
    wanted = schema if schema is not None else _agreed(tables, promote)
    return [_conformed(name, table, wanted, promote, given=schema is not None) for name, table in tables]


def _agreed(tables: Sequence[tuple[str, pa.Table]], promote: str) -> pa.Schema:
    fields: dict[str, tuple[pa.DataType, str]] = {}
    for name, table in tables:
        if not table.num_rows and not table.num_columns:
            continue  # an empty file has no columns to compare
        for field in table.schema:
            if table.schema.names.count(field.name) > 1:
                raise _several(name, field.name)
            known = fields.get(field.name)
            if known is None:
                fields[field.name] = (field.type, name)
                continue
            merged = _merged(known[0], field.type, promote)
            if merged is None:
                raise SourceError(
                    f"column `{field.name}` is `{known[0]}` in `{known[1]}`, and `{field.type}` in `{name}`",
                    hint="correct the file, or say `schema=`"
                    if _merged(known[0], field.type, "permissive") is None
                    else 'correct the file, say `schema=`, or let numbers widen by `promote="permissive"`',
                )
            if merged != known[0]:
                fields[field.name] = (merged, name)
    if promote == "none":
        _refuse_missing(tables, list(fields))
    return pa.schema([pa.field(name, kind) for name, (kind, _) in fields.items()])


def _several(name: str, column: str) -> SourceError:
    return SourceError(f"`{name}` has several columns `{column}`", hint="give them names of their own")


def _merged(one: pa.DataType, other: pa.DataType, promote: str) -> pa.DataType | None:
    if one == other:
        return one
    if promote == "none":
        return None
    try:
        schemas = [pa.schema([pa.field("x", each)]) for each in (one, other)]
        return pa.unify_schemas(schemas, promote_options=promote).field(0).type
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return None


def _refuse_missing(tables: Sequence[tuple[str, pa.Table]], names: Sequence[str]) -> None:
    for name, table in tables:
        lacks = [each for each in names if each not in table.schema.names]
        if lacks:
            raise SourceError(
                f"`{name}` has no column `{lacks[0]}`, which other files have", hint='allow it: `promote="default"`'
            )


def _conformed(name: str, table: pa.Table, wanted: pa.Schema, promote: str, *, given: bool) -> pa.Table:
    if table.schema.equals(wanted):
        return table
    if given and table.num_rows and not set(wanted.names) & set(table.schema.names):
        names = ", ".join(f"`{each}`" for each in table.schema.names)
        raise SourceError(
            f"`{name}` has none of the columns of the schema",
            hint=f"its columns are {names:.400}: correct the schema, or the file; for a CSV, `delimiter=` may be wrong",
        )
    columns = []
    for field in wanted:
        if table.schema.names.count(field.name) > 1:
            raise _several(name, field.name)
        if field.name not in table.schema.names:
            if given and promote == "none" and table.num_rows:
                raise SourceError(
                    f"`{name}` has no column `{field.name}` of the schema", hint="correct the file or the schema"
                )
            columns.append(pa.nulls(table.num_rows, field.type))
            continue
        column = table.column(field.name)
        try:
            columns.append(column.cast(field.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise SourceError(
                f"column `{field.name}` of `{name}` is `{column.type}`, which can't become `{field.type}`: {error}",
                hint="correct the file, or the schema",
            ) from error
    return pa.Table.from_arrays(columns, schema=wanted)


def _csv(file: BinaryIO, schema: pa.Schema | None, options: Mapping[str, Any]) -> pa.Table:
    if not file.peek(1):  # type: ignore[attr-defined]  # a BufferedReader
        return _empty(schema)
    return read_csv(file, schema, options)


def _jsonl(file: BinaryIO, schema: pa.Schema | None, options: Mapping[str, Any]) -> pa.Table:
    if not file.peek(1):  # type: ignore[attr-defined]  # a BufferedReader
        return _empty(schema)
    behave = "infer" if schema is None else "ignore"
    return pa.json.read_json(
        file,
        read_options=pa.json.ReadOptions(block_size=options["block_size"]),
        parse_options=pa.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior=behave),
    )


def _json(file: BinaryIO, schema: pa.Schema | None, options: Mapping[str, Any]) -> pa.Table:
    del options
    data = file.read()
    if not data.strip():
        return _empty(schema)
    found = msgspec.json.decode(data)
    rows = found if isinstance(found, list) else [found]
    if not all(isinstance(row, dict) for row in rows):
        raise msgspec.DecodeError("it is no list of objects")
    lines = msgspec.json.Encoder().encode_lines(rows)
    whole = {"block_size": max(len(lines), 1024)}
    return _jsonl(io.BufferedReader(io.BytesIO(lines)), schema, whole)


def _text(file: BinaryIO, schema: pa.Schema | None, options: Mapping[str, Any]) -> pa.Table:
    del schema, options
    return pa.table({"text": pa.array([file.read().decode()], pa.large_string())})


def _parquet(file: BinaryIO, name: str, most_bytes: int) -> pa.Table:
    import pyarrow.parquet as pq  # noqa: PLC0415  takes 60 ms, which other formats need not spend

    opened = pq.ParquetFile(file)
    schema = opened.schema_arrow
    widths = [field.type.bit_width // 8 for field in schema if pa.types.is_primitive(field.type)]
    if opened.metadata.num_rows * sum(widths) > most_bytes or _longest(opened) > most_bytes:
        raise _too_large(name, most_bytes)
    texts = [field.name for field in schema if not pa.types.is_primitive(field.type)]
    if texts and _size(file) <= COUNTED_BYTES:  # a value that the file holds once may be used by each row
        batches = opened.iter_batches(batch_size=4096, columns=texts)
        if any(total > most_bytes for total in itertools.accumulate(map(_bytes, batches))):
            raise _too_large(name, most_bytes)
    return opened.read()


def _longest(opened: Any) -> int:
    """Return the number of values in the longest column of a Parquet file. Values inside lists are counted.

    Nulls are counted too, because a file can have any number of nulls in almost no bytes.
    """
    groups = [opened.metadata.row_group(number) for number in range(opened.metadata.num_row_groups)]
    lists = [place for place in range(len(opened.schema)) if opened.schema.column(place).max_repetition_level]
    in_lists = (sum(group.column(place).num_values for group in groups) for place in lists)
    return int(max(sum(group.num_rows for group in groups), *in_lists, 0))


def _arrow(file: BinaryIO, name: str, most_bytes: int) -> pa.Table:
    is_stream = file.read(6) != b"ARROW1"
    claims = claims_of(file, is_stream=is_stream)
    if claims.data > most_bytes:
        raise _too_large(name, most_bytes)
    if claims.is_bare:
        raise SourceError(
            f"`{name}` claims to hold {claims.values:,} values, but has bytes for only a few of them",
            hint="it may be an attack that fills the memory: check the program that made it",
        )
    table = (pa.ipc.open_stream if is_stream else pa.ipc.open_file)(file).read_all()
    look_into(table)
    return table


def _bytes(batch: pa.RecordBatch) -> int:
    """Return the size of a batch in bytes, without its dictionaries, because batches share them."""
    return sum(each.indices.nbytes if pa.types.is_dictionary(each.type) else each.nbytes for each in batch.columns)


def _too_large(name: str, most_bytes: int) -> SourceError:
    return SourceError(
        f"`{name}` unpacks to more than {most_bytes / 2**30:,.1f} GiB, over {GROWTH} times its size",
        hint="it may be an attack that fills the memory; if it isn't, read it in parts, in a stage of your own",
    )


def _image(file: BinaryIO, name: str, most_bytes: int) -> pa.Table:
    del most_bytes
    data = file.read()
    form, width, height = picture(data, name)
    return pa.table(
        {
            "format": pa.array([form]),
            "width": pa.array([width], pa.int32()),
            "height": pa.array([height], pa.int32()),
            "bytes": pa.array([data], pa.large_binary()),
        }
    )


_TEXTS: dict[str, Callable[[Any, pa.Schema | None, Mapping[str, Any]], pa.Table]] = {
    "csv": _csv,
    "jsonl": _jsonl,
    "json": _json,
    "text": _text,
}
_BINARIES: dict[str, Callable[[Any, str, int], pa.Table]] = {"parquet": _parquet, "arrow": _arrow, "image": _image}


def _empty(schema: pa.Schema | None) -> pa.Table:
    return pa.table({}) if schema is None else schema.empty_table()


def _size(file: BinaryIO) -> int:
    """Return a file's size in bytes, or 0 if the file isn't seekable."""
    if not file.seekable():
        return 0
    place = file.tell()
    size = file.seek(0, io.SEEK_END)
    file.seek(place)
    return size


def _unpacked(file: BinaryIO, name: str, most_bytes: int) -> Any:
    kind = PACKED.get(Path(name.lower()).suffix)
    if kind is None:
        return file
    return io.BufferedReader(_Unpacked(pa.CompressedInputStream(pa.PythonFile(file, "r"), kind), name, most_bytes))


class _Unpacked(io.RawIOBase):
    """The unpacked bytes of a packed file. Reading more than `most_bytes` raises SourceError."""

    def __init__(self, stream: Any, name: str, most_bytes: int) -> None:
        self._stream = stream
        self._name = name
        self._left = self._most_bytes = most_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        self._left -= len(data)
        if self._left < 0:
            raise _too_large(self._name, self._most_bytes)
        buffer[: len(data)] = data
        return len(data)


def _refusal(error: Exception, name: str, form: str, schema: pa.Schema | None) -> SourceError:
    if (cell := _CELL.search(str(error))) is not None:
        column, row, kind, value = cell.groups()
        where = f" in row {int(row):,}" if row else ""
        return SourceError(
            f"`{name}`: column {column} is {value!r:.80}{where}, which can't be read as `{kind}`",
            hint="correct the file, or make the column `string` in `schema=`; if this word means that a value is"
            " missing, name it in `null_values=` of `ingest.files`",
        )
    said = str(error).partition("\n")[0]
    if (ragged := _RAGGED.search(said)) is not None:
        row, wanted, count = ragged.groups()
        return SourceError(
            f"`{name}`: {f'row {int(row):,}' if row else 'a row'} has {int(count):,} columns, not {int(wanted):,}",
            hint="correct the row: a value with the delimiter in it must be in quotes; if the file has lines before its"
            " header, give their number as `skip_rows=` of `ingest.files`",
        )
    if (changed := _CHANGED.search(said)) is not None:
        column, before, now, row = changed.groups()
        if schema is not None and (wanted := column.partition("/")[0]) in schema.names:
            return SourceError(
                f"`{name}`: column `{column.replace('/', '.')}` is a {now} in row {row}, and `{wanted}` is"
                f" `{schema.field(wanted).type}` in `schema=`",
                hint="correct it at the source, or correct the schema",
            )
        return SourceError(
            f"`{name}`: column `{column.replace('/', '.')}` changed from {before} to {now} in row {row}",
            hint="correct it at the source, or say `schema=`",
        )
    return SourceError(f"`{name}` can't be read as `{form}`: {said}", hint="look at the file, or say its `format`")
