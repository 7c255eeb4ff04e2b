"""`ingest.files`: reads files of one format as one table. Each file is a task, so unchanged files aren't read again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow as pa

from headrace.codec.joined import Joined
from headrace.codec.values import File, Folder
from headrace.define.argument_check import held_to_types
from headrace.define.attempt import attempt
from headrace.define.cursor import Cursor, advance
from headrace.define.cursor import cursor as cursor_named
from headrace.define.ports import current
from headrace.define.stage import ready
from headrace.errors import DefinitionError, SourceError
from headrace.stages.ingest._files.csv import check_options
from headrace.stages.ingest._files.formats import (
    FORMATS,
    Pairs,
    Promote,
    Source,
    format_of,
    read_table,
    schema_of,
    unify,
)
from headrace.stages.ingest._files.locations import Look, Place, cursor_name_of, place_of
from headrace.stages.ingest._files.texts import check_encoding, line_bytes_of

TRIES = 3
"""How many times a file is read if it changes during each reading. After the last reading, the task fails."""
NO_FILES = "correct the pattern; if there may be no files, `schema=` gives a table without rows"
"""The hint if no file fits the pattern."""


Vanished = Literal["drop", "keep", "refuse"]


class Listing(NamedTuple):
    """The paths of files, and the stamp of each: a text that changes when the file's bytes change."""

    paths: list[str]
    stamps: list[str]


class Part(NamedTuple):
    """A file's rows, and the stamp that the file had when the rows were read."""

    rows: pa.Table
    stamp: str


class Reading(NamedTuple):
    """The settings for reading files. The key of each task that reads a file depends on these settings and on the
    file's stamp."""

    form: str | None
    schema: pa.Schema | None
    encoding: str | None
    line_bytes: int
    file_column: str | None
    options: dict[str, Any]


@held_to_types("ingest.files", apart=("schema",))
def files(
    source: str | Folder | File,
    *,
    format: Literal["csv", "jsonl", "json", "parquet", "arrow", "text", "image"] | None = None,
    schema: pa.Schema | Pairs | None = None,
    promote: Promote = "default",
    new_only: bool = False,
    vanished: Vanished = "drop",
    cursor: str | None = None,
    match: str = "**/*",
    file_column: str | None = None,
    encoding: str | None = None,
    line_mib: float = 16,
    links: bool = False,
    endpoint: str | None = None,
    region: str | None = None,
    **options: Any,
) -> pa.Table:
    """Read files, and return their rows as one table, in the order of their paths.

    In a pipeline, the task `files_version` lists the files, a task `file` reads each new or changed file, and the task
    `files` joins their rows. The rows of unchanged files are neither read nor written again.

    Args:
        source: a pattern of paths (`data/*.csv`, `data/**/*.parquet`), relative to the project's folder or absolute; or
            a pattern in a bucket (`s3://bucket/prefix/*.jsonl`, `gs://`, `az://`); or an `hr.Folder` or `hr.File`, such
            as the output of another stage.
        format: the files' format. None: taken from each file's name. A text file becomes one row with the column
            `text`; an image becomes one row with `format`, `width`, `height` and `bytes`. Files that end in `.gz`,
            `.bz2` or `.zst` are unpacked.
        schema: the columns to read; other columns are left out. None: found from all rows of each file.
        promote: what to do if the files' columns differ, as in pyarrow's `concat_tables`. `"none"`: raise an error.
            `"default"`: a column that a file lacks is null for its rows. `"permissive"`: as with `"default"`, and
            number types may also become wider.
        new_only: return only the rows of files that are new or changed since the last run that succeeded.
        vanished: what to do with the rows of a file that no longer exists. `"drop"`: leave them out of the table.
            `"keep"`: keep them as they were read last. `"refuse"`: raise an error. Ignored with `new_only`.
        cursor: the name of the cursor that remembers files for `new_only` and `vanished`. None: made from the pattern
            (with `new_only`, also from the pipeline's name).
        match: the pattern for the files of an `hr.Folder`.
        file_column: the name of a column to add, with the file that each row comes from. None: no such column.
        encoding: the encoding of text files. None: UTF-8, or the encoding of the byte order mark at the file's
            beginning (UTF-16, UTF-32).
        line_mib: the longest line allowed, in MiB.
        links: whether symbolic links may lead out of the pattern's folder.
        endpoint: the bucket's server. None: the cloud provider's own.
        region: the bucket's region.
        options: for CSV, options of pyarrow's `ReadOptions`, `ParseOptions` and `ConvertOptions`, such as
            `delimiter=";"`.

    Raises:
        DefinitionError: an argument is wrong, or two don't go together.
        SourceError: no file matches, or a file can't be read in its format.
    """
    if isinstance(source, str) and not source:
        raise DefinitionError("the pattern of paths is empty", hint='give one, such as "in/*.csv"')
    if format is not None and format not in FORMATS:
        raise DefinitionError(f"format={format!r} is not known", hint=f"give one of {', '.join(FORMATS)}")
    if promote not in ("none", "default", "permissive"):
        raise DefinitionError(f"promote={promote!r} is not known", hint='give "none", "default" or "permissive"')
    if vanished not in ("drop", "keep", "refuse"):
        raise DefinitionError(f"vanished={vanished!r} is not known", hint='give "drop", "keep" or "refuse"')
    check_options(format, options)
    check_encoding(encoding)
    schema = schema_of(schema)
    reading = Reading(format, schema, encoding, line_bytes_of(line_mib), file_column, options)
    if not isinstance(source, str):
        if new_only or vanished != "drop":
            raise DefinitionError(
                "`new_only` and `vanished` are for patterns of paths",
                hint="leave them out for an `hr.Folder` or `hr.File`",
            )
        return folder(source, match=match, reading=reading, promote=promote)
    look = Look(pattern=source, endpoint=endpoint, region=region, links=links)
    listing = files_version(look, needed=schema is None and not new_only and vanished == "drop")
    known = None
    if new_only:
        known = cursor_named(cursor or cursor_name_of("files", source, source, once=True))
        listing = files_new(listing.paths, listing.stamps, known)
    elif vanished != "drop":
        known = cursor_named(cursor or cursor_name_of("files", source, f"{source} {reading}", once=False))
    parts = file.map(path=listing.paths, stamp=listing.stamps, look=look, reading=reading)
    if known is not None and not new_only:
        return kept(parts, listing.paths, pattern=source, reading=reading, promote=promote, known=known, rule=vanished)
    return joined(parts, listing.paths, pattern=source, reading=reading, promote=promote, known=known)


@ready("ingest.files.version", version=1, kind="ingest", cache=False)
def files_version(look: Look, *, needed: bool) -> Listing:
    """Return the files that match a pattern, with their stamps. If `needed` is True and no file matches, raise
    SourceError."""
    found = place_of(look).files()
    if not found and needed:
        raise SourceError(f"no file fits `{look.pattern}`", hint=NO_FILES)
    return Listing([each.path for each in found], [each.stamp for each in found])


@ready("ingest.files.new", version=1, kind="ingest")
def files_new(paths: list[str], stamps: list[str], known: Cursor) -> Listing:
    """Return the files that are new or changed: the cursor `known` lacks them, or has another stamp for them."""
    seen = {} if known.value is None else known.value["files"]
    fresh = [(path, stamp) for path, stamp in zip(paths, stamps, strict=True) if seen.get(path) != stamp]
    return Listing([path for path, _ in fresh], [stamp for _, stamp in fresh])


@ready("ingest.files.one", version=1, on=("pyarrow",), kind="ingest")
def file(path: str, stamp: str, look: Look, reading: Reading) -> Part:
    """Return one file's rows, with the stamp that the file had when the rows were read. This stamp may differ from
    `stamp`.

    Raises:
        SourceError: the file changed during each attempt to read it.
    """
    place = place_of(look)
    for _ in range(TRIES):
        before = place.stamp(path)
        rows = _rows(place, path, reading)
        if place.stamp(path) == before:
            if before != stamp:
                attempt().saw(stamp=before)
            return Part(rows, before)
    raise SourceError(
        f"`{path}` changed while it was read, {TRIES} times",
        hint="write files elsewhere, and move them in when they are complete",
    )


@ready("ingest.files", version=1, on=("pyarrow",), kind="ingest", name="files")
def joined(
    parts: list[Part], paths: list[str], *, pattern: str, reading: Reading, promote: str, known: Cursor | None
) -> pa.Table:
    """Return the rows of all files as one table.

    A file's rows are reused without a copy if the file has exactly the table's columns.
    """
    tables = [(path, part.rows) for path, part in zip(paths, parts, strict=True)]
    before = None if known is None or known.value is None else known.value
    schema = None if reading.schema is None else _with_file(reading.schema, reading.file_column)
    if before is not None and schema is None and before["schema"] is not None:
        tables.insert(0, ("files of earlier runs", before["schema"].empty_table()))
    if not tables and schema is None:
        raise SourceError(f"no file fits `{pattern}`", hint=NO_FILES)
    rows = unify(tables, schema=schema, promote=promote)
    if known is not None and parts:
        files = {} if before is None else dict(before["files"])
        files |= {path: part.stamp for path, part in zip(paths, parts, strict=True)}
        advance(known, {"files": files, "schema": rows[0].schema})
    return _whole(rows, schema)


@ready("ingest.files.on", version=1, on=("pyarrow",), kind="ingest", name="files")
def kept(
    parts: list[Part],
    paths: list[str],
    *,
    pattern: str,
    reading: Reading,
    promote: str,
    known: Cursor,
    rule: Vanished,
) -> pa.Table:
    """Return the rows of all files as one table, including the rows of files that no longer exist.

    Raises:
        SourceError: a file no longer exists, and `rule` is `"refuse"`; or there is no file at all.
    """
    tables = {path: part.rows for path, part in zip(paths, parts, strict=True)}
    before = {} if known.value is None else dict(zip(known.value["paths"], known.value["rows"], strict=True))
    gone = sorted(before.keys() - tables.keys())
    if gone and rule == "refuse":
        raise SourceError(
            f"`{gone[0]}`"
            + (f" and {len(gone) - 1} more files" if len(gone) > 1 else "")
            + (" no longer exist" if len(gone) > 1 else " no longer exists"),
            hint='put it back, or say what to do with its rows: `vanished="drop"` or `"keep"`',
        )
    every = dict(sorted({**before, **tables}.items()))
    schema = None if reading.schema is None else _with_file(reading.schema, reading.file_column)
    if not every and schema is None:
        raise SourceError(f"no file fits `{pattern}`", hint=NO_FILES)
    rows = unify(list(every.items()), schema=schema, promote=promote)
    stamps = {} if known.value is None else dict(zip(known.value["paths"], known.value["stamps"], strict=True))
    stamps |= {path: part.stamp for path, part in zip(paths, parts, strict=True)}
    after = {"paths": list(every), "stamps": [stamps[path] for path in every], "rows": list(every.values())}
    if known.value is None or any(after[name] != known.value[name] for name in ("paths", "stamps")):
        advance(known, after)
    return _whole(rows, schema)


@ready("ingest.files.folder", version=1, on=("pyarrow",), kind="ingest", name="files")
def folder(source: Folder | File, *, match: str, reading: Reading, promote: str) -> pa.Table:
    """Return the rows of one `hr.File`, or of all files in an `hr.Folder` that match the pattern `match`."""
    root = Path(source)
    paths = [root] if root.is_file() else sorted(each for each in root.glob(match) if each.is_file())
    names = [root.name] if root.is_file() else [str(each.relative_to(root)) for each in paths]
    schema = None if reading.schema is None else _with_file(reading.schema, reading.file_column)
    if not paths and schema is None:
        raise SourceError(f"no file of the folder `{root.name}` fits `{match}`", hint="correct `match`")
    place = place_of(Look(pattern=f"{root}/*", links=True))  # the folder may hold its files as symbolic links
    tables = [(name, _rows(place, str(path), reading, name)) for name, path in zip(names, paths, strict=True)]
    return _whole(unify(tables, schema=schema, promote=promote), schema)


def _rows(place: Place, path: str, reading: Reading, name: str | None = None) -> pa.Table:
    name = name or path
    form = reading.form or format_of(name)
    if reading.options:
        check_options(form, reading.options)
    table = read_table(
        Source(name, lambda: place.open(path)),
        form,
        schema=reading.schema,
        encoding=reading.encoding,
        line_bytes=reading.line_bytes,
        options=reading.options,
    )
    if reading.schema is not None:
        table = unify([(name, table)], schema=reading.schema, promote="default")[0]
    if reading.file_column is None or not (table.num_columns or table.num_rows):
        return table
    if reading.file_column in table.schema.names:
        raise SourceError(
            f"`{name}` has a column `{reading.file_column}` of its own", hint="give another name for `file_column`"
        )
    names = pa.DictionaryArray.from_arrays(pa.nulls(table.num_rows, pa.int32()).fill_null(0), pa.array([name]))
    return table.append_column(reading.file_column, names.cast(pa.string()))


def _with_file(schema: pa.Schema, column: str | None) -> pa.Schema:
    return schema if column is None else schema.append(pa.field(column, pa.string()))


def _whole(rows: Sequence[pa.Table], schema: pa.Schema | None) -> Any:
    """Return the tables as one value that is stored in parts; outside of a run, as one plain table."""
    whole = Joined(rows or [schema.empty_table() if schema is not None else pa.table({})])
    return whole.table if current() is None else whole
