"""Tables that nobody wishes for: two columns of one name, names that SQL takes for one or not at all, very many
columns, columns without a type, nested values. Each is dealt with, or told in one error."""

from __future__ import annotations

import inspect
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline

from headrace.errors import DataError, DefinitionError, HeadraceError, SourceError, UsageError
from headrace.fingerprint.project import Project
from headrace.stages import evaluate, ingest, prepare, train
from headrace.stages.ingest._check.draft import draft
from headrace.stages.ingest._http.bodies import _TITLE
from headrace.stages.ingest._logs.patterns import _logfmt
from headrace.stages.prepare._split.parts import drawn
from headrace.work.loaded_stage import LoadedStage
from tests.projects import lent
from tests.stages.test_public_names import ready_made

ROWS = 40
PLAIN = pa.table({"x": np.arange(ROWS) * 1.0, "y": np.arange(ROWS) % 2, "text": [f"text {n}" for n in range(ROWS)]})
TWICE = PLAIN.append_column("x", PLAIN["y"])
ALIKE = PLAIN.append_column("X", PLAIN["y"])


@pytest.mark.parametrize(
    "call",
    [
        lambda: ingest.check(TWICE, ingest.Contract()),
        lambda: prepare.clean(TWICE, []),
        lambda: prepare.split(TWICE),
        lambda: train.sklearn(LogisticRegression(), TWICE, target="y", features=["x"]),
        lambda: evaluate.regression(None, TWICE, target="y", scores="x"),
        lambda: prepare.transform(TWICE, sql="select y from data"),
    ],
)
def test_two_columns_of_one_name_are_one_error(call: Any) -> None:
    with pytest.raises(HeadraceError, match=r"two columns `x`|`x` and `x` apart") as told:
        call()
    assert told.value.hint


@pytest.mark.parametrize(
    "call",
    [
        lambda: prepare.transform(ALIKE, sql="select X from data"),
        lambda: prepare.clean(ALIKE, [prepare.Drop(where="X > 0")]),
        lambda: ingest.check(ALIKE, ingest.Contract(relations=(ingest.Relation(holds="X < 7"),))),
    ],
)
def test_sql_is_not_asked_where_it_would_take_one_column_for_another(call: Any) -> None:
    with pytest.raises(DataError, match="doesn't tell the columns `x` and `X` apart"):
        call()


def test_names_that_sql_can_not_say_are_split() -> None:
    odd = ALIKE.append_column("", PLAIN["y"]).append_column("ü" * 300, PLAIN["y"]).append_column('a"b', PLAIN["y"])
    parts = prepare.split(odd, target="y", leak="warn")
    assert sum(len(each) for each in parts[:3]) == ROWS


def test_thousands_of_columns_are_checked_and_split_and_draw_what_few_would() -> None:
    wide = pa.table({f"c{number}": [None, number, 3] for number in range(1500)})
    assert ingest.check(wide, ingest.Contract()).passed
    assert len(prepare.split(wide, leak="warn").train) <= 3
    swapped = wide.take([1, 0, 2])
    assert list(drawn(swapped, wide.column_names, 0)) == list(drawn(wide, wide.column_names, 0)[[1, 0, 2]])


def test_thousands_of_columns_are_cleaned_and_judged() -> None:
    wide = pa.table({f"c{number}": [" a", "b"] for number in range(300)} | {"y": [0, 1], "p": [0.2, 0.7]})
    assert prepare.clean(wide, [prepare.Trim(columns="*")]).table["c299"].to_pylist() == ["a", "b"]
    more = {f"d{number}": PLAIN["x"] for number in range(3000)}
    rows = pa.table({**dict(zip(PLAIN.column_names, PLAIN.columns, strict=True)), **more})
    began = time.process_time()
    found = evaluate.regression(None, rows, target="y", scores="x", train=rows.slice(20), resamples=100)
    assert found.metrics["rows seen in training"] == 20
    assert time.process_time() - began < 30


def test_columns_of_nulls_without_a_type_and_nested_ones_pass() -> None:
    odd = PLAIN.append_column("none", pa.nulls(ROWS)).append_column("deep", pa.array([{"a": [1]}] * ROWS))
    assert len(prepare.clean(odd, [prepare.Nulls(columns="*"), prepare.Deduplicate()]).table) == ROWS
    for target in ("none", "deep"):
        assert prepare.split(odd, target=target, leak="warn").report is not None


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: prepare.clean(PLAIN, [prepare.Drop(where="x > 1); select (true")]), "more than a condition"),
        (lambda: ingest.Column(min=float("nan")), "can't be NaN"),
        (lambda: prepare.tokenizer(PLAIN, column="x"), "`double`, not text"),
        (lambda: train.sklearn(LinearRegression(), PLAIN, target="y", features=[]), "no columns to learn from"),
        (lambda: train.sklearn(LinearRegression(), PLAIN, target="y", features=["x", "x"]), "named twice"),
        (lambda: train.sklearn(LinearRegression(), PLAIN, target="x", sample_weight="text"), "not numbers"),
        (lambda: train.sklearn(LinearRegression(), PLAIN, target="x"), "can't be fitted: could not convert string"),
        (
            lambda: train.sklearn(make_pipeline(SimpleImputer(), LinearRegression()), PLAIN, target="x"),
            "non-numeric data: could not convert string",
        ),
        (lambda: train.sklearn(LogisticRegression(C=-1), PLAIN.select(["x", "y"]), target="y"), "can't be fitted"),
        (lambda: evaluate.classification(None, PLAIN, target="y", scores="text"), "scores are numbers"),
        (lambda: evaluate.classification(None, PLAIN, target="y", scores="x", seed=-1), "`seed=-1` makes no sense"),
        (lambda: evaluate.classification(None, PLAIN, target="y", scores="x", threshold=float("nan")), "can't be read"),
        (lambda: evaluate.generation(None, PLAIN, references="x", texts="text"), "a reference is 0.0"),
    ],
)
def test_what_makes_no_sense_is_one_error(call: Any, told: str) -> None:
    with pytest.raises((DataError, DefinitionError, UsageError), match=told) as error:
        call()
    assert error.value.hint


@pytest.mark.parametrize(
    "query",
    ["attach 'made.db' as m", "\ufeffattach 'made.db' as m", "/* c */ -- d\n VACUUM into 'made.db'", " ", "select 1\0"],
)
def test_a_query_opens_no_other_file(query: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with closing(sqlite3.connect("source.db")) as source:
        source.execute("create table t (a)")
    with pytest.raises((SourceError, DefinitionError)):
        ingest.sql("sqlite:///source.db", query)
    assert not Path("made.db").exists()


@pytest.mark.parametrize("overlap", [-5, float("nan"), "soon"])
def test_an_overlap_that_leaves_rows_out_is_refused(overlap: Any) -> None:
    with pytest.raises(DefinitionError, match="overlap"):
        ingest.sql("sqlite:///source.db", "select 1 as a", mode="increment", watermark="a", overlap=overlap)


VIEWS = PLAIN.append_column("p", pa.array(np.linspace(0, 1, ROWS))).append_column(
    "view", PLAIN["text"].cast(pa.string_view())
)


def test_views_of_text_and_bytes_are_judged() -> None:
    rows = VIEWS.append_column("bytes", pa.array([b"\xff\x00"] * ROWS))
    found = evaluate.classification(None, rows, target="y", scores="p", train=rows, resamples=100, groups="x")
    assert len(found.predictions) == ROWS


def test_a_target_of_nested_values_is_refused() -> None:
    rows = VIEWS.set_column(1, "y", pa.array([{"a": 1}] * ROWS))
    with pytest.raises(UsageError, match="the target holds no classes"):
        evaluate.classification(None, rows, target="y", scores="p", resamples=100)


def test_long_lines_and_pages_that_would_be_read_over_and_over_are_read_once() -> None:
    began = time.process_time()
    assert len(_logfmt("k=v " * 250_000)) == 1
    assert _TITLE.search(b"<title" * 10_000) is None
    assert _TITLE.search(b"<html><title>Sign in</title>")[1] == b"Sign in"  # type: ignore[index]
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "values",
    [
        [{"a": 1}] * ROWS,
        [[1.0]] * ROWS,
        pa.array([0] * ROWS, pa.timestamp("us")),
        pa.array([b"a"] * ROWS),
        pa.array([b"a"] * ROWS).dictionary_encode(),
        pa.array([datetime(2026, 1, 1, tzinfo=UTC).date()] * ROWS).dictionary_encode(),
        pa.array([b"0123456789abcdef"] * ROWS, pa.uuid()),
        pa.array([(1, 2, 3)] * ROWS, pa.month_day_nano_interval()),
    ],
)
def test_boosting_names_a_feature_that_it_can_not_take(values: Any) -> None:
    with pytest.raises(DataError, match="the feature `odd` holds times, bytes or nested values"):
        train.lightgbm({"objective": "binary"}, PLAIN.append_column("odd", pa.array(values)), target="y")


@pytest.mark.parametrize(
    ("call", "told", "hint"),
    [
        (
            lambda: prepare.split([1, 2]),
            "parameter `table` of `split` takes a `pyarrow.Table`, and was given a `list`",
            "m",
        ),
        (lambda: prepare.clean(PLAIN.to_pandas(), []), "was given a `DataFrame`", "preserve_index=False"),
        (lambda: prepare.clean(pl.from_arrow(PLAIN), []), "was given a `DataFrame`", "`to_arrow()`"),
        (
            lambda: train.sklearn(LinearRegression(), PLAIN, target="y", valid={}),
            "parameter `valid` of `sklearn`",
            "makes one",
        ),
        (lambda: train.lightgbm({}, None, target="y"), "parameter `table` of `lightgbm`", "makes"),
        (
            lambda: prepare.split(prepare.clean(PLAIN, [prepare.Trim(columns="*")])),
            "was given a `Cleaned`",
            "give one of its fields: `.table`, `.quarantine`",
        ),
        (lambda: evaluate.regression(None, "x", target="y"), "parameter `table` of `regression`", "makes"),
        (lambda: ingest.check(PLAIN, ingest.Contract(), other=3), "parameter `other` of `check`", "makes"),
        (lambda: prepare.split.map([PLAIN, 3]), "parameter `table` of `split`", "makes"),
        (lambda: prepare.tokenizer(3), "parameter `table` of `tokenizer`", "makes"),
    ],
)
def test_what_is_no_table_is_one_error_outside_of_a_run_too(call: Any, told: str, hint: str) -> None:
    with pytest.raises(UsageError) as error:
        call()
    assert told in error.value.message
    assert hint in (error.value.hint or "")


PREPARATION = prepare.clean(PLAIN, []).preparation


@pytest.mark.parametrize(
    "call", [PREPARATION.apply, lambda table: train.Loader(table, batch_size=1)], ids=["apply", "train.Loader"]
)
@pytest.mark.parametrize("given", [PLAIN.to_pandas(), None, {"a": [1]}])
def test_methods_that_take_tables_say_so_when_they_get_something_else(call: Any, given: Any) -> None:
    with pytest.raises(UsageError, match=r"parameter `table` of `.*` takes a `pyarrow.Table`, and was given a"):
        call(given)


TABLES = {
    f"{stage.name} {name}": (stage, name)
    for stage in ready_made()
    for name in stage.signature.parameters
    if "pyarrow.lib.Table" in (hint := str(stage.hints.get(name))) and "Callable" not in hint
}
"""Each parameter of a ready-made stage that takes a table. Stages inside of functions such as `train.torch` count. A
function that makes tables is none."""


def test_parameters_that_take_tables_are_found() -> None:
    assert {"transform data", "transform tables", "check tables", "regression train", "paired second"} <= set(TABLES)


@pytest.mark.parametrize(("stage", "name"), TABLES.values(), ids=TABLES)
def test_every_parameter_that_takes_a_table_says_so_when_it_gets_something_else(
    stage: Any, name: str, tmp_path: Path
) -> None:
    several = stage.signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD
    given = "more" if several else name
    message = f"parameter `{given}` of `{stage.name}` takes a `pyarrow.Table`, and was given a `DataFrame`"
    needed = {
        each.name: PLAIN if "pyarrow.lib.Table" in str(stage.hints.get(each.name)) else None
        for each in stage.signature.parameters.values()
        if each.default is each.empty and each.kind is not each.VAR_KEYWORD
    }
    with pytest.raises(UsageError, match=message):
        stage(**{**needed, given: PLAIN.to_pandas()})
    loaded = LoadedStage.of(stage, Project([tmp_path]))
    with pytest.raises(UsageError, match=message) as error:
        loaded.fitted(given, PLAIN.to_pandas())
    assert "`pyarrow.Table.from_pandas(frame, preserve_index=False)`" in (error.value.hint or "")
    assert loaded.fitted(given, PLAIN) is PLAIN
    assert loaded.fitted(given, PLAIN.to_reader()) == PLAIN
    if not several and stage.signature.parameters[name].default is None:
        assert loaded.fitted(given, None) is None


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("prepare.split(three())", "parameter `table` of `split` takes a `pyarrow.Table`, and was given a `int`"),
        (
            "prepare.transform(more=three(), sql='from more')",
            "parameter `more` of `transform` takes a `pyarrow.Table`, and was given a `int`",
        ),
        (
            "evaluate.regression(None, rows(), target='x', scores='x', train=three())",
            "parameter `train` of `regression` takes a `pyarrow.Table`, and was given a `int`",
        ),
    ],
)
def test_what_a_stage_without_annotations_gives_is_no_table_and_that_is_said(
    tmp_path: Path, call: str, told: str
) -> None:
    with lent(tmp_path / "project") as project:
        project.write(
            "pipelines.py",
            f"""\
            import headrace as hr
            import pyarrow as pa
            from headrace.stages import evaluate, prepare

            @hr.stage
            def three():
                return 3

            @hr.stage
            def rows() -> pa.Table:
                return pa.table({{"x": [1.0]}})

            @hr.pipeline
            def odd() -> None:
                {call}
            """,
        )
        done = project.headrace("run", "odd")
    assert done.code == 1
    assert told in done.err
    assert "Traceback" not in done.out + done.err


FAR = pa.table({"at": pa.array([2**62, 1, 2], pa.timestamp("us")), "x": [1, 2, 3]})


def test_times_that_python_cannot_have_are_told_and_stop_nothing() -> None:
    contract = ingest.Contract(
        columns={"at": ingest.Column(max=datetime(2030, 1, 1, tzinfo=UTC))},
        fresh=[ingest.Fresh(column="at", within="1d")],
        extra="allow",
    )
    checked = ingest.check(FAR, contract, now=0.0, fail=False)
    assert checked.quarantine["row"].to_pylist() == [0]
    assert "out of range" in next(each.why for each in checked.report.verdicts if each.rule.startswith("fresh"))
    made = prepare.split(FAR, by="time", time="at", key="at", train=0.4, valid=0.3, test=0.3, leak="warn")
    assert "out of range" in made.report.about
    assert prepare.clean(FAR, [prepare.Cast(columns="at", type="string")]).table.num_rows == 3
    assert "at" in draft(FAR)


def test_a_table_without_columns_is_told() -> None:
    none = pa.table({})
    with pytest.raises(DataError, match="table `data` has no columns"):
        prepare.transform(none, sql="select 1")
    with pytest.raises(DataError, match="no columns"):
        ingest.check(none, ingest.Contract(relations=[ingest.Relation(holds="true")]))


def test_a_key_is_looked_for_in_json_alone() -> None:
    with pytest.raises(DefinitionError, match="`key` works with JSON, not with `csv`"):
        ingest.http("http://127.0.0.1:9/x", format="csv", key="id")


def of_batches(given: object) -> Any:
    def function(batch: pa.RecordBatch) -> Any:
        return given

    return function


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: prepare.label(PLAIN, [of_batches(None)]), "returned None for rows 0 to 39"),
        (lambda: prepare.label(PLAIN, [of_batches("n" * ROWS)]), "returned 'nnn"),
        (lambda: prepare.label(PLAIN, [lambda row: 2**70]), "which is not a label"),
        (lambda: prepare.label(NESTED, [lambda row: 1], known="nested"), "has \\[1\\] in row 0"),
        (lambda: prepare.label(TWICE, [lambda row: 1]), "two columns `x`"),
        (lambda: prepare.to_label(TWICE, 2), "two columns `x`"),
        (lambda: prepare.to_label(PLAIN, 2, strategy="uncertain", by="odd"), "no|which the table"),
        (lambda: prepare.to_label(ODD, 2, strategy="uncertain", by="odd"), "not the numbers of a label model"),
        (lambda: prepare.tokenizer(PLAIN, min_frequency=-1), "`min_frequency` is -1"),
        (lambda: prepare.transform(HALF, sql="select x from data"), "`halffloat`"),
        (lambda: ingest.check(HALF, ingest.Contract(columns={"x": ingest.Column(unique=True)})), "`halffloat`"),
        (lambda: prepare.split(HALF), "`halffloat`"),
    ],
)
def test_what_cannot_be_done_with_a_table_is_one_error(call: Any, told: str) -> None:
    with pytest.raises(HeadraceError, match=told) as error:
        call()
    assert error.value.hint


NESTED = PLAIN.append_column("nested", pa.array([[1]] * ROWS))
ODD = PLAIN.append_column("odd_probability", PLAIN["text"])
HALF = pa.table({"x": pa.array([1.0, 2.0], pa.float16())})


@pytest.mark.parametrize("kind", [pa.string_view(), pa.dictionary(pa.int32(), pa.string())])
def test_texts_are_texts_however_they_are_laid_out(kind: pa.DataType) -> None:
    texts = ["a fine film to see at home", "a dull film that takes two hours"]
    table = pa.table({"id": range(40), "text": pa.chunked_array([pa.array(texts * 20, pa.string())]).cast(kind)})
    tokens = prepare.tokenize(table, prepare.tokenizer(table, vocab_size=300), length=4)
    assert tokens.table.num_rows == 40
    made = prepare.split(table, key="id", text="text", leak="warn")
    assert "near texts" in made.leaks["kind"].to_pylist() or "equal rows" in made.leaks["kind"].to_pylist()
    assert prepare.to_label(table, 2, columns=["text"]).path.is_file()


@pytest.mark.parametrize(
    "odd",
    [
        pa.array([b"0123456789abcdef"] * 2, pa.uuid()),
        pa.array([1, 2], pa.duration("s")),
        pa.array([(1, 2, 3)] * 2, pa.month_day_nano_interval()),
        pa.array([1, 2], pa.float16()),
        pa.array([1, 2], pa.decimal256(60, 2)),
    ],
)
def test_a_column_that_the_engine_gives_back_otherwise_is_not_among_all_that_a_rule_is_for(odd: pa.Array) -> None:
    table = pa.table({"odd": odd, "text": ["", "b"]})
    rules = (prepare.Nulls, prepare.Trim, prepare.Fill, prepare.Map)
    made: Any = {prepare.Fill: {"value": "c"}, prepare.Map: {"values": {"b": "d"}}}
    cleaned = prepare.clean(table, [rule(columns="*", **made.get(rule, {})) for rule in rules]).table
    assert cleaned["text"].to_pylist() == ["c", "d"]
    if not isinstance(odd, pa.ExtensionArray):
        assert cleaned["odd"].equals(table["odd"])
    with pytest.raises(DefinitionError, match="doesn't fit `odd`, which is `"):
        prepare.clean(table, [prepare.Nulls(columns="odd")])


def runs(of: pa.Array) -> pa.Array:
    return pa.RunEndEncodedArray.from_arrays(pa.array([ROWS // 2, ROWS], pa.int32()), of)


def test_rows_are_chosen_of_columns_that_are_kept_as_runs() -> None:
    table = PLAIN.append_column("run", runs(pa.array(["a", None]))).append_column(
        "p", pa.array(np.linspace(0, 1, ROWS))
    )
    kept = prepare.clean(table, [prepare.Drop(where="x < 19")]).table
    assert kept.schema == table.schema
    assert kept["run"].to_pylist() == ["a"] + [None] * (ROWS // 2)
    assert sum(len(each) for each in prepare.split(table, leak="warn")[:3]) == ROWS
    assert prepare.to_label(table, 2, columns=["run", "text"]).path.is_file()
    assert len(evaluate.classification(None, table, target="y", scores="p", resamples=100).predictions) == ROWS
    odd = PLAIN.append_column("run", runs(pa.array(["a", "b"]).dictionary_encode()))
    with pytest.raises(DataError, match="rows of column `run` can't be selected: its type is `run_end_encoded"):
        prepare.split(odd, leak="warn")


def test_the_shares_of_a_stratum_that_can_not_be_listed_are_not_told() -> None:
    table = PLAIN.append_column("u", pa.array([bytes([row % 2]) * 16 for row in range(ROWS)], pa.uuid()))
    made = prepare.split(table, by="stratum", stratum="u", leak="warn")
    assert not [each for each in made.report.grids if each.title.startswith("Shares")]


def test_a_column_of_another_type_is_not_among_all_that_a_rule_is_for() -> None:
    table = pa.table({"id": pa.array([b"0123456789abcdef"], pa.uuid()), "text": [""]})
    cleaned = prepare.clean(table, [prepare.Nulls(columns="*")]).table
    assert cleaned["id"].equals(table["id"])
    assert cleaned["text"].to_pylist() == [None]
    assert prepare.clean(table, [prepare.Cast(columns="id", type="string")]).table.num_rows == 1
