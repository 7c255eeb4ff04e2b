"""What endpoints answered is listed and written, whether it is sealed or still on this host."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from msgspec.structs import replace

import headrace as hr
from headrace.errors import HeadraceError, NotFoundError, UsageError
from headrace.inspect.endpoints.predictions import prediction_log
from headrace.operate.endpoints.sealing import seal_apart, seal_predictions
from headrace.project import project
from headrace.serve.predictions.prediction import Answered
from headrace.serve.predictions.writer import Settled
from headrace.stages import ingest
from tests.cli.conftest import Shell
from tests.serve.predictions.checker import check, in_file
from tests.serve.predictions.samples import answered

PATIENCE_S = 60.0
WATCH = """
import os

import pyarrow as pa

import headrace as hr
from headrace.stages import ingest


@hr.stage(kind="monitor")
def answers(rows: pa.Table) -> list[int]:
    return [each["predicted"] for each in rows["output"].to_pylist()]


@hr.stage
def kept(found: list[int]) -> list[int]:
    assert "TROUBLE" not in os.environ
    return found


@hr.pipeline
def watch(endpoint: str = "delays") -> None:
    kept(answers(ingest.predictions(endpoint)))


@hr.pipeline
def look_in_body() -> None:
    kept([hr.predictions("delays").num_rows])


@hr.pipeline
def wrong_cursor() -> None:
    answers(ingest.predictions("delays", cursor="other"))


@hr.stage
def set_other(at: hr.Cursor) -> None:
    hr.advance(at, "yesterday")


@hr.pipeline
def other() -> None:
    set_other(hr.cursor("other"))
"""


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
        "labels": 0, "batches": 0, "batch_rows": 0,
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


def test_a_process_of_its_own_seals_and_says_what_kept_it_from_that(shell: Shell) -> None:
    seal_apart(project.load())
    acknowledged = log(*(answered(number) for number in range(30)))
    (store := project.load().home / "store").write_text("no folder")
    with pytest.raises(HeadraceError, match="store"):
        seal_apart(project.load())
    store.unlink()
    seal_apart(project.load())
    assert shell("predictions", "--json").json["endpoints"][0]["parts"] == 1
    shell("predictions", "delays", "--to", "delays.parquet")
    check(acknowledged, in_file(shell.folder / "delays.parquet"))


def test_sealing_that_does_not_end_is_stopped_and_says_what_it_waits_for(shell: Shell) -> None:
    log(answered())
    with pytest.raises(
        HeadraceError, match=r"didn't end within 0.01 s, so it was stopped: the store `.+` or the ledger"
    ):
        seal_apart(project.load(), limit_s=0.01)
    seal_apart(project.load())
    assert shell("predictions", "--json").json["endpoints"][0]["parts"] == 1


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


def watched(shell: Shell, *words: str, code: int = 0, **environment: str) -> list[int]:
    """Run a pipeline that watches the endpoint, and return what its last stage got."""
    done = shell(*words, "--json", HEADRACE__RUN__VARIABLES='["TROUBLE"]', **environment)
    assert done.code == code, done.out + done.err
    if code:
        return []
    assert shell("get", done.json["run"], "kept", "--to", "kept.json").code == 0
    found: list[int] = json.loads((shell.folder / "kept.json").read_text())
    (shell.folder / "kept.json").unlink()
    return found


def seal(*numbers: int) -> None:
    log(*(answered(number) for number in numbers))
    seal_predictions(project.load())


def test_a_pipeline_reads_each_sealed_prediction_once_also_if_a_run_fails_in_between(shell: Shell) -> None:
    shell.write("pipelines.py", WATCH)
    assert watched(shell, "run", "watch") == []
    assert "has no sealed predictions yet" in shell("show", "latest").out
    seal(1, 2)
    log(answered(9))  # which isn't sealed
    assert watched(shell, "run", "watch", code=1, TROUBLE="yes") == []
    seal(3)  # and 9 with it
    assert watched(shell, "resume", "latest") == [1, 2], "a run goes on with what it has read"
    assert sorted(watched(shell, "run", "watch")) == [3, 9]
    assert watched(shell, "run", "watch") == []
    seal(4, 5)
    assert watched(shell, "run", "watch") == [4, 5]
    assert shell("rewind", "predictions/delays", "--to", "1").code == 0
    assert sorted(watched(shell, "run", "watch")) == [3, 4, 5, 9]
    assert shell("rewind", "predictions/delays").code == 0
    assert sorted(watched(shell, "run", "watch")) == [1, 2, 3, 4, 5, 9]


def test_the_rows_of_a_pipeline_are_the_parts_themselves(shell: Shell) -> None:
    shell.write("pipelines.py", WATCH)
    for number in range(5):
        seal(*range(100 * number, 100 * number + 100))
    store = shell.folder / ".headrace" / "store"
    before = sum(path.stat().st_size for path in store.rglob("*") if path.is_file())
    assert len(watched(shell, "run", "watch")) == 500
    after = sum(path.stat().st_size for path in store.rglob("*") if path.is_file())
    ((outputs,),) = [
        task["outputs"] for task in shell("show", "latest", "--json").json["tasks"] if task["name"] == "predictions"
    ]
    assert after - before < outputs["bytes"] / 2, (after - before, outputs)


def test_parts_with_other_columns_are_read_as_one_table(shell: Shell) -> None:
    shell.write("pipelines.py", WATCH)
    seal(1)
    log(replace(answered(2, given=b'[{"x": 1, "more": "text"}]')))
    seal_predictions(project.load())
    assert watched(shell, "run", "watch") == [1, 2]


@pytest.mark.parametrize(
    ("pipeline", "told"),
    [
        ("look_in_body", "`hr.predictions` was called in a pipeline or a stage"),
        ("wrong_cursor", "cursor `other` holds 'yesterday', which isn't the number of a part of a prediction log"),
    ],
)
def test_predictions_that_would_be_in_no_key_or_at_no_number_are_refused(
    shell: Shell, pipeline: str, told: str
) -> None:
    shell.write("pipelines.py", WATCH)
    seal(1)
    assert shell("run", "other").code == 0
    done = shell("run", pipeline)
    assert (done.code, told in done.err) == (2, True), done.err


def test_a_program_gets_all_predictions_as_a_table(shell: Shell) -> None:
    del shell
    seal(1, 2)
    log(answered(3))
    assert [each["predicted"] for each in hr.predictions("delays")["output"].to_pylist()] == [1, 2, 3]
    assert hr.predictions("delays", since=datetime.fromtimestamp(1_002.0, UTC)).num_rows == 2
    assert hr.predictions("delays", since="1970-01-02T12:00:00").num_rows == 0
    assert hr.predictions("delays", since="1969-12-30").num_rows == 3
    with pytest.raises(UsageError, match="`since` is 'soon', which is not a date or time"):
        hr.predictions("delays", since="soon")
    with pytest.raises(NotFoundError, match="there is no prediction of an endpoint `delay`"):
        hr.predictions("delay")
    with pytest.raises(UsageError, match="new since the last run, so it can only be called in a pipeline"):
        ingest.predictions("delays")


def test_what_was_sealed_is_in_the_store_and_outlives_the_collector(shell: Shell) -> None:
    log(answered())
    seal_predictions(project.load())
    assert shell("gc", "--keep", "1s").code == 0
    assert shell("fsck", "--deep").code == 0
    assert len(shell("predictions", "delays", "--json").json["predictions"]) == 1


def test_a_segment_whose_sealer_died_before_it_dropped_it_counts_once(shell: Shell) -> None:
    log(answered(1), answered(2))
    folder = shell.folder / ".headrace" / "predictions"
    shutil.copytree(folder, shell.folder / "kept")
    assert seal_predictions(project.load()) == 2
    shutil.rmtree(folder)
    (shell.folder / "kept").rename(folder)
    (delays,) = shell("predictions", "--json").json["endpoints"]
    assert (delays["predictions"], delays["unsealed"]) == (2, 0)
    assert len(shell("predictions", "delays", "--json").json["predictions"]) == 2
    seal_predictions(project.load())
    assert shell("predictions", "--json").json["endpoints"] == [delays]


def test_a_backup_says_how_many_predictions_are_not_in_it(shell: Shell) -> None:
    log(answered(1), answered(2))
    told = "not in this backup: 2 predictions in the log on this host, not sealed yet"
    assert told in shell("backup", "copies").err
    seal_predictions(project.load())
    assert "not in this backup" not in shell("backup", "copies").err
