"""The stage `prepare.transform`: tables made from tables, by DuckDB's SQL and by functions on record batches."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import duckdb
import pyarrow as pa

from headrace.codec.joined import Joined
from headrace.define.ports import current
from headrace.define.stage import ready
from headrace.errors import DataError, UsageError, meant
from headrace.stages.tables import engine
from headrace.stages.tables.columns import metadata
from headrace.stages.tables.parts import kept

BATCH_ROWS = 122_880
"""The number of rows in a batch, which is the size of DuckDB's own row groups."""
GIVEN = "data"

Step = Callable[[pa.RecordBatch], Any]


def _check(given: Mapping[str, Any]) -> None:
    sql, batch_rows = given.get("sql", ""), given.get("batch_rows", 1)
    if sql is None and not given.get("steps", True):
        raise UsageError("`prepare.transform` has nothing to do", hint="give it `sql=` or `steps=`")
    if batch_rows < 1:
        raise UsageError(f"batch_rows={batch_rows}", hint="give 1 or more")
    if sql is not None and "sql" in given:
        statements = engine.parsed(sql, "the SQL")
        if not statements or statements[-1].type != duckdb.StatementType.SELECT:
            raise UsageError("the SQL gives no rows", hint="end it with a `select`")
        if "parameters" in given:
            _check_parameters(sql, given["parameters"] or {})


@ready("prepare.transform", version=2, on=("duckdb", "pyarrow"), kind="prepare", check=_check)
def transform(
    data: pa.Table | None = None,
    *,
    sql: str | None = None,
    steps: Sequence[Callable[..., Any]] = (),
    parameters: Mapping[str, Any] | None = None,
    batch_rows: int = BATCH_ROWS,
    **tables: pa.Table,
) -> pa.Table:
    """Return a table that is made from the given tables by `sql`, and then by each of `steps`.

    In the SQL, the tables have the names of their arguments; the table without a name is `data`. `$name` stands for a
    value of `parameters`. The SQL has no access to files, the network or Python's variables. It uses the stage's CPUs,
    and no more memory than the stage's `memory_gib` if that is declared. Data that don't fit in memory are written to
    the attempt's folder. The rows are in the order of the SQL's `order by`. Without one, grouped or joined rows come in
    any order if the stage has several CPUs.

    A step is a function that takes a record batch of at most `batch_rows` rows. It returns a batch, a table, several of
    these (a generator, for example), or None for no rows. All batches of a step must have the same schema. Batches stay
    in order. If there are no rows, the first step is called once with an empty batch.

    Raises:
        UsageError: the SQL can't be read, names a table or column that doesn't exist (the error has the line), or tries
            to access files or the network.
        DataError: the SQL can't handle some values, or a step returned something that isn't a batch.
    """
    if data is not None:
        tables = {GIVEN: data, **tables}
    _check({"sql": sql, "steps": steps, "parameters": parameters, "batch_rows": batch_rows})
    if sql is None:
        if len(tables) != 1:
            raise UsageError(f"steps take one table, and {len(tables)} are given", hint="join them by `sql=` first")
        source = next(iter(tables.values()))
        return through(source.schema, source.to_batches(max_chunksize=batch_rows), steps)
    try:
        with engine.session(tables) as database, _asked(database, sql, parameters or {}, batch_rows) as reader:
            return through(reader.schema, reader, steps) if steps else _gathered(reader.schema, reader)
    except duckdb.Error as error:
        raise engine.told(_placed(error, sql, tables, parameters or {}), "the SQL", tables) from error
    except pa.ArrowException as error:  # Arrow wraps the errors that DuckDB raises while rows are read
        raise engine.told(duckdb.Error(str(error)), "the SQL") from error


def _asked(
    database: duckdb.DuckDBPyConnection, sql: str, parameters: Mapping[str, Any], batch_rows: int
) -> pa.RecordBatchReader:
    """Return the result of a query as a stream of batches."""
    found = database.sql(sql, params=dict(parameters)) if parameters else database.sql(sql)
    names = [name.lower() for name in found.columns]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UsageError(f"the SQL gives two columns `{twice[0]}`", hint="rename one of them: `... as name`")
    return found.to_arrow_reader(batch_rows)


_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/", re.DOTALL)
_PARAMETER = re.compile(r"\$([A-Za-z_]\w*)")


def _check_parameters(sql: str, parameters: Mapping[str, Any]) -> None:
    asked = set(_PARAMETER.findall(_QUOTED.sub(" ", sql)))
    for name in sorted(asked - set(parameters)):
        hint = meant(f"${name}", [f"${each}" for each in parameters], f"give it: `parameters={{{name!r}: ...}}`")
        raise UsageError(f"the SQL asks for a parameter `${name}`, which wasn't given", hint=hint)
    for name in sorted(set(parameters) - asked):
        raise UsageError(f"the SQL asks for no parameter `${name}`", hint="leave it out, or name it in the SQL")


def _placed(error: duckdb.Error, sql: str, tables: Mapping[str, Any], parameters: Mapping[str, Any]) -> duckdb.Error:
    """Return an error with its line number.

    If DuckDB runs a query as a relation, its error has no line number. So the query is run again with `explain`, whose
    error has a line number.
    """
    if "LINE " in str(error):
        return error
    try:
        with engine.session(tables) as database:
            database.execute(f"explain {sql}", dict(parameters) or None)
    except duckdb.Error as again:
        return again if type(again) is type(error) else error
    return error


def through(schema: pa.Schema, batches: Iterable[pa.RecordBatch], steps: Sequence[Step]) -> pa.Table:
    """Return the table that the steps make from the batches. Each step gets the output of the previous step.

    Raises:
        DataError: a step returned something that isn't a batch, or batches with different schemas.
    """
    stream = _never_empty(schema, batches)
    for step in steps:
        stream = _applied(step, stream)
    first = next(stream, None)
    if first is None:
        raise DataError(
            f"step `{_named(steps[-1])}` returned no batch at all, so its columns aren't known",
            hint="give an empty batch of the right schema: `batch.slice(0, 0)`",
        )
    told = metadata(first.schema, schema)
    described = (each.replace_schema_metadata(told) for each in chain([first], stream))
    return _gathered(first.schema.with_metadata(told), described)


def _gathered(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> pa.Table:
    """Return batches as a table. In a run, large data goes to the store in parts, so that memory use stays constant."""
    tables = kept(schema, batches)
    if len(tables) == 1:
        return tables[0]
    joined = Joined(tables)
    return joined.table if current() is None else joined


def _never_empty(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    count = 0
    for batch in batches:
        count += 1
        yield batch
    if not count:
        yield from schema.empty_table().to_batches() or [pa.RecordBatch.from_pylist([], schema=schema)]


def _applied(step: Step, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    first: pa.Schema | None = None
    for batch in batches:
        for made in _batches(step, step(batch)):
            if first is None:
                first = made.schema
            elif not made.schema.equals(first):
                raise DataError(
                    f"step `{_named(step)}` gives batches that differ: {_difference(first, made.schema)}",
                    hint="name the types where it makes its columns: `pa.array(values, pa.float64())`",
                )
            yield made


def _batches(step: Step, made: Any) -> Iterator[pa.RecordBatch]:
    if made is None:
        return
    if isinstance(made, pa.RecordBatch):
        yield made
    elif isinstance(made, pa.Table):
        yield from made.to_batches() or [pa.RecordBatch.from_pylist([], schema=made.schema)]
    elif isinstance(made, Iterable) and not isinstance(made, str | bytes | Mapping):
        for each in made:
            yield from _batches(step, each)
    else:
        raise DataError(
            f"step `{_named(step)}` returned a `{type(made).__name__}`",
            hint="a step gives a `pyarrow.RecordBatch`, a table, several of them, or None",
        )


def _difference(one: pa.Schema, other: pa.Schema) -> str:
    if one.names != other.names:
        return f"one has the columns {', '.join(one.names)}, another {', '.join(other.names)}"
    name = next((name for name in one.names if one.field(name) != other.field(name)), one.names[0])
    return f"`{name}` is `{one.field(name).type}` in one, `{other.field(name).type}` in another"


def _named(step: Step) -> str:
    inner = getattr(step, "func", step)
    return str(getattr(inner, "__qualname__", type(inner).__name__))
