"""Tables as files that other programs read: Arrow, Parquet, CSV, JSON, JSON Lines, chosen by the suffix of the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from headrace.errors import UsageError
from headrace.spec.artifact import Ref
from headrace.spec.intent import TABLES

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".arrow", ".feather", ".parquet", ".csv", ".json", ".jsonl", ".ndjson")
"""The suffixes of files that tables are written to and read from."""
JSON_SUFFIXES = (".json", ".jsonl", ".ndjson")
NO_TABLES = ("pyarrow.lib.Schema", "pyarrow.lib.Array", "pyarrow.lib.ChunkedArray")


def is_table(ref: Ref) -> bool:
    """Return whether an artifact is a table that was written by a codec for tables."""
    kind = ref.type.partition("@")[0]
    return ref.codec in TABLES and kind not in NO_TABLES and not kind.endswith((".Series", "Array"))


def as_table(value: Any, what: str, *, with_index: bool) -> pa.Table:
    """Return a table, batches or a data frame as an Arrow table. `with_index` says whether to keep the index of pandas.

    Raises:
        UsageError: the value is not a table.
    """
    import pyarrow as pa  # noqa: PLC0415  0.2 s, for tables only

    if isinstance(value, pa.RecordBatchReader):
        return value.read_all()
    if isinstance(value, pa.Table | pa.RecordBatch):
        return pa.table(value)
    module = type(value).__module__.partition(".")[0]
    if module == "pandas" and hasattr(value, "columns"):
        return pa.Table.from_pandas(value, preserve_index=None if with_index else False)
    if module == "polars" and hasattr(value, "to_arrow") and hasattr(value, "columns"):
        return value.to_arrow()
    hint = "name a task, or a part of its output, that is a table"
    raise UsageError(f"{what} is a `{type(value).__name__}`, not a table", hint=hint)


def write(table: pa.Table, path: Path, suffix: str) -> None:
    """Write a table to a file in the format of a suffix.

    Raises:
        UsageError: the format can't hold one of the columns.
    """
    import pyarrow as pa  # noqa: PLC0415  as above
    import pyarrow.csv  # noqa: PLC0415  as above
    import pyarrow.parquet  # noqa: PLC0415  as above

    try:
        match suffix:
            case ".csv":
                pyarrow.csv.write_csv(_nested_as_json(table), str(path))
            case ".parquet":
                pyarrow.parquet.write_table(table, str(path))
            case _ if suffix in JSON_SUFFIXES:
                with path.open("w", encoding="utf-8") as file:
                    file.writelines(lines(table, is_list=suffix == ".json"))
            case _:
                with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
                    writer.write_table(table)
    except pa.ArrowException as error:
        raise UsageError(
            f"a column can't be written as `{suffix}`: {error}",
            hint="choose other columns with `--columns`, or write it as `.arrow`, which holds every column",
        ) from error


def _nested_as_json(table: pa.Table) -> pa.Table:
    """Return a table with its lists, structs and maps as JSON texts, since a cell of CSV holds one text."""
    import pyarrow as pa  # noqa: PLC0415  as above

    encode = msgspec.json.Encoder(enc_hook=str).encode
    for place, field in enumerate(table.schema):
        if pa.types.is_nested(field.type):
            cells = [None if each is None else encode(each).decode() for each in table.column(place).to_pylist()]
            table = table.set_column(place, field.name, pa.array(cells, pa.string()))
    return table


def lines(table: pa.Table, *, is_list: bool) -> Iterator[str]:
    """Return the rows as JSON, one a line; if `is_list` is True, all lines together are one JSON list."""
    if len(set(table.column_names)) < table.num_columns:
        raise UsageError(
            "several columns have the same name, which JSON can't hold", hint="write it as `.csv` or `.arrow`"
        )
    batches = table.to_batches(max_chunksize=10_000)
    return json_lines((row for batch in batches for row in batch.to_pylist()), is_list=is_list)


def json_lines(rows: Iterable[dict[str, Any]], *, is_list: bool) -> Iterator[str]:
    """Yield rows as JSON, as `lines` does."""
    encode = msgspec.json.Encoder(enc_hook=str).encode  # times with nanoseconds become texts
    first = before = "[\n" if is_list else ""
    for row in rows:
        yield before + encode(row).decode()
        before = ",\n" if is_list else "\n"
    is_empty = before == first
    yield ("[]\n" if is_empty else "\n]\n") if is_list else "" if is_empty else "\n"
