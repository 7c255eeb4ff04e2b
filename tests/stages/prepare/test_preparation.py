"""`Preparation`: what was learned from one table goes to other rows, one or many, and no row is lost without a word."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.codec.codecs import Codecs
from headrace.errors import CodecError, DataError
from headrace.spec.artifact import Ref
from headrace.stages import prepare
from headrace.store.folder.folder import FolderStore

LEARNED = pa.table(
    {
        "id": range(8),
        "age": pa.array([10, 20, 30, 40, None, 60, 50, 20], pa.int16()),
        "pay": [1.5, 2.5, None, float("nan"), 2.0, 4.0, 0.1, 0.2],
        "sex": [" f", "m", "f ", None, "m", "F", "f", "m"],
        "born": ["2001-02-03", "1.3.1985", None, "1990-01-01", "never", "1990-01-01", "1990-01-01", "1990-01-01"],
        "late": [True, False, True, True, False, False, True, False],
    }
)
RULES = [
    prepare.Trim(columns="*"),
    prepare.Normalise(columns="sex", case="lower"),
    prepare.Fill(columns="age", how="median"),
    prepare.Fill(columns=["pay"], how="mean"),
    prepare.Fill(columns="sex", how="most"),
    prepare.Dates(columns="born", formats=("%Y-%m-%d", "%d.%m.%Y"), day=True, otherwise="null"),
    prepare.Rename(names={"pay": "paid"}),
    prepare.Clip(columns="paid", max=3),
    prepare.Drop(where="age > 55"),
    prepare.Without(columns="id"),
]


def preparation_of(rules: list[Any], table: pa.Table = LEARNED) -> prepare.Preparation:
    made: prepare.Preparation = prepare.clean(table, rules).preparation
    return made


PREPARATION = preparation_of(RULES)
PAID = (1.5 + 2.5 + 2.0 + 4.0 + 0.1 + 0.2) / 6


def test_a_row_alone_gets_what_was_learned_from_the_table() -> None:
    row = {"id": 9, "age": None, "pay": None, "sex": None, "born": None}
    made = PREPARATION.apply(pa.Table.from_pylist([row]))
    assert made.table.to_pylist() == [{"age": 30, "paid": PAID, "sex": "f", "born": None}]
    cleaned = prepare.clean(LEARNED, RULES).table
    assert made.table.schema == cleaned.drop_columns(["late"]).schema


def test_what_made_the_preparation_comes_out_of_it_as_it_did_then() -> None:
    prepared, cleaned = PREPARATION.apply(LEARNED).table, prepare.clean(LEARNED, RULES).table
    assert prepared.schema == cleaned.schema
    assert repr(prepared.to_pylist()) == repr(cleaned.to_pylist())  # one of the values is NaN


VALUES = st.fixed_dictionaries(
    {
        "id": st.integers(0, 9),
        "age": st.one_of(st.none(), st.integers(0, 99)),
        "pay": st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)),
        "sex": st.one_of(st.none(), st.sampled_from(["f", "M ", " x"])),
        "born": st.one_of(st.none(), st.sampled_from(["2020-01-01", "31.12.1999", "soon"])),
    }
)


@given(st.lists(VALUES, min_size=1, max_size=6))
@settings(max_examples=15, deadline=None)
def test_a_row_is_prepared_as_it_would_be_among_others(rows: list[dict[str, Any]]) -> None:
    schema = LEARNED.drop_columns(["late"]).schema
    together = PREPARATION.apply(pa.Table.from_pylist(rows, schema=schema))
    alone = [PREPARATION.apply(pa.Table.from_pylist([row], schema=schema)) for row in rows]
    assert together.table.equals(pa.concat_tables([each.table for each in alone]))
    assert together.quarantine["row"].to_pylist() == [at for at, each in enumerate(alone) if each.quarantine.num_rows]


def test_each_row_is_prepared_or_put_aside_with_the_reason() -> None:
    rules = [
        prepare.Cast(columns="n", type="int64"),
        prepare.Drop(where="n > 5"),
        prepare.Deduplicate(columns="n"),
        prepare.Drop(where="n > 2 * avg(n) over ()"),
        prepare.Fill(columns="w", how="forward"),
    ]
    table = pa.table({"n": ["1", "2", "9", "x", "1"], "w": ["a", None, "b", "c", "d"]})
    made = preparation_of(rules, table)
    out = made.apply(table)
    assert out.table.to_pylist() == [{"n": 1, "w": "a"}, {"n": 2, "w": None}, {"n": 1, "w": "d"}]
    assert out.quarantine["broken_rules"].to_pylist() == [["2 drop: n > 5"], ["1 cast: n"]]
    assert out.quarantine["n"].to_pylist() == ["9", "x"]
    assert [said.split(" isn't ")[0] for said in made.left_out] == ["Rule 3 deduplicate", "Rule 4 drop", "Rule 5 fill"]
    assert set(made.left_out) <= set(out.report.limits)


def test_values_that_were_not_there_are_counted_by_category() -> None:
    table = pa.table({"carrier": ["UA", "AA", "UA", "AA", None], "plane": ["a", "b", "c", "d", "e"]})
    made = preparation_of([prepare.Trim(columns="*")], table)
    assert made.categories == {"carrier": ("AA", "UA")}
    others = pa.table({"carrier": ["UA", "XX", " XX", "ZZ", None], "plane": ["x"] * 5})
    out = prepare.apply(others, made)
    assert out.unseen == {"carrier": 3}
    assert {fact.name: fact.value for fact in out.report.facts}["unseen values of carrier"] == 3
    assert out.report.grids[1].rows == (("XX", 2), ("ZZ", 1))
    coded = others.set_column(0, "carrier", others["carrier"].dictionary_encode())
    assert prepare.apply(coded, made).unseen == {"carrier": 3}


def test_new_names_of_files_are_counted_without_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    files = ["in/a.csv", "in/b.csv.gz", "logs/access.log", "logs/access.log.1.gz"]
    table = pa.table({"file": files * 2, "site": ["a.org", "b.org"] * 4})
    made = preparation_of([prepare.Trim(columns="*")], table)
    others = pa.table({"file": ["in/c.csv"] * 3, "site": ["c.org", "a.org", "b.org"]})
    out = prepare.apply(others, made)
    assert out.unseen == {"file": 3, "site": 1}
    told = capsys.readouterr().err
    assert "`site` that wasn't there" in told
    assert "`file`" not in told


def test_a_column_that_is_missing_is_told_and_one_that_may_be_is_not() -> None:
    with pytest.raises(DataError, match=r"rule 3 fill of the preparation is for a column `age`") as caught:
        PREPARATION.apply(pa.table({"pay": [1.0], "sex": ["f"], "born": ["2020-01-01"], "ages": [1]}))
    assert caught.value.hint.startswith("did you mean `ages`?")
    rows = pa.table({"age": [3], "sex": ["f"], "born": ["2020-01-01"]})
    assert PREPARATION.apply(rows, without="pay").table.column_names == ["age", "sex", "born"]
    judged = PREPARATION.apply(rows.drop_columns(["age"]), without=["pay", "age"])
    assert judged.table.num_rows == 1
    assert "Rule 9 drop was skipped: there is no `age`." in judged.report.limits
    labels = preparation_of([prepare.Trim(columns="*")], pa.table({"a": ["x"], "label": ["y"]}))
    assert labels.apply(pa.table({"a": [" x"]})).table.to_pylist() == [{"a": "x"}]


@pytest.mark.parametrize(
    ("learned", "row", "said"),
    [
        (pa.array([1.5]), [2], None),
        (pa.array([date(2024, 1, 1)]), ["2024-02-03"], None),
        (pa.array([datetime(2024, 1, 1, 9, tzinfo=UTC)], pa.timestamp("us")), [date(2024, 2, 3)], None),
        (pa.array(["a"]).dictionary_encode(), ["b"], None),
        (pa.array(["a"], pa.large_string()), [None], None),
        (pa.array([Decimal("1.50")], pa.decimal128(9, 2)), [2], None),
        (
            pa.array([datetime(2024, 1, 1, 9, tzinfo=UTC)], pa.timestamp("us", "Europe/Paris")),
            [date(2024, 2, 3)],
            "is `date32\\[day\\]`, and the preparation was made for",
        ),
        (pa.array([1]), [2.5], "is `double`, and the preparation was made for `int64`"),
        (pa.array([1.5]), ["2"], "is `string`, and the preparation was made for `double`"),
        (pa.array(["a"]), [1], "is `int64`, and the preparation was made for `string`"),
    ],
)
def test_values_get_the_type_that_they_had_or_are_refused(learned: pa.Array, row: list[Any], said: str | None) -> None:
    made = preparation_of([prepare.Nulls(columns="*")], pa.table({"c": learned}))
    if said is None:
        assert made.apply(pa.table({"c": row})).table["c"].type == learned.type
    else:
        with pytest.raises(DataError, match=said):
            made.apply(pa.table({"c": row}))


NUMBERS = [
    pa.array([1, 2, 2, None], pa.uint64()),
    pa.array([2**63 + 5, 2**63 + 5, None], pa.uint64()),
    pa.array([0.1, 0.7, 123.45678901234567, None]),
    pa.array([0.1, 0.7, None], pa.float32()),
    pa.array([Decimal("0.10"), Decimal("0.25"), None], pa.decimal128(20, 2)),
]
OTHERS = [
    pa.array(["it's", "", "", None]),
    pa.array([True, True, None]),
    pa.array([b"\0'", b"\0'", None]),
    pa.array([date(2024, 1, 1), None]),
    pa.array([1_700_000_000_123_456, 1_700_000_000_123_456, None], pa.timestamp("us")),
    pa.array([1_700_000_000_123, 1_700_000_000_123, None], pa.timestamp("ms", "Europe/Paris")),
    pa.array([1_700_000_000_123_456_000, 1_700_000_000_123_456_000, None], pa.timestamp("ns")),
    pa.array([1_700_000_000_123_456_000, 1_700_000_000_123_456_000, None], pa.timestamp("ns", "Europe/Paris")),
    pa.array([3_600_000_001, 3_600_000_001, None], pa.time64("us")),
    pa.array(["a", "a", None]).dictionary_encode(),
]


@pytest.mark.parametrize(
    ("values", "how"),
    [
        *((values, how) for values in NUMBERS for how in ("mean", "median", "most")),
        *((values, "most") for values in OTHERS),
    ],
)
def test_what_is_learned_is_kept_to_the_last_digit(values: pa.Array, how: str, tmp_path: Path) -> None:
    table = pa.table({"c": values})
    made = prepare.clean(table, [prepare.Fill(columns="c", how=how)])  # type: ignore[arg-type]
    assert made.table["c"].null_count == 0
    assert made.table.schema == table.schema
    again = kept(made.preparation, tmp_path)
    assert again == made.preparation
    assert again.apply(table.slice(len(table) - 1)).table["c"][0] == made.table["c"][-1]


def kept(preparation: prepare.Preparation, folder: Path) -> prepare.Preparation:
    """Save a preparation and load it as a server would: from safe forms only."""
    codecs, store = Codecs(), FolderStore(folder)
    found = codecs.load(codecs.save(preparation, store), store, safe_only=True)
    assert isinstance(found, prepare.Preparation)
    return found


@pytest.mark.parametrize(
    "rule",
    [
        prepare.Clip(columns="pay", max=np.float32(2.5)),
        prepare.Clip(columns="age", max=LEARNED["age"].to_pandas().quantile(0.75)),
        prepare.Fill(columns="age", value=np.int64(3)),
        prepare.Fill(columns="sex", value=np.str_("f")),
        prepare.Nulls(columns="age", values=[np.int16(10)]),
        prepare.Map(columns="sex", values={np.str_("m"): np.str_("male")}),
        prepare.Fill(columns="seen", value=pd.Timestamp("2024-02-01 10:11:12")),
        prepare.Clip(columns="seen", max=pd.Timestamp("2024-02-01", tz="Europe/Paris")),
        prepare.Fill(columns="seen", value=np.datetime64("2024-02-01T10:11:12", "ns")),
    ],
    ids=lambda rule: f"{type(rule).__name__} {rule.columns}",
)
def test_a_rule_with_values_of_other_libraries_is_plain_in_the_preparation(rule: Any, tmp_path: Path) -> None:
    seen = pa.array([pd.Timestamp("2024-03-01"), *[None] * 7], pa.timestamp("ns"))
    table = LEARNED.append_column("seen", seen)
    made = prepare.clean(table, [rule])
    again = kept(made.preparation, tmp_path)
    assert again == made.preparation
    assert again.apply(table).table[rule.columns].to_pylist()[4:] == made.table[rule.columns].to_pylist()[4:]


def test_a_preparation_is_a_json_text_that_runs_no_code(tmp_path: Path) -> None:
    ref = Codecs().save(PREPARATION, FolderStore(tmp_path))
    assert (ref.codec, ref.type) == ("document", "headrace.stages.prepare.Preparation")
    assert kept(PREPARATION, tmp_path) == PREPARATION
    assert ref.inline is not None
    told = json.loads(ref.inline)
    assert told["form"] == 1
    assert told["columns"]["age"] == "int16"
    assert told["steps"][3]["rule"]["value"] == PAID


def forged(ref: Ref, **changes: Any) -> Ref:
    return msgspec.structs.replace(ref, **changes)


@pytest.mark.parametrize(
    "kind",
    [
        "os.system",
        "tests.Evil",
        "headrace.codec.classes.resolve",
        "headrace.__main__.Document",
        "headrace.spec.report.Report",
    ],
)
def test_a_document_of_another_class_is_refused(kind: str, tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    ref = Codecs().save(PREPARATION, store)
    with pytest.raises(CodecError):
        Codecs().load(forged(ref, type=kind), store, safe_only=True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"form": 2}, "a newer Headrace wrote this `Preparation`"),
        ({"steps": [{"name": "1 run", "rule": {"do": "run", "code": "..."}}]}, "can't be read"),
        ({"extra": 1}, "can't be read"),
        ({"columns": [1]}, "can't be read"),
    ],
)
def test_a_document_that_was_changed_is_one_error(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    ref = Codecs().save(PREPARATION, store)
    assert ref.inline is not None
    data = json.dumps(json.loads(ref.inline) | change).encode()
    with pytest.raises(CodecError, match=said):
        Codecs().load(forged(ref, inline=data, digest=blake3(data).hexdigest()), store, safe_only=True)


def test_what_was_cleaned_before_there_were_preparations_is_still_read(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    ref = Codecs().save(prepare.clean(LEARNED, RULES), store)
    assert ref.names is not None
    assert ref.parts is not None
    before = Codecs().load(forged(ref, names=ref.names[:3], parts=ref.parts[:3]), store)
    assert isinstance(before, prepare.Cleaned)
    assert before.table.num_rows == 7
    assert before.preparation is None
