"""`prepare.transform`: SQL over Arrow, functions over batches, and what either may not do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from headrace.errors import DataError, UsageError
from headrace.stages import prepare

FLIGHTS = pa.table({"carrier": ["UA", "AA", "UA", None], "delay": [3, 5, 9, 1]})
NAMES = pa.table({"code": ["AA", "UA"], "name": ["American", "United"]})


def late(batch: pa.RecordBatch, *, above: int = 2) -> pa.RecordBatch:
    return batch.filter(pc.greater(batch.column("delay"), above))


def twice(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    yield batch
    yield batch


def test_tables_have_the_names_that_they_are_given_by() -> None:
    made = prepare.transform(
        flights=FLIGHTS,
        names=NAMES,
        sql="""
            select name, sum(delay)::bigint as delay
            from flights join names on carrier = code
            group by name order by name
        """,
    )
    assert made.to_pylist() == [{"name": "American", "delay": 5}, {"name": "United", "delay": 12}]
    assert prepare.transform(FLIGHTS, sql="select count(*) as n from data")["n"].to_pylist() == [4]


def test_parameters_are_bound_not_pasted() -> None:
    sql = "select delay from data where carrier = $carrier -- not $this\n and '$that' is not null"
    assert prepare.transform(FLIGHTS, sql=sql, parameters={"carrier": "UA"})["delay"].to_pylist() == [3, 9]
    assert prepare.transform(FLIGHTS, sql=sql, parameters={"carrier": "' or 1=1"}).num_rows == 0
    with pytest.raises(UsageError, match=r"asks for a parameter `\$carrier`, which wasn't given") as caught:
        prepare.transform(FLIGHTS, sql=sql, parameters={"carier": "UA"})
    assert caught.value.hint == "did you mean `$carier`?"
    with pytest.raises(UsageError, match=r"asks for no parameter `\$month`"):
        prepare.transform(FLIGHTS, sql=sql, parameters={"carrier": "UA", "month": 3})


def test_steps_take_batches_one_after_the_other() -> None:
    made = prepare.transform(FLIGHTS, steps=[partial(late, above=2), twice], batch_rows=2)
    assert made["delay"].to_pylist() == [3, 5, 3, 5, 9, 9]
    made = prepare.transform(FLIGHTS, sql="select delay * 2 as delay from data", steps=[partial(late, above=10)])
    assert made["delay"].to_pylist() == [18]


def test_where_a_step_fails_the_engine_ends_though_somebody_keeps_the_error() -> None:
    process, meanwhile = psutil.Process(), [0]

    def fails(_: pa.RecordBatch) -> None:
        meanwhile[0] = process.num_threads()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as kept:
        prepare.transform(FLIGHTS, sql="select delay from data", steps=[fails])
    until = time.monotonic() + 20
    while process.num_threads() >= meanwhile[0]:  # the engine's own went with it
        assert time.monotonic() < until
    assert kept.tb is not None


def test_an_empty_table_keeps_its_columns() -> None:
    empty = FLIGHTS.slice(0, 0)
    assert prepare.transform(empty, steps=[late, twice]).schema == FLIGHTS.schema
    assert prepare.transform(empty, sql="select delay, carrier from data").schema.names == ["delay", "carrier"]
    assert prepare.transform(pa.table({"delay": pa.chunked_array([], pa.int64())}), steps=[late]).num_rows == 0


def number(batch: pa.RecordBatch) -> Any:
    return 3


def nothing(batch: pa.RecordBatch) -> None:
    return None


def shifty(batch: pa.RecordBatch) -> pa.Table:
    kind = pa.int64() if batch.column("delay")[0].as_py() == 3 else pa.float64()
    return pa.table({"delay": batch.column("delay").cast(kind)})


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (number, "step `number` returned a `int`"),
        (nothing, "step `nothing` returned no batch at all"),
        (shifty, "step `shifty` gives batches that differ: `delay` is `int64` in one, `double` in another"),
    ],
)
def test_a_step_that_gives_something_else_is_named(step: Any, said: str) -> None:
    with pytest.raises(DataError) as caught:
        prepare.transform(FLIGHTS, steps=[step], batch_rows=2)
    assert said in caught.value.message


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(UsageError, match="nothing to do"):
        prepare.transform(FLIGHTS)
    with pytest.raises(UsageError, match="steps take one table, and 2"):
        prepare.transform(FLIGHTS, names=NAMES, steps=[late])


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("select\n delay,\n dely from data", r"dely.*Candidate bindings: \"delay\" \(line 3: `dely from data`\)"),
        ("select *\nfrom flihgts", r"names a table `flihgts`, which wasn't given \(line 2: `from flihgts`\)"),
        ("selec 1", r"syntax error.*\(line 1: `selec 1`\)"),
        ("select 1 as a, 2 as A", "two columns `a`"),
        ("create table x as select 1", "gives no rows"),
        ("", "gives no rows"),
    ],
)
def test_an_error_of_the_sql_says_the_line(sql: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        prepare.transform(FLIGHTS, sql=sql)


def test_a_table_that_is_not_there_is_told_with_those_that_are() -> None:
    for name, hint in (
        ("flight", "did you mean `flights`? the tables are `flights`, `names`"),
        ("weather", "the tables are `fl"),
    ):
        with pytest.raises(UsageError, match=f"names a table `{name}`") as told:
            prepare.transform(sql=f"select * from {name}", flights=FLIGHTS, names=NAMES)
        assert (told.value.hint or "").startswith(hint)


def test_a_value_that_cannot_be_cast_is_the_data_s_fault() -> None:
    with pytest.raises(DataError, match=r"Could not convert string 'UA'.*\(line 2: `carrier::int"):
        prepare.transform(FLIGHTS, sql="select\n carrier::int as c from data")


@pytest.mark.parametrize(
    "sql",
    [
        "select * from read_csv('/etc/passwd')",
        "select * from read_text('/etc/passwd')",
        "select * from '/etc/passwd'",
        "select * from glob('/etc/*')",
        "select * from read_parquet('https://example.com/x.parquet')",
        "copy data to '/tmp/stolen.csv'",
        "attach '/tmp/stolen.db'; select 1",
        "export database '/tmp/stolen'; select 1",
        "install httpfs; select 1",
        "load httpfs; select 1",
        "set enable_external_access = true; select 1",
        "set memory_limit = '1TB'; select 1",
        "reset lock_configuration; select 1",
        "select * from FLIGHTS_OF_PYTHON",
        "select getenv('HOME')",
        "call load_aws_credentials()",
        "pragma temp_directory = '/tmp'; select 1",
    ],
)
def test_sql_reaches_no_file_no_network_and_no_variable(sql: str) -> None:
    FLIGHTS_OF_PYTHON = FLIGHTS  # noqa: F841, N806
    with pytest.raises((UsageError, DataError)):
        prepare.transform(FLIGHTS, sql=sql)


def test_a_huge_text_passes() -> None:
    table = pa.table({"text": ["x" * 20_000_000]})
    assert prepare.transform(table, sql="select length(text) as n from data")["n"].to_pylist() == [20_000_000]
