"""Exact JSON gives back exactly what it took, whatever that was."""

from __future__ import annotations

import datetime as dt
import math
import struct
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from headrace.codec import exact_json
from headrace.codec.misfit import Declined

ZONES = some.sampled_from([None, dt.UTC, dt.timezone(dt.timedelta(hours=5, minutes=30), "IST"), ZoneInfo("Asia/Tokyo")])

LEAVES = (
    some.none()
    | some.booleans()
    | some.integers()
    | some.floats()
    | some.text()
    | some.binary(max_size=100)
    | some.complex_numbers()
    | some.dates()
    | some.datetimes(timezones=ZONES)
    | some.times(timezones=some.sampled_from([None, dt.UTC]))
    | some.timedeltas()
    | some.decimals()
    | some.uuids()
    | some.fractions()
)
KEYS = some.text() | some.integers() | some.booleans() | some.none() | some.tuples(some.integers(), some.text())
TREES = some.recursive(
    LEAVES,
    lambda inner: (
        some.lists(inner)
        | some.lists(inner).map(tuple)
        | some.dictionaries(KEYS, inner)
        | some.dictionaries(some.sampled_from(["$", "a", "b"]), inner)
        | some.sets(some.integers() | some.text())
        | some.frozensets(some.integers())
    ),
    max_leaves=30,
)


def spell(value: Any) -> object:
    """Write a value so that two are equal only if they are the same to the bit and the class."""
    match value:
        case bool() | None | str() | int():
            return repr(value)
        case float():
            return "float", struct.pack(">d", value)
        case complex():
            return "complex", struct.pack(">dd", value.real, value.imag)
        case dict():
            return "dict", [(spell(key), spell(each)) for key, each in value.items()]
        case list() | tuple():
            return type(value), [spell(each) for each in value]
        case set() | frozenset():
            return type(value), {spell(each) for each in value}
        case dt.datetime() | dt.time():
            return type(value), value.isoformat(), value.fold, repr(value.tzinfo)
        case Decimal():
            return "Decimal", value.as_tuple()
        case _:
            return type(value), value


@given(TREES)
def test_what_was_encoded_is_decoded_to_the_bit_and_the_class(value: Any) -> None:
    try:
        data = exact_json.encode(value)
    except Declined:
        assert any(0xD800 <= ord(each) < 0xE000 for each in str(spell(value))), value
        return
    assert spell(exact_json.decode(data)) == spell(value)


@given(some.recursive(some.none() | some.integers(-(2**63), 2**64 - 1) | some.text("abc$"), some.lists))
def test_plain_json_is_left_as_it_is(value: Any) -> None:
    assert exact_json.encode(value) == msgspec.json.encode(value)


class Level(IntEnum):
    LOW = 1


class Name(StrEnum):
    A = "a"


class Number(int):
    pass


@pytest.mark.parametrize("value", [Level.LOW, Name.A, Number(3), {Name.A: 1}, [object()], {"a": {1: Level.LOW}}])
def test_a_subclass_of_a_plain_class_is_not_plain(value: object) -> None:
    with pytest.raises(Declined):
        exact_json.encode(value)


def test_sets_are_written_in_one_order() -> None:
    names = [f"name-{each}" for each in range(100)]
    assert exact_json.encode(set(names)) == exact_json.encode(set(names[50:] + names[:50]))


def test_the_sign_and_the_payload_of_a_nan_are_kept() -> None:
    value = struct.unpack(">d", bytes.fromhex("fff8000000000123"))[0]
    found = exact_json.decode(exact_json.encode(value))
    assert isinstance(found, float)
    assert math.isnan(found)
    assert struct.pack(">d", found).hex() == "fff8000000000123"


def test_long_bytes_inside_a_value_are_not_spelled_out() -> None:
    with pytest.raises(Declined):
        exact_json.encode({"image": bytes(2000)})


def test_a_value_inside_itself_is_not_plain() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(Declined):
        exact_json.encode(value)
