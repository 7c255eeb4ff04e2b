"""Frames of pandas and polars: kept exactly, or left to pickle and labelled."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from headrace.codec.codecs import Codecs
from headrace.errors import CodecError
from headrace.store.folder.folder import FolderStore
from headrace.testing.codec_contract import CodecContract

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")

from headrace.codec.builtin.pandas import PandasCodec  # noqa: E402
from headrace.codec.builtin.polars import PolarsCodec  # noqa: E402


def attributed() -> Any:
    frame = pd.DataFrame({"a": [1]})
    frame.attrs = {"unit": "m", "n": [1, 2]}
    return frame


DAYS = pd.date_range("2020-01-01", periods=3, freq="D", tz="Europe/Berlin")
MANY = pd.DataFrame({"a": np.arange(20_000.0), "b": [f"row {each}" for each in range(20_000)]})

KEPT = {
    "numbers": pd.DataFrame({"a": [1, 2, 3], "b": [1.5, np.nan, -0.0], "c": np.array([1, 2, 3], dtype="u1")}),
    "half": pd.DataFrame({"a": np.array([1, 2], dtype="f2")}),
    "text": pd.DataFrame({"a": ["x", None, "z"]}),
    "text objects": pd.DataFrame({"a": pd.Series(["x", None, "z"], dtype=object)}),
    "bytes": pd.DataFrame({"a": pd.Series([b"x", None], dtype=object)}),
    "dates": pd.DataFrame({"a": pd.Series([dt.date(2020, 1, 1)] * 2, dtype=object)}),
    "decimals": pd.DataFrame({"a": pd.Series([Decimal("1.10"), Decimal("2.00")], dtype=object)}),
    "categories": pd.DataFrame({"a": pd.Categorical(["x", "y", None], categories=["z", "y", "x"], ordered=True)}),
    "number categories": pd.DataFrame({"a": pd.Categorical([1, 2, 1])}),
    "times": pd.DataFrame({"a": pd.to_datetime(["2020-01-01", "2021-01-01", None])}, index=DAYS),
    "units": pd.DataFrame({each: pd.to_datetime(["2020-01-01", None]).as_unit(each) for each in ("s", "ms", "ns")}),
    "durations": pd.DataFrame({"a": pd.to_timedelta([1, 2, None], unit="s")}),
    "periods": pd.DataFrame({"a": pd.period_range("2020", periods=3, freq="M")}),
    "intervals": pd.DataFrame({"a": pd.interval_range(0, 3)}),
    "nullable": pd.DataFrame(
        {
            "a": pd.array([1, None, 3], dtype="Int64"),
            "b": pd.array([True, None, False], dtype="boolean"),
            "c": pd.array([1.5, None, 2], dtype="Float32"),
        }
    ),
    "arrow": pd.DataFrame({"a": pd.array([1, None, 3], dtype="int64[pyarrow]")}),
    "two indices": pd.DataFrame(
        {"a": [1, 2, 3]}, index=pd.MultiIndex.from_tuples([("a", 1), ("b", 2), ("a", 3)], names=["x", None])
    ),
    "two headers": pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["x", "y"])),
    "number columns": pd.DataFrame([[1, 2]], columns=[0, 1]),
    "named columns": pd.DataFrame([[1, 2]], columns=pd.Index(["a", "b"], name="cols")),
    "range": pd.DataFrame({"a": [1, 2, 3]}, index=pd.RangeIndex(5, 11, 2, name="r")),
    "text index": pd.DataFrame({"a": [1, 2]}, index=["x", "y"]),
    "business days": pd.DataFrame({"a": [1, 2, 3]}, index=pd.date_range("2020", periods=3, freq="B")),
    "category index": pd.DataFrame({"a": [1, 2]}, index=pd.CategoricalIndex(["x", "y"])),
    "no rows": pd.DataFrame({"a": pd.Series([], dtype="f8"), "b": pd.Series([], dtype="i4")}),
    "attrs": attributed(),
    "many": MANY,
}

PICKLED = {
    "mixed objects": pd.DataFrame({"a": pd.Series(["x", 1, 2.5], dtype=object)}),
    "NaN among text": pd.DataFrame({"a": pd.Series(["x", np.nan], dtype=object)}),
    "lists": pd.DataFrame({"a": [[1, 2], [3]]}),
    "sparse": pd.DataFrame({"a": pd.arrays.SparseArray([0, 0, 1])}),
    "complex": pd.DataFrame({"a": [1j, 2]}),
    "one name twice": pd.DataFrame([[1, 2]], columns=["a", "a"]),
    "mixed names": pd.DataFrame([[1, 2]], columns=["a", 1]),
    "NaN and NA": pd.DataFrame({"a": pd.arrays.FloatingArray(np.array([np.nan, 1.0]), np.array([False, True]))}),
    "swapped bytes": pd.DataFrame({"a": np.array([1, 2], dtype=">i4")}),
    "tuples in attrs": attributed().assign(),
}
PICKLED["tuples in attrs"].attrs = {"x": (1, 2)}


def alike(given: Any, found: Any) -> bool:
    test = pd.testing.assert_frame_equal if isinstance(given, pd.DataFrame) else pd.testing.assert_series_equal
    test(given, found, check_exact=True, check_freq=True, check_index_type="exact")
    kinds = [[type(each) for each in one.to_numpy(dtype=object).flat] for one in (given, found)]
    return bool(given.attrs == found.attrs and kinds[0] == kinds[1])


class TestPandas(CodecContract):
    codec = PandasCodec()
    values = (*KEPT.values(), *(each.iloc[:, 0] for each in KEPT.values()), pd.Series([1], name=("a", 1)))

    def same(self, given: Any, found: Any) -> bool:
        return type(given) is type(found) and alike(given, found)

    def spoil(self, value: Any) -> None:
        value.iloc[0] = value.iloc[-1]


@pytest.mark.parametrize("frame", PICKLED.values(), ids=PICKLED)
def test_what_arrow_would_change_is_pickled(frame: Any, codecs: Codecs, store: FolderStore) -> None:
    ref = codecs.save(frame, store)
    assert ref.codec == "pickle"
    assert alike(frame, codecs.load(ref, store, safe_only=False))


def test_a_subclass_of_a_frame_keeps_its_class(codecs: Codecs, store: FolderStore) -> None:
    ref = codecs.save(Special({"a": [1]}), store)
    assert ref.codec == "pickle"
    assert type(codecs.load(ref, store, safe_only=False)) is Special


class Special(pd.DataFrame):  # type: ignore[misc]
    pass


DAY = dt.datetime(2020, 1, 1)  # noqa: DTZ001 - naive on purpose
ALL = pl.DataFrame(
    {
        "i": [1, None], "f": [1.5, float("nan")], "s": ["a", None], "b": [b"x", None], "l": [[1], None],
        "st": [{"a": 1, "b": "x"}, None], "d": [dt.date(2020, 1, 1), None], "t": [DAY, None],
        "td": [dt.timedelta(1), None], "tm": [dt.time(1), None], "de": [Decimal("1.10"), None], "n": [None, None],
    }
).with_columns(
    c=pl.Series(["x", None], dtype=pl.Categorical),
    e=pl.Series(["x", None], dtype=pl.Enum(["y", "x"])),
    z=pl.Series([DAY, None], dtype=pl.Datetime("ns", "Europe/Berlin")),
    a=pl.Series([[1, 2], None], dtype=pl.Array(pl.Int8, 2)),
    le=pl.Series([["x"], None], dtype=pl.List(pl.Enum(["y", "x"]))),
)  # fmt: skip
LONG = pl.concat([ALL] * 2000, rechunk=False)


class TestPolars(CodecContract):
    codec = PolarsCodec()
    values = (
        ALL,
        LONG,
        LONG.rechunk(),
        ALL.clear(),
        pl.DataFrame(),
        ALL.with_columns(big=pl.Series([2**100, None], dtype=pl.Int128)),
        LONG.with_columns(big=pl.Series([2**100] * 4000, dtype=pl.Int128)),
        pl.Series("named", [1, 2]),
        pl.Series(["a", None], dtype=pl.Categorical),
    )

    def same(self, given: Any, found: Any) -> bool:
        if isinstance(given, pl.Series):
            return type(given) is type(found) and given.name == found.name and given.dtype == found.dtype
        return given.schema == found.schema and bool(given.equals(found, null_equal=True))


def test_the_chunks_of_a_polars_frame_are_not_part_of_it(codecs: Codecs, store: FolderStore) -> None:
    assert LONG.n_chunks() > 1
    assert codecs.save(LONG, store).identity == codecs.save(LONG.rechunk(), store).identity


def test_a_long_polars_frame_is_mapped(codecs: Codecs, store: FolderStore) -> None:
    frame = pl.DataFrame({"a": np.arange(1_000_000)})
    ref = codecs.save(frame, store)
    assert pa.ipc.open_file(pa.memory_map(str(store.path(ref.digest, ref.nonce or "")))).num_record_batches == 1
    assert frame.equals(codecs.load(ref, store))  # type: ignore[arg-type]


def test_a_lazy_frame_is_refused(codecs: Codecs, store: FolderStore) -> None:
    with pytest.raises(CodecError, match="LazyFrame") as caught:
        codecs.save([ALL.lazy()], store)
    assert "collect" in (caught.value.hint or "")


def test_a_polars_column_of_objects_is_refused(codecs: Codecs, store: FolderStore) -> None:
    with pytest.raises(CodecError, match="Python objects"):
        codecs.save(pl.DataFrame({"o": pl.Series([{1}, {2}], dtype=pl.Object)}), store)
