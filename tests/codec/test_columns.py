"""Columns of tables: those that are asked for, as they were in the whole, and no others read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from msgspec.structs import replace

from headrace.codec.codecs import Codecs
from headrace.errors import CodecError
from headrace.store.folder.folder import FolderStore

ROWS = 20_000


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


def columns(value: object, store: FolderStore, *names: str) -> Any:
    codecs = Codecs()
    return codecs.load(codecs.save(value, store), store, columns=names)


def test_of_an_arrow_table_in_the_order_asked_for(store: FolderStore) -> None:
    table = pa.table({each: np.arange(ROWS) + place for place, each in enumerate("abcd")})
    assert columns(table, store, "d", "b").equals(table.select(["d", "b"]))
    assert columns(table.slice(0, 3), store, "c").equals(table.slice(0, 3).select(["c"]))


def test_of_a_pandas_frame_with_its_index(store: FolderStore) -> None:
    frame = pd.DataFrame(
        {
            "number": np.arange(ROWS),
            "text": np.array([f"t{each % 7}" for each in range(ROWS)], dtype=object),
            "kind": pd.Categorical([str(each % 3) for each in range(ROWS)]),
            "note": np.array(["x", None] * (ROWS // 2), dtype=object),
        },
        index=pd.Index([f"row {each}" for each in range(ROWS)], name="row"),
    )
    for names in (["number"], ["note", "number"], ["kind", "text"]):
        pd.testing.assert_frame_equal(columns(frame, store, *names), frame[names])
    bare = frame.reset_index(drop=True)
    pd.testing.assert_frame_equal(columns(bare, store, "text"), bare[["text"]])


def test_of_a_polars_frame_with_its_types(store: FolderStore) -> None:
    frame = pl.DataFrame(
        {
            "number": range(ROWS),
            "text": [f"t{each % 7}" for each in range(ROWS)],
            "kind": pl.Series([str(each % 3) for each in range(ROWS)], dtype=pl.Categorical),
            "level": pl.Series(["low", "high"] * (ROWS // 2), dtype=pl.Enum(["low", "high"])),
            "list": [[each] for each in range(ROWS)],
        }
    )
    for names in (["text"], ["level", "number"], ["list", "kind"]):
        found = columns(frame, store, *names)
        assert found.schema == frame.select(names).schema
        assert found.equals(frame.select(names))


def test_a_column_that_is_not_there_is_said_with_those_that_are(store: FolderStore) -> None:
    table = pa.table({"a": [1], "b": [2]})
    with pytest.raises(CodecError, match="no column `c`") as caught:
        columns(table, store, "c")
    assert "`a`, `b`" in (caught.value.hint or "")


@pytest.mark.parametrize("value", [3, [1, 2], pd.Series([1] * ROWS), pl.Series([1] * ROWS), pa.array([1] * ROWS)])
def test_what_has_no_columns_is_refused(value: object, store: FolderStore) -> None:
    with pytest.raises(CodecError, match="no columns"):
        columns(value, store, "a")


def test_the_parts_that_have_columns_are_named(store: FolderStore) -> None:
    table = pa.table({"a": [1]})
    with pytest.raises(CodecError) as caught:
        columns({"rows": table, "count": 1, "frame": table.to_pandas()}, store, "a")
    assert caught.value.hint == "load it whole, or a part of it that is a table: `rows`, `frame`"
    with pytest.raises(CodecError) as caught:
        columns([1, [table]], store, "a")
    assert caught.value.hint == "load it whole"


def test_a_part_whose_codec_is_not_installed_is_no_table(store: FolderStore) -> None:
    codecs = Codecs()
    ref = codecs.save({"rows": pa.table({"a": [1]}), "count": 1}, store)
    parts = [
        replace(part, codec="elsewhere") if name == "count" else part
        for name, part in zip(ref.names or (), ref.parts or (), strict=True)
    ]
    with pytest.raises(CodecError) as caught:
        codecs.load(replace(ref, parts=tuple(parts)), store, columns=["a"])
    assert caught.value.hint == "load it whole, or a part of it that is a table: `rows`"
