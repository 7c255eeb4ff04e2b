"""Contracts: what they say, and what they find, beside a plain reading of each rule."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.codec.values import File
from headrace.errors import DataError, DefinitionError, UsageError
from headrace.stages import ingest
from headrace.stages.ingest._check import columns as contract_columns
from headrace.stages.ingest._check.columns import check_column
from headrace.stages.ingest._check.keys import repeated_rows, strange_rows

Column, Contract = ingest.Column, ingest.Contract


def broken(column: Column, values: pa.ChunkedArray | list[Any]) -> dict[str, list[int]]:
    array = values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([pa.array(values)])
    return {
        each.rule.removeprefix("x: "): each.rows.tolist() for each in check_column("x", column, array, "quarantine")
    }


def verdicts(checked: ingest.Checked) -> dict[str, bool | None]:
    return {each.rule.rpartition(" (")[0]: each.holds for each in checked.report.verdicts}


NUMBERS = st.lists(st.one_of(st.none(), st.floats(width=64), st.integers(-5, 5).map(float)), max_size=60)


@given(NUMBERS, st.integers(-4, 0), st.integers(0, 4), st.integers(1, 7), st.booleans())
@settings(max_examples=150)
def test_numbers_are_told_as_a_plain_loop_would(
    values: list[float | None], low: int, high: int, cut: int, sliced: bool
) -> None:
    chunks = [pa.array(values[at : at + cut], pa.float64()) for at in range(0, len(values), cut)]
    array = pa.chunked_array(chunks, pa.float64())
    if sliced:
        array, values = array.slice(1), values[1:]
    found = broken(Column(null=False, nan=False, min=low, max=high), array)
    assert found["null"] == [at for at, value in enumerate(values) if value is None]
    assert found["nan"] == [at for at, value in enumerate(values) if value is not None and math.isnan(value)]
    outside = [at for at, each in enumerate(values) if each is not None and (each < low or each > high)]
    assert found["range"] == outside


@given(st.lists(st.one_of(st.none(), st.sampled_from(["AA", "UA", "", "aa", "ÄÄ", "long one"])), max_size=40))
@settings(max_examples=60)
def test_texts_are_told_as_a_plain_loop_would(values: list[str | None]) -> None:
    column = Column(allowed=("AA", "UA"), pattern="[A-Z]+", min_length=1, max_length=2)
    rules = {
        "allowed": lambda each: each in ("AA", "UA"),
        "pattern": lambda each: each.isascii() and each.isalpha() and each.isupper(),
        "length": lambda each: 1 <= len(each) <= 2,
    }
    want = {
        name: [at for at, each in enumerate(values) if each is not None and not holds(each)]
        for name, holds in rules.items()
    }
    for kind in (pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())):
        array = pa.chunked_array([pa.array(values, pa.string()).cast(kind)])
        assert broken(column, array) == want


KEYS = st.lists(st.one_of(st.none(), st.integers(-3, 12)), max_size=50)


@given(KEYS, st.sampled_from([pa.int8(), pa.int64(), pa.float64(), pa.string()]))
@settings(max_examples=60)
def test_a_key_that_stands_in_an_earlier_row_is_a_repeat(values: list[int | None], kind: pa.DataType) -> None:
    seen: set[int] = set()
    want = []
    for at, value in enumerate(values):
        if value is not None:
            want += [at] if value in seen else []
            seen.add(value)
    assert repeated_rows([pa.chunked_array([pa.array(values, pa.int64()).cast(kind)])]).tolist() == want


def test_unique_keys_are_told_in_each_way_that_there_is() -> None:
    draw = np.random.default_rng(1)
    ascending = np.arange(200_000)
    dense = draw.permutation(200_000)
    wide = draw.permutation(200_000) * 1_000_003
    for values in (ascending, dense, wide, wide.astype(np.uint64), dense.astype(np.int32)):
        assert repeated_rows([pa.chunked_array([pa.array(values)])]).tolist() == []
        again = np.append(values, values[7])
        assert repeated_rows([pa.chunked_array([pa.array(again)])]).tolist() == [200_000]
    small = pa.chunked_array([pa.array(np.arange(-128, 128).astype(np.int8)[::-1].copy())])
    assert repeated_rows([small]).tolist() == []


def test_a_key_of_several_columns_and_one_that_another_table_lacks() -> None:
    a, b = (pa.chunked_array([pa.array(each)]) for each in ([1, 1, 2, 1, None, None], ["x", "y", "x", "x", "x", "x"]))
    assert repeated_rows([a, b]).tolist() == [3]
    other = [pa.chunked_array([pa.array(each)]) for each in ([1, 2], ["x", "x"])]
    assert strange_rows([a, b], other).tolist() == [1]
    with pytest.raises(DataError, match="comparison of the keys"):
        strange_rows([a], [pa.chunked_array([pa.array([[1]])])])


def test_rows_are_parted_with_their_places_and_reasons() -> None:
    table = pa.table({"id": [1, 2, 2, 4], "delay": [5.0, math.nan, 9000.0, None], "carrier": ["AA", "UA", "AA", "??"]})
    contract = Contract(
        name="flights",
        columns={
            "id": Column(type="int64", unique=True, null=False),
            "delay": Column(max=1000, nan=False),
            "carrier": Column(type="text"),
        },
        references=(ingest.Reference(columns=("carrier",), table="carriers", keys=("code",), otherwise="warn"),),
        relations=(ingest.Relation(holds="delay < 10 * id", name="short"),),
    )
    checked = ingest.check(table, contract, carriers=pa.table({"code": ["AA", "UA"]}))
    assert checked.table["id"].to_pylist() == [1, 4]
    assert checked.quarantine["row"].to_pylist() == [1, 2]
    assert checked.quarantine["broken_rules"].to_pylist() == [
        ["delay: nan", "relation: short"],
        ["delay: range", "id: unique", "relation: short"],
    ]
    assert checked.quarantine.schema.names == ["id", "delay", "carrier", "row", "broken_rules"]
    assert not checked.passed
    assert verdicts(checked)["reference: carrier in carriers"] is False
    grid = next(each for each in checked.report.grids if each.title == "What breaks delay: range")
    assert grid.rows == ((2, "9000.0"),)


def test_a_table_that_keeps_its_contract_goes_on_as_the_same_object() -> None:
    table = pa.table({"x": [1, 2, 3]})
    checked = ingest.check(table, Contract(columns={"x": Column(type="integer", null=False, min=0, unique=True)}))
    assert checked.table is table
    assert checked.quarantine.num_rows == 0
    assert checked.passed


def test_what_says_stop_fails_with_one_error_that_names_the_rules() -> None:
    table = pa.table({"delay": [1, 99], "carier": ["a", "b"]})
    contract = Contract(
        columns={"delay": Column(max=10, actions={"range": "stop"}), "carrier": Column(null=False)}, extra="allow"
    )
    with pytest.raises(DataError) as caught:
        ingest.check(table, contract)
    assert "2 rules are broken" in caught.value.message
    assert "`delay: range`: 1 of 2 rows (50%) is not 10 or less" in caught.value.message
    assert "there is no column `carrier`; there is `carier`" in caught.value.message
    checked = ingest.check(table, contract, fail=False)
    assert not checked.passed
    assert checked.quarantine["row"].to_pylist() == [1]


def test_warnings_take_nothing_away() -> None:
    checked = ingest.check(
        pa.table({"x": [1, None], "y": [1, 2]}), Contract(columns={"x": Column(null=False)}, otherwise="warn")
    )
    assert (checked.passed, checked.table.num_rows) == (True, 2)
    assert verdicts(checked) == {"x: column": True, "extra columns": False, "x: null": False}


def test_of_many_rules_that_stop_the_first_are_named() -> None:
    names = [f"c{place}" for place in range(8)]
    contract = Contract(columns=dict.fromkeys(names, Column(null=False)), otherwise="stop")
    with pytest.raises(DataError, match=r"8 rules are broken: `c0: null`.*`c4: null`: [^;]* and 3 more\n"):
        ingest.check(pa.table({name: [None] for name in names}), contract)


def test_as_many_rules_are_told_broken_as_are_reported() -> None:
    columns = {name: Column(null=False, otherwise="warn") for name in "abcd"} | {"e": Column(null=False)}
    table, contract = pa.table({name: [None] for name in columns}), Contract(columns=columns, otherwise="stop")
    assert list(verdicts(ingest.check(table, contract, fail=False)).values()).count(False) == 5
    with pytest.raises(DataError, match="5 rules are broken, of which 1 stops the check: `e: null`"):
        ingest.check(table, contract)


@pytest.mark.parametrize(
    ("column", "helps"),
    [
        (Column(type="text"), ["schema="]),
        (Column(null=False), ["quarantine"]),
        (Column(type="text", null=False), ["schema=", "quarantine"]),
        (Column(pattern="a"), []),
    ],
)
def test_a_contract_that_is_broken_says_only_what_can_help(column: Column, helps: list[str]) -> None:
    contract = Contract(columns={"x": column}, otherwise="stop")
    with pytest.raises(DataError) as caught:
        ingest.check(pa.table({"x": pa.array([1, None])}), contract)
    assert [each for each in ("schema=", "quarantine") if each in (caught.value.hint or "")] == helps


def test_a_contract_that_stops_says_of_no_row_that_it_is_in_quarantine(capsys: pytest.CaptureFixture[str]) -> None:
    contract = Contract(columns={"x": Column(max=1, actions={"range": "quarantine"}, null=False, otherwise="stop")})
    table = pa.table({"x": [0, 5, None]})
    with pytest.raises(DataError) as caught:
        ingest.check(table, contract)
    assert "in quarantine" not in capsys.readouterr().err + caught.value.message
    assert ingest.check(table, contract, fail=False).quarantine.num_rows == 2
    assert "2 of 3 rows (66.7%) are in quarantine" in capsys.readouterr().err


def test_too_much_in_quarantine_stops() -> None:
    contract = Contract(columns={"x": Column(max=1, unique=True)}, most_quarantined=0.4)
    told = r"3 of 4 rows \(75%\) break a rule that quarantines rows, `x: range` \(2\), `x: unique` \(2\); at most 40%"
    with pytest.raises(DataError, match=told) as caught:
        ingest.check(pa.table({"x": [1, 1, 2, 2]}), contract)
    assert "a higher `most_quarantined`" in (caught.value.hint or "")
    checked = ingest.check(pa.table({"y": [0, 0, 0, 0], "x": [1, 1, 2, 2]}), contract, fail=False)
    broken_first = [each.holds for each in checked.report.verdicts]
    assert broken_first == sorted(broken_first, key=lambda holds: holds is not False)


def test_a_column_that_changed_its_type_is_one_error_whatever_else_is_said_of_it() -> None:
    contract = Contract(columns={"x": Column(type="int64", min=0, allowed=(1, 2), unique=True)})
    with pytest.raises(DataError, match="`x: type`: it is `string`, not `int64`"):
        ingest.check(pa.table({"x": ["1", "2"]}), contract)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (pa.int32(), "integer"),
        (pa.decimal128(5, 2), "number"),
        (pa.dictionary(pa.int8(), pa.string()), "text"),
        (pa.large_string(), "string"),
        (pa.timestamp("us", "UTC"), "timestamp"),
        (pa.timestamp("us", "UTC"), "timestamp[us, tz=UTC]"),
        (pa.date32(), "date32"),
        (pa.float64(), "float64"),
        (pa.bool_(), "boolean"),
    ],
)
def test_types_have_arrows_names_and_families(kind: pa.DataType, name: str) -> None:
    array = pa.chunked_array([], kind)
    assert check_column("x", Column(type=name), array, "stop")[0].holds
    assert not check_column("x", Column(type="duration[s]"), array, "stop")[0].holds


def test_bounds_may_be_dates_times_and_decimals() -> None:
    days = [date(2024, 1, 1), date(2025, 6, 1), None]
    assert broken(Column(min=date(2024, 2, 1)), days) == {"range": [0]}
    assert broken(Column(min="2024-02-01", max="2025-01-01"), days) == {"range": [0, 1]}
    times = pa.chunked_array([pa.array([datetime(2024, 1, 1, 12, tzinfo=UTC)], pa.timestamp("ms", "Europe/Paris"))])
    assert broken(Column(max=date(2024, 1, 1)), times) == {"range": [0]}
    assert broken(Column(max=datetime(2024, 1, 1, 12)), times) == {"range": []}  # noqa: DTZ001  counts as UTC
    money = pa.chunked_array([pa.array([1, 300], pa.decimal128(10, 2))])
    assert broken(Column(max=100), money) == {"range": [1]}
    assert broken(Column(min=1.5, max=300.0), money) == {"range": [0]}
    assert broken(Column(allowed=(True,)), [True, False, None]) == {"allowed": [1]}


def test_what_cannot_be_compared_is_said_and_stops() -> None:
    for column, said in ((Column(min=3), "can't be a value"), (Column(pattern="(?=x)x"), "RE2 can't read")):
        with pytest.raises(DataError, match=said):
            ingest.check(pa.table({"x": ["a"]}), Contract(columns={"x": column}))
    with pytest.raises(DataError, match="not text"):
        ingest.check(pa.table({"x": [1]}), Contract(columns={"x": Column(max_length=2)}))


@pytest.mark.parametrize(
    ("texts", "kind", "said"),
    [
        (["1", "2.5", None, "12k", "x"], "number", "`12k` in row 3, counted from 0"),
        (["1", "2", "2.5"], "integer", "`2.5` in row 2, counted from 0"),
        (["2024-02-29", "2024-02-30"], "date", "`2024-02-30` in row 1, counted from 0"),
        (["2024-02-29", ""], "timestamp", '`""` in row 1, counted from 0'),
        (["true", "no"], "boolean", "`no` in row 1, counted from 0"),
        (["1", "300"], "uint8", "`300` in row 1, counted from 0"),
    ],
)
def test_a_column_that_one_text_keeps_from_its_type_names_the_text(
    texts: list[str | None], kind: str, said: str
) -> None:
    for text_type in (pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())):
        pieces = [pa.array(piece, text_type) for piece in (texts[:1], texts[1:])]
        contract = Contract(columns={"x": Column(type=kind, min=0)}, otherwise="quarantine")
        with pytest.raises(DataError) as found:
            ingest.check(pa.table({"x": pa.chunked_array(pieces)}), contract)
        told = f"`x: type`: it is `{text_type}`, not `{kind}`: the first text that can't be read as one is {said}"
        assert told in str(found.value)
        assert f"`x: range`: it can't be checked in a column of `{text_type}`" in str(found.value)


def test_a_column_of_texts_that_could_all_be_numbers_says_so() -> None:
    contract = Contract(columns={"x": Column(type="number")})
    with pytest.raises(DataError, match="not `number`, though each of its texts can be read as one"):
        ingest.check(pa.table({"x": ["1", None, "1e3"]}), contract)


def test_a_column_of_another_type_says_of_each_rule_why_it_is_not_checked() -> None:
    contract = Contract(columns={"x": Column(type="integer", min=0, pattern="(?=x)x")})
    with pytest.raises(DataError) as found:
        ingest.check(pa.table({"x": ["1"]}), contract)
    assert "`x: range`: it can't be checked in a column of `string`" in str(found.value)
    assert "`x: pattern`: RE2 can't read" in str(found.value)
    with pytest.raises(DataError, match="it is `string`, not `integer`;"):
        ingest.check(pa.table({"x": pa.array([None], pa.string())}), contract)


def test_a_rule_that_cannot_be_held_against_a_column_takes_no_other_along() -> None:
    column = Column(min=0, allowed=("x",), actions={"range": "warn"})
    with pytest.raises(DataError, match="`x: allowed`: 'x' can't be a value of a column of type `int64`"):
        ingest.check(pa.table({"x": [1]}), Contract(columns={"x": column}))
    column = Column(nan=False, min="low", actions={"range": "warn"})
    found = ingest.check(pa.table({"x": [1.0, float("nan")]}), Contract(columns={"x": column}))
    assert found.quarantine["broken_rules"].to_pylist() == [["x: nan"]]
    assert verdicts(found)["x: range"] is None


def test_an_empty_table_and_one_of_nulls_only_are_checked() -> None:
    contract = Contract(
        columns={
            "x": Column(type="double", null=False, nan=False, min=0, unique=True),
            "y": Column(allowed=("a",), pattern="a", max_length=1),
        },
        unique=(ingest.Unique(columns=("x", "y")),),
        relations=(ingest.Relation(holds="x < length(y)"),),
    )
    empty = pa.table({"x": pa.array([], pa.float64()), "y": pa.array([], pa.string())})
    assert ingest.check(empty, contract).passed
    nulls = pa.table({"x": pa.nulls(3, pa.float64()), "y": pa.nulls(3, pa.string())})
    assert ingest.check(nulls, contract).quarantine["broken_rules"].to_pylist() == [["x: null"]] * 3
    with pytest.raises(DataError, match="there are 0 rows, and there must be at least 1"):
        ingest.check(empty, Contract(rows=ingest.Rows(least=1)))


def test_freshness_and_volume_are_held_against_what_is_given() -> None:
    noon = datetime(2024, 5, 1, 12, tzinfo=UTC)
    table = pa.table({"at": pa.array([noon], pa.timestamp("us", "UTC")), "day": [date(2024, 5, 1)]})
    contract = Contract(fresh=(ingest.Fresh(column="at", within="2h"), ingest.Fresh(column="day", within="1d")))
    assert ingest.check(table, contract, now=noon.timestamp() + 7000).passed
    with pytest.raises(DataError, match=r"the newest is 2024-05-01 12:00:00 UTC, 3\.0 h ago"):
        ingest.check(table, contract, now=noon.timestamp() + 3 * 3600)
    with pytest.raises(UsageError, match="no `now` was given"):
        ingest.check(table, contract)
    volume = Contract(rows=ingest.Rows(shrink=0.5, grow=2))
    assert ingest.check(table, volume).passed
    assert ingest.check(table, volume, history=[1, 2, 1]).passed
    with pytest.raises(DataError, match="3 earlier versions have 10 in the median"):
        ingest.check(table, volume, history=[10, 10, 11])


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("a <= c", "Referenced column .c. not found"),
        ("a <= ", "ends too early"),
        ("a < 1); drop table t; select (1", "can't be run|syntax error"),
        ("exists (select * from read_csv('/etc/passwd'))", "reaches outside"),
        ("sum(a) > 1", "can't be run"),
    ],
)
def test_a_condition_that_is_no_condition_is_refused(condition: str, said: str) -> None:
    contract = Contract(relations=(ingest.Relation(holds=condition),))
    with pytest.raises(UsageError, match=said) as caught:
        ingest.check(pa.table({"a": [1], "b": [2]}), contract)
    if condition.startswith("sum"):
        assert "reads 'a' as a text" in str(caught.value.hint)


def test_a_huge_text_is_cut_where_it_is_shown() -> None:
    table = pa.table({"x": ["a" * 10_000_000, "b"]})
    checked = ingest.check(table, Contract(columns={"x": Column(max_length=5, pattern="[a-b]+")}))
    assert checked.report.grids[0].rows == ((0, "a" * 60 + "... (10,000,000 characters)"),)


def test_the_same_words_stand_in_toml(tmp_path: Path) -> None:
    text = """
        name = "flights"
        extra = "stop"
        most_quarantined = 0.1
        [columns.id]
        type = "int64"
        unique = true
        [columns.day]
        min = 2013-01-01
        actions = { range = "warn" }
        [[unique]]
        columns = ["id", "day"]
        [[relations]]
        holds = "id > 0"
        [[references]]
        columns = ["id"]
        table = "ids"
        [[fresh]]
        column = "day"
        within = "2d"
        [rows]
        least = 1
    """
    contract = Contract.from_toml(text)
    assert contract == Contract(
        name="flights",
        extra="stop",
        most_quarantined=0.1,
        columns={
            "id": Column(type="int64", unique=True),
            "day": Column(min=date(2013, 1, 1), actions={"range": "warn"}),
        },
        unique=(ingest.Unique(columns=("id", "day")),),
        relations=(ingest.Relation(holds="id > 0"),),
        references=(ingest.Reference(columns=("id",), table="ids"),),
        fresh=(ingest.Fresh(column="day", within="2d"),),
        rows=ingest.Rows(least=1),
    )
    (tmp_path / "contract.toml").write_text(text)
    day = datetime(2013, 1, 2, tzinfo=UTC)
    table = pa.table({"id": [1], "day": [day.date()]})
    ids = pa.table({"id": [1]})
    assert ingest.check(table, File(tmp_path / "contract.toml"), now=day.timestamp(), ids=ids).passed


def test_what_is_wrong_in_the_whole_is_laid_to_no_column() -> None:
    with pytest.raises(DefinitionError) as caught:
        Contract.from_toml("most_quarantined = 2\n[columns.a]\nmin = 3")
    assert caught.value.message == "the contract: most_quarantined=2.0"


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("[columns.a]\ntpye = 'int64'", "no field `tpye`", "did you mean `type`"),
        ("[columns.a]\nmin = 1\n[columns.late]\nmn = 1", "no field `mn` (at `.columns[late]`)", "did you mean `min`"),
        ("[columns.a]\nleast = 0", "no field `least` (at `.columns[a]`)", "there are actions, allowed, max"),
        ("[rows]\nmin = 3", "no field `min`", "there are grow, least"),
        (
            "[columns.a]\nactions = { range = 'x' }\n[columns.b]\nmin = 2\nmax = 1",
            "(at `.columns[a].actions[range]`)",
            "",
        ),
        ("extra = 'deny'", "'deny'", "there are allow, stop, warn"),
        ("[columns.a]\notherwise = 'quarantin'", "'quarantin'", "did you mean `quarantine`? there are "),
        ("[columns.a]\nactions = { range = 'x' }", "'x'", "there are quarantine, stop, warn"),
        ("[columns.a]\ntype = 'duoble'", "column `a`: there is no type `duoble`", "did you mean `double`?"),
        ("[columns.a]\ntype = 'zzz'", "the contract: column `a`", "the types are integer, number"),
        ("x = ", "not TOML", ""),
        ("otherwise = 3", "int", "see the docs on contracts"),
        ("[columns.a]\npattern = '('", "can't be read", ""),
        ("[columns.a]\n[columns.b]\nmin = 3\nmax = 2", "min=3 is above max=2 (at `.columns[b]`)", "swap"),
        ("[columns.a]\nmin_length = 3\nmax_length = 2", "above", "swap"),
        ("[rows]\nshrink = 2", "shrink=2", "from 0 to 1"),
        ("[rows]\ngrow = 0.5", "grow=0.5", "from 1"),
        ("[rows]\nmost = -1", "most=-1", "from 0"),
        ("[columns.a]\nactions = { rnge = 'warn' }", "no rule `rnge`", "did you mean `range`"),
        ("[[fresh]]\ncolumn = 'a'\nwithin = 'soon'", "`within` is 'soon'", ""),
        ("[[references]]\ntable = 'a'\ncolumns = ['x']\nkeys = ['y', 'z']", "1 columns and 2 keys", ""),
    ],
)
def test_a_contract_that_is_wrong_says_where_and_what_was_meant(text: str, said: str, hint: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        Contract.from_toml(text)
    assert said in caught.value.message
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("kind", "given", "said", "hint"),
    [
        (Column, {"null": "no"}, "`null` of `Column` is 'no'", "give True or False"),
        (Column, {"allowed": "abc"}, "`allowed` of `Column` is 'abc'", "give several of a value"),
        (Column, {"actions": {"range": "wrn"}}, "a part of `actions` of `Column` is 'wrn'", "give 'warn' or"),
        (
            Contract,
            {"columns": {"a": {"min": 1}}},
            "a part of `columns` of `Contract` is {'min': 1}",
            "give a `Column`",
        ),
        (Contract, {"columns": [1]}, "`columns` of `Contract` is [1]", "give a dictionary of text to a `Column`"),
        (Contract, {"relations": "a < b"}, "`relations` of `Contract` is 'a < b'", "give several of a `Relation`"),
        (Contract, {"rows": 3}, "`rows` of `Contract` is 3", "give a `Rows` or None"),
    ],
)
def test_a_contract_in_python_takes_what_one_in_a_file_may_have(
    kind: Any, given: dict[str, Any], said: str, hint: str
) -> None:
    with pytest.raises(DefinitionError) as caught:
        kind(**given)
    assert said in caught.value.message
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize("text", ["extra = 'deny'", "x = ", "[columns.a]\ntype = 'duoble'", None])
def test_a_file_that_is_no_contract_is_called_by_the_name_that_it_has_for_people(
    tmp_path: Path, text: str | None
) -> None:
    (tmp_path / "flights.toml").write_bytes(b"\xff" if text is None else text.encode())
    with pytest.raises(DefinitionError, match=r"the contract `flights\.toml`"):
        ingest.check(pa.table({"a": [1.0]}), File(tmp_path / "flights.toml"))


@pytest.mark.parametrize(
    "kind",
    [
        *(pa.null(), pa.bool_(), pa.int8(), pa.uint64(), pa.float16(), pa.float32(), pa.float64(), pa.string_view()),
        *(pa.large_string(), pa.binary(), pa.date32(), pa.date64(), pa.time32("ms"), pa.time64("ns")),
        *(pa.timestamp("s"), pa.timestamp("us", "Europe/Paris"), pa.duration("ms"), pa.month_day_nano_interval()),
        *(pa.decimal128(12, 2), pa.decimal256(40, -2), pa.list_(pa.int8()), pa.list_(pa.int8(), 3), pa.binary(4)),
        *(pa.struct({"a": pa.int8()}), pa.map_(pa.string(), pa.int8()), pa.large_list(pa.int8()), pa.uuid()),
        *(pa.dictionary(pa.int8(), pa.string()), pa.run_end_encoded(pa.int32(), pa.int8())),
    ],
)
def test_every_type_of_arrow_is_known_by_its_name(kind: pa.DataType) -> None:
    assert Contract(columns={"a": Column(type=str(kind))}).columns["a"].type == str(kind)


def test_blocks_of_text_are_looked_at_once_a_distinct_value_or_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contract_columns, "TEXT_BLOCK", 8)
    monkeypatch.setattr(contract_columns, "BLOCK", 4)
    few = ["a", "b"] * 40 + ["z"]
    many = [f"k{number}" for number in range(80)] + ["z!"]
    assert broken(Column(pattern="[ab]"), few) == {"pattern": [80]}
    assert broken(Column(pattern="[kz][0-9]*"), many) == {"pattern": [80]}


def test_views_of_text_are_parted_too() -> None:
    table = pa.table({"x": pa.array(["a", "bb", None]).cast(pa.string_view()), "n": [1, 2, 3]})
    checked = ingest.check(table, Contract(columns={"x": Column(max_length=1)}, extra="allow"))
    assert checked.table.schema == table.schema
    assert checked.quarantine["x"].to_pylist() == ["bb"]
    assert checked.report.grids[0].rows == ((1, "bb"),)


@pytest.mark.parametrize(
    "column",
    [
        Column(min=0, max=1.5, nan=False),
        Column(min=date(2024, 1, 1)),
        Column(allowed=("a", "b"), pattern="a|b", max_length=1),
        Column(max_length=1),
        Column(unique=True),
    ],
)
def test_a_column_of_nulls_without_a_type_breaks_nothing(column: ingest.Column) -> None:
    assert ingest.check(pa.table({"x": pa.nulls(3)}), Contract(columns={"x": column})).passed


def test_several_cpus_find_the_same_rows_in_the_same_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    draw = np.random.default_rng(0)
    ids, share = draw.permutation(500_000), draw.random(500_000)
    ids[400_000] = ids[7]
    table = pa.concat_tables([pa.table({"id": ids[:200_000], "share": share[:200_000]})])
    table = pa.concat_tables([table, pa.table({"id": ids[200_000:], "share": share[200_000:]})])
    contract = Contract(
        columns={"id": Column(unique=True), "share": Column(max=0.99)},
        relations=(ingest.Relation(holds="share < 0.5 or id % 3 != 0"),),
    )
    found = ingest.check(table, contract).quarantine
    bad = (share > 0.99) | ((share >= 0.5) & (ids % 3 == 0))
    bad[400_000] = True
    assert found["row"].to_pylist() == np.flatnonzero(bad).tolist()
