"""A contract drafted from data is one that these data keep."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import DataError
from headrace.stages import ingest
from headrace.stages.ingest._check.draft import draft
from headrace.stages.ingest._check.shapes import pattern_of

WORDS = st.text(max_size=12)
CODES = st.from_regex(r"\A[A-Z]{2}[0-9]{1,3}\Z")
KINDS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "integers": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "bytes": (pa.uint8(), st.integers(0, 255)),
    "long": (pa.uint64(), st.integers(0, 2**64 - 1)),
    "floats": (pa.float64(), st.floats()),
    "short": (pa.float32(), st.floats(width=32)),
    "shares": (pa.float64(), st.floats(0, 1)),
    "words": (pa.string(), WORDS),
    "codes": (pa.large_string(), CODES),
    "views": (pa.string_view(), CODES),
    "categories": (pa.dictionary(pa.int32(), pa.string()), st.sampled_from(["a", "b b", 'c"', "\x7f\n"])),
    "flags": (pa.bool_(), st.booleans()),
    "days": (pa.date32(), st.dates()),
    "times": (pa.timestamp("us"), st.datetimes()),
    "zoned": (pa.timestamp("ms", "Europe/Paris"), st.datetimes(min_value=datetime(1901, 1, 1), timezones=st.just(UTC))),  # noqa: DTZ001
    "clock": (pa.time64("us"), st.times()),
    "spans": (pa.duration("ms"), st.timedeltas()),
    "money": (pa.decimal128(12, 2), st.decimals(-(10**9), 10**9, places=2)),
    "lists": (pa.list_(pa.int64()), st.lists(st.integers(0, 3), max_size=2)),
}


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    names = draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=4, unique=True))
    size = draw(st.integers(0, 30))
    columns = {}
    for name in names:
        kind, values = KINDS[name]
        given = draw(st.lists(st.one_of(st.none(), values), min_size=size, max_size=size))
        key = draw(st.sampled_from([name, f"{name} 1", f'{name}."x"']))
        columns[key] = (
            pa.array(given, pa.string()).cast(kind) if pa.types.is_dictionary(kind) else pa.array(given, kind)
        )
    return pa.table(columns)


@given(tables())
@settings(max_examples=150)
def test_a_draft_is_kept_by_the_data_that_it_was_drafted_from(table: pa.Table) -> None:
    text = draft(table, 'a "name"')
    checked = ingest.check(table, ingest.Contract.from_toml(text))
    assert checked.passed, (text, checked.report.verdicts)
    assert all(verdict.holds for verdict in checked.report.verdicts), (text, checked.report.verdicts)
    assert not checked.quarantine.num_rows


def test_a_draft_reads_as_people_would_write_it() -> None:
    count = 300
    table = pa.table(
        {
            "id": range(count),
            "month": [1 + number % 12 for number in range(count)],
            "carrier": ["UA", "AA", "DL"] * 100,
            "tail": [f"N{100 + number}UA" if number % 5 else f"N{number}DL" for number in range(count)],
            "delay": [float(number - 20) for number in range(count)],
            "share": [number / count for number in range(count)],
            "note": ["late", None, "on time, but not by much"] * 100,
            "left": [datetime(2013, 1, 1, number % 24, tzinfo=UTC) for number in range(count)],
            "came": [datetime(2013, 1, 2, number % 24, tzinfo=UTC) for number in range(count)],
            "price": [Decimal(number) / 4 for number in range(count)],
            "day": [date(2013, 1, 1)] * count,
        }
    )
    text = draft(table, "flights")
    said = [line.partition("  #")[0] for line in text.splitlines()]
    for line in (
        'name = "flights"',
        "unique = true",
        'allowed = ["AA", "DL", "UA"]',
        'pattern = "N[0-9]{1,3}[A-Z]{2}"',
        "min = -50.0",
        "max = 310.0",
        "max = 1.0",
        "max = 12",
        "min = 2013-01-01",
        "least = 150",
        "# [[fresh]]",
        '# holds = "left <= came"',
    ):
        assert line in said, text
    assert 'allowed = ["late", "on time, but not by much"]' in said
    assert "# null in 33.3% of the rows" in text


@pytest.mark.parametrize("first", [1, 10_000])
def test_rows_to_come_with_the_next_ids_and_of_the_next_year_keep_a_draft(first: int) -> None:
    def orders(start: int, year: int) -> pa.Table:
        ids = range(start, start + 500)
        return pa.table({"id": ids, "number": [f"INV-{year}-{each:05}" for each in ids]})

    contract = ingest.Contract.from_toml(draft(orders(first, 2026)))
    assert contract.columns["id"].min is not None
    assert ingest.check(orders(first + 50_000, 2027), contract).passed


def test_the_first_day_of_times_in_a_zone_is_that_of_utc() -> None:
    night = datetime(2000, 1, 1, 23, 30, tzinfo=UTC)
    table = pa.table({"at": pa.array([night], pa.timestamp("ms", "Europe/Paris"))})
    text = draft(table)
    assert "min = 2000-01-01 " in text
    assert ingest.check(table, ingest.Contract.from_toml(text)).passed


def test_months_with_their_year_are_a_pattern_not_a_list() -> None:
    table = pa.table({"month": [f"2026-{1 + each % 6:02}" for each in range(100)]})
    assert 'pattern = "[0-9]{4}\\\\-[0-9]{2}"' in draft(table)


def test_the_only_price_of_many_rows_is_within_its_bounds() -> None:
    table = pa.table({"price": pa.array([Decimal("0.01")] * 20, pa.decimal128(12, 2))})
    assert ingest.check(table, ingest.Contract.from_toml(draft(table))).passed


def test_months_are_bounded_as_they_are_and_counts_with_slack() -> None:
    table = pa.table(
        {"month": [1 + each % 12 for each in range(1200)], "late": [11] + [each % 11 for each in range(1199)]}
    )
    columns = ingest.Contract.from_toml(draft(table)).columns
    assert (columns["month"].min, columns["month"].max) == (1, 12)
    assert (columns["late"].min, columns["late"].max) == (0, 13)


def test_a_draft_stops_when_it_no_longer_fits_the_data() -> None:
    contract = ingest.Contract.from_toml(draft(pa.table({"delay": [each % 100 for each in range(1000)]})))
    assert not ingest.check(pa.table({"delay": [1] * 960 + [5000] * 40}), contract).passed
    with pytest.raises(DataError, match="`most_quarantined`: 60 of 1,000 rows"):
        ingest.check(pa.table({"delay": [1] * 940 + [5000] * 60}), contract)


@given(st.lists(CODES, min_size=1, max_size=20))
@settings(max_examples=50)
def test_a_pattern_is_matched_by_what_it_was_made_of(texts: list[str]) -> None:
    pattern = pattern_of(texts)
    assert pattern is not None
    assert all(re.fullmatch(pattern, text) for text in texts)


def test_words_have_no_pattern_and_codes_of_one_length_have() -> None:
    assert pattern_of(["Anna", "Bert"]) == "[A-Z][a-z]{3}"
    assert pattern_of(["Anna", "Ingeborg"]) is None
    assert pattern_of(["JFK", "LGA"]) == "[A-Z]{3}"
    assert pattern_of(["2013-01-01", "2013-12-31"]) == r"[0-9]{4}\-[0-9]{2}\-[0-9]{2}"
    assert pattern_of(["INV-2026-00001", "INV-2026-00002"]) == r"INV\-[0-9]{4}\-[0-9]{5}"
    assert pattern_of([]) is None
    assert pattern_of(["", "a"]) is None


def test_a_table_with_two_columns_of_one_name_is_refused() -> None:
    with pytest.raises(DataError, match="have the same name"):
        draft(pa.table([[1], [2]], ["a", "a"]))


def test_a_drafted_date_of_a_column_with_a_zone_is_that_of_utc() -> None:
    late = datetime(2000, 1, 1, 23, tzinfo=UTC)  # in Paris it is the next day already
    table = pa.table({"seen": pa.array([late] * 3, pa.timestamp("ms", "Europe/Paris"))})
    assert "min = 2000-01-01" in draft(table)
    assert ingest.check(table, ingest.Contract.from_toml(draft(table))).passed
