"""What a table says for pandas: `to_pandas` follows the metadata of that name, not Arrow's types, so it must hold."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression

import headrace as hr
from headrace.stages import deploy, evaluate, ingest, prepare, train
from headrace.stages.tables.columns import described

ROWS = 60
DAYS = pd.date_range("2026-01-01", periods=ROWS, tz="Europe/Berlin")
FRAME = pd.DataFrame(
    {
        "charge": [f"{each}.5" for each in range(ROWS)],
        "day": [f"2026-01-{each % 28 + 1:02}" for each in range(ROWS)],
        "many": pd.array([*range(ROWS - 1), None], "Int64"),
        "label": ["a", "b"] * (ROWS // 2),
        "at": DAYS,
    },
    index=pd.Index([f"i{each}" for each in range(ROWS)], name="id"),
)
GIVEN = pa.Table.from_pandas(FRAME)
RULES: list[Any] = [
    prepare.Numbers(columns="charge"),
    prepare.Dates(columns="day", formats=("%Y-%m-%d",)),
    prepare.Cast(columns="many", type="string"),
    prepare.Rename(names={"label": "said"}),
    prepare.Drop(where="charge > 50", quarantine=True),
]


def says_a(row: dict[str, Any]) -> str | None:
    return "a" if row["label"] == "a" else None


def says_b(row: dict[str, Any]) -> str | None:
    return "b" if row["label"] == "b" else None


def doubled(batch: pa.RecordBatch) -> pa.RecordBatch:
    place = batch.schema.get_field_index("charge")
    return batch.set_column(place, "charge", batch["charge"].cast(pa.float64()))


def labels() -> Any:
    Path("sheet.csv").write_text("id,label\ni0,a\ni1,b\n")
    return prepare.labels([hr.File("sheet.csv")], GIVEN, key="id", into="said")


def checked() -> Any:
    label = ingest.Column(allowed=("a",), otherwise="quarantine")
    return ingest.check(GIVEN, ingest.Contract(columns={"label": label}, most_quarantined=1))


def tokenized() -> Any:
    return prepare.tokenize(GIVEN, prepare.tokenizer(GIVEN, column="label", vocab_size=300), column="label")


class Ones:
    """A model that gives 1 for each row."""

    def predict(self, frame: pd.DataFrame) -> Any:
        return np.ones(len(frame))


def judged(judge: Any, **given: Any) -> Any:
    table = pa.Table.from_pandas(FRAME.assign(p=0.3, y=np.arange(ROWS) % 2, z=0.5))
    return judge(None, table, groups="day", slices=["label"], gates="", resamples=100, **given)


CALLS: dict[str, Callable[[], Any]] = {
    "prepare.clean": lambda: prepare.clean(GIVEN, RULES),
    "prepare.apply": lambda: prepare.apply(GIVEN, prepare.clean(GIVEN, RULES).preparation),
    "prepare.split": lambda: prepare.split(GIVEN, key="charge"),
    "prepare.transform": lambda: prepare.transform(GIVEN, steps=[doubled]),
    "prepare.label": lambda: prepare.label(GIVEN, functions=[says_a, says_b], into="weak"),
    "prepare.labels": labels,
    "prepare.tokenize": tokenized,
    "ingest.check": checked,
    "evaluate.classification": lambda: judged(evaluate.classification, target="y", scores="p"),
    "evaluate.regression": lambda: judged(evaluate.regression, target="z", scores="p"),
    "evaluate.generation": lambda: judged(evaluate.generation, references="label", texts="day"),
    "deploy.batch": lambda: deploy.batch(Ones(), GIVEN, keep=["charge", "many", "at"], part_rows=7),
    "deploy.batch.parquet": lambda: deploy.batch(Ones(), GIVEN, keep=["id", "at"], to="out.parquet"),
    "deploy.batch.table": lambda: deploy.batch(Ones(), GIVEN, to="sqlite:///out.db", table="t", key=["charge", "id"]),
}
"""A call of each ready-made stage that makes tables from a table."""


def tables_in(value: Any) -> Iterator[pa.Table]:
    if isinstance(value, pa.Table):
        yield value
    elif isinstance(value, tuple):
        for each in value:
            yield from tables_in(each)


def tell_the_truth(made: pa.Table, given: pa.Table) -> None:
    """Assert that pandas gets what Arrow has, wherever a column isn't as it was given."""
    frame, plain = made.to_pandas(), made.to_pandas(ignore_metadata=True)
    told = json.loads((made.schema.metadata or {}).get(b"pandas", b'{"columns": [], "index_columns": []}'))
    for name in told["index_columns"]:
        assert isinstance(name, dict) or name in made.column_names
    assert {each["field_name"] for each in told["columns"]} <= {*made.column_names}
    for field in made.schema:
        is_new = field.name not in given.column_names or given.schema.field(field.name).type != field.type
        if field.name in frame.columns and is_new:
            assert frame[field.name].dtype == plain[field.name].dtype, field.name


@pytest.mark.parametrize("name", CALLS)
def test_what_a_table_says_for_pandas_holds_after_each_ready_made_stage(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = list(tables_in(CALLS[name]()))
    assert found
    for table in found:
        tell_the_truth(table, GIVEN)


def test_labels_of_columns_that_are_whole_numbers_stay_while_all_columns_have_one() -> None:
    given = pa.Table.from_pandas(pd.DataFrame({0: ["1"], 1: ["2"]}))
    numbers = prepare.clean(given, [prepare.Numbers(columns="0")])
    assert numbers.table.to_pandas().columns.tolist() == [0, 1]
    assert numbers.quarantine.to_pandas().columns.tolist() == ["0", "1", "row", "broken_rules"]


def test_what_a_user_says_of_a_table_stays_and_what_no_one_can_read_goes() -> None:
    own = GIVEN.replace_schema_metadata({**GIVEN.schema.metadata, b"source": b"till 7"})
    assert prepare.clean(own, RULES).table.schema.metadata[b"source"] == b"till 7"
    assert described(own, own).schema.metadata == own.schema.metadata
    broken = GIVEN.replace_schema_metadata({b"pandas": b"[1]", b"source": b"till 7"})
    assert prepare.clean(broken, RULES).table.schema.metadata == {b"source": b"till 7"}


def lying(table: pa.Table) -> pa.Table:
    """The table, whose metadata has pandas make texts of all its columns, and an index of one of them."""
    texts = pd.DataFrame({name: ["text"] for name in table.column_names}).set_index("z")
    return table.replace_schema_metadata(pa.Table.from_pandas(texts).schema.metadata)


def test_arrow_says_what_a_model_learns_from_and_is_judged_on_whatever_metadata_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    x, z = random.normal(size=(2, 400))
    honest = pa.table({"x": x, "z": z, "y": (x + z > 0).astype(int)})
    tables = (honest, lying(honest))
    assert tables[1].to_pandas().dtypes.astype(str).tolist() == ["str", "str"]

    params = {"objective": "binary", "verbosity": -1, "num_threads": 1}
    boosted = [train.lightgbm(params, each, target="y", num_boost_round=5).model for each in tables]
    assert boosted[0].model_to_string() == boosted[1].model_to_string()
    fitted = [train.sklearn(LogisticRegression(), each, target="y").model for each in tables]
    assert fitted[0].coef_.tobytes() == fitted[1].coef_.tobytes()
    for model in (boosted[0], fitted[0]):
        found = [evaluate.classification(model, each, target="y", resamples=100) for each in tables]
        assert found[0].metrics == found[1].metrics
        assert found[0].predictions.equals(found[1].predictions)


@pytest.mark.parametrize(
    ("no", "yes", "kind"),
    [
        (0, 1, pa.int64()),
        (0, 1, pa.int8()),
        (0.0, 1.0, pa.float64()),
        (0.5, 1.5, pa.float64()),
        (False, True, pa.bool_()),
        ("no", "yes", pa.string()),
        ("no", "yes", pa.large_string()),
        ("no", "yes", pa.string_view()),
        ("no", "yes", pa.dictionary(pa.int32(), pa.string())),
        (1, 2, pa.dictionary(pa.int32(), pa.int64())),
        (date(2026, 1, 1), date(2026, 1, 2), pa.date32()),
        (Decimal("0.5"), Decimal("1.5"), pa.decimal128(4, 1)),
    ],
)
def test_what_a_classifier_decided_can_be_compared_with_the_target(
    no: Any, yes: Any, kind: pa.DataType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table = pa.table({"y": pa.array([no, yes] * 20, kind), "p": [0.1, 0.8, 0.7, 0.9] * 10})
    found = evaluate.classification(None, table, target="y", scores="p", gates="", resamples=100)
    frame = found.predictions.to_pandas()
    assert (frame.y == frame.predicted).mean() == found.metrics["accuracy"] == 0.75
    if not pa.types.is_dictionary(kind) and not pa.types.is_floating(kind):
        assert found.predictions["predicted"].type == kind

    said = found.predictions["predicted"].to_pylist()
    before = found.predictions.set_column(3, "predicted", pa.array([str(each) for each in said]))
    assert found.predictions.column_names[3] == "predicted"
    both = evaluate.paired(before, found.predictions, target="y", resamples=100).differences.to_pylist()
    assert {row["metric"]: row["difference"] for row in both}["accuracy"] == 0


def test_one_class_against_the_rest_is_told_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    table = pa.table({"y": [1, 2, 3] * 10, "p": [0.1, 0.8, 0.3] * 10})
    found = evaluate.classification(None, table, target="y", scores="p", positive=2, gates="", resamples=100)
    assert found.predictions["predicted"].to_pylist() == ["not 2", "2", "not 2"] * 10


class Guess:
    """A model that only decides: for each class in turn."""

    def __init__(self, classes: tuple[Any, ...]) -> None:
        self.classes_ = list(classes)

    def predict(self, frame: Any) -> Any:
        return np.resize(self.classes_, len(frame))


@pytest.mark.parametrize("classes", [(0, 1), (False, True), (0.0, 1.0), (1, 2, 3)])
def test_decisions_alone_are_paired_as_classes_though_they_are_numbers(
    classes: tuple[Any, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table = pa.table({"y": list(classes) * 20, "x": np.arange(20 * len(classes)) * 1.0})
    model = Guess(classes)
    found = evaluate.classification(model, table, target="y", features=["x"], gates="", resamples=100).predictions
    assert not [name for name in found.column_names if name.startswith("score")]
    metrics = evaluate.paired(found, found, target="y", resamples=100).differences["metric"].to_pylist()
    assert "accuracy" in metrics
