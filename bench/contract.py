"""A contract held against 10,000,000 rows of 20 columns, on one thread; the floor is NumPy making the same comparisons.

Each column has a type, a range or a set of values, no nulls and no NaN (two have nulls); one is unique, two are in a
relation. NumPy sees the columns as they lie, so it need not convert them. pandera and Great Expectations get the same
table as a pandas frame, made before the clock starts, of a tenth of the rows; so does the contract that is beside them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa

from bench.peers import python_with
from bench.table import Row, amount
from bench.turns import in_turns
from headrace.stages import ingest

ROWS = 10_000_000
PEERS_ROWS = 1_000_000
BAR = 2.0
MOST_ROUNDS = 5
CODES = (b"AA", b"UA", b"DL", b"B6", b"WN")
FLOATS = tuple(f"f{place}" for place in range(10))
GAPPED = ("n0", "n1")
WHOLE = ("i0", "i1", "i2")
TIMES = ("went", "came")
FROM, TO = datetime(2020, 1, 1), datetime(2024, 1, 1)  # noqa: DTZ001  the columns have no zone

Column = ingest.Column
_TIME = Column(type="timestamp", null=False, min=FROM, max=TO)
CONTRACT = ingest.Contract(
    name="bench",
    columns={
        "id": Column(type="int64", null=False, unique=True),
        **dict.fromkeys(FLOATS, Column(type="double", null=False, nan=False, min=0, max=1)),
        **dict.fromkeys(GAPPED, Column(type="double", nan=False, min=0, max=1)),
        **dict.fromkeys(WHOLE, Column(type="int64", null=False, min=0, max=1000)),
        **dict.fromkeys(TIMES, _TIME),
        "day": Column(type="date32", null=False, min=FROM.date(), max=TO.date()),
        "carrier": Column(type="string", null=False, allowed=tuple(code.decode() for code in CODES)),
    },
    relations=(ingest.Relation(holds="went <= came"),),
)
PEERS = {
    "pandera": (
        "pandera[pandas]",
        """
import pandera.pandas as pa
def column(kind, *checks, null=False):
    return pa.Column(kind, list(checks), nullable=null)
unit = pa.Check.in_range(0, 1)
columns = {"id": pa.Column(unique=True), "carrier": column(None, pa.Check.isin(["AA", "UA", "DL", "B6", "WN"]))}
columns |= {f"f{i}": column("float64", unit) for i in range(10)}
columns |= {f"n{i}": column("float64", unit, null=True) for i in (0, 1)}
columns |= {f"i{i}": column("int64", pa.Check.in_range(0, 1000)) for i in range(3)}
between = pa.Check.in_range(pd.Timestamp(2020, 1, 1), pd.Timestamp(2024, 1, 1))
columns |= {name: column(None, between) for name in ("went", "came", "day")}
schema = pa.DataFrameSchema(columns, checks=[pa.Check(lambda frame: frame["went"] <= frame["came"])])
def check():
    schema.validate(frame, lazy=True)
""",
    ),
    "Great Expectations": (
        "great_expectations",
        """
import great_expectations as gx
from great_expectations import expectations as ex
context = gx.get_context(mode="ephemeral")
batch = context.data_sources.add_pandas("p").add_dataframe_asset("t").add_batch_definition_whole_dataframe("b")
rules = [ex.ExpectColumnValuesToBeUnique(column="id")]
rules += [ex.ExpectColumnValuesToBeInSet(column="carrier", value_set=["AA", "UA", "DL", "B6", "WN"])]
units = [f"f{i}" for i in range(10)] + ["n0", "n1"]
rules += [ex.ExpectColumnValuesToBeBetween(column=name, min_value=0, max_value=1) for name in units]
rules += [ex.ExpectColumnValuesToBeBetween(column=f"i{i}", min_value=0, max_value=1000) for i in range(3)]
ends = dict(min_value=pd.Timestamp(2020, 1, 1), max_value=pd.Timestamp(2024, 1, 1))
rules += [ex.ExpectColumnValuesToBeBetween(column=name, **ends) for name in ("went", "came", "day")]
rules += [ex.ExpectColumnValuesToNotBeNull(column=name) for name in frame.columns if name not in ("n0", "n1")]
rules += [ex.ExpectColumnPairValuesAToBeGreaterThanB(column_A="came", column_B="went", or_equal=True)]
suite = context.suites.add(gx.ExpectationSuite(name="s", expectations=rules))
found = batch.get_batch({"dataframe": frame})
def check():
    assert found.validate(suite).success
""",
    ),
}
MEASURE = """
import sys, time
import pandas as pd
frame = pd.read_feather(sys.argv[1])
for name in ("day",):
    frame[name] = pd.to_datetime(frame[name])
{setup}
check()
began = time.perf_counter()
check()
print(time.perf_counter() - began)
"""


def rows(folder: Path, rounds: int) -> Iterator[Row]:
    """Measure the contract beside NumPy, clean and with a broken row in a hundred; then beside its peers."""
    yield beside_numpy(make(ROWS), min(rounds, MOST_ROUNDS))
    small = make(PEERS_ROWS)
    file = folder / "table.feather"
    with pa.OSFile(str(file), "wb") as target, pa.ipc.new_file(target, small.schema) as writer:
        writer.write_table(small)
    ours = median(once(small) for _ in range(min(rounds, MOST_ROUNDS)))
    for name, (requirement, setup) in PEERS.items():
        try:
            theirs = peer(requirement, setup, file)
        except OSError as error:
            print(f"contract: {name} wasn't measured: {error}", file=sys.stderr)
            continue
        yield Row(
            what=f"contract, {PEERS_ROWS:,} rows x 20 columns, compared with {name}",
            measured=ours,
            floor=theirs,
            bar=theirs,
            bar_is=name,
            floor_is=f"{name}, on a pandas frame of the same rows",
        )


def beside_numpy(table: pa.Table, rounds: int) -> Row:
    """Measure the contract and NumPy in turns."""
    views = numpy_views(table)
    dirty = table.set_column(1, "f0", _broken(table.column("f0")))
    once(table)
    sides: dict[str, Callable[[], float]] = {
        "ours": lambda: once(table),
        "numpy": lambda: numpy_once(views),
        "dirty": lambda: once(dirty),
    }
    found = {name: median(times) for name, times in in_turns(rounds, sides).items()}
    return Row(
        what=f"contract, {ROWS:,} rows x {table.num_columns} columns",
        measured=found["ours"],
        floor=found["numpy"],
        bar=BAR * found["numpy"],
        bar_is=f"{BAR:g} x the floor",
        floor_is="NumPy making the same comparisons on the same memory",
        note=f"if 1% of the rows are wrong and go to quarantine: {amount(found['dirty'], 's')}",
    )


def once(table: pa.Table) -> float:
    """Return the seconds of one check."""
    began = time.perf_counter()
    ingest.check(table, CONTRACT)
    return time.perf_counter() - began


def make(count: int) -> pa.Table:
    """Return a table that keeps the contract, in one piece; from buffers, so that nothing is converted."""
    draw = np.random.default_rng(0)

    def column(values: np.ndarray[Any, Any], kind: pa.DataType, valid: np.ndarray[Any, Any] | None = None) -> pa.Array:
        mask = None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))
        return pa.Array.from_buffers(kind, count, [mask, pa.py_buffer(np.ascontiguousarray(values))])

    left = draw.integers(1_600_000_000, 1_700_000_000, count) * 1_000_000
    codes = np.array(CODES)[draw.integers(0, len(CODES), count)]
    ends = pa.py_buffer(np.arange(0, 2 * count + 2, 2, dtype=np.int32))
    return pa.table(
        {
            "id": column(draw.permutation(count), pa.int64()),
            **{name: column(draw.random(count), pa.float64()) for name in FLOATS},
            **{name: column(draw.random(count), pa.float64(), draw.random(count) > 0.01) for name in GAPPED},
            **{name: column(draw.integers(0, 1000, count), pa.int64()) for name in WHOLE},
            "went": column(left, pa.timestamp("us")),
            "came": column(left + draw.integers(0, 10**10, count), pa.timestamp("us")),
            "day": column(draw.integers(18300, 19700, count).astype(np.int32), pa.date32()),
            "carrier": pa.Array.from_buffers(pa.string(), count, [None, ends, pa.py_buffer(codes.view(np.uint8))]),
        }
    )


def _broken(column: pa.ChunkedArray) -> pa.Array:
    values = column.chunk(0).to_numpy().copy()
    values[::100] = 2.0
    return pa.Array.from_buffers(pa.float64(), len(values), [None, pa.py_buffer(values)])


def numpy_views(table: pa.Table) -> dict[str, np.ndarray[Any, Any]]:
    """Return the columns as NumPy sees them without a copy."""
    kinds = {"day": "i4", **dict.fromkeys(("id", *WHOLE, *TIMES), "i8")}
    found = {}
    for name in table.column_names:
        chunk = table.column(name).chunk(0)
        buffer = chunk.buffers()[-1]
        found[name] = np.frombuffer(buffer, "S2" if name == "carrier" else kinds.get(name, "f8"))
        if name in GAPPED:
            found[f"{name} valid"] = np.unpackbits(np.frombuffer(chunk.buffers()[0], np.uint8), bitorder="little")
    return found


def numpy_once(views: dict[str, np.ndarray[Any, Any]]) -> float:
    """Return the seconds that NumPy takes to make the same comparisons, in the way that first comes to mind."""
    low, high = (int(np.datetime64(each, "us").astype(np.int64)) for each in (FROM, TO))
    first, last = ((day - date(1970, 1, 1)).days for day in (FROM.date(), TO.date()))
    began = time.perf_counter()
    ids = np.sort(views["id"])
    fine = bool((ids[1:] != ids[:-1]).all())
    for name in FLOATS:
        values = views[name]
        fine &= bool(((values >= 0) & (values <= 1)).all()) and not np.isnan(values).any()
    for name in GAPPED:
        values, valid = views[name], views[f"{name} valid"][: len(ids)].view(bool)
        fine &= bool((((values >= 0) & (values <= 1)) | ~valid).all()) and not (np.isnan(values) & valid).any()
    for name, least, most in (*((each, 0, 1000) for each in WHOLE), *((each, low, high) for each in TIMES)):
        fine &= bool(((views[name] >= least) & (views[name] <= most)).all())
    fine &= bool(((views["day"] >= first) & (views["day"] <= last)).all())
    among = views["carrier"] == CODES[0]
    for code in CODES[1:]:
        among |= views["carrier"] == code
    fine &= bool(among.all()) and bool((views["went"] <= views["came"]).all())
    took = time.perf_counter() - began
    assert fine
    return took


def peer(requirement: str, setup: str, file: Path) -> float:
    """Return the seconds of another library's check, in an environment of its own; it has warmed up by then."""
    python = python_with(requirement, "pandas", "pyarrow")
    words = [python, "-c", MEASURE.format(setup=setup), str(file)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GX_ANALYTICS_ENABLED": "false"}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
        raise OSError(f"{requirement} failed")
    return float(done.stdout.splitlines()[-1])
