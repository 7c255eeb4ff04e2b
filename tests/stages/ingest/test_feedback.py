"""A pipeline records what really came of predictions, once, however often its tasks are tried."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from msgspec.structs import replace

from headrace.errors import DataError, UsageError
from headrace.operate.endpoints.sealing import seal_predictions
from headrace.project import project
from headrace.serve.predictions.prediction import Answered
from headrace.stages import ingest
from tests.cli.conftest import Shell
from tests.cli.test_labels import labels_of, log, sources
from tests.serve.predictions.samples import answered

PIPELINES = """
import json
import os
from pathlib import Path

import pyarrow as pa

import headrace as hr
from headrace.stages import deploy, ingest


@hr.stage(kind="ingest", cache=False)
def bills(labels: str) -> pa.Table:
    rows = json.loads(labels)
    return pa.table({"prediction_id": list(rows), "actual": list(rows.values())})


@hr.pipeline
def nightly(labels: str, source: str = "billing") -> None:
    ingest.feedback(bills(labels), "delays", id="prediction_id", label="actual", source=source)


@hr.stage(kind="ingest", retries=2, cache=False)
def unsteady(table: pa.Table) -> int:
    recorded = ingest.feedback(table, "delays", id="prediction_id", label="actual")
    if hr.attempt().number < 3:
        raise ValueError("not yet")
    return recorded.labels


@hr.pipeline
def retried(labels: str) -> None:
    unsteady(bills(labels))


@hr.stage
def both(labels: str) -> int:
    parts = [{each: label} for each, label in json.loads(labels).items()]
    tables = (pa.table({"id": list(part), "label": list(part.values())}) for part in parts)
    return sum(ingest.feedback(table, "delays").labels for table in tables)


@hr.pipeline
def separately(labels: str, flag: str) -> None:
    later(both(labels), flag)


@hr.stage
def later(recorded: object, flag: str) -> None:
    if not Path(flag).exists():
        raise ValueError("not yet")


@hr.pipeline
def resumed(labels: str, flag: str) -> None:
    later(ingest.feedback(bills(labels), "delays", id="prediction_id", label="actual"), flag)


@hr.stage(kind="train")
def fit() -> dict:
    return {"depth": 1}


@hr.pipeline
def release() -> None:
    deploy.endpoint(fit(), "delays", signature=pa.table({"x": [1.0]}), key="tenant", time="day")


@hr.pipeline
def by_key(rows: str, within: str | None = None) -> None:
    ingest.feedback(paid(rows), "delays", key="whom", time="due", within=within, label="actual")


@hr.stage(kind="ingest", cache=False)
def paid(rows: str) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(("whom", "due", "actual"), row)) for row in json.loads(rows)])


@hr.pipeline
def key_alone() -> None:
    ingest.feedback(bills("{}"), "delays", key="whom")


@hr.pipeline
def key_and_id() -> None:
    ingest.feedback(bills("{}"), "delays", id="prediction_id", key="whom", time="due")


@hr.pipeline
def within_alone() -> None:
    ingest.feedback(bills("{}"), "delays", within="2d")


@hr.pipeline
def wrong_within() -> None:
    ingest.feedback(bills("{}"), "delays", key="whom", time="due", within="soon")


@hr.pipeline
def wrong_endpoint() -> None:
    ingest.feedback(bills("{}"), "team/delays")


@hr.pipeline
def wrong_source() -> None:
    ingest.feedback(bills("{}"), "delays", source="a b")
"""


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A project whose pipelines record labels."""
    shell = Shell(tmp_path)
    shell.write("headrace.toml", "")
    shell.write("pipelines.py", PIPELINES)
    monkeypatch.chdir(tmp_path)
    return shell


def test_a_pipeline_records_labels_and_leaves_out_rows_without_one(shell: Shell) -> None:
    one, two, three = log(*(answered(number) for number in range(3)))
    done = shell("run", "nightly", "--labels", json.dumps({one: "late", two: None, three: "early"}), "--json")
    assert done.code == 0, done
    assert labels_of(shell) == [("late", "billing"), (None, None), ("early", "billing")]
    assert shell("run", "nightly", "--labels", json.dumps({one: "early"}), "--source", "people").code == 0
    assert labels_of(shell) == [("early", "people"), (None, None), ("early", "billing")]
    assert sources(shell)["billing"] == {"recorded": 2, "counting": 1, "corrected": 1}
    shell("withdraw", "delays", "people", "--why", "they guessed")
    assert labels_of(shell) == [("late", "billing"), (None, None), ("early", "billing")]


def test_the_labels_of_a_task_are_recorded_once_however_often_it_is_tried(shell: Shell) -> None:
    (one,) = log(answered(0))
    done = shell("run", "retried", "--labels", json.dumps({one: 1}), "--json")
    assert done.json["tasks"][-1]["attempts"] == 3, done
    assert sources(shell) == {"feedback": {"recorded": 1, "counting": 1}}


def test_the_labels_of_a_task_are_recorded_once_however_often_its_run_is_resumed(shell: Shell) -> None:
    (one,) = log(answered(0))
    flag = shell.folder / "flag"
    assert shell("run", "resumed", "--labels", json.dumps({one: 1}), "--flag", str(flag)).code == 1
    assert shell("resume", "latest").code == 1
    flag.touch()
    assert shell("resume", "latest").code == 0
    assert sources(shell) == {"feedback": {"recorded": 1, "counting": 1}}
    assert "no differences" in shell("replay", "latest").out


def test_a_task_that_records_labels_several_times_loses_none_and_replay_knows_each(shell: Shell) -> None:
    one, two, three = log(*(answered(number) for number in range(3)))
    flag = shell.folder / "flag"
    assert shell("run", "separately", "--labels", json.dumps({one: 1, two: 2, three: 3}), "--flag", str(flag)).code == 1
    flag.touch()
    assert shell("resume", "latest").code == 0
    expected = [(1, "feedback"), (2, "feedback"), (3, "feedback")]
    assert labels_of(shell) == expected
    assert "no differences" in shell("replay", "latest").out
    with closing(sqlite3.connect(shell.folder / ".headrace" / "ledger.db")) as db, db:
        db.execute("DELETE FROM label_parts WHERE segment = 1")
    found = shell("replay", "latest")
    assert found.code == 1
    assert found.out.count("labels delays: the row says none of this task") == 1
    shell("replay", "latest", "--repair")
    assert "no differences" in shell("replay", "latest").out
    assert labels_of(shell) == expected
    assert sources(shell) == {"feedback": {"recorded": 3, "counting": 3}}


def test_replay_misses_labels_that_were_lost_and_records_them_again(shell: Shell) -> None:
    (one,) = log(answered(0))
    shell("run", "nightly", "--labels", json.dumps({one: 1}))
    with closing(sqlite3.connect(shell.folder / ".headrace" / "ledger.db")) as db, db:
        db.execute("DELETE FROM label_parts")
    found = shell("replay", "latest")
    assert found.code == 1
    assert "labels delays: the row says none of this task, the events 1, " in found.out
    assert "its rows were written anew" in shell("replay", "latest", "--repair").err
    assert "no differences" in shell("replay", "latest").out
    assert labels_of(shell) == [(1, "billing")]


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ('{"mine": 1}', "1 values of `prediction_id` can't be used, such as `'mine'`"),
        ('{"mine": [1]}', "column `actual` is `list<item: int64>`"),
        ('{"0a1b2c3d4e5f-1-0-00000000000000ff": "' + "x" * 1_001 + '"}', "1 values of `actual` can't be used"),
        ('{"0a1b2c3d4e5f-1-0-00000000000000ff": Infinity}', "1 values of `actual` can't be used, such as `inf`"),
    ],
)
def test_labels_that_can_not_be_taken_fail_the_task_and_none_is_recorded(shell: Shell, labels: str, words: str) -> None:
    log(answered(0))
    done = shell("run", "nightly", "--labels", labels, "--json")
    assert done.code == 1
    assert words in done.json["tasks"][-1]["reason"]
    assert sources(shell) == {}


@pytest.mark.parametrize(
    ("pipeline", "words"),
    [
        ("wrong_endpoint", "an endpoint can't be called `team/delays`"),
        ("wrong_source", "no source can be called `a b`"),
        ("key_alone", "needs to know which predictions the labels are about"),
        ("key_and_id", "needs to know which predictions the labels are about"),
        ("within_alone", "`within` needs `key` and `time`"),
        ("wrong_within", "`within` is 'soon'"),
    ],
)
def test_a_wrong_name_is_told_before_anything_runs(shell: Shell, pipeline: str, words: str) -> None:
    done = shell("run", pipeline)
    assert (done.code, words in done.err) == (2, True), done.err


def about(number: int, tenant: object, day: object, **more: Any) -> Answered:
    """Return an answer about a tenant and a day."""
    given = json.dumps([{"x": 1.0, "tenant": tenant, "day": day}]).encode()
    return replace(answered(number, given=given), version="delays:1", **more)


def test_labels_by_key_and_time_go_to_the_last_prediction_of_that_time(shell: Shell) -> None:
    assert shell("run", "release").code == 0
    log(
        about(0, "A", "2026-01-01"),
        about(1, "A", "2026-01-03"),
        about(2, "B", "2026-01-01T12:00:00+02:00"),
        about(3, "A", "2026-01-03"),
        about(4, "A", "2026-01-03", variant="shadow"),
    )
    rows = [["A", "2026-01-03", 1], ["A", "2026-01-04", 2], ["B", "2026-01-01T10:00:00", 3], ["C", "2026-01-01", 4]]
    assert shell("run", "by_key", "--rows", json.dumps(rows)).code == 0
    labels = [label for label, _ in labels_of(shell)]
    assert labels == [None, None, 3, 1, None]
    assert sources(shell) == {"feedback": {"recorded": 4, "counting": 2, "unknown": 2}}
    seal_predictions(project.load())
    assert shell("run", "by_key", "--rows", json.dumps(rows[1:2]), "--within", "1d").code == 0
    assert [label for label, _ in labels_of(shell)] == [None, None, 3, 2, None]
    assert sources(shell) == {"feedback": {"recorded": 5, "counting": 2, "corrected": 1, "unknown": 2}}
    shell("retire", "delays")
    assert [label for label, _ in labels_of(shell)] == [None, None, 3, 2, None]


def test_a_label_by_key_finds_a_prediction_that_comes_to_be_known_later(shell: Shell) -> None:
    assert shell("run", "release").code == 0
    assert shell("run", "by_key", "--rows", json.dumps([[17, "2026-01-01", "late"]])).code == 0
    assert sources(shell) == {"feedback": {"recorded": 1, "unknown": 1}}
    log(about(0, "17", "2026-01-01"))
    assert labels_of(shell) == [("late", "feedback")]


ID = "0a1b2c3d4e5f-1-0-00000000000000ff"


@pytest.mark.parametrize(
    ("labels", "count"),
    [
        (pa.array([1, None, 3], pa.uint64()), 2),
        (pa.array([1.5, float("nan"), None], pa.float32()), 1),
        (pa.array(["a", None, "b"]).dictionary_encode(), 2),
        (pa.array([True, None, False]), 2),
        (pa.nulls(3), 0),
    ],
    ids=lambda each: str(getattr(each, "type", each)),
)
def test_outside_of_a_run_it_checks_and_counts(labels: pa.Array, count: int) -> None:
    table = pa.table({"id": [ID] * 3, "label": labels})
    recorded = ingest.feedback(table, "delays")
    assert (recorded.labels, recorded.without_label, recorded.source) == (count, 3 - count, "feedback")


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"id": [ID], "label": [date(2026, 1, 1)]}, "column `label` is `date32"),
        ({"id": [1], "label": [1]}, "column `id` is `int64`"),
        ({"key": ["a"], "time": ["soon"], "label": [1]}, "1 values of `time` can't be used, such as `'soon'`"),
        ({"key": ["a"], "time": [7], "label": [1]}, "column `time` is `int64`"),
        ({"key": [[1]], "time": ["2026-01-01"], "label": [1]}, "column `key` is `list<item: int64>`"),
        ({"key": pa.nulls(1), "time": ["2026-01-01"], "label": [1]}, "1 values of `key` can't be used"),
        ({"id": pa.nulls(1), "label": [1]}, "1 values of `id` can't be used, such as `None`"),
        ({"id": [f"{ID}\n"], "label": [1]}, "1 values of `id` can't be used"),
    ],
)
def test_what_can_not_be_a_label_is_refused(columns: dict[str, Any], words: str) -> None:
    by_key = {name: name for name in ("key", "time") if name in columns}
    with pytest.raises(DataError, match=words):
        ingest.feedback(pa.table(columns), "delays", **by_key)


def test_a_missing_column_is_told_with_a_similar_one() -> None:
    with pytest.raises(UsageError, match="the table has no column `label`") as caught:
        ingest.feedback(pa.table({"id": [ID], "labels": [1]}), "delays")
    assert caught.value.hint == "did you mean `labels`?"
