"""Constants by value: values that differ have different digests, equal ones the same in every process."""

# ruff: noqa: E501  code in texts reads best as it is

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
from collections import OrderedDict, defaultdict, deque
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.fingerprint.project_roots import ProjectRoots
from headrace.fingerprint.values.value import Encoded, Values

ROOT = Path(__file__).parents[2]


def values(root: str = "/nowhere/at/all") -> Values:
    return Values(
        ProjectRoots([Path(root)]), owner=lambda _: "standard", name=lambda value: getattr(value, "__name__", "?")
    )


def encode(value: object) -> Encoded:
    return values().encode(value)


def digest(value: object) -> str:
    return encode(value).digest


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.complex_numbers()
    | st.text()
    | st.binary()
    | st.dates()
    | st.datetimes()
    | st.timedeltas()
    | st.decimals(allow_nan=False)
    | st.fractions()
    | st.uuids()
)
hashable = st.recursive(scalars, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=4), max_leaves=6)
nested = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(hashable, inner, max_size=4)
        | st.sets(hashable, max_size=4)
    ),
    max_leaves=12,
)


def shape(value: Any) -> object:
    """Return a form of a value that tells apart what digests must tell apart; the opposite way of saying the same."""
    kind = type(value).__name__
    if isinstance(value, float):
        return (kind, "nan" if math.isnan(value) else value.hex())
    if isinstance(value, complex):
        return (kind, shape(value.real), shape(value.imag))
    if isinstance(value, list | tuple):
        return (kind, tuple(shape(each) for each in value))
    if isinstance(value, dict):
        return (kind, tuple((shape(key), shape(inner)) for key, inner in value.items()))
    if isinstance(value, set | frozenset):
        return (kind, frozenset(shape(each) for each in value))
    return (kind, str(value) if kind == "Decimal" else value)


@given(nested, nested)
@settings(max_examples=400)
def test_digests_are_equal_exactly_where_values_are(left: object, right: object) -> None:
    assert (digest(left) == digest(right)) == (shape(left) == shape(right))


@given(nested)
@settings(max_examples=200)
def test_a_value_is_read_wholly_and_the_same_twice(value: object) -> None:
    first, second = encode(value), encode(value)
    assert first.digest == second.digest
    assert first.unread == []
    assert first.changing is None


@pytest.mark.parametrize(
    "different",
    [
        [1, True, 1.0, "1", b"1", 1 + 0j],
        [0, -0.0, 0.0, False, None, "", b"", (), [], {}, set(), frozenset()],
        ["a", b"a", ("a",), ["a"], {"a"}, frozenset({"a"})],
        [float("nan"), float("inf"), float("-inf"), "nan", "inf"],
        [[1, 2], [[1], 2], [1, [2]], [[1, 2]], (1, 2), [1, (2,)]],
        [{"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 2, "b": 1}, [("a", 1), ("b", 2)]],
        [OrderedDict(a=1), {"a": 1}, defaultdict(int, a=1), defaultdict(list, a=1)],
        [deque([1]), deque([1], maxlen=3), [1]],
        [range(3), range(0, 3, 2), [0, 1, 2], slice(3)],
        [10**5000, 10**5000 + 1, [10**5000], [10**5000 + 1]],
        [int, float, len, sorted],
        [bytearray(b"a"), b"a", "a"],
        ["\0root\0", "/nowhere/at/all", "\\x00root\\x00"],
        ["\ud800", "\udfff", "?"],
    ],
)
def test_values_that_look_alike_have_different_digests(different: list[object]) -> None:
    told = {(digest(each), tuple(map(repr, encode(each).things))) for each in different}
    assert len(told) == len(different)


def test_sharing_does_not_count() -> None:
    inner = [1]
    letters = {"a"}
    twice = (letters, letters)
    assert digest([inner, inner]) == digest([[1], [1]])
    assert digest(({"a"}, {"a"})) == digest(twice)


def test_a_value_that_holds_itself_can_be_read() -> None:
    loop: list[Any] = [1]
    loop.append(loop)
    longer: list[Any] = [1]
    longer.append([1, longer])
    assert digest(loop) == digest(loop)
    assert digest(loop) != digest([1, [1]])
    assert digest(loop) != digest(longer)


def test_a_set_that_holds_itself_by_way_of_an_object_can_be_read() -> None:
    class Holder:
        pass

    holder = Holder()
    holder.inner = {holder, 1}  # type: ignore[attr-defined]
    project = Values(ProjectRoots([]), owner=lambda _: "project", name=lambda value: type(value).__name__)
    assert len(project.encode(holder).digest) == 32


def test_deep_values_can_be_read() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert len(digest(deep)) == 32


def test_a_value_that_is_too_large_counts_as_written() -> None:
    shared: list[Any] = [1, []]
    for _ in range(60):
        shared = [shared, shared]
    assert encode(shared).unread == ["a value that is too large to read"]


def test_large_plain_values_take_no_time() -> None:
    assert encode(list(range(1_000_000))).unread == []


def test_paths_into_the_project_are_the_same_in_another_checkout() -> None:
    for text in ("{}/data", "sqlite:///{}/x.db", "{}", "{}:{}/b"):
        here, there = (values(root).encode(text.format(root, root)).digest for root in ("/a/b", "/somewhere/else"))
        assert here == there
    assert values("/a/b").encode("/a/bc").digest != values("/a/c").encode("/a/cc").digest
    assert values("/a/b").encode(Path("/a/b/x")).digest == values("/c/d").encode(Path("/c/d/x")).digest
    assert values("/a/b").encode([Path("/a/b/x"), "/a/b"]).digest == values("/c").encode([Path("/c/x"), "/c"]).digest


def test_what_has_no_readable_value_is_named() -> None:
    assert encode(threading.local()).unread == ["_thread._local"]
    assert encode({"a": [threading.local()]}).unread == ["_thread._local"]


def test_what_changes_while_it_is_used_is_named() -> None:
    assert encode(iter([1])).changing == "an iterator (`list_iterator`)"
    assert encode(x for x in ()).changing == "an iterator (`generator`)"


ARRAYS = """
import json, sys
sys.path.insert(0, "tests/fingerprint")
import numpy as np
from test_values import digest
a = np.arange(6.0).reshape(2, 3)
structured = np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")])
same = [(a, np.array(a, order="F")), (np.array(["a", None], object), np.array(["a", None], object)), (np.float64(1), np.float64(1))]
differ = [a, a.T, a.reshape(3, 2), a.astype("f4"), a.astype("i8"), a + 1, a.tolist(), np.float64(1), np.float32(1), 1.0,
          np.array(1.0), structured, np.array([(1, 2.0)], dtype=[("a", "i4"), ("c", "f8")]), np.dtype("f4"), np.dtype("f8"),
          np.datetime64("2026-01-01"), np.datetime64("2026-01-01", "s"), np.array(["a"]), np.array(["a"], object), np.sin, np.cos]
told = [digest(each) for each in differ]
assert len(set(told)) == len(told)
assert all(digest(left) == digest(right) for left, right in same)
print(json.dumps(told))
"""

FRAMES = """
import json, sys
sys.path.insert(0, "tests/fingerprint")
import pandas as pd
from test_values import digest
f = pd.DataFrame({"a": [1, 2], "b": ["x", None]})
differ = [f, f.rename(columns={"a": "c"}), f.astype({"a": "float"}), f.set_index("a"), f.iloc[::-1], f[["b", "a"]], f["a"],
          f["a"].rename("c"), f.index, f.astype({"b": "category"}), f.assign(b=["x", "y"]), pd.Timestamp("2026-01-01"),
          pd.Timestamp("2026-01-01", tz="UTC"), pd.NaT, pd.NA, pd.Timedelta("1d"), f.astype({"a": "Int64"}), pd.RangeIndex(2, name="q")]
told = [digest(each) for each in differ]
assert len(set(told)) == len(told), [differ[told.index(each)] for each in told if told.count(each) > 1]
assert digest(f) == digest(f.copy())
print(json.dumps(told))
"""

PLAIN = """
import json, sys
sys.path.insert(0, "tests/fingerprint")
from datetime import date, timedelta
from decimal import Decimal
from enum import Enum, Flag
from test_values import digest
Color = Enum("Color", "RED BLUE")
Side = Flag("Side", "LEFT RIGHT")
told = [digest(each) for each in (
    {"b", "a", "c"}, frozenset({1, "a", (2, "b")}), {frozenset({"x", "y"}): [1]}, {len, sorted, max}, date(2026, 1, 1),
    Decimal("1.10"), Color.RED, Side.LEFT | Side.RIGHT, [timedelta(1)], {"a": {"b": {1.5, None, True}}}, -0.0, 10**400)]
print(json.dumps(told))
"""


@pytest.mark.parametrize(("library", "script"), [("json", PLAIN), ("numpy", ARRAYS), ("pandas", FRAMES)])
def test_equal_values_have_equal_digests_in_every_process(library: str, script: str) -> None:
    pytest.importorskip(library)
    told = []
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT / "src")}
        command = [sys.executable, "-c", script]
        out = subprocess.run(command, env=environment, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        told.append(json.loads(out))
    assert told[0] == told[1]
