"""`headrace stop`, on a real project."""

from __future__ import annotations

import json
import subprocess
import time

import pytest

from tests.cli.conftest import Shell
from tests.ledger.samples import open_ledger
from tests.projects import PATIENCE_S

PIPELINES = """
import time
from pathlib import Path

import headrace as hr


@hr.stage(kind="train")
def fit(epochs: int) -> int:
    here = hr.attempt()
    assert here.project is not None
    (here.project / "begun").touch()
    for epoch in range(1, epochs + 1):
        time.sleep(0.02)
        if here.told() == "stop":
            here.shortened(f"it was told to stop, and stopped after epoch {epoch} of {epochs}")
            return epoch
    return epochs


@hr.stage
def judge(epochs: int) -> int:
    return epochs


@hr.pipeline
def trains() -> None:
    judge(fit(100_000))
"""


def test_a_task_that_is_told_to_stop_gives_what_it_has_and_the_run_goes_on_with_that(empty: Shell) -> None:
    empty.write("headrace.toml", "")
    empty.write("pipelines.py", PIPELINES)
    with empty.start("run", "trains", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as run:
        patience = time.monotonic() + PATIENCE_S
        while not (empty.folder / "begun").exists():
            assert time.monotonic() < patience
            time.sleep(0.02)
        for words, message in (("judge", "isn't running: it is waiting"), ("fti", "has no task `fti`")):
            wrong = empty("stop", "latest", words)
            assert (wrong.code, message in wrong.err) == (2, True), wrong.err
        done = empty("stop", "latest", "fit")
        assert done.code == 0, done.err
        assert "was told to stop; it stops when its stage next checks for this, and goes on if the stage" in done.err
        _, said = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 0
    assert b"`fit` was told to stop by " in said
    assert b"note: `fit` is not reusable: it was told to stop, and stopped after epoch" in said
    shown = empty("show", "latest", "--json").json
    assert [task["state"] for task in shown["tasks"]] == ["succeeded", "succeeded"]
    assert "not reusable: it was told to stop, and stopped after epoch" in shown["tasks"][0]["reason"]
    late = empty("stop", "latest", "fit")
    assert (late.code, "isn't running: it has succeeded" in late.err) == (2, True), late.err


BOOSTING = """
import numpy as np
import pyarrow as pa

import headrace as hr
from headrace.stages import train


@hr.stage
def rows(seed: int) -> pa.Table:
    load = np.random.default_rng(seed).normal(size=400)
    return pa.table({"load": load, "fails": load > 0})


@hr.stage
def count(boosted: train.Boosted) -> list[int]:
    return [boosted.rounds, boosted.model.num_trees(), boosted.history.num_rows]


@hr.pipeline
def boosts(valid: bool = False) -> None:
    params = {"objective": "binary", "learning_rate": 0.0001}
    more = {"valid": rows(2), "stopping_rounds": 1_000_000} if valid else {}
    count(train.lightgbm(params, rows(1), target="fails", num_boost_round=1_000_000, **more))
"""


@pytest.mark.parametrize("valid", ["true", "false"])
@pytest.mark.parametrize("begun", ["running", "logging"])
def test_boosting_that_is_told_to_stop_gives_its_trees(empty: Shell, valid: str, begun: str) -> None:
    pytest.importorskip("lightgbm")
    empty.write("headrace.toml", "")
    empty.write("pipelines.py", BOOSTING)
    curve = f"{'valid' if valid == 'true' else 'train'}/binary_logloss"

    def ready() -> bool:
        if not (found := empty("runs", "--json").json["runs"]):
            return False
        tasks = {task["name"]: task for task in empty("show", found[0]["run"], "--json").json["tasks"]}
        task = tasks.get("lightgbm", {})
        return task.get("state") == "running" and (begun == "running" or curve in str(task))

    with empty.start("run", "boosts", "--valid", valid, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as run:
        patience = time.monotonic() + PATIENCE_S
        while not ready():
            assert run.poll() is None
            assert time.monotonic() < patience
        done = empty("stop", "latest", "lightgbm")
        assert done.code == 0, done.err
        _, said = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 0, said
    tasks = {task["name"]: task for task in empty("show", "latest", "--json").json["tasks"]}
    assert "not reusable: it was told to stop, and stopped after round" in tasks["lightgbm"]["reason"]
    assert empty("get", "latest", "count", "--to", "count.json").code == 0
    rounds, *same = json.loads((empty.folder / "count.json").read_text())
    assert same == [rounds, rounds]


def test_a_signal_of_a_newer_release_is_kept_and_told_and_one_beside_it_is_obeyed(empty: Shell) -> None:
    empty.write("headrace.toml", '[log]\nfile = "run.log"\n')
    empty.write("pipelines.py", PIPELINES)
    with empty.start("run", "trains", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as run:
        patience = time.monotonic() + PATIENCE_S
        while not (empty.folder / "begun").exists():
            assert time.monotonic() < patience
            time.sleep(0.02)
        (shown,) = empty("runs", "--json").json["runs"]
        with open_ledger(empty.folder / ".headrace") as ledger:
            ledger.signal(shown["run"], "pause", by="eve", body="until noon")
        assert empty("stop", "latest", "fit").code == 0
        _, said = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 0
    told = "the signal `pause` by eve is kept: this Headrace doesn't know it"
    assert told in said.decode()
    assert told in (empty.folder / "run.log").read_text()
    assert b"`fit` was told to stop by " in said
    assert "holds the signal `pause` by eve (" in empty("show").out
    (held,) = empty("show", "--json").json["held_signals"]
    assert (held["kind"], held["by"]) == ("pause", "eve")
