"""The loader gives each row once an epoch, in the order of its seed, to any number of ranks, from any sample on."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import UsageError
from headrace.stages.train import Loader
from headrace.stages.train.order import BLOCK_ROWS, WINDOW_BLOCKS, Order


def chunked(rows: int, cuts: list[int]) -> pa.Table:
    table = pa.table({"n": pa.array(range(rows), pa.int64()), "half": pa.array([each / 2 for each in range(rows)])})
    bounds = sorted({0, rows, *(cut % (rows + 1) for cut in cuts)})
    return pa.concat_tables([table.slice(a, b - a) for a, b in pairwise(bounds)] or [table])


@given(st.integers(1, 200), st.lists(st.integers(0, 1000), max_size=5), st.integers(1, 4), st.integers(0, 9), st.data())
def test_each_row_comes_once_an_epoch_over_all_ranks(
    rows: int, cuts: list[int], world: int, extra: int, data: st.DataObject
) -> None:
    table = chunked(rows, cuts)
    shuffle = data.draw(st.sampled_from([True, False, "whole", "blocks"]))
    options: Any = {"batch_size": world + extra, "shuffle": shuffle, "seed": 3}
    loaders = [Loader(table, rank=rank, world=world, **options) for rank in range(world)]
    alone = [batch["n"].tolist() for batch in Loader(table, **options)]
    shared = [
        [n for part in parts for n in part["n"].tolist()] for parts in zip(*loaders, strict=True)
    ]  # the parts of a batch, in the order of the ranks, are the batch of one alone
    assert shared == alone
    assert sorted(n for batch in alone for n in batch) == list(range(rows))
    assert len(alone) == len(loaders[0])


@given(st.integers(1, 100), st.integers(1, 20), st.integers(0, 250))
def test_a_loader_goes_on_at_the_exact_sample(rows: int, batch_size: int, taken: int) -> None:
    table = chunked(rows, [7, 30])

    def endless(loader: Loader) -> Iterator[list[float]]:
        while True:
            yield from (batch["half"].tolist() for batch in loader)

    one = Loader(table, batch_size=batch_size, seed=1)
    stream = endless(one)
    list(islice(stream, taken))
    other = Loader(table, batch_size=batch_size, seed=1)
    other.load_state_dict(one.state_dict())
    assert list(islice(endless(other), 5)) == list(islice(stream, 5))


def test_blocks_and_windows_cover_all_rows_and_mix_them() -> None:
    rows = BLOCK_ROWS * WINDOW_BLOCKS + 3 * BLOCK_ROWS + 5
    order = Order(rows, "blocks", 0, 0)
    found = np.concatenate([order.at(start, start + 100_000) for start in range(0, rows, 100_000)])
    assert np.array_equal(np.sort(found), np.arange(rows))
    assert abs(np.corrcoef(found, np.arange(rows))[0, 1]) < 0.1
    assert np.array_equal(Order(rows, "blocks", 0, 0).at(rows - 10, rows), found[-10:])


def test_epochs_and_seeds_differ() -> None:
    table = chunked(50, [])
    loader = Loader(table, batch_size=50, seed=0)
    first, second = ([batch["n"].tolist() for batch in loader] for _ in range(2))
    other = [batch["n"].tolist() for batch in Loader(table, batch_size=50, seed=1)]
    assert first != second
    assert first != other


def test_columns_are_stacked_padded_and_kept_apart() -> None:
    table = pa.table(
        {
            "a": [1, 2, None],
            "b": [True, False, True],
            "words": [[1, 2, 3], [4], []],
            "place": pa.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], pa.list_(pa.float32(), 2)),
            "kind": pa.array(["x", "y", "x"]).dictionary_encode(),
        }
    )
    columns = {"x": ["a", "b"], "words": "words", "place": "place", "kind": "kind"}
    [batch] = Loader(table, batch_size=3, columns=columns, shuffle=False, pad={"words": -1})
    assert np.array_equal(batch["x"], np.array([[1, 1], [2, 0], [np.nan, 1]], np.float32), equal_nan=True)
    assert batch["words"].tolist() == [[1, 2, 3], [4, -1, -1], [-1, -1, -1]]
    assert batch["place"].tolist() == [[1, 2], [3, 4], [5, 6]]
    assert batch["kind"].tolist() == [0, 1, 0]


def test_large_whole_numbers_beside_a_missing_one_are_rounded_as_without_it() -> None:
    large = 16_777_217  # the first that 32 bits of a float don't hold
    whole, missing = pa.table({"n": [large, large]}), pa.table({"n": [large, None]})
    (alone,), (beside,) = (list(Loader(table, batch_size=2, shuffle=False)) for table in (whole, missing))
    assert np.float32(alone["n"][0]) == beside["n"][0]
    assert np.isnan(beside["n"][1])


def test_an_iteration_that_is_left_ends_its_thread() -> None:
    loader = Loader(chunked(100_000, []), batch_size=10)
    for _ in loader:
        break
    assert loader.state_dict()["position"] == 10


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"columns": ["m"]}, "no column `m`"),
        ({"columns": ["text"]}, "column `text` is `string`"),
        ({"columns": {"x": ["n", "list"]}}, "`list` holds lists"),
        ({"batch_size": 1, "world": 2}, "`batch_size` is 1, which is less than the number of ranks"),
        ({"rank": 2, "world": 2}, "`rank` is 2 and `world` is 2"),
    ],
)
def test_what_makes_no_sense_is_one_clear_error(more: dict[str, Any], told: str) -> None:
    table = pa.table({"n": [1, 2], "text": ["a", "b"], "list": [[1], [2]]})
    with pytest.raises(UsageError, match=told):
        Loader(table, **{"batch_size": 2, **more})


def test_another_table_is_not_gone_on_with() -> None:
    loader = Loader(chunked(9, []), batch_size=2)
    with pytest.raises(UsageError, match="9 rows"):
        loader.load_state_dict({"epoch": 0, "position": 2, "seed": 0, "rows": 10})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"batch_size": "x"}, "`batch_size` of `train.Loader` is 'x'"),
        ({"shuffle": "some"}, "`shuffle` of `train.Loader` is 'some'"),
        ({"columns": 3}, "`columns` of `train.Loader` is 3"),
        ({"pad": 0}, "`pad` of `train.Loader` is 0"),
    ],
)
def test_options_of_another_type_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as told:
        Loader(pa.table({"a": [1.0, 2.0]}), **{"batch_size": 1, **options})
    assert said in told.value.message


def test_a_state_of_something_else_is_refused() -> None:
    with pytest.raises(UsageError, match="the state has no `epoch`"):
        Loader(pa.table({"a": [1.0]}), batch_size=1).load_state_dict({})


def test_a_category_has_one_code_however_chunks_number_theirs() -> None:
    chunks = [pa.array(words).dictionary_encode() for words in (["a", "b"], ["b", "c"], ["c", "a"])]
    loader = Loader(pa.table({"kind": pa.chunked_array(chunks)}), batch_size=6, shuffle=False)
    assert [batch["kind"].tolist() for batch in loader] == [[0, 1, 1, 2, 2, 0]]
