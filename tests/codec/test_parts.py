"""Lists, tuples and dictionaries name their elements' artifacts."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from headrace.codec import sink
from headrace.codec.codecs import Codecs
from headrace.errors import CodecError
from headrace.spec.artifact import Ref
from headrace.store.folder.folder import FolderStore

TREES = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False) | some.text("abc") | some.binary(),
    lambda inner: (
        some.lists(inner)
        | some.lists(inner).map(tuple)
        | some.dictionaries(some.text("abc$."), inner)
        | some.dictionaries(some.integers(), inner)
        | some.dictionaries(some.text("abc"), inner).map(OrderedDict)
    ),
    max_leaves=20,
)


def same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=TREES)
def test_any_nesting_comes_back(value: Any, codecs: Codecs, store: FolderStore) -> None:
    ref = codecs.save(value, store)
    assert same(value, codecs.load(ref, store, verify=True, safe_only=True))
    assert codecs.save(value, store).identity == ref.identity


@pytest.mark.parametrize("value", [[1, "two", [3.0]], (1, "two", [3.0]), [], ()])
def test_an_element_is_loaded_without_the_rest(value: Any, codecs: Codecs, store: FolderStore) -> None:
    ref = codecs.save(value, store)
    assert ref.type == f"builtins.{type(value).__name__}"
    assert ref.parts is not None
    assert [codecs.load(each, store) for each in ref.parts] == list(value)


def test_a_dictionary_of_more_than_plain_values_names_its_parts(codecs: Codecs, store: FolderStore) -> None:
    ref = codecs.save({"weights": np.arange(3), "epoch": 7}, store)
    assert ref.names == ("weights", "epoch")
    assert ref.parts is not None
    assert codecs.load(ref.parts[1], store) == 7


def test_values_whose_bytes_agree_but_not_their_classes_differ(codecs: Codecs, store: FolderStore) -> None:
    values: list[object] = [
        [1], ["1"], [b"1"], (1,), [[1]], [1.0], [True],
        {"a": b"x" * 2000}, {"b": b"x" * 2000}, OrderedDict(a=b"x" * 2000), [b"x" * 2000], [], (), OrderedDict(),
    ]  # fmt: skip
    assert len({codecs.save(each, store).identity for each in values}) == len(values)


def test_a_list_beyond_the_limit_is_saved_whole(
    codecs: Codecs, store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headrace.codec.saver.PARTS_LIMIT", 100)
    assert codecs.save(list(range(100)), store).parts is not None
    longer = codecs.save(list(range(101)), store)
    assert longer.parts is None
    assert longer.codec == "json"
    assert codecs.load(longer, store) == list(range(101))
    odd = codecs.save([*range(100), object()], store)
    assert (odd.codec, odd.parts) == ("pickle", None)
    with pytest.raises(CodecError, match=r"lock.*at `\[1\]\[100\]`"):
        codecs.save([1, [*range(100), threading.Lock()]], store)


def test_lists_inside_a_list_share_the_limit(
    codecs: Codecs, store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headrace.codec.saver.PARTS_LIMIT", 100)
    fits = codecs.save([[0] * 10, [0] * 20], store)
    assert all(each.parts is not None for each in fits.parts or ())
    crowded = codecs.save([[0] * 11 for _ in range(10)], store)
    assert all(each.parts is None for each in crowded.parts or ())
    assert count(crowded) <= 100
    assert codecs.load(crowded, store) == [[0] * 11 for _ in range(10)]


def test_ten_thousand_numbers_become_ten_thousand_artifacts(codecs: Codecs, store: FolderStore) -> None:
    ref = codecs.save(list(range(10_000)), store)
    assert count(ref) == 10_001
    assert sink.PARTS_LIMIT == 100_000


def count(ref: Ref) -> int:
    return 1 + sum(map(count, ref.parts or ()))


def ring() -> list[Any]:
    value: list[Any] = [1]
    value.append({"back": (value,)})
    return value


def deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(20_000):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("make", "words"), [(ring, r"at `\[1\]\['back'\]\[0\]` of the value.*contains itself"), (deep, "too deep")]
)
def test_a_value_without_end_is_refused(
    make: Callable[[], Any], words: str, codecs: Codecs, store: FolderStore
) -> None:
    with pytest.raises(CodecError, match=words) as caught:
        codecs.save(make(), store)
    assert caught.value.hint


def test_the_same_list_twice_is_no_ring(round_trip: Callable[[object], Any]) -> None:
    once = [1, 2]
    assert round_trip([once, once]) == [[1, 2], [1, 2]]


def test_odd_names_come_back(round_trip: Callable[[object], Any]) -> None:
    value = {"": np.arange(1), "a\nb": np.arange(2), "\ud800": np.arange(3), "é": np.arange(4)}
    found = round_trip(value)
    assert list(found) == list(value)
    assert [len(each) for each in found.values()] == [1, 2, 3, 4]
