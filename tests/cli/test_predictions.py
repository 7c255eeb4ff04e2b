"""What endpoints answered is listed and written, whether it is sealed or still on this host."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from msgspec.structs import replace

from headrace.inspect.endpoints.predictions import prediction_log
from headrace.operate.endpoints.sealing import seal_predictions
from headrace.project import project
from headrace.serve.predictions.prediction import Answered
from headrace.serve.predictions.writer import Settled
from tests.cli.conftest import Shell
from tests.serve.predictions.checker import check, in_file
from tests.serve.predictions.samples import answered

PATIENCE_S = 60.0


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A project without pipelines."""
    shell = Shell(tmp_path)
    shell.write("headrace.toml", "")
    shell.write("pipelines.py", "")
    monkeypatch.chdir(tmp_path)
    return shell


def log(*answers: Answered) -> set[str]:
    """Log answers of the project in the current folder, and close the segment. Return the ids of the predictions that
    are the first ones of their requests."""
    found, settled = prediction_log(project.load()), list[Settled]()
    writer = found.writer(settled.extend)
    for each in answers:
        writer.log(each, None)
    assert writer.close(PATIENCE_S)
    found.close()
    return {str(each.first) for each in settled}


def test_an_endpoint_has_what_is_sealed_and_what_is_not(shell: Shell) -> None:
    log(answered(0, count=2), replace(answered(1), endpoint="other"))
    assert seal_predictions(project.load()) == 3
    log(answered(2))
    (delays, other) = shell("predictions", "--json").json["endpoints"]
    assert delays == {
        "endpoint": "delays", "predictions": 2, "parts": 1, "first": 1_000.0, "last": 1_000.0, "unsealed": 1,
        "labels": 0,
    }  # fmt: skip
    assert (other["predictions"], other["unsealed"]) == (1, 0)
    found = shell("predictions", "delays", "--json").json["predictions"]
    assert [each["output"] for each in found] == [{"predicted": 0}, {"predicted": 0}, {"predicted": 2}]
    assert "not yet sealed" in shell("predictions").out
    assert '{"predicted": 2}' in shell("predictions", "delays").out


def test_all_predictions_are_written_to_a_file_with_a_type_for_each_column(shell: Shell) -> None:
    acknowledged = log(*(answered(number) for number in range(30)))
    assert seal_predictions(project.load()) == 30
    done = shell("predictions", "delays", "--to", "delays.parquet")
    assert (done.code, done.out.strip()) == (0, "delays.parquet")
    check(acknowledged, in_file(shell.folder / "delays.parquet"))
    table = pyarrow.parquet.read_table(shell.folder / "delays.parquet")
    assert [each["predicted"] for each in table.column("output").to_pylist()] == list(range(30))
    assert table.schema.field("at").type == pa.timestamp("us", "UTC")
    assert "these are the last 20 of 30" in shell("predictions", "delays").err
    since = datetime.fromtimestamp(1_025.0, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    assert len(shell("predictions", "delays", "--since", since, "--json").json["predictions"]) == 5
    assert shell("predictions", "delays", "--since", "2100-01-01", "--json").json["predictions"] == []


def test_an_endpoint_that_has_not_answered_is_told_with_the_nearest(shell: Shell) -> None:
    assert "there is no prediction yet" in shell("predictions").err
    log(answered())
    done = shell("predictions", "delay")
    assert (done.code, done.err.splitlines()) == (
        2,
        ["error: there is no prediction of an endpoint `delay`", "hint: did you mean `delays`?"],
    )
    assert "are about one endpoint" in shell("predictions", "--to", "all.parquet").err
    assert json.loads(shell("predictions", "delays", "--json").out)["predictions"][0]["version"] == "delays:3"


def test_what_was_sealed_is_in_the_store_and_outlives_the_collector(shell: Shell) -> None:
    log(answered())
    seal_predictions(project.load())
    assert shell("gc", "--keep", "1s").code == 0
    assert shell("fsck", "--deep").code == 0
    assert len(shell("predictions", "delays", "--json").json["predictions"]) == 1
