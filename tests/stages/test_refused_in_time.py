"""What a call alone tells to be wrong is refused while the pipeline is traced; what may be right is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import headrace as hr
from headrace.define.ports import tracing
from headrace.define.trace import Trace
from headrace.errors import EdgeTypeError, UsageError
from headrace.spec.stage import Stage
from headrace.stages import evaluate, ingest, prepare, train


@hr.stage
def rows() -> pa.Table:
    return pa.table({"y": [1]})


@hr.stage
def made() -> Any:
    return None


class Keeps:
    """What a trace asks its surroundings, which keep nothing."""

    def declare(self, stage: Stage, function: Callable[..., Any]) -> Stage:
        return stage

    def keep(self, value: Any) -> Any:
        return value


@pytest.fixture(autouse=True)
def _traced() -> Iterator[None]:
    token = tracing.set(Trace(Keeps()))  # type: ignore[arg-type]
    yield
    tracing.reset(token)


def judge(**options: Any) -> Callable[[], Any]:
    return lambda: evaluate.classification(made(), rows(), **options)


def grade(**options: Any) -> Callable[[], Any]:
    return lambda: evaluate.regression(made(), rows(), **options)


def read(**options: Any) -> Callable[[], Any]:
    return lambda: evaluate.generation(made(), rows(), **{"references": "r", "texts": "t", **options})


def split(**options: Any) -> Callable[[], Any]:
    return lambda: prepare.split(rows(), **options)


def clean(*rules: Any) -> Callable[[], Any]:
    return lambda: prepare.clean(rows(), list(rules))


def boost(params: Any = (), **options: Any) -> Callable[[], Any]:
    return lambda: train.lightgbm(dict(params), rows(), target="y", **options)


def transform(**options: Any) -> Callable[[], Any]:
    return lambda: prepare.transform(rows(), **options)


WRONG = [
    (judge(gates="recall difference <= 0.1"), "compares groups of people, and none are given", 'sensitive=["sex"]'),
    (judge(gates="TPR ratio by age >= 0.8"), "compares groups of people", 'sensitive=["age"]'),
    (judge(gates="FPR difference by sx <= 0.1", sensitive=["sex", "age"]), "doesn't name", "`sex`, `age`, `sex x age`"),
    (judge(gates="recal difference <= 0.1", sensitive="sex"), "doesn't measure", "`recall difference`"),
    (judge(gates="worst-slice gap <= 0.1"), "compares slices, and none are given", "slices="),
    (judge(gates="worst-slice gap of F1 <= 0.1"), "compares slices", "slices="),
    (judge(gates="rows seen in training <= 0"), "aren't given", "`train=`"),
    (judge(gates="log loss <= 0.4", probabilities=False), "but `probabilities=False`", "ask for AUC"),
    (judge(gates="AUC >= 90"), "can never hold: `AUC` is between 0 and 1", "0.9, or 90%"),
    (judge(gates="AUC > 0.6 or recall difference <= 5", sensitive="sex"), "always holds", "0.9, or 90%"),
    (judge(gates="AUC >= previous or AUC > 0.6"), "a previous model, and none is given", "`registry.find`"),
    (grade(gates="MAE less previous <= 0.5"), "a previous model, and none is given", "`previous=...`"),
    (read(gates="chrF > previous or BLEU >= 30"), "a previous model, and none is given", "`previous=...`"),
    (
        judge(gates="AUC less previous >= -2", previous=3),
        "always holds: `AUC less previous` is between",
        "90%",
    ),
    (judge(threshold="valid:f9"), "can't be read", "f1, youden"),
    (judge(threshold="1.5"), "can't be read", "`threshold=1.5`, without quotes"),
    (judge(threshold="valid:rate"), "can't be read", "`valid:rate=0.5`"),
    (judge(threshold="valid:recall=120%"), "more than 100%", "share"),
    (judge(threshold="valid:f1"), "needs validation rows", "`valid=`"),
    (judge(threshold="train:f1"), "would be chosen on the rows", "valid="),
    (judge(confidence=95.0), "`confidence=95.0`", "0.95"),
    (judge(resamples=10), "`resamples=10`", "100"),
    (judge(min_group=1), "`min_group=1`", "30"),
    (judge(seed=-1), "`seed=-1`", "from 0"),
    (lambda: evaluate.classification(None, rows()), "nothing to judge", "`scores=`"),
    (grade(gates="MAE >= -1"), "always holds: `MAE` is no less than 0", "correct"),
    (grade(gates="MAE <= 5%"), "written with a percentage, and `MAE` isn't a share", "write the number itself"),
    (grade(gates="MAE < baseline and worst-slice gap <= 5%", slices="region"), "isn't a share", "the number itself"),
    (grade(gates="rows without a target <= 1%"), "isn't a share", "the number itself"),
    (grade(gates="R2 >= 1.1"), "can never hold: `R2` is no more than 1", "0.9"),
    (grade(gates="MAE difference by sex <= 3"), "none are given", 'sensitive=["sex"]'),
    (grade(gates="MAE difference <= 3", sensitive="sex"), "doesn't measure", "`MAE difference by sex`"),
    (grade(resamples=10), "`resamples=10`", "100"),
    (lambda: evaluate.regression(None, rows()), "nothing to judge", "`scores=`"),
    (read(gates="chrF > baseline"), "there is none", "baseline="),
    (read(gates="BLEU >= 101"), "between 0 and 100", "correct"),
    (read(texts=None), "nothing to judge", "`generate=`"),
    (lambda: evaluate.paired(rows(), rows(), target="y", confidence=2.0), "`confidence=2.0`", "0.95"),
    (lambda: evaluate.gate(made(), "AUC => 0.7"), "can't be read", "a rule reads"),
    (lambda: evaluate.gate(made(), "AUC > 0.7 and worst-slice gap of MAE <= 5%"), "isn't a share", "the number itself"),
    (lambda: evaluate.gate(made(), "RMSE less previous <= 5%"), "isn't a share", "the number itself"),
    (split(train=0.9), "add up to 1.1", "give `train`, `valid` and `test`"),
    (split(by="time"), "needs a column", 'time="..."'),
    (split(gap="7d"), "for a split by time", 'by="time"'),
    (split(by="time", time="t", until=("2024-03-01", "2024-02-01")), "in the wrong order", "`valid` begins"),
    (split(by="time", time="t", until=("2024-13-01",)), "which is not a time", "2013-10-01"),
    (split(by="time", time="t", gap="soon"), "soon", ""),
    (
        clean(prepare.Drop(where="amount >")),
        "the condition `amount >` of rule 1 drop can't be read: it ends too early",
        "price < 0",
    ),
    (clean(prepare.Drop(where="a b c")), "the condition `a b c` of rule 1 drop", "price < 0"),
    (clean(prepare.Drop(where="a); select (1")), "more than a condition", "`;`"),
    (clean(prepare.Trim(columns="a"), prepare.Dates(columns="a", formats=("%Q",))), "rule 2 dates on `a`", ""),
    (clean(prepare.Replace(columns="a", pattern="b", by="\\3")), "rule 1 replace on `a`", ""),
    (transform(), "nothing to do", "sql="),
    (transform(sql="select * form data"), "the SQL can't be run", "DuckDB"),
    (transform(sql="create table a as select 1"), "gives no rows", "select"),
    (transform(sql="select $day", parameters={"dya": 1}), "`$day`", "`$dya`"),
    (transform(steps=[len], batch_rows=0), "batch_rows=0", "1"),
    (lambda: prepare.tokenizer(rows(), vocab_size=100), "`vocab_size` is 100", "258"),
    (lambda: prepare.tokenizer(rows(), min_frequency=-1), "`min_frequency` is -1", "0"),
    (lambda: prepare.label(rows(), []), "needs labelling functions", "functions="),
    (lambda: prepare.label(rows(), [len], classes=["a", 1]), "`classes` are", "one kind"),
    (lambda: prepare.label(rows(), [len], classes=["a", "b"], balance=[0.5, 0.6]), "`balance`", "with a sum of 1"),
    (lambda: prepare.to_label(rows(), 0), "`n` is 0", "how many"),
    (lambda: prepare.to_label(rows(), 5, columns=["id"]), "`id`", "leave it out"),
    (lambda: prepare.labels([], rows(), classes=["a", "a"]), "twice", "once"),
    (boost(stopping_rounds=5), "no `valid`", "rows"),
    (boost(num_boost_round=0), "`num_boost_round` is 0", "from 1"),
    (boost({"objective": "lambdarank"}), "no `group`", "group="),
    (lambda: train.sklearn("tree", rows(), target="y"), "estimator", ""),
    (lambda: ingest.check(rows(), held("a <")), "the condition `a <` can't be read: it ends too early", "price < 0"),
    (lambda: evaluate.classification.map(made(), rows(), threshold=[0.5, "valid:f9"]), "'valid:f9'", "youden"),
]


def held(condition: str) -> ingest.Contract:
    return ingest.Contract(name="c", relations=(ingest.Relation(holds=condition),))


@pytest.mark.parametrize(("call", "told", "hint"), WRONG, ids=[told for _, told, _ in WRONG])
def test_what_a_call_tells_to_be_wrong_is_refused_before_anything_runs(
    call: Callable[[], Any], told: str, hint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        call()
    assert told in caught.value.message
    assert hint in (caught.value.hint or "")
    assert "test_refused_in_time.py:" in caught.value.message, "it says which call"


@pytest.mark.parametrize("form", ["rules", "contract"])
def test_conditions_in_a_file_that_is_there_are_read_in_time(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"{form}.toml"
    path.write_text(
        {"rules": '[[rules]]\ndo = "drop"\nwhere = "a >"\n', "contract": '[[relations]]\nholds = "a >"\n'}[form]
    )
    with pytest.raises(UsageError, match="the condition `a >`"):
        prepare.clean(rows(), hr.File(path)) if form == "rules" else ingest.check(rows(), hr.File(path))
    gone = hr.File(tmp_path / "gone.toml")  # only the driver may see it
    prepare.clean(rows(), gone) if form == "rules" else ingest.check(rows(), gone)


RIGHT = [
    judge(),
    judge(gates="recall difference <= 0.1 and TPR ratio by sex >= 0.8", sensitive=["sex"]),
    judge(gates="equalized odds difference by Sex x age <= 0.1", sensitive=["Sex", "age"]),
    judge(gates="worst-slice gap <= 0 and worst-slice gap of log loss <= 3", slices="town"),
    lambda: evaluate.classification(
        made(), rows(), gates="recall difference by a <= 0.1 and worst-slice gap <= 1", sensitive=made(), slices=made()
    ),
    lambda: evaluate.classification(made(), rows(), gates="recall difference by a <= 0.1", sensitive=[made()]),
    lambda: evaluate.classification(made(), rows(), gates="rows seen in training <= 0", train=rows()),
    lambda: evaluate.classification(made(), rows(), threshold="valid:rate=20%", valid=rows()),
    lambda: evaluate.classification(made(), rows(), threshold=made(), confidence=made(), resamples=made()),
    lambda: evaluate.classification(None, rows(), scores="p"),
    judge(gates="AUC >= 0 and AUC <= 1 and log loss <= 7 and Brier score <= 1.5 and AUC > previous", previous=3),
    judge(gates="rows >= 100 and rows without a target <= 10 and rows seen in validation <= 0"),
    grade(gates="R2 >= -3 and mean error >= -5 and MAE difference by sex <= 5", sensitive="sex"),
    grade(
        gates="MAPE <= 5% and R2 >= 70% and R2 less previous >= -1% and worst-slice gap of R2 <= 5%",
        slices="a",
        previous=3,
    ),
    judge(
        gates="AUC less previous >= -1% and recall difference <= 10% and Brier score <= 5%", sensitive="a", previous=3
    ),
    read(gates="chrF > baseline and empty texts <= 5", baseline="b"),
    read(gates="chrF > previous or BLEU >= 30", previous="p"),
    split(by="time", time="t", until=(date(2024, 2, 1), "2024-03-01"), gap="7d"),
    split(by="time", time="n", until=(3, 5.5), gap=1),
    clean(
        prepare.Drop(where="a > 1 -- all of these"),
        prepare.Numbers(columns="*"),
        prepare.Cast(columns="a", type="int8"),
    ),
    transform(sql="select * from nowhere where a = $a", parameters={"a": 1}),
    lambda: prepare.label(rows(), [len], classes=made(), balance=[0.5, 0.5]),
    lambda: train.lightgbm({"objective": "lambdarank"}, rows(), target="y", group="q", valid=rows(), stopping_rounds=3),
    lambda: evaluate.classification.map(made(), rows(), threshold=[0.5, 0.6]),
    lambda: ingest.check(rows(), held("a < b")),
]


@pytest.mark.parametrize("call", RIGHT)
def test_what_may_be_right_is_not_refused(call: Callable[[], Any]) -> None:
    call()


def test_an_argument_of_another_type_gets_a_hint_that_a_caller_can_follow() -> None:
    with pytest.raises(EdgeTypeError) as caught:
        prepare.clean(rows(), "trim")
    assert "`rules` of `clean` is 'trim' (" in caught.value.message
    assert len(caught.value.message) < 200
    assert "a `Replace` or a `Fill` or one of 10 more" in (caught.value.hint or "")
    with pytest.raises(EdgeTypeError) as caught:
        prepare.split({"a": [1]})
    assert caught.value.hint == "give a table: `pyarrow.table({...})` makes one"
    with pytest.raises(EdgeTypeError, match=r"^a part of `functions` of `label` is 'upper' \("):
        prepare.label(rows(), functions=[len, "upper"], classes=["a", "b"])
