"""`train.search`, called as a plain function; its page runs it as a pipeline."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import optuna
import pytest

from headrace.errors import DataError, UsageError
from headrace.stages import train
from tests.projects import lent


def bowl(trial: optuna.Trial, centre: float) -> float:
    x = trial.suggest_float("x", -10, 10)
    kind = trial.suggest_categorical("kind", ["flat", "steep"])
    return (x - centre) ** 2 * (1.0 if kind == "flat" else 2.0)


def slow_start(trial: optuna.Trial) -> float:
    rate = trial.suggest_float("rate", 0, 1)
    for step in range(4):
        trial.report(rate * (step + 1), step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return rate


def nothing(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", 0, 1) * math.nan


def test_it_finds_what_is_best_and_says_which_trial_it_was() -> None:
    found = train.search(bowl, trials=30, parallel=3, centre=2.0)
    assert abs(found.params["x"] - 2) < 1.5
    assert found.trials.num_rows == 30
    assert found.trials["value"][found.number].as_py() == found.value == min(found.trials["value"].to_pylist())
    assert found.report.grids[1].title == "What mattered"
    assert found.report.drawings[0].svg.startswith("<?xml")


def test_the_same_seed_tries_the_same_and_more_trials_go_on_from_there() -> None:
    first = train.search(bowl, trials=6, parallel=2, seed=3, centre=0.0)
    again = train.search(bowl, trials=8, parallel=2, seed=3, centre=0.0)
    other = train.search(bowl, trials=6, parallel=2, seed=4, centre=0.0)
    assert again.trials.slice(0, 6).equals(first.trials)
    assert not other.trials.equals(first.trials)


def test_the_direction_and_the_sampler_are_the_users() -> None:
    sampler = optuna.samplers.RandomSampler
    found = train.search(bowl, trials=4, direction="maximize", sampler=sampler, centre=0.0)
    assert found.value == max(found.trials["value"].to_pylist())


def test_hopeless_trials_are_pruned_and_the_study_is_optunas() -> None:
    found = train.search(
        slow_start, trials=24, parallel=4, pruner=partial(optuna.pruners.MedianPruner, n_startup_trials=4)
    )
    states = found.trials["state"].to_pylist()
    assert "pruned" in states
    study = train.to_optuna(found.study)
    assert study.best_params == found.params
    assert len(study.get_trials(states=[optuna.trial.TrialState.PRUNED])) == states.count("pruned")


def test_a_search_without_a_single_value_says_so() -> None:
    with pytest.raises(DataError, match="none of the 3 trials of `nothing` gave a value") as told:
        train.search(nothing, trials=3)
    assert "trial 0 with x=0." in (told.value.hint or "")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (None, "returned None, which is no number"),
        ("0.5", "returned '0.5', which is no number"),
        ([1, 2], "returned [1, 2], which is no number"),
        (KeyError("depth"), "failed: KeyError: 'depth' (test_searching.py:"),
        (DataError("the table is empty", hint="look"), "failed: the table is empty (test_searching.py:"),
    ],
)
def test_what_an_objective_gives_or_raises_is_told_with_the_trial_and_its_parameters(given: object, says: str) -> None:
    def odd(trial: optuna.Trial) -> object:
        trial.suggest_int("depth", 3, 3)
        if isinstance(given, Exception):
            raise given
        return given

    with pytest.raises(UsageError) as told:
        train.search(odd, trials=2)  # type: ignore[arg-type]  # as users may
    assert told.value.message.startswith("trial 0, with depth=3, ")
    assert says in told.value.message
    assert told.value.hint


@pytest.mark.filterwarnings("ignore:Choices for a categorical")
def test_choices_that_the_study_would_give_back_as_others_are_refused() -> None:
    def shaped(trial: optuna.Trial) -> float:
        return float(trial.suggest_categorical("shape", [(1, 2), (3, 4)])[0])  # type: ignore[list-item]

    with pytest.raises(UsageError, match="a choice of the parameter `shape` is \\(1, 2\\)"):
        train.search(shaped, trials=2)


def test_an_objective_that_fails_in_a_run_is_told_once(tmp_path: Path) -> None:
    with lent(tmp_path / "project") as project:
        project.write("pipelines.py", PIPELINES)
        done = project.headrace("run", "find")
        log = project.headrace("logs", "latest").out
    assert done.code == 1
    assert "trial 1, with depth=7, failed: ValueError: not that deep (pipelines.py:7)" in done.err
    assert "hint: mend the objective, or let some trials fail: `allow_failures=`" in done.err
    assert "Traceback" not in done.err
    assert "raise ValueError" in log, "where it was raised is in the log"


def test_trials_may_fail_whatever_the_size_of_a_round_and_each_knows_its_number(tmp_path: Path) -> None:
    with lent(tmp_path / "project") as project:
        project.write("pipelines.py", PIPELINES)
        done = project.headrace("run", "find", "--failures", "1", "--json")
        assert done.code == 0, done.err
        assert done.task["trial[1]"]["state"] == "succeeded"
        paired = project.headrace("run", "find", "--failures", "1", "--parallel", "2", "--json")
        assert paired.code == 0, paired.err
        assert [name for name, each in paired.task.items() if each["state"] == "failed"] == ["trial[number=1]"]
        assert project.headrace("run", "none").err.count("all trials of `wrong` failed") == 1


def test_what_an_objective_isnt_made_for_is_told_before_anything_runs() -> None:
    with pytest.raises(UsageError, match=r"the objective `bowl` can't be called: .*'center'"):
        train.search(bowl, trials=1, centre=0.0, center=0.0)


PIPELINES = """\
import headrace as hr
from headrace.stages import train

def odd(trial: object) -> float:
    depth = trial.suggest_int("depth", 7, 7)
    if trial.number == 1:
        raise ValueError("not that deep")
    return depth

def wrong(trial: object) -> float:
    raise ValueError("never")

@hr.pipeline
def find(failures: int = 0, parallel: int = 1) -> None:
    train.search(odd, trials=2, parallel=parallel, allow_failures=failures)

@hr.pipeline
def none() -> None:
    train.search(wrong, trials=2, allow_failures=1)
"""


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"trials": 0}, "`trials`"),
        ({"parallel": 0}, "`parallel`"),
        ({"direction": "up"}, "`direction`"),
        ({"sampler": optuna.samplers.RandomSampler()}, "`sampler` of the search is a `RandomSampler`"),
        ({"pruner": "MedianPruner"}, "`pruner` of the search is a `str`"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(options: dict, says: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(UsageError, match=says):
        train.search(bowl, centre=0.0, **options)
