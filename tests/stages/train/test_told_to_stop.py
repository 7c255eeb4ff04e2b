"""A training that is told to end before its own end says so, and nobody takes what it gives for the whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pytest

from headrace.define.attempt import Alone
from headrace.define.ports import running
from headrace.errors import DataError
from headrace.stages import train
from headrace.stages.train import callbacks
from tests.projects import Project, lent

torch = pytest.importorskip("torch")
TABLE = pa.table({"x": np.arange(80) / 80, "y": np.arange(80) % 2 == 0})
OPTIONS: dict[str, Any] = {"target": "y", "epochs": 4, "batch_size": 8, "lr": 0.01}


class Told(Alone):
    """An attempt that hears a word the n-th time that it asks, and notes what it says of itself."""

    cut = ""

    def __init__(self, at: int) -> None:
        self.left = at
        self.logged: list[tuple[str, int | None]] = []

    def log(self, name: str, value: object, step: int | None = None) -> None:
        self.logged.append((name, step))

    def told(self) -> Any:
        self.left -= 1
        return "stop" if self.left == 0 else None

    def shortened(self, why: str) -> None:
        self.cut = why

    def artifact(self, value: object) -> Any:
        return value


@contextmanager
def told(at: int) -> Iterator[Told]:
    here = Told(at)
    token = running.set(here)
    try:
        yield here
    finally:
        running.reset(token)


def net(inputs: int, outputs: int) -> Any:
    return torch.nn.Linear(inputs, outputs)


@pytest.mark.parametrize(
    ("step", "where"),
    [(3, "in epoch 1 of 4, with step 3"), (20, "after epoch 2 of 4, with step 20"), (39, "in epoch 4 of 4")],
)
def test_a_training_that_is_told_to_stop_says_where_it_ended(step: int, where: str) -> None:
    with told(step) as here:
        trained = train.torch(net, TABLE, **OPTIONS)
    assert f"it was told to stop, and stopped {where}" in here.cut
    assert trained.history["step"].to_pylist()[-1] == step
    [limit] = [each for each in trained.report.limits if "told" in each]
    assert where in limit
    assert not [each for each in trained.report.limits if "ended early" in each]


def test_one_that_is_told_so_with_its_last_step_is_whole() -> None:
    with told(40) as here:
        trained = train.torch(net, TABLE, **OPTIONS)
    assert here.cut == ""
    assert not [each for each in trained.report.limits if "told" in each]
    undisturbed = train.torch(net, TABLE, **OPTIONS)
    assert trained.report == undisturbed.report
    assert all(torch.equal(undisturbed.model.state[name], each) for name, each in trained.model.state.items())


def test_no_name_is_logged_twice_at_a_step() -> None:
    with told(0) as here:
        train.torch(net, TABLE, **OPTIONS, log_every=10)
    assert len(set(here.logged)) == len(here.logged)
    assert {("train/input_wait_s", 40), ("train/total_input_wait_s", 40)} < set(here.logged)


def test_callbacks_say_of_their_stage_that_it_was_cut_short() -> None:
    lightgbm = pytest.importorskip("lightgbm")
    with told(3) as here:
        data = lightgbm.Dataset(TABLE["x"].to_numpy().reshape(-1, 1), TABLE["y"].to_numpy())
        settings: dict[str, Any] = {"objective": "binary", "verbosity": -1}
        lightgbm.train(settings, data, 9, callbacks=[callbacks.lightgbm()])
    assert here.cut == "it was told to stop, and stopped after round 3 of 9"
    with told(9) as here:
        lightgbm.train(settings, data, 9, callbacks=[callbacks.lightgbm()])
    assert here.cut == ""
    with told(2) as here:
        done = callbacks.torch()
        assert [done(step) for step in (1, 2)] == [False, True]
    assert here.cut == "it was told to stop, and stopped after step 2"


@pytest.mark.parametrize("at", [1, 2, 7])
@pytest.mark.parametrize("options", [{}, {"valid": TABLE}, {"valid": TABLE, "stopping_rounds": 5}])
def test_boosting_that_is_told_to_stop_gives_the_trees_and_the_curve_so_far(at: int, options: dict[str, Any]) -> None:
    pytest.importorskip("lightgbm")
    with told(at) as here:
        boosted = train.lightgbm({"objective": "binary"}, TABLE, target="y", num_boost_round=9, **options)
    assert here.cut == f"it was told to stop, and stopped after round {at} of 9"
    name = f"{'valid' if options else 'train'}/binary_logloss"
    assert boosted.rounds == boosted.model.num_trees() == boosted.history.num_rows == at
    assert here.logged == [(name, each) for each in range(1, at + 1)]
    assert {fact.name: fact.value for fact in boosted.report.facts}[name] == boosted.history[name][-1].as_py()
    assert f"stopped after round {at} of 9: this is not the whole training" in boosted.report.limits[-1]


def test_boosting_that_is_told_to_stop_with_its_last_round_gives_the_best_one() -> None:
    pytest.importorskip("lightgbm")
    turned = TABLE.set_column(1, "y", pa.array(np.arange(80) % 3 == 0))  # on these each round is worse than the first
    options: dict[str, Any] = {"target": "y", "valid": turned, "num_boost_round": 9, "stopping_rounds": 20}
    with told(9) as here:
        boosted = train.lightgbm({"objective": "binary", "learning_rate": 0.9}, TABLE, **options)
    assert here.cut == ""
    assert boosted.rounds < boosted.history.num_rows == 9
    assert len(boosted.report.limits) == 1


def test_a_search_whose_trials_were_all_told_to_stop_says_so_and_what_tries_them_again() -> None:
    optuna = pytest.importorskip("optuna")

    def rate(trial: Any) -> float:
        trial.report(trial.suggest_float("rate", 0, 1), 0)
        if trial.number == 0 or trial.should_prune():
            raise optuna.TrialPruned
        return 1.0

    with told(1), pytest.raises(DataError, match="none of the 2 trials of `rate` gave a value; 1 of them had") as error:
        train.search(rate, trials=2)
    assert "such as trial 0 with rate=" in (error.value.hint or "")
    assert "a new run tries again the trials that were told to stop" in (error.value.hint or "")


PIPELINES = """
import os

import headrace as hr


@hr.stage(kind="train")
def fit(epochs: int) -> int:
    told = os.environ.get("TOLD")
    if told:
        hr.attempt().shortened(f"it was told to stop, and stopped after epoch {told} of {epochs}")
    return int(told or epochs)


@hr.stage
def judge(epochs: int) -> str:
    return f"{epochs} epochs"


@hr.pipeline
def short() -> None:
    judge(fit(5))
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with lent(tmp_path / "project") as project:
        project.write("pipelines.py", PIPELINES)
        yield project


State = Literal["succeeded", "reused"]


def test_what_was_cut_short_is_not_reused_and_the_record_says_why(project: Project) -> None:
    def run(fit: State, judge: State, reason: str) -> str:
        done = project.headrace("run", "short", "--json")
        assert done.code == 0, done.err
        assert (done.task["fit"]["state"], done.task["judge"]["state"]) == (fit, judge)
        assert reason in done.task["fit"]["reason"]
        return str(done.json["run"])

    project.environment["TOLD"] = "2"
    cut = run("succeeded", "succeeded", "not reusable: it was told to stop, and stopped after epoch 2 of 5")
    assert "stopped after epoch 2 of 5" in " ".join(project.headrace("show", cut).out.split())
    del project.environment["TOLD"]
    plan = project.headrace("plan", "short", "--json").json["tasks"]
    assert [task["decision"] for task in plan if task["name"] == "fit"] == ["run"]
    run("succeeded", "succeeded", "there is no stored output to reuse")  # another number, so it is judged anew
    run("reused", "reused", "nothing that determines it has changed")
