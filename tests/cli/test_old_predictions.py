"""`headrace gc` forgets the predictions that are older than their endpoint keeps them, and their labels."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from headrace.operate.endpoints.sealing import seal_predictions
from headrace.operate.upkeep.upkeep import Keep, collect
from headrace.project import project
from headrace.serve.predictions.log import PredictionLog
from tests.cli.conftest import Shell
from tests.cli.test_labels import feedback, log
from tests.cli.test_predictions import WATCH, watched
from tests.projects import wait_for
from tests.serve.predictions.samples import answered

SETTINGS = '[endpoint.delays]\nkeep = "90d"\n'
DAY_S = 86_400.0


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A project whose endpoint `delays` keeps predictions for 90 days, and whose other endpoints keep them forever."""
    shell = Shell(tmp_path)
    shell.write("headrace.toml", SETTINGS)
    shell.write("pipelines.py", WATCH)
    monkeypatch.chdir(tmp_path)
    return shell


def seal(number: int, *, days: float, endpoint: str = "delays", label: bool = False, count: int = 1) -> None:
    """Log predictions that are so many days old, and seal them as a part of their own; and a label as well."""
    at = time.time() - days * DAY_S
    (identity,) = log(replace(answered(number, count=count), at=at, endpoint=endpoint))
    if label:
        log(replace(feedback(at, {identity: number}), endpoint=endpoint))
    seal_predictions(project.load())


def shown(shell: Shell, endpoint: str = "delays") -> list[int]:
    done = shell("predictions", endpoint, "--json")
    assert done.code == 0, done.err
    return sorted({each["output"]["predicted"] for each in done.json["predictions"]})


def bytes_of(shell: Shell) -> int:
    files = (shell.folder / ".headrace" / "store").rglob("*")
    return sum(each.stat().st_size for each in files if each.is_file())


def test_parts_whose_newest_prediction_is_too_old_are_forgotten_and_the_others_stay(shell: Shell) -> None:
    seal(1, days=200, count=9_000)  # so many that they aren't in the ledger's row
    seal(2, days=91, label=True)
    seal(3, days=200, endpoint="other")
    seal(4, days=89, label=True)
    before = bytes_of(shell)
    dry = shell("gc", "--dry-run")
    assert "would forget 9,001 predictions and 1 label of endpoint `delays`" in dry.out
    assert (shown(shell), bytes_of(shell)) == ([1, 2, 4], before)
    told = shell("gc", "--dry-run", "--json").json
    done = shell("gc", "--json").json
    assert done["logs"] == [{"endpoint": "delays", "predictions": 9_001, "labels": 1, "parts": 3}] == told["logs"]
    assert (done["count"], done["bytes"]) == (told["count"], told["bytes"])
    assert [each["reason"] for each in done["reasons"]] == ["of a prediction log, and older than its endpoint keeps it"]
    assert before - bytes_of(shell) == done["bytes"] > 0
    assert (shown(shell), shown(shell, "other")) == ([4], [3])
    rows = shell("predictions", "delays", "--labels", "--json").json["predictions"]
    assert [each["label"] for each in rows] == [4]
    assert shell("fsck", "--deep").code == 0
    assert shell("gc", "--json").json["logs"] == []


def test_an_endpoint_may_keep_its_predictions_forever_whatever_serve_says(shell: Shell) -> None:
    shell.write("headrace.toml", '[serve]\nkeep = "90d"\n[endpoint.other]\nkeep = "forever"\n')
    seal(1, days=200)
    seal(2, days=200, endpoint="other")
    assert [each["endpoint"] for each in shell("gc", "--json").json["logs"]] == ["delays"]
    assert (shown(shell), shown(shell, "other")) == ([], [2])
    shell.write("headrace.toml", '[serve]\nkeep = "forever"\n[gc]\nkeep = "forever"\n')
    refused = shell("gc")
    assert (refused.code, "headrace.toml:4: `keep` is 'forever'" in refused.err) == (2, True), refused


def test_a_log_of_which_all_is_forgotten_goes_on_with_the_next_number(shell: Shell) -> None:
    seal(1, days=100, label=True)
    seal(2, days=95, label=True)
    assert watched(shell, "run", "watch") == [1, 2]
    assert shell("gc", "--json").json["logs"] == [{"endpoint": "delays", "predictions": 2, "labels": 2, "parts": 4}]
    assert shown(shell) == []
    assert watched(shell, "run", "watch") == []
    assert shell("fsck", "--deep").code == 0
    seal(3, days=1, label=True)
    assert watched(shell, "run", "watch") == [3], "its part has a number that the cursor hasn't passed"
    assert shell("gc").code == 0
    assert shown(shell) == [3]
    assert shell("rewind", "predictions/delays").code == 0
    assert watched(shell, "run", "watch") == [3]
    (row,) = shell("predictions", "delays", "--labels", "--json").json["predictions"]
    assert row["label"] == 3


def test_a_backup_and_an_archive_of_a_log_that_was_forgotten_in_part_are_whole(shell: Shell) -> None:
    shell.write("headrace.toml", SETTINGS + f'[backup]\nurl = "{shell.folder / "backups"}"\n')
    for number, days in enumerate([100, 95, 2, 1]):
        seal(number, days=days)
    assert shell("backup").code == 0
    assert shell("gc").code == 0
    for words in (("backup",), ("fsck", "--deep"), ("ledger", "export", "all.headrace")):
        done = shell(*words)
        assert done.code == 0, done.err
    assert shown(shell) == [2, 3]
    other = Shell(shell.folder / "other")
    other.folder.mkdir()
    other.write("headrace.toml", SETTINGS)
    done = other("ledger", "import", "../all.headrace")
    assert done.code == 0, done.err
    assert shown(other) == [2, 3]


def test_a_restore_and_an_import_say_which_forgotten_predictions_they_do_not_bring_back(shell: Shell) -> None:
    shell.write("headrace.toml", SETTINGS + f'[backup]\nurl = "{shell.folder / "backups"}"\n')
    seal(1, days=100, label=True, count=3)
    seal(2, days=1, label=True)
    for words in (("backup",), ("ledger", "export", "all.headrace")):
        assert shell(*words).code == 0
    told = "were not brought back: `headrace gc` has forgotten them in this project"
    assert told not in shell("restore", "--merge").err
    assert shell("gc").code == 0
    for words in (("restore", "--merge"), ("ledger", "import", "all.headrace")):
        done = shell(*words)
        assert (done.code, f"3 predictions and 1 label of endpoint `delays` {told}" in done.err) == (0, True), done.err
    found = shell("restore", "--merge", "--json").json["imported"]["forgotten"]
    assert found == [{"endpoint": "delays", "predictions": 3, "labels": 1, "parts": 2}]
    assert shown(shell) == [2]
    other = Shell(shell.folder / "other")
    other.folder.mkdir()
    other.write("headrace.toml", SETTINGS)
    assert told not in other("restore", str(shell.folder / "backups")).err
    assert shown(other) == [1, 2]


def test_a_segment_whose_sealer_was_killed_is_not_sealed_again_once_its_part_is_forgotten(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as killed:
        killed.setattr(PredictionLog, "drop", lambda *_: None)  # after the part is recorded, and before this
        seal(1, days=100)
        seal(2, days=1)
        (forgotten,) = collect(project.load(), Keep(), dry_run=False).logs
    assert forgotten.parts == 1
    assert seal_predictions(project.load()) > 0
    assert shown(shell) == [2]
    assert watched(shell, "run", "watch") == [2]


def test_predictions_that_no_server_has_sealed_are_forgotten_too(shell: Shell) -> None:
    for number, days in ((1, 200.0), (2, 1.0)):
        log(replace(answered(number), at=time.time() - days * DAY_S))
    assert shell("gc", "--dry-run", "--json").json["logs"] == []
    assert shown(shell) == [1, 2]
    assert shell("gc").code == 0
    assert shown(shell) == [2]


TELLS = """
import pyarrow as pa
import headrace as hr
from headrace.stages import ingest

@hr.stage(kind="ingest", cache=False)
def bills(paid: float) -> pa.Table:
    return pa.table({"prediction": ["0a1b2c3d4e5f-1-0-5f0c1b2a3d4e5f60"], "paid": [paid]})

@hr.pipeline
def nightly(paid: float = 0.0) -> None:
    ingest.feedback(bills(paid), "delays", id="prediction", label="paid", source="billing")
"""


def test_labels_that_runs_recorded_stay_forgotten_when_the_ledger_is_checked(shell: Shell) -> None:
    shell.write("headrace.toml", '[endpoint.delays]\nkeep = "1s"\n')
    shell.write("pipelines.py", TELLS)
    for paid in ("1", "2"):
        assert shell("run", "nightly", "--paid", paid).code == 0
    old = [{"endpoint": "delays", "predictions": 0, "labels": 2, "parts": 2}]
    wait_for(lambda: shell("gc", "--dry-run", "--json").json["logs"] == old)
    assert shell("gc", "--json").json["logs"] == old
    for words in (["--deep"], ["--deep", "--repair"]):
        assert (done := shell("fsck", *words)).code == 0, done.out
    assert shell("gc", "--json").json["logs"] == []
