"""Each codec of ours keeps the contract that third parties test theirs by."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import math
import uuid
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest

from headrace.codec.builtin.json import JsonCodec
from headrace.codec.builtin.numpy import NumpyCodec
from headrace.codec.builtin.pickle import PickleCodec
from headrace.codec.builtin.picture import PictureCodec
from headrace.codec.builtin.raw import BytesCodec, TextCodec
from headrace.codec.builtin.record import EnumCodec, ItemsCodec, RecordCodec
from headrace.codec.values import Picture
from headrace.testing.codec_contract import CodecContract

T = TypeVar("T")


@dataclasses.dataclass
class Report:
    rmse: float
    rows: list[int]
    note: str = dataclasses.field(default="", init=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen(Generic[T]):
    inner: T


class Split(NamedTuple):
    train: list[int]
    test: list[int]


class Version(msgspec.Struct, frozen=True, kw_only=True):
    number: int
    tags: list[str] = []


class Colour(enum.Enum):
    RED = 1
    GREEN = (2, "two")


class Rights(enum.IntFlag):
    READ = 1
    WRITE = 2


class Plain:
    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plain) and self.value == other.value

    __hash__ = None  # type: ignore[assignment]


class TestJson(CodecContract):
    codec = JsonCodec()
    values = (
        dt.date(2026, 2, 28),
        dt.datetime(2026, 3, 1, 12, 30, 15, 250),  # noqa: DTZ001 - naive on purpose
        dt.datetime(2026, 3, 1, tzinfo=dt.UTC),
        dt.datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
        dt.time(1, 2, 3, tzinfo=dt.timezone(dt.timedelta(hours=-3), "three")),
        dt.timedelta(days=-1, microseconds=1),
        Decimal("1.10"),
        Fraction(1, 3),
        uuid.UUID(int=7),
        Path("a/b"),
        {3, 1, 2},
        frozenset({"b", "a", (1, 2)}),
        1 + 2j,
        range(1, 10, 3),
        slice(None, 5),
        {"a": [1, 2.5, None, True], "b": {"c": "d"}},
        {"a": (1, (2,)), 3: {4}, None: b"raw"},
        {"$": "not a tag"},
        {str(each): "x" * 100 for each in range(100)},
        np.float64(0.25),
        np.float32("inf"),
        np.int8(-3),
        np.bool_(True),
        {"rmse": np.float32(0.1)},
    )


class TestText(CodecContract):
    codec = TextCodec()
    values = ("", "größer\n", "x" * 5000, "lone \ud800 surrogate", "a\0b")


class TestBytes(CodecContract):
    codec = BytesCodec()
    values = (b"", b"\0\xff", b"x" * 5000, bytearray(b"abc"), bytearray(100_000))


class TestRecords(CodecContract):
    codec = RecordCodec()
    values = (
        Report(rmse=0.5, rows=[1, 2, 3]),
        Frozen(inner=Frozen(inner=(1, "x"))),
        Split(train=[1, 2], test=[]),
        Version(number=3, tags=["a"]),
        Report(rmse=math.inf, rows=list(range(2000))),
        Report(rmse=0.0, rows=[b"x" * 5000]),  # type: ignore[list-item]
    )


class TestEnums(CodecContract):
    codec = EnumCodec()
    values = (Colour.RED, Colour.GREEN, Rights.READ, Rights.READ | Rights.WRITE, Rights(0))


class TestItems(CodecContract):
    codec = ItemsCodec()
    values = ({1: b"x" * 2000}, {("a", 1): Colour.RED, None: Split([], [])})

    def test_servers_read_it_if_the_codec_is_safe_and_only_then(self, value: Any, tmp_path: Path) -> None:
        if 1 in value:  # the other holds classes of a project
            super().test_servers_read_it_if_the_codec_is_safe_and_only_then(value, tmp_path)


class TestPictures(CodecContract):
    codec = PictureCodec()
    values = (Picture(svg="<svg/>"), Picture(svg="<svg>" + "x" * 5000 + "</svg>"))


class TestNumpy(CodecContract):
    codec = NumpyCodec()
    values = (
        np.arange(5),
        np.zeros((0, 3), dtype="f4"),
        np.array(3.5),
        np.arange(20_000.0).reshape(100, 200),
        np.asfortranarray(np.arange(20_000.0).reshape(100, 200)),
        np.arange(100_000)[::7],
        np.array(["a", "bcd"]),
        np.array([b"a", b"bcd"]),
        np.array(["2026-01-01", "NaT"], dtype="M8[D]"),
        np.array([(1, 2.5), (2, 3.5)], dtype=[("a", "i4"), ("b", "f8")]),
        np.arange(3, dtype=">i4"),
        np.array([np.nan, -0.0]),
        np.datetime64("2026-01-01"),
        np.complex64(1 + 2j),
        np.str_("text"),
    )

    def same(self, given: Any, found: Any) -> bool:
        return type(given) is type(found) and given.dtype == found.dtype and given.tobytes() == found.tobytes()

    def spoil(self, value: Any) -> None:
        value[...] = 1


class TestPickle(CodecContract):
    codec = PickleCodec()
    values = (Plain(3), Plain("x" * 5000), Counter("abca"))
    exact = False


def test_a_codec_that_loses_something_fails_the_contract(tmp_path: Path) -> None:
    class Forgetful(JsonCodec):
        name = "forgetful"

        def load(self, source: Any) -> object:
            return set(list(super().load(source))[1:])  # type: ignore[call-overload]

    class Contract(CodecContract):
        codec = Forgetful()
        values = ({1, 2},)

    with pytest.raises(AssertionError, match="became"):
        Contract().test_the_value_comes_back({1, 2}, tmp_path)


def test_a_codec_whose_bytes_differ_fails_the_contract_unless_it_says_so(tmp_path: Path) -> None:
    class Restless(JsonCodec):
        name = "restless"

        def save(self, value: object, sink: Any) -> None:
            sink.write(uuid.uuid4().bytes)

    class Contract(CodecContract):
        codec = Restless()
        values = ({1, 2},)

    class Honest(Contract):
        exact = False

    with pytest.raises(AssertionError):
        Contract().test_an_equal_value_is_the_same_artifact({1, 2}, tmp_path)
    Honest().test_an_equal_value_is_the_same_artifact({1, 2}, tmp_path)
