"""`prepare.clean`: what each rule makes of values, what it can't deal with, and what the report tells."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.codec.values import File
from headrace.errors import DataError, DefinitionError, UsageError
from headrace.stages import prepare
from headrace.stages.prepare._clean.rules import rules_from_toml


def cleaned(values: list[Any] | pa.Array, rule: Any) -> list[Any]:
    made = prepare.clean(pa.table({"c": values}), [rule])
    found: list[Any] = made.table["c"].to_pylist()
    return found


@pytest.mark.parametrize(
    ("rule", "before", "after"),
    [
        (prepare.Trim(columns="c"), [" a\t", "\u00a0b\u2003", None, ""], ["a", "b", None, ""]),
        (prepare.Normalise(columns="c"), ["e\u0301  x", None], ["é x", None]),
        (prepare.Normalise(columns="c", case="upper", accents=False), ["é\nx"], ["E X"]),
        (prepare.Nulls(columns="c", values=("N/A", "")), ["a", "N/A", ""], ["a", None, None]),
        (prepare.Nulls(columns="c", values=(-999,)), [1, -999], [1, None]),
        (prepare.Nulls(columns="c", values=(), nan=True), [1.0, math.nan], [1.0, None]),
        (prepare.Replace(columns="c", pattern="([0-9])x", by=r"\1"), ["1x2x", "x"], ["12", "x"]),
        (prepare.Fill(columns="c", value=0), [1, None], [1, 0]),
        (prepare.Fill(columns="c", value="it's"), ["a", None], ["a", "it's"]),
        (
            prepare.Fill(columns="c", value=date(2024, 1, 2)),
            [date(2024, 1, 1), None],
            [date(2024, 1, 1), date(2024, 1, 2)],
        ),
        (prepare.Fill(columns="c", how="mean"), [1.0, 2.0, None], [1.0, 2.0, 1.5]),
        (prepare.Fill(columns="c", how="median"), [1, 2, 9, None], [1, 2, 9, 2]),
        (prepare.Fill(columns="c", how="most"), ["b", "a", "b", None], ["b", "a", "b", "b"]),
        (prepare.Fill(columns="c", how="forward"), [None, 1, None, None, 2], [None, 1, 1, 1, 2]),
        (prepare.Clip(columns="c", min=0, max=2), [-1, 1, 3, None], [0, 1, 2, None]),
        (prepare.Clip(columns="c", max=date(2024, 1, 1)), [date(2025, 1, 1)], [date(2024, 1, 1)]),
        (
            prepare.Cast(columns="c", type="int64", otherwise="null"),
            ["1", "1.5", "x", " 2 ", None],
            [1, None, None, 2, None],
        ),
        (prepare.Cast(columns="c", type="int64", otherwise="null"), [1.0, 1.5, math.nan], [1, None, None]),
        (prepare.Cast(columns="c", type="double"), ["1e3", "-0.5"], [1000.0, -0.5]),
        (prepare.Cast(columns="c", type="bool", otherwise="null"), ["true", "f", "2"], [True, False, None]),
        (
            prepare.Cast(columns="c", type="date32", otherwise="null"),
            ["2024-02-29", "2023-02-29"],
            [date(2024, 2, 29), None],
        ),
        (prepare.Cast(columns="c", type="string"), [1, None], ["1", None]),
        (prepare.Map(columns="c", values={"f": "female", "m": "male"}), ["f", "x", None], ["female", "x", None]),
        (prepare.Map(columns="c", values={"f": 1}, otherwise="null"), ["f", "x"], [1, None]),
        (prepare.Map(columns="c", values={"1": 10}), [1, 2], [10, 2]),
        (prepare.Map(columns="c", values={2: 10}), [1.5, 2.0, None], [1.5, 10.0, None]),
        (prepare.Map(columns="c", values={1: "one", None: "none"}), ["1", "x", None], ["one", "x", "none"]),
        (prepare.Fill(columns="c", how="mean"), [2**60 + 1, None], [2**60 + 1, 2**60]),
        (prepare.Fill(columns="c", how="median"), [2**53 + 1, None, 4], [2**53 + 1, 2**52 + 2, 4]),
        (prepare.Fill(columns="c", how="mean"), [1, 2, None], [1, 2, 2]),
        (prepare.Fill(columns="c", value=b"\0'"), [b"a", None], [b"a", b"\0'"]),
        (prepare.Replace(columns="c", pattern=r"\p{L}", by="-"), ["1é2"], ["1-2"]),
        (prepare.Numbers(columns="c"), ["1,234.50", "€ 12", "-3", None], [1234.5, 12.0, -3.0, None]),
        (prepare.Numbers(columns="c", decimal=",", thousands="."), ["1.234,5"], [1234.5]),
        (prepare.Numbers(columns="c", otherwise="null"), ["1,5", "0,123", "1.234,50", "1,23"], [None] * 4),
        (
            prepare.Numbers(columns="c", decimal=",", thousands=" ", otherwise="null"),
            ["1.234", "1 234,5"],
            [None, 1234.5],
        ),
        (
            prepare.Numbers(columns="c", decimal=",", thousands="'", otherwise="null"),
            ["1.234", "1'234,5"],
            [None, 1234.5],
        ),
        (prepare.Numbers(columns="c"), ["-1,234e2", "12,34,567"], [-123400.0, 1234567.0]),
        (
            prepare.Dates(columns="c", formats=("%d.%m.%Y", "%Y-%m-%d"), day=True),
            ["1.2.2024", "2024-02-03"],
            [date(2024, 2, 1), date(2024, 2, 3)],
        ),
        (
            prepare.Dates(columns="c", formats=("%Y-%m-%d %H:%M",), zone="Europe/Paris"),
            ["2024-07-01 12:00"],
            [datetime(2024, 7, 1, 10, tzinfo=UTC)],
        ),
        (
            prepare.Dates(columns="c", formats=("%Y-%m-%d",), zone="Europe/Paris", day=True),
            ["2024-07-01"],
            [date(2024, 7, 1)],
        ),
        (prepare.Dates(columns="c", formats=("%Y",)), ["2024"], [datetime(2024, 1, 1)]),  # noqa: DTZ001  no zone
        (
            prepare.Units(columns="c", units={"kg": 1, "g": 0.001, "lb": 0.45359237}, unit="kg", otherwise="null"),
            ["2 kg", "500g", " 1 lb ", "3", "4 st", "kg", "-1e1 kg"],
            [2.0, 0.5, 0.45359237, 3.0, None, None, -10.0],
        ),
        (
            prepare.Units(columns="c", units={"kg": 1, "t": 1000}, otherwise="null"),
            [
                "1,234.5 kg",
                "1,234t",
                "12,34,567 kg",
                "1,5 kg",
                "1.234,5 kg",
                ".5 kg",
                "1,234e2 kg",
                "1 234 kg",
            ],
            [1234.5, 1234000.0, 1234567.0, None, None, 0.5, 123400.0, None],
        ),
        (
            prepare.Units(columns="c", units={"kg": 1}, decimal=",", thousands=".", otherwise="null"),
            ["1.234,5 kg", "1,5 kg", "1.5 kg", "1,234.5 kg", "1.234.567 kg", "-12 kg"],
            [1234.5, 1.5, None, None, 1234567.0, -12.0],
        ),
        (
            prepare.Units(columns="c", units={"kg": 1, "m2": 3}, decimal=",", thousands=" ", otherwise="null"),
            ["1 234,5 kg", "1 234 567kg", "1.5 kg", "7 m2"],
            [1234.5, 1234567.0, None, 21.0],
        ),
        (
            prepare.Units(columns="c", units={"kg": 1}, thousands="", otherwise="null"),
            ["1234.5 kg", "1,234 kg"],
            [1234.5, None],
        ),
    ],
)
def test_a_rule_makes_this_of_that(rule: Any, before: list[Any], after: list[Any]) -> None:
    assert cleaned(before, rule) == after


def test_nan_stays_nan_where_a_range_is_clipped() -> None:
    assert math.isnan(cleaned([math.nan, 5.0], prepare.Clip(columns="c", max=1.0))[0])


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())])
def test_a_column_keeps_the_type_that_it_had(kind: pa.DataType) -> None:
    column = pa.array([" a", None], pa.string()).cast(kind)
    made = prepare.clean(pa.table({"c": column}), [prepare.Trim(columns="*"), prepare.Fill(columns="c", value="z")])
    assert made.table.schema.field("c").type == kind
    assert made.table["c"].to_pylist() == ["a", "z"]


def test_small_integers_and_zoned_times_keep_their_type() -> None:
    at = datetime(2024, 1, 1, tzinfo=UTC)
    table = pa.table(
        {"n": pa.array([1, None], pa.int8()), "t": pa.array([at, None], pa.timestamp("ms", "Europe/Paris"))}
    )
    made = prepare.clean(table, [prepare.Fill(columns="n", value=7), prepare.Fill(columns="t", value=at)])
    assert made.table.schema == table.schema
    assert made.table.to_pylist()[1] == {"n": 7, "t": at}


def test_decimals_beside_a_gap_that_is_filled_keep_all_their_digits() -> None:
    long = Decimal("123456789012345678.91")
    values = pa.chunked_array([pa.array([long, Decimal("0.50"), None], pa.decimal128(20, 2))])
    for how in ("mean", "median"):
        filled = prepare.clean(pa.table({"c": values}), [prepare.Fill(columns="c", how=how)]).table["c"]
        assert filled.type == values.type
        assert filled.to_pylist()[:2] == [long, Decimal("0.50")]
        assert filled.null_count == 0


def test_what_stands_for_nothing_is_looked_for_in_those_columns_that_can_hold_it() -> None:
    table = pa.table(
        {
            "n": [-999, 1],
            "small": pa.array([1, 2], pa.uint8()),
            "day": [date(2024, 1, 1), date(1900, 1, 1)],
            "text": ["", "-999"],
        }
    )
    rule = prepare.Nulls(columns="*", values=("", -999, date(1900, 1, 1)))
    assert prepare.clean(table, [rule]).table.to_pydict() == {
        "n": [None, 1],
        "small": [1, 2],
        "day": [date(2024, 1, 1), None],
        "text": [None, "-999"],
    }


def test_values_that_a_column_cannot_hold_are_mapped_in_the_others() -> None:
    table = pa.table({"n": [1, 2], "sure": [True, False], "day": [date(2024, 1, 1), date(2024, 1, 2)]})
    found = prepare.clean(table, [prepare.Map(columns="*", values={2: 20})]).table
    assert found.to_pydict() == {**table.to_pydict(), "n": [1, 20]}
    with pytest.raises(DefinitionError, match="2"):
        prepare.clean(table, [prepare.Map(columns="day", values={2: 20})])


def test_what_is_put_in_goes_to_those_columns_that_can_hold_it() -> None:
    table = pa.table({"n": [None, -1], "x": [None, -0.5], "day": [None, date(2024, 1, 1)], "text": [None, "a"]})
    rules = [prepare.Fill(columns="*", value=7), prepare.Clip(columns="*", min=0)]
    assert prepare.clean(table, rules).table.to_pydict() == {
        "n": [7, 0],
        "x": [7.0, 0.0],
        "day": [None, date(2024, 1, 1)],
        "text": [None, "a"],
    }
    with pytest.raises(DefinitionError, match="7 can't be a value of a column of type `string`"):
        prepare.clean(table, [prepare.Fill(columns="text", value=7)])


def test_rows_go_to_quarantine_as_they_were_given_and_with_the_reason() -> None:
    table = pa.table(
        {"id": [1, 2, 3, 4, 5], "w": [" 1 kg", "2 st", "x", "4 kg", "4 kg"], "n": ["1", "2", "3", "4.5", "4"]}
    )
    rules = [
        prepare.Trim(columns="w"),
        prepare.Units(columns="w", units={"kg": 1}),
        prepare.Cast(columns="n", type="int64"),
        prepare.Drop(where="w > 3.5", quarantine=True),
    ]
    made = prepare.clean(table, rules)
    assert made.table.to_pylist() == [{"id": 1, "w": 1.0, "n": 1}]
    assert made.quarantine.to_pylist() == [
        {"id": 2, "w": "2 st", "n": "2", "row": 1, "broken_rules": ["2 units: w"]},
        {"id": 3, "w": "x", "n": "3", "row": 2, "broken_rules": ["2 units: w"]},
        {"id": 4, "w": "4 kg", "n": "4.5", "row": 3, "broken_rules": ["3 cast: n"]},
        {"id": 5, "w": "4 kg", "n": "4", "row": 4, "broken_rules": ["4 drop: w > 3.5"]},
    ]
    grid = made.report.grids[0]
    assert grid.rows == (
        ("1 trim", "w", 0, 0, 0, 0, 1, 0),
        ("2 units", "w", 0, 2, 0, 0, 0, 3),
        ("3 cast", "n", 0, 1, 0, 0, 0, 2),
        ("4 drop", "", 0, 1, 0, 0, 0, 0),
    )
    assert [grid.title for grid in made.report.grids[1:]] == [
        "Rule 2 units on w",
        "Rule 3 cast on n",
        "Rule 4 drop on rows",
        "Rule 1 trim on w",
    ]
    assert {fact.name: fact.value for fact in made.report.facts}["quarantined"] == 4


def test_one_rule_is_one_rule_in_the_words_of_the_report() -> None:
    trim = prepare.Trim(columns="c")
    for rules, told in (([trim], "2 rows, cleaned by 1 rule."), ([trim, trim], "2 rows, cleaned by 2 rules.")):
        assert prepare.clean(pa.table({"c": [" a", "b"]}), rules).report.about == told


def test_the_report_names_what_was_lost_first_and_tells_losses_from_readings() -> None:
    texts = ["1", "2", "3", "4", "5", "6", "7", "x", "N/A", None]
    rules = [
        prepare.Nulls(columns="c", values=("N/A",)),
        prepare.Cast(columns="c", type="int64", otherwise="null"),
        prepare.Fill(columns="c", value=0),
        prepare.Clip(columns="c", max=6),
        prepare.Drop(where="c = 1"),
    ]
    report = prepare.clean(pa.table({"c": texts}), rules).report
    facts = {fact.name: fact.value for fact in report.facts}
    assert list(facts)[2:5] == ["rows dropped", "quarantined", "values made null"]
    assert facts["rows dropped"] == 1
    assert facts["values made null"] == 2
    assert facts["values filled"] == 3
    assert facts["values changed"] == 1
    assert facts["values read as another type"] == 7
    assert report.grids[0].columns[2:5] == ("made null", "rows put aside", "rows dropped")
    assert [row[2:] for row in report.grids[0].rows] == [
        (1, 0, 0, 0, 0, 0),
        (1, 0, 0, 0, 0, 7),
        (0, 0, 0, 3, 0, 0),
        (0, 0, 0, 0, 1, 0),
        (0, 0, 1, 0, 0, 0),
    ]
    examples = {grid.title: grid.rows for grid in report.grids[1:]}
    assert examples["Rule 1 nulls on c"] == ((8, "N/A", "null", "made null"),)
    assert examples["Rule 2 cast on c"][0] == (7, "x", "null", "made null")
    assert examples["Rule 5 drop on rows"] == ((0, "c=1", "", "dropped"),)
    assert list(examples).index("Rule 5 drop on rows") < list(examples).index("Rule 4 clip on c")


@pytest.mark.parametrize(
    ("rule", "before", "found"),
    [
        (prepare.Cast(columns="c", type="double"), ["1.50", "2"], (0, 2)),
        (prepare.Cast(columns="c", type="string"), [1, 2], (0, 2)),
        (prepare.Numbers(columns="c"), ["1,000", "2"], (0, 2)),
        (prepare.Map(columns="c", values={"f": 1, "2": 2}, otherwise="null"), ["f", "2"], (1, 0)),
        (prepare.Map(columns="c", values={"f": "g"}), ["f", "h"], (1, 0)),
        (prepare.Trim(columns="c"), [" a", "b"], (1, 0)),
    ],
)
def test_a_value_that_is_only_read_is_not_called_changed(rule: Any, before: list[Any], found: tuple[int, int]) -> None:
    (row,) = prepare.clean(pa.table({"c": before}), [rule]).report.grids[0].rows
    assert row[6:] == found


def test_duplicates_go_the_first_the_last_the_greatest() -> None:
    table = pa.table({"k": ["a", "b", "a", None, None], "v": [2, 1, 1, 3, 4]})

    def left(**given: Any) -> list[Any]:
        found: list[Any] = prepare.clean(table, [prepare.Deduplicate(**given)]).table["v"].to_pylist()
        return found

    assert left(columns=("k",)) == [2, 1, 3]
    assert left(columns=("k",), keep="last") == [1, 1, 4]
    assert left(columns=("k",), by="v") == [1, 1, 3]
    assert left(columns=("k",), by="v", keep="last") == [2, 1, 4]
    assert left() == [2, 1, 1, 3, 4]
    made = prepare.clean(pa.table({"k": [1, 1]}), [prepare.Deduplicate(quarantine=True)])
    assert made.quarantine["row"].to_pylist() == [1]


def test_columns_are_renamed_and_left_out() -> None:
    rules = [prepare.Rename(names={"a": "b"}), prepare.Without(columns=("c",))]
    assert prepare.clean(pa.table({"a": [1], "c": [2]}), rules).table.to_pylist() == [{"b": 1}]
    with pytest.raises(DefinitionError, match="the same name"):
        prepare.clean(pa.table({"a": [1], "c": [2]}), [prepare.Rename(names={"a": "c"})])


def test_what_says_stop_names_values() -> None:
    with pytest.raises(DataError, match="rule 1 cast can't deal with 2 values of `c`, such as 'x', 'y'"):
        cleaned(["x", "1", "y"], prepare.Cast(columns="c", type="int64", otherwise="stop"))


@pytest.mark.parametrize(
    ("rule", "error", "said"),
    [
        (prepare.Trim(columns="d"), DataError, "names a column `d`"),
        (prepare.Clip(columns="c", min=1), DefinitionError, "doesn't fit `c`, which is `string`"),
        (prepare.Replace(columns="c", pattern="(?=a)"), UsageError, "rule 1 replace"),
        (prepare.Drop(where="d > 1"), UsageError, 'column "d" not found'),
        (prepare.Drop(where="exists (from read_text('/etc/passwd'))"), UsageError, "reaches outside"),
        (prepare.Deduplicate(columns=("d",)), DataError, "names a column `d`"),
    ],
)
def test_a_rule_that_makes_no_sense_is_one_error(rule: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=None) as caught:
        cleaned(["a"], rule)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("rule", "given", "said"),
    [
        (prepare.Trim, {"columns": ()}, "a rule `trim` names no columns"),
        (prepare.Trim, {"columns": 3}, "`columns` of `Trim` is 3"),
        (prepare.Trim, {}, "`Trim` needs `columns`"),
        (prepare.Normalise, {"columns": "c", "accents": "no"}, "`accents` of `Normalise` is 'no'"),
        (prepare.Nulls, {"columns": "c", "values": ()}, "a rule `nulls` makes nothing null"),
        (prepare.Clip, {"columns": "c"}, "needs a `min` or a `max`"),
        (prepare.Clip, {"columns": "c", "min": 2, "max": 1}, "has its `min=2` above its `max=1`"),
        (prepare.Clip, {"columns": "c", "min": math.nan}, "has an end that is NaN"),
        (prepare.Clip, {"columns": "c", "max": math.nan, "min": 1}, "has an end that is NaN"),
        (prepare.Clip, {"columns": "c", "min": 1, "max": "b"}, "can't be compared"),
        (prepare.Cast, {"columns": "c", "type": "int"}, "can't be cast to `int`"),
        (prepare.Cast, {"columns": "c", "typ": "int64"}, "`Cast` has no field `typ`"),
        (prepare.Cast, {"columns": "c", "type": "int64", "otherwise": "quarantin"}, "`otherwise` of `Cast` is 'quara"),
        (prepare.Deduplicate, {"columns": ("c",), "keep": "lst"}, "`keep` of `Deduplicate` is 'lst'"),
        (prepare.Map, {"columns": "c", "values": {}}, "a rule `map` maps nothing"),
        (prepare.Numbers, {"columns": "c", "decimal": "xx"}, "has 'xx' for a decimal sign"),
        (prepare.Numbers, {"columns": "c", "thousands": "."}, "can't tell the decimal sign"),
        (prepare.Units, {"columns": "c", "units": {"kg": 1}, "decimal": ","}, "can't tell the decimal sign"),
        (prepare.Units, {"columns": "c", "units": {}}, "knows no units"),
        (prepare.Units, {"columns": "c", "units": {"kg": 0}}, "has 0 for a `kg`"),
        (prepare.Units, {"columns": "c", "units": {"kg": 1}, "unit": "g"}, "`g` is none of the units"),
        (prepare.Dates, {"columns": "c", "formats": ()}, "has no formats"),
        (prepare.Dates, {"columns": "c", "formats": ("%Y",), "zone": "Mars"}, "there is no zone `Mars`"),
        (prepare.Drop, {"where": " "}, "a rule `drop` has no condition"),
        (prepare.Drop, {"where": 3}, "`where` of `Drop` is 3"),
        (prepare.Without, {"columns": "*"}, "a rule `without` would leave nothing"),
        (prepare.Rename, {"names": {}}, "a rule `rename` names nothing"),
        (prepare.Without, {"columns": ()}, "a rule `without` names no columns"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_where_it_is_written(rule: Any, given: dict[str, Any], said: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        rule(**given)
    assert said in caught.value.message
    assert caught.value.hint


def test_an_option_that_there_is_not_says_which_may_be_meant() -> None:
    wrong: dict[str, Any] = {"columns": "c", "typ": "int64"}
    with pytest.raises(DefinitionError) as caught:
        prepare.Cast(**wrong)
    assert caught.value.hint == "did you mean `type`? it has columns, type, otherwise"


def test_examples_show_the_blanks_that_a_page_would_swallow() -> None:
    found = prepare.clean(pa.table({"c": [" a  b ", "ok"]}), [prepare.Trim(columns="c")])
    grid = next(each for each in found.report.grids if each.title.startswith("Rule"))
    assert grid.rows == ((0, "␣a␣␣b␣", "a␣␣b", "changed"),)


def test_rows_are_told_apart_whatever_their_columns_are_called() -> None:
    table = pa.table({"place": [1, 1, 0], "k0": [5, 6, 7]})
    found = prepare.clean(table, [prepare.Deduplicate(columns="place", keep="last")])
    assert found.table.to_pydict() == {"place": [1, 0], "k0": [6, 7]}
    found = prepare.clean(table, [prepare.Deduplicate(columns="*", by="k0"), prepare.Without(columns="k0")])
    assert found.table.to_pydict() == {"place": [1, 1, 0]}


def test_a_value_that_is_none_of_the_column_s_is_refused() -> None:
    for rule in (prepare.Fill(columns="c", value=1.5), prepare.Clip(columns="c", min=1.5)):
        with pytest.raises(DefinitionError, match=r"1\.5 can't be a value of a column of type `int64`") as caught:
            cleaned([1, None], rule)
        assert caught.value.hint == "give a value of the column's type"
    for told in ({}, {"value": 1, "how": "mean"}):
        with pytest.raises(DefinitionError, match="not both"):
            prepare.Fill(columns="c", **told)


def test_nothing_can_be_cleaned() -> None:
    table = pa.table({"c": pa.array([], pa.string()), "n": pa.nulls(0, pa.int64())})
    rules = [
        prepare.Trim(columns="*"),
        prepare.Fill(columns="n", how="median"),
        prepare.Fill(columns="c", how="forward"),
        prepare.Cast(columns="c", type="double"),
        prepare.Deduplicate(),
        prepare.Drop(where="n > 1"),
    ]
    made = prepare.clean(table, rules)
    assert (made.table.num_rows, made.quarantine.num_rows) == (0, 0)
    nulls = prepare.clean(pa.table({"c": pa.nulls(2, pa.float64())}), [prepare.Fill(columns="c", how="mean")])
    assert nulls.table["c"].to_pylist() == [None, None]


@given(st.lists(st.one_of(st.none(), st.text(max_size=8)), max_size=20))
@settings(max_examples=20)
def test_texts_keep_their_places_whatever_is_in_them(values: list[str | None]) -> None:
    table = pa.table({"id": range(len(values)), "c": pa.array(values, pa.string())})
    made = prepare.clean(table, [prepare.Trim(columns="c"), prepare.Fill(columns="c", how="forward")])
    assert made.table["id"].to_pylist() == list(range(len(values)))
    last = None
    for value, found in zip(values, made.table["c"].to_pylist(), strict=True):
        last = last if value is None else value
        assert (found is None) == (last is None)
        assert found is None or found in (last or "")


TOML = """
[[rules]]
do = "trim"
columns = "*"

[[rules]]
do = "nulls"
columns = ["c"]
values = ["N/A"]

[[rules]]
do = "cast"
columns = ["c"]
type = "int64"
otherwise = "quarantine"
"""


def test_the_same_rules_stand_in_toml(tmp_path: Path) -> None:
    assert rules_from_toml(TOML) == (
        prepare.Trim(columns="*"),
        prepare.Nulls(columns=("c",), values=("N/A",)),
        prepare.Cast(columns=("c",), type="int64"),
    )
    (tmp_path / "rules.toml").write_text(TOML)
    made = prepare.clean(pa.table({"c": [" 1", "N/A ", "x"]}), File(tmp_path / "rules.toml"))
    assert made.table["c"].to_pylist() == [1, None]


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("[[rules]]\ndo = 'trimm'\ncolumns = '*'", "trimm", "did you mean `trim`?"),
        ("[[rules]]\ndo = 'trim'\ncolums = '*'", "no field `colums`", "did you mean `columns`"),
        (
            "[[rules]]\ndo='trim'\ncolumns='*'\n[[rules]]\ndo='map'\ncolumns='c'\nvalues={a='b'}\nelse='null'",
            "no field `else`",
            "there are columns, otherwise, values",
        ),
        ("[[rules]]\ndo = 'cast'\ncolumns = '*'", "missing required field `type`", ""),
        ("rules = 3", "array", "see the docs on cleaning"),
        ("x", "not TOML", ""),
    ],
)
def test_a_file_of_rules_that_is_wrong_says_where(text: str, said: str, hint: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        rules_from_toml(text)
    assert said in caught.value.message
    assert hint in (caught.value.hint or "")


def test_rows_are_compared_whatever_their_columns_are_called() -> None:
    table = pa.table([pa.array([1, 1, 2]), pa.array([5, 5, 5]), pa.array([0, 1, 2])], ["", "place", "k1"])
    kept = prepare.clean(table, [prepare.Deduplicate(columns=["", "place"], keep="last", by="k1")]).table
    assert kept["k1"].to_pylist() == [1, 2]
    assert kept.column_names == table.column_names
    half = table.append_column("half", pa.array([1, 2, 3], pa.float16()))
    assert prepare.clean(half, [prepare.Deduplicate(columns="place")]).table.num_rows == 1


def test_a_condition_that_drops_all_rows_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    table = pa.table({"a": [1, 2, 3]})
    prepare.clean(table, [prepare.Drop(where="a < 3"), prepare.Drop(where="a > 3")])
    assert capsys.readouterr().err == ""
    prepare.clean(table, [prepare.Drop(where="a < 3"), prepare.Drop(where="a < 100"), prepare.Drop(where="a < 100")])
    said = capsys.readouterr().err
    assert "the condition `a < 100` of rule 2 drop removes every row: 1 before it, none after it" in said
    assert "rule 3" not in said


def test_a_column_of_which_a_rule_could_read_nothing_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    table = pa.table({"size": ["80 m²", "75 m²", None], "some": ["80 m2", "75 m²", None]})
    rules = [
        prepare.Units(columns=("size", "some"), units={"m2": 1, "sqft": 0.09290304}, unit="m2", otherwise="null"),
        prepare.Fill(columns="size", how="median"),
    ]
    prepare.clean(table, rules)
    said = capsys.readouterr().err
    assert "could read none of the 2 values of `size`: all are lost" in said
    assert "`some`" not in said
    assert "had no value of `size` to learn from: nulls stay null, in new rows too" in said
