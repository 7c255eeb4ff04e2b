"""`prepare.split`: the same rows go to the same parts, and what leaks is found and named."""

from __future__ import annotations

import ast
import math
import re
from datetime import UTC, date, datetime, timedelta
from hashlib import md5
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import DataError, UsageError
from headrace.stages import prepare
from headrace.stages.prepare._split.leaks import crossing
from headrace.stages.prepare._split.near_rows import is_more
from headrace.stages.prepare._split.near_texts import near_texts
from headrace.stages.prepare._split.parts import by_share, by_stratum, drawn

COUNT = 2000
DRAW = np.random.default_rng(5)
PEOPLE = pa.table(
    {
        "id": range(COUNT),
        "person": [f"p{number % 300}" for number in range(COUNT)],
        "at": [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=number) for number in range(COUNT)],
        "height": DRAW.normal(170, 10, COUNT),
        "weight": DRAW.normal(70, 10, COUNT),
        "ill": (DRAW.random(COUNT) < 0.1).astype(int),
    }
)
PAIRED = np.repeat(DRAW.normal(100, 10, (120, 2)), 2, axis=0)
JITTER = DRAW.random(240) / 1e4


def sizes(made: prepare.Split) -> tuple[int, int, int]:
    return made.train.num_rows, made.valid.num_rows, made.test.num_rows


def verdicts(made: prepare.Split) -> dict[str, bool | None]:
    return {each.rule.partition(" (")[0]: each.holds for each in made.report.verdicts}


def parts_of(made: prepare.Split) -> dict[Any, str]:
    return {key: name for name in ("train", "valid", "test") for key in getattr(made, name)["id"].to_pylist()}


def test_a_row_goes_to_its_part_whatever_stands_beside_it() -> None:
    made = prepare.split(PEOPLE, key="id", target="ill")
    assert sum(sizes(made)) == COUNT
    assert abs(made.train.num_rows / COUNT - 0.8) < 0.03
    shuffled = PEOPLE.take(pa.array(np.random.default_rng(1).permutation(COUNT)))
    assert parts_of(prepare.split(shuffled, key="id")) == parts_of(made)
    half = parts_of(prepare.split(PEOPLE.slice(0, COUNT // 2), key="id"))
    assert half == {key: part for key, part in parts_of(made).items() if key < COUNT // 2}
    assert parts_of(prepare.split(PEOPLE, key="id", seed=1)) != parts_of(made)
    assert made.train["id"].to_pylist() == sorted(made.train["id"].to_pylist())
    assert made.report.passed


def test_parts_are_the_same_on_every_machine() -> None:
    table = pa.table({"k": pa.array(["a", "b", None, "ä", ""]), "n": pa.array([1, -2, 3, None, 0])})
    texts = ["7/1:a1:1", "7/1:b2:-2", "7/n1:3", "7/1:än", "7/0:1:0"]
    halves = [int.from_bytes(md5(text.encode()).digest()[8:], "little") for text in texts]
    assert drawn(table, ["k", "n"], 7).tolist() == [half / 2.0**64 for half in halves]


def test_equal_rows_without_a_key_stay_together() -> None:
    table = pa.concat_tables([PEOPLE.drop_columns(["id"])] * 2)
    made = prepare.split(table)
    assert verdicts(made)["no leak by equal rows"] is True
    assert made.leaks.num_rows == 0


def test_a_group_is_of_one_part() -> None:
    made = prepare.split(PEOPLE, by="group", group="person", key="id")
    people = [set(part["person"].to_pylist()) for part in made[:3]]
    assert not people[0] & people[1] | people[0] & people[2] | people[1] & people[2]
    assert verdicts(made)["no leak by group"] is True


def test_a_group_in_two_parts_is_found_and_named() -> None:
    with pytest.raises(DataError, match=r"by group \(`person`\); the first is row \d+, id = \d+, because of row"):
        prepare.split(PEOPLE, key="id", group="person")
    made = prepare.split(PEOPLE, key="id", group="person", leak="warn")
    assert made.report.passed is False
    grid = next(each for each in made.report.grids if each.title == "Leaks by group")
    assert grid.columns == ("part", "row", "id", "person", "stands in", "as row")
    assert len(grid.rows) == 20
    assert "all are in `leaks`" in grid.note
    persons = PEOPLE["person"].to_pylist()
    for leak in made.leaks.to_pylist():
        assert persons[leak["row"]] == persons[leak["other_row"]]
        assert ("train", "valid", "test").index(leak["part"]) > ("train", "valid", "test").index(leak["other_part"])


@pytest.mark.parametrize("kind", ["group", "equal", "near", "text"])
def test_dropping_takes_earlier_rows_away_and_leaves_the_test_alone(kind: str) -> None:
    texts = [f"{' '.join(DRAW.choice(['ash', 'oak', 'elm', 'yew', 'fir'], 40))} {number}" for number in range(60)]
    copies = pa.table({"id": range(240), "x": [float(number // 4) + 0.5 for number in range(240)]})
    tables: dict[str, tuple[pa.Table, dict[str, Any]]] = {
        "group": (PEOPLE, {"group": "person"}),
        "equal": (pa.table({"id": range(240), "x": PAIRED[:, 0], "y": PAIRED[:, 1]}), {}),
        "near": (pa.table({"id": range(240), "x": PAIRED[:, 0] + JITTER, "y": PAIRED[:, 1]}), {}),
        "text": (copies.append_column("t", pa.array([texts[n // 4] + f" w{n}" for n in range(240)])), {"text": "t"}),
    }
    table, roles = tables[kind]
    before = prepare.split(table, key="id", leak="warn", **roles)
    assert before.leaks.num_rows > 0
    after = prepare.split(table, key="id", leak="drop", **roles)
    assert after.test["id"].to_pylist() == before.test["id"].to_pylist()
    assert after.report.passed
    assert after.train.num_rows < before.train.num_rows
    left = pa.concat_tables(after[:3])
    assert prepare.split(left, key="id", leak="warn", **roles).leaks.num_rows == 0


def test_time_parts_by_share_and_by_date_and_leaves_a_gap() -> None:
    made = prepare.split(PEOPLE, by="time", time="at", key="id")
    assert sizes(made) == (1600, 200, 200)
    assert made.train["id"].to_pylist() == list(range(1600))
    assert verdicts(made)["no leak by time"] is True
    until = ["2024-02-01", datetime(2024, 3, 1, tzinfo=UTC)]
    made = prepare.split(PEOPLE, by="time", time="at", key="id", until=until, gap="2d")
    assert made.train["at"].to_pylist()[-1] == datetime(2024, 1, 29, 23, tzinfo=UTC)
    assert made.valid["at"].to_pylist()[0] == datetime(2024, 2, 1, tzinfo=UTC)
    assert made.valid["at"].to_pylist()[-1] == datetime(2024, 2, 27, 23, tzinfo=UTC)
    assert next(fact.value for fact in made.report.facts if fact.name == "left out") == 96
    assert "valid begins at 2024-02-01 00:00:00, test at 2024-03-01 00:00:00" in made.report.about
    same = PEOPLE.set_column(2, "at", pa.array([datetime(2024, 1, 1, tzinfo=UTC)] * COUNT))
    assert sorted(sizes(prepare.split(same, by="time", time="at", key="id"))) == [0, 0, COUNT]


SINGLE = [["2024-03-01"], "2024-03-01", date(2024, 3, 1), datetime(2024, 3, 1, tzinfo=UTC)]


@pytest.mark.parametrize("until", SINGLE, ids=["list", "text", "date", "time"])
def test_a_single_time_as_until_leaves_valid_empty(until: Any) -> None:
    assert sizes(prepare.split(PEOPLE, by="time", time="at", until=until)) == (1440, 0, 560)
    numbers = PEOPLE.set_column(2, "at", pa.array(range(COUNT)))
    assert sizes(prepare.split(numbers, by="time", time="at", until=0)) == (0, 0, COUNT)


@pytest.mark.parametrize("kind", ["timestamp", "date", "number"])
def test_boundaries_that_are_shares_are_said_to_move_and_those_offered_stay(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    at = PEOPLE["at"]
    at = {"timestamp": at, "date": at.cast(pa.date32()), "number": pa.array(np.arange(COUNT) / 4)}[kind]
    table = PEOPLE.set_column(2, "at", at)
    today = table.slice(0, 1500)
    made = prepare.split(today, by="time", time="at", key="id")
    assert verdicts(made)["rows stay in their parts as others are added"] is None
    grown = parts_of(prepare.split(table, by="time", time="at", key="id"))
    assert any(grown[key] == "train" for key in made.test["id"].to_pylist())

    offered = capsys.readouterr().err.partition("until=")[2].partition(")")[0] + ")"
    until = ast.literal_eval(offered)
    kept = prepare.split(today, by="time", time="at", key="id", until=until)
    assert parts_of(kept) == parts_of(made)
    later = parts_of(prepare.split(table, by="time", time="at", key="id", until=until))
    assert {key: later[key] for key in parts_of(made)} == parts_of(made)
    assert verdicts(kept)["rows stay in their parts as others are added"] is True
    assert "until=" not in capsys.readouterr().err


@pytest.mark.parametrize(("by", "stays"), [("row", True), ("group", True), ("stratum", None)])
def test_the_report_says_whether_rows_stay_as_others_are_added(by: Any, stays: bool | None) -> None:
    made = prepare.split(PEOPLE, by=by, key="id", group="person", stratum="ill", leak="warn")
    assert verdicts(made)["rows stay in their parts as others are added"] is stays


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_test_without_a_row_of_a_class_is_told_with_the_split_that_has_one(
    seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    rare = PEOPLE.set_column(5, "ill", pa.array(np.arange(COUNT) == 7))
    made = prepare.split(rare, key="id", target="ill", seed=seed)
    assert verdicts(made)["each part has each class of the target"] is False
    told = capsys.readouterr().err
    assert "has no row with `ill` = True, of which there are 1" in told
    assert '`by="stratum", stratum="ill"` spreads them' in told
    some = PEOPLE.set_column(5, "ill", pa.array(np.arange(COUNT) < 15))
    spread = prepare.split(some, by="stratum", stratum="ill", key="id", target="ill", seed=seed)
    assert [sum(part["ill"].to_pylist()) > 0 for part in spread[:3]] == [True] * 3
    assert verdicts(spread)["each part has each class of the target"] is True
    assert "has no row" not in capsys.readouterr().err


def test_missing_targets_and_numbers_are_no_classes_that_a_part_could_lack() -> None:
    numbers = PEOPLE.set_column(5, "ill", pa.array(np.arange(COUNT) % 29))
    rare = numbers.set_column(5, "ill", pa.array(np.where(np.arange(COUNT) == 3, 50, np.arange(COUNT) % 20)))
    assert "each part has each class of the target" not in verdicts(prepare.split(rare, key="id", target="ill"))
    fine = PEOPLE.set_column(5, "ill", pa.array(np.arange(COUNT) / 7))
    assert "each part has each class of the target" not in verdicts(prepare.split(fine, key="id", target="ill"))
    holed = PEOPLE.set_column(5, "ill", pa.array([None, *[number % 2 for number in range(COUNT - 1)]]))
    assert verdicts(prepare.split(holed, key="id", target="ill"))["each part has each class of the target"] is True


def test_a_column_of_texts_is_told_to_be_no_time_whatever_the_boundaries() -> None:
    table = pa.table({"day": ["2020-01-01", "2020-01-20"]})
    for until in ((), ["2020-01-10"]):
        with pytest.raises(DataError, match="`day` is `string`, not a time") as told:
            prepare.split(table, by="time", time="day", until=until)
        assert "prepare.Dates" in (told.value.hint or "")


def test_a_split_that_ignores_time_is_told_so() -> None:
    made = prepare.split(PEOPLE, key="id", time="at", leak="warn")
    assert verdicts(made)["no leak by time"] is False
    assert prepare.split(PEOPLE, key="id", time="at", leak="drop").report.passed is False


def test_strata_have_the_shares_each() -> None:
    made = prepare.split(PEOPLE, by="stratum", stratum="ill", key="id", target="ill")
    ill = sum(PEOPLE["ill"].to_pylist())
    assert abs(sum(made.test["ill"].to_pylist()) - ill * 0.1) <= 1
    assert abs(sum(made.train["ill"].to_pylist()) - ill * 0.8) <= 1
    assert any(grid.title == "Shares of `ill`" for grid in made.report.grids)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(0, 5))
@settings(max_examples=60)
def test_each_stratum_is_parted_as_closely_as_whole_rows_allow(strata: list[int], seed: int) -> None:
    numbers = np.random.default_rng(seed).random(len(strata))
    parts = by_stratum(numbers, np.array(strata), (0.6, 0.2, 0.2))
    for stratum in set(strata):
        mine = parts[np.array(strata) == stratum]
        for number, share in enumerate((0.6, 0.2, 0.2)):
            assert abs(int((mine == number).sum()) - share * len(mine)) <= 1


@given(st.lists(st.tuples(st.integers(0, 6), st.sampled_from([0, 1, 2, 3])), max_size=40))
@settings(max_examples=100)
def test_leaks_across_parts_are_those_that_a_plain_loop_finds(rows: list[tuple[int, int]]) -> None:
    digests = np.array([each for each, _ in rows], np.uint64)
    parts = np.array([part for _, part in rows], np.int8)
    want = {}
    for place, (digest, part) in enumerate(rows):
        earlier = [
            (other, at) for at, (each, other) in enumerate(rows) if each == digest and other < part and part != 3
        ]
        if earlier:
            want[place] = min(earlier)[1]
    found = crossing(digests << np.uint64(8), parts)
    assert dict(zip(found.rows.tolist(), found.others.tolist(), strict=True)) == want
    earlier = {
        at for digest, part in rows for at, (each, other) in enumerate(rows) if each == digest and other < part < 3
    }
    assert found.earlier.tolist() == sorted(earlier)


def test_shares_are_cut_by_what_is_drawn() -> None:
    numbers = np.array([0.0, 0.79, 0.8, 0.89, 0.9, 0.999])
    assert by_share(numbers, (0.8, 0.1, 0.1)).tolist() == [0, 0, 1, 1, 2, 2]
    assert by_share(numbers, (1.0, 0.0, 0.0)).tolist() == [0] * 6


def test_near_rows_and_equal_ones_are_told_apart() -> None:
    others = DRAW.normal(50, 20, 40)
    table = pa.table(
        {
            "id": range(48),
            "at": range(48),
            "x": [1.0, 20.0, 3e9, *others, 4.0, 5.0, 1.0, 20.01, 3.002e9],
            "n": [11, 12, 13, *range(100, 140), 14, 15, 11, 13, 13],
            "name": ["a", "The Mill!", "c", *map(str, range(40)), "d", "e", "a", "the mill", "c"],
            "y": [0] * 46 + [1, 0],
        }
    )
    until = [44, 45]
    made = prepare.split(table, by="time", time="at", until=until, key=["id", "at"], target="y", leak="warn")
    assert made.leaks.select(["kind", "part", "row", "other_row"]).to_pylist() == [
        {"kind": "equal rows", "part": "test", "row": 45, "other_row": 0},
        {"kind": "near rows", "part": "test", "row": 46, "other_row": 1},
        {"kind": "near rows", "part": "test", "row": 47, "other_row": 2},
    ]


def test_rows_that_their_times_keep_apart_are_not_said_to_be_free_of_copies() -> None:
    values = np.random.default_rng(5).normal(size=(3, 400)).round(3)
    values[:, 300:] = values[:, :100]
    table = pa.table({"at": range(400), "a": values[0], "b": values[1], "c": values[2]})
    made = prepare.split(table, by="time", time="at", until=300, leak="stop")
    alike = {each.rule: each for each in made.report.verdicts if "equal rows" in each.rule or "near rows" in each.rule}
    assert [each.holds for each in alike.values()] == [None, None]
    assert all("`at` is never the same in two parts" in each.why for each in alike.values())
    with pytest.raises(DataError, match="100 rows by equal rows"):
        prepare.split(table, by="time", time="at", key="at", until=300)


def clean(kind: str, count: int, seed: int) -> pa.Table:
    """Rows that have nothing to do with each other."""
    draw = np.random.default_rng(seed)
    common = draw.normal(0, 1, count)
    columns: dict[str, Any] = {
        "floats": draw.normal(0, 1, (3, count)),
        "skewed": draw.lognormal(0, 2, (3, count)),
        "whole": draw.integers(0, 21, (5, count)),
        "alike": np.array([common * factor + draw.normal(0, 0.05, count) for factor in range(1, 7)]),
        "mixed": [draw.integers(17, 90, count), draw.choice(["f", "m"], count), draw.lognormal(10, 1, count).round()],
    }
    return pa.table({"id": range(count), **{f"c{place}": column for place, column in enumerate(columns[kind])}})


@pytest.mark.parametrize("kind", ["floats", "skewed", "whole", "alike", "mixed"])
def test_rows_that_are_alike_by_chance_are_no_leak(kind: str) -> None:
    for count, seed in ((300, 1), (3_000, 2), (20_000, 3)):
        made = prepare.split(clean(kind, count, seed), key="id")
        assert made.report.passed
        assert made.leaks.filter(pa.compute.equal(made.leaks["kind"], "near rows")).num_rows == 0


DERIVED: dict[str, Any] = {
    "log": lambda table, _: np.log(table["charge"]),
    "unit": lambda table, _: table["charge"] * 1.1,
    "product": lambda table, _: table["months"] * table["charge"],
    "ratio": lambda table, _: table["tickets"] / (table["months"] + 2),
    "copy": lambda table, _: table["tickets"] * 1.0,
    "close": lambda table, draw: table["charge"] + draw.normal(0, 3, len(table["charge"])),
    "lookup": lambda table, _: np.sin(table["months"] * 7.0),
}


def customers(count: int, derived: str, seed: int) -> dict[str, Any]:
    """Independent rows, of which one column is made from others."""
    draw = np.random.default_rng([seed, count])
    table: dict[str, Any] = {
        "months": draw.integers(0, 72, count),
        "charge": draw.gamma(6, 10, count).round(2),
        "tickets": draw.poisson(1.2, count),
        "plan": draw.choice(["basic", "plus", "pro"], count),
        "region": draw.choice(["n", "s", "e", "w"], count),
    }
    return {**table, "extra": DERIVED[derived](table, draw)}


def false_alarms(count: int, seeds: int) -> list[tuple[str, int]]:
    return [
        (derived, seed)
        for derived in DERIVED
        for seed in range(seeds)
        if verdicts(
            prepare.split(pa.table({"id": range(count), **customers(count, derived, seed)}), key="id", leak="warn")
        )["no leak by near rows"]
        is not True
    ]


def test_a_column_made_from_others_makes_no_near_rows() -> None:
    assert false_alarms(4_000, 1) == []


@pytest.mark.heavy
@pytest.mark.parametrize(("count", "seeds"), [(500, 60), (1_000, 60), (4_000, 60), (20_000, 15)])
def test_columns_made_from_others_make_near_rows_once_in_a_hundred_tables_at_most(count: int, seeds: int) -> None:
    assert len(false_alarms(count, seeds)) <= max(1, 0.01 * seeds * len(DERIVED))


@pytest.mark.parametrize("derived", ["log", "ratio", "product"])
def test_copies_among_columns_made_from_others_are_found_by_the_tolerance_that_is_told(derived: str) -> None:
    table, draw = customers(4_000, derived, 0), np.random.default_rng(3)
    copied = draw.choice(4_000, 40, replace=False)
    whole = {name: np.concatenate([values, values[copied]]) for name, values in table.items()}
    whole["charge"][4_000:] *= 1 + draw.uniform(-0.001, 0.001, 40)
    made = prepare.split(pa.table({"id": range(4_040), **whole}), key="id", leak="warn")
    why = next(each.why for each in made.report.verdicts if "near rows" in each.rule)
    told = re.search(r"numbers within ([\d.]+)%, whole numbers (the same|within 1)", why)
    assert told is not None
    share, step = float(told[1]) / 100, 0 if told[2] == "the same" else 1
    part = parts_of(made)
    places = np.array([("train", "valid", "test").index(part[row]) for row in range(4_040)])
    near = np.abs(whole["months"][:, None] - whole["months"]) <= step
    for name in ("tickets", "plan", "region"):
        near &= whole[name][:, None] == whole[name]
    for name in ("charge", "extra"):
        low, middle, high = np.percentile(whole[name], [25, 50, 75])
        measured = np.arcsinh((whole[name] - middle) / (high - low))
        near &= np.abs(measured[:, None] - measured) <= share
    later = np.flatnonzero((near & (places[:, None] > places)).any(axis=1))
    rows = made.leaks.filter(pa.compute.equal(made.leaks["kind"], "near rows"))["row"].to_pylist()
    assert sorted(rows) == later.tolist()
    across = [pair for pair in zip(copied.tolist(), range(4_000, 4_040), strict=True) if len({*places[[*pair]]}) > 1]
    assert sum(bool({*pair} & {*rows}) for pair in across) >= 0.7 * len(across) > 5


def test_an_empty_part_is_named_and_the_header_follows_the_verdicts(capsys: pytest.CaptureFixture[str]) -> None:
    made = prepare.split(PEOPLE.slice(0, 3), key="id", target="ill")
    empty = [name for name, size in zip(("train", "valid", "test"), sizes(made), strict=True) if not size]
    assert empty
    assert all(verdicts(made)[f"{name} has rows"] is False for name in empty)
    assert made.report.passed is False
    told = capsys.readouterr().err
    assert all(f"`{name}`" in told.partition(" got no row")[0] for name in empty)
    unwanted = prepare.split(PEOPLE, key="id", train=0.9, valid=0.0, test=0.1)
    assert verdicts(unwanted)["valid has rows"] is None
    assert unwanted.report.passed
    assert "got no row" not in capsys.readouterr().err


@pytest.mark.parametrize("chance", [0.2, 1.0, 30.0, 700.0, 5_000.0, 1e7])
def test_five_times_as_many_pairs_as_by_chance_are_more_however_many_that_are(chance: float) -> None:
    assert is_more(5 * chance + 3, chance)
    assert not is_more(2 * chance, chance)


def people(count: int, seed: int) -> dict[str, Any]:
    """What a census asks, each answer with nothing to do with the others."""
    draw = np.random.default_rng(seed)
    return {
        "age": draw.integers(17, 90, count),
        "weight": draw.lognormal(12, 0.5, count).astype(int),
        "work": draw.choice(["private", "own", "state"], count, p=[0.7, 0.2, 0.1]),
        "years": draw.integers(1, 17, count),
        "gain": np.where(draw.random(count) < 0.1, draw.lognormal(8, 1, count), 0.0),
        "hours": np.where(draw.random(count) < 0.5, 40, draw.integers(1, 99, count)),
    }


@pytest.mark.parametrize("changed", [["age"], ["age", "hours"], ["weight"], ["years", "gain"]])
def test_copies_whose_numbers_differ_a_little_are_found_and_hardly_anything_else(changed: list[str]) -> None:
    table, draw = people(6_000, 1), np.random.default_rng(2)
    copied = draw.choice(6_000, 300, replace=False)
    again = {name: values[copied] for name, values in table.items()}
    for name in changed:
        if name in ("weight", "gain"):
            again[name] = (again[name] * (1 + draw.uniform(-0.003, 0.003, 300))).astype(table[name].dtype)
        else:
            again[name] = again[name] + draw.choice([-1, 1], 300)
    whole = {name: np.concatenate([values, again[name]]) for name, values in table.items()}
    made = prepare.split(pa.table({"id": range(6_300), **whole}), key="id", leak="warn")
    part = parts_of(made)
    pairs = {(int(one), 6_000 + place) for place, one in enumerate(copied)}
    across = {(one, other) for one, other in pairs if part[one] != part[other]}
    rows, others = made.leaks["row"].to_pylist(), made.leaks["other_row"].to_pylist()
    found = {(min(pair), max(pair)) for pair in zip(rows, others, strict=True)}
    assert len(across) > 80
    assert len(found & across) > 0.85 * len(across)
    assert len(found - across) < 0.1 * len(found)
    assert made.report.passed is False


def test_one_row_in_ten_thousand_is_a_warning() -> None:
    count = 10_000
    draw = np.random.default_rng(4)
    table = {f"c{place}": draw.normal(0, 1, count) for place in range(4)}
    parts = parts_of(prepare.split(pa.table({"id": range(count)}), key="id"))
    one = next(key for key in range(count) if parts[key] == "train")
    for others, passed in ((1, True), (2, False)):
        tests = [key for key in range(count) if parts[key] == "test"][:others]
        rows = {name: np.append(values, [values[one]] * 0) for name, values in table.items()}
        for values in rows.values():
            values[tests] = values[one]
        made = prepare.split(pa.table({"id": range(count), **rows}), key="id", leak="stop" if passed else "warn")
        assert made.report.passed is passed
        assert made.leaks["row"].to_pylist() == tests


def test_rows_of_which_most_are_equal_anyway_are_no_leak_but_are_said() -> None:
    table = pa.table({"id": range(500), "sex": ["f", "m"] * 250, "race": ["a", "b", "c", "d", "e"] * 100})
    made = prepare.split(table, key="id")
    assert verdicts(made)["no leak by equal rows"] is None
    assert made.report.passed
    assert "only 2% of all rows are distinct" in next(v.why for v in made.report.verdicts if "equal" in v.rule)


def test_near_texts_are_found_though_words_differ() -> None:
    words = [str(word) for word in DRAW.choice(["mill", "water", "wheel", "race", "stone", "flour", "dam"], 60)]
    other = [*words[:30], "sluice", *words[31:]]
    texts = pa.chunked_array(
        [
            pa.array([" ".join(words), "quite another text", None, ""]),
            pa.array([" ".join(other).upper() + "!", "", "a b"]),
        ]
    )
    parts = np.array([0, 0, 0, 0, 2, 2, 2], np.int8)
    assert [each.tolist() for each in near_texts(texts, parts)] == [[4], [0]]
    assert [each.tolist() for each in near_texts(texts.slice(1, 3), parts[:3])] == [[], []]
    assert [each.tolist() for each in near_texts(texts.slice(0, 0), parts[:0])] == [[], []]


def test_columns_that_tell_the_target_are_hinted_at() -> None:
    ill = PEOPLE["ill"].to_numpy()
    table = (
        PEOPLE.append_column("diagnosis", pa.array(np.where(ill == 1, "I10", "none")))
        .append_column("score", pa.array(ill * 5 + DRAW.random(COUNT)))
        .append_column("paid", pa.array([3.0 if each else None for each in ill]))
    )
    made = prepare.split(table, key="id", target="ill")
    grid = next(each for each in made.report.grids if each.title == "Columns that tell the target")
    assert [row[0] for row in grid.rows] == ["diagnosis", "score", "paid"]
    assert verdicts(made)["no column tells the target by itself"] is None
    assert made.report.passed


CLASSES = np.random.default_rng(4).integers(0, 2, 4_000)
HINT = 2 * CLASSES + np.random.default_rng(5).normal(0, 0.01, 4_000)
TIMES = np.datetime64("2024-01-01", "s") + (HINT * 1e6).astype("timedelta64[s]")
TEXTS = pa.array(np.where(CLASSES == 1, "yes", "no"))
APART: dict[str, Any] = {"by": "time", "time": "row", "until": 3_000}
"""A split whose rows are kept apart by their times: no copies are looked for, which would cost most of its time."""
HINTS = [
    pa.array(HINT),
    pa.array(np.exp(HINT)),
    pa.array(HINT, mask=HINT > 2.01),
    pa.array(np.round(HINT, 4)).cast(pa.decimal128(12, 4)),
    *(pa.array(TIMES).cast(pa.timestamp(unit)) for unit in ("s", "ms", "us", "ns")),
    pa.array(TIMES).cast(pa.timestamp("us", "UTC")),
    pa.array(TIMES - TIMES.min()),
]
TARGETS = [TEXTS.cast(pa.large_string()), TEXTS.dictionary_encode(), pa.array(CLASSES)]


@pytest.mark.parametrize(
    ("target", "hint"),
    [(TEXTS, each) for each in HINTS] + [(each, HINTS[0]) for each in TARGETS],
    ids=lambda column: str(column.type),
)
def test_a_hint_is_seen_whatever_the_types_of_target_and_column_are(target: pa.Array, hint: pa.Array) -> None:
    table = pa.table({"row": range(4_000), "y": target, "hint": hint, "none": DRAW.random(4_000)})
    made = prepare.split(table, target="y", **APART)
    grid = next(each for each in made.report.grids if each.title == "Columns that tell the target")
    assert [row[0] for row in grid.rows] == ["hint"]


@pytest.mark.parametrize("count", [3, 5])
def test_classes_in_texts_that_a_column_sorts_are_told_by_it_and_others_are_not(count: int) -> None:
    classes = np.random.default_rng(6).integers(0, count, 4_000)
    names = pa.array(np.array(["x", "m", "z", "a", "q"])[classes])
    columns = {"sorts": classes + DRAW.normal(0, 0.05, 4_000), "mixes": classes + DRAW.normal(0, 0.3, 4_000)}
    table = pa.table({"row": range(4_000), "y": names, **columns, "same": np.zeros(4_000)})
    made = prepare.split(table, target="y", **APART)
    grid = next(each for each in made.report.grids if each.title == "Columns that tell the target")
    assert [row[0] for row in grid.rows] == ["sorts"]


def test_gaps_and_few_values_make_no_hint_of_a_rare_target(capsys: pytest.CaptureFixture[str]) -> None:
    draw = np.random.default_rng(7)
    count = 20_000
    rare = (np.arange(count) % 2_000 == 0).astype(int)
    columns = {f"x{number}": pa.array(draw.random(count), mask=draw.random(count) < 0.3) for number in range(5)}
    for number in range(15):
        told = np.zeros(count, bool)
        told[draw.choice(count, 24, replace=False)] = True
        told[0] = True  # one of the rare ones
        columns[f"few{number}"] = pa.array(draw.random(count), mask=~told)
        told[draw.choice(count, 975, replace=False)] = True
        columns[f"some{number}"] = pa.array(draw.random(count), mask=~told)
    prepare.split(pa.table({"row": range(count), "y": rare, **columns}), target="y", **APART)
    assert "can be read off" not in capsys.readouterr().err


def test_numbers_too_large_for_a_correlation_make_no_hint() -> None:
    large = 2**60 + np.arange(4_000) % 7
    table = pa.table({"y": large, "x": DRAW.random(4_000)})
    verdict = next(each for each in prepare.split(table, target="y").report.verdicts if "by itself" in each.rule)
    assert (verdict.holds, verdict.why) == (True, "none was seen to")


def test_what_was_not_looked_at_is_not_said_to_be_harmless() -> None:
    notes = pa.array([f"note {number}" for number in range(4_000)])
    made = prepare.split(pa.table({"y": TEXTS, "notes": notes, "x": DRAW.random(4_000)}), target="y")
    verdict = next(each for each in made.report.verdicts if each.rule == "no column tells the target by itself")
    assert verdict.why.startswith("none was seen to; `notes`: not looked at, since")
    few = prepare.split(pa.table({"y": TEXTS[:19], "x": HINT[:19]}), target="y", leak="warn")
    assert verdicts(few)["no column tells the target by itself"] is None


def test_the_run_warns_once_of_all_columns_that_tell_the_target(capsys: pytest.CaptureFixture[str]) -> None:
    ill = PEOPLE["ill"].to_numpy()
    table = PEOPLE.append_column("score", pa.array(ill * 5 + DRAW.random(COUNT)))
    prepare.split(table, key="id", target="ill")
    told = capsys.readouterr().err
    assert "the target `ill` can be read off `score`, alone: check that its value is known before" in told
    prepare.split(table.append_column("paid", pa.array(ill * 3.0)), key="id", target="ill")
    told = capsys.readouterr().err
    assert told.count("can be read off") == 1
    assert "can be read off `score`, `paid`, each alone" in told


def test_the_run_does_not_warn_of_a_column_that_tells_the_target_by_chance_or_by_its_role(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ill = PEOPLE["ill"].to_numpy()
    prepare.split(PEOPLE.append_column("ward", pa.array(ill * 1)), by="group", group="ward", target="ill", leak="warn")
    order = np.arange(COUNT)
    rare = PEOPLE.append_column("order", pa.array(order)).append_column("rare", pa.array(order > COUNT - 5))
    made = prepare.split(rare, key="id", target="rare")
    assert verdicts(made)["no column tells the target by itself"] is None
    income, rent = (np.append(DRAW.random(COUNT - 1), 1e6) for _ in range(2))
    wide = PEOPLE.append_column("income", pa.array(income)).append_column("rent", pa.array(rent))
    assert verdicts(prepare.split(wide, key="id", target="rent"))["no column tells the target by itself"] is None
    prepare.split(PEOPLE, key="id", target="ill")
    assert "can be read off" not in capsys.readouterr().err
    prepare.split(wide.append_column("cents", pa.array(rent * 100)), key="id", target="rent")
    assert "can be read off `cents`, alone" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [pa.int64(), pa.uint64()])
def test_a_table_with_numbers_that_no_float_holds_is_parted(kind: pa.DataType) -> None:
    """Such as the ids that services give out; those that tell the target are hinted at all the same."""
    ids = DRAW.integers(2**60, 2**62, COUNT)
    table = PEOPLE.append_column("post", pa.array(ids, kind))
    assert sum(sizes(prepare.split(table, key="id", target="ill"))) == COUNT
    telling = PEOPLE.append_column("post", pa.array(np.where(PEOPLE["ill"].to_numpy() == 1, ids, ids + 2**62), kind))
    made = prepare.split(telling, key="id", target="ill")
    assert [row[0] for row in next(each for each in made.report.grids if "tell" in each.title).rows] == ["post"]


def test_one_class_and_missing_targets_are_said() -> None:
    one = prepare.split(pa.table({"id": range(50), "y": [1] * 50}), key="id", target="y")
    assert verdicts(one)["the target has two values"] is False
    gaps = prepare.split(pa.table({"id": range(50), "y": [math.nan, None] + [1.0, 0.0] * 24}), key="id", target="y")
    assert verdicts(gaps)["each row has a target"] is False


def test_a_table_without_rows_fails_with_a_warning_and_nothing_is_judged(capsys: pytest.CaptureFixture[str]) -> None:
    made = prepare.split(PEOPLE.slice(0, 0), key="id", target="ill", test=0.2, valid=0.0)
    assert made.report.passed is False
    assert verdicts(made) == {
        "train has rows": False,
        "valid has rows": None,
        "test has rows": False,
        "rows stay in their parts as others are added": True,
        "each row has a target": None,
        "no column tells the target by itself": None,
        "each part has each class of the target": None,
    }
    assert "`train` and `test` got no row: the table has no rows" in capsys.readouterr().err
    timed = prepare.split(PEOPLE.slice(0, 0), by="time", time="at")
    assert verdicts(timed)["rows stay in their parts as others are added"] is None


def test_nothing_and_next_to_nothing_can_be_parted() -> None:
    empty = prepare.split(PEOPLE.slice(0, 0), key="id", group="person", time="at", target="ill")
    assert sizes(empty) == (0, 0, 0)
    assert empty.report.passed is False
    for by, roles in (("time", {"time": "at"}), ("stratum", {"stratum": "ill"}), ("group", {"group": "person"})):
        assert sizes(prepare.split(PEOPLE.slice(0, 0), by=by, **roles)) == (0, 0, 0)  # type: ignore[arg-type]
    assert sum(sizes(prepare.split(PEOPLE.slice(0, 1), key="id"))) == 1
    assert prepare.split(pa.table({"a": pa.array([], pa.string())}), text="a").train.num_rows == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"key": "idd"}, "names a column `idd`, which the table doesn't have"),
        ({"by": "group"}, "a split by group needs a column"),
        ({"by": "month"}, "`by` of `split` is 'month'"),
        ({"leak": "dorp"}, "`leak` of `split` is 'dorp'"),
        ({"by": "time", "time": "at", "gap": -5}, "gap=-5"),
        ({"train": 0.8, "valid": 0.3}, "add up to 1.2"),
        ({"train": -0.1}, "train=-0.1 is not a share"),
        ({"until": ["2024-01-01"]}, "for a split by time"),
        ({"by": "time", "time": "at", "until": ["2024-02-01", "2024-01-01"]}, "in the wrong order"),
        ({"by": "time", "time": "at", "until": ["soon"]}, "not a time"),
        ({"by": "time", "time": "at", "until": "soon"}, "`until` has 'soon', which is not a time"),
        ({"until": 0}, "for a split by time"),
        ({"by": "time", "time": "at", "until": [3, 4]}, "the column is `timestamp"),
        ({"by": "time", "time": "person"}, "`person` is `string`, not a time"),
        ({"text": "height"}, "not text"),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises((UsageError, DataError)) as caught:
        prepare.split(PEOPLE, **given)
    assert said in caught.value.message


def test_text_in_the_place_of_times_is_told_how_to_become_one() -> None:
    coded = PEOPLE.set_column(1, "person", PEOPLE["person"].dictionary_encode())
    for people in (PEOPLE, coded):
        with pytest.raises(DataError) as caught:
            prepare.split(people, by="time", time="person")
        assert 'prepare.Dates(columns="person"' in caught.value.hint


def test_a_row_without_a_time_is_refused() -> None:
    table = pa.table({"at": pa.array([1.0, None, 2.0])})
    with pytest.raises(DataError, match="1 row has no `at`"):
        prepare.split(table, by="time", time="at")
    with pytest.raises(DataError, match="`at` is NaN"):
        prepare.split(pa.table({"at": [1.0, math.nan]}), by="time", time="at")
