"""`train.search`: searches for the best parameters with Optuna, round by round. The trials of a round run in
parallel."""

from __future__ import annotations

import inspect
import math
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import pyarrow as pa

from headrace.define.attempt import attempt
from headrace.define.log import log
from headrace.define.stage import ready
from headrace.errors import DataError, HeadraceError, SourceError, UsageError, text_of
from headrace.report.drawing import canvas
from headrace.spec.report import Drawing, Fact, Grid, Report
from headrace.spec.stage import Resources

Objective = Callable[..., float]
Direction = Literal["minimize", "maximize"]
SEEDS = 1_000_003
"""Trial n of a search with seed s samples with seed s * SEEDS + n. SEEDS is a large prime, so that searches don't share
seeds."""


class Study(NamedTuple):
    """The trials of a search so far, as plain data.

    `record["trials"]` has one dictionary for each trial, in order. `direction` says whether a lower (`minimize`) or a
    higher value (`maximize`) is better. `to_optuna(study)` converts the study to an Optuna study, for Optuna's own
    plots and analyses.
    """

    direction: Direction
    record: dict[str, Any]


class Found(NamedTuple):
    """The result of a search: `params`, `value` and `number` are those of the best trial.

    `trials` has a row for each trial: `number`, `state`, `value`, and a column for each parameter. `study` holds the
    trials for `to_optuna`. `report` shows the course of the search and how much each parameter mattered.
    """

    params: dict[str, Any]
    value: float
    number: int
    trials: pa.Table
    study: Study
    report: Report


def search(
    objective: Objective,
    *,
    trials: int = 20,
    parallel: int = 1,
    direction: Direction = "minimize",
    sampler: Callable[..., Any] | None = None,
    pruner: Callable[..., Any] | None = None,
    seed: int = 0,
    allow_failures: int = 0,
    resources: Resources | None = None,
    retries: int = 0,
    timeout: str | float | None = None,
    **given: Any,
) -> Found:
    """Return the parameters with the best value, found by a search.

    Each trial is a separate task. The trials of a round run in parallel, and the next round samples parameters from
    their results. So a search that was interrupted continues where it stopped. If a search is called again with more
    trials, it reuses its earlier trials.

    Args:
        objective: a function as Optuna expects, `objective(trial, **given) -> float`. It asks the trial for parameters
            (`trial.suggest_int("depth", 3, 10)`). It may report values (`trial.report(value, step)`) and stop early
            (`raise optuna.TrialPruned` if `trial.should_prune()`). Reported values are logged as `trial/value`.
        trials: the number of trials.
        parallel: the number of trials in a round; the trials of a round run in parallel.
        direction: `"minimize"` or `"maximize"`.
        sampler: a sampler class of Optuna, or a `functools.partial` of one; by default `TPESampler`.
        pruner: a pruner class of Optuna, or a `functools.partial` of one; by default `MedianPruner`. It compares a
            trial with the trials of earlier rounds.
        seed: the seed of the sampler.
        allow_failures: how many trials of a round may fail.
        resources: what one trial needs.
        retries: how many more attempts a failed trial gets.
        timeout: the longest time that one trial may take.
        given: arguments for every trial: tables, numbers, or handles to them.

    Raises:
        UsageError: `trials`, `parallel`, `direction`, `sampler` or `pruner` is invalid, or the objective doesn't accept
            the arguments in `given`.
    """
    counts: tuple[tuple[str, Any], ...] = (("trials", trials), ("parallel", parallel))
    for name, count in counts:
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise UsageError(f"`{name}` of the search is {count!r}", hint="give a whole number from 1")
    if direction not in get_args(Direction):
        raise UsageError(f"`direction` of the search is {direction!r}", hint='give "minimize" or "maximize"')
    for name, kind in (("sampler", sampler), ("pruner", pruner)):
        if kind is not None and not callable(kind):
            raise UsageError(
                f"`{name}` of the search is a `{type(kind).__name__}`",
                hint=f"give a class of Optuna, or a partial of one: each trial makes its {name} with it",
            )
    _check_given(objective, given)
    declared = trial.with_options(resources=resources, retries=retries, timeout=timeout)
    study = Study(direction, {"trials": []})
    for first in range(0, trials, parallel):
        numbers = list(range(first, min(first + parallel, trials)))
        tried = declared.map(
            study, objective, numbers, seed=seed, sampler=sampler, pruner=pruner, given=given,
            allow_failures=allow_failures,
        )  # fmt: skip
        study = tell(study, tried)
    return best(study, getattr(objective, "__name__", "objective"))


def _check_given(objective: Any, given: Mapping[str, Any]) -> None:
    try:
        takes = inspect.signature(objective)
    except (TypeError, ValueError):  # its signature can't be read
        return
    try:
        takes.bind(None, **given)
    except TypeError as error:
        name = getattr(objective, "__name__", "objective")
        raise UsageError(
            f"the objective `{name}` can't be called: {error}", hint=f"it is called as {name}(trial, **given)"
        ) from None


@ready("train.search.trial", version=3, on=("optuna",), kind="train")
def trial(
    study: Study,
    objective: Objective,
    number: int,
    *,
    seed: int,
    sampler: Callable[..., Any] | None,
    pruner: Callable[..., Any] | None,
    given: dict[str, Any],
) -> dict[str, Any]:
    """Run one trial with parameters that the sampler proposes from the study so far. Return the trial as plain data."""
    import optuna  # noqa: PLC0415  0.3 s, which the tracer saves

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    kind = optuna.samplers.TPESampler if sampler is None else sampler
    made = to_optuna(study, sampler=_seeded(kind, seed * SEEDS + number), pruner=pruner)
    live = Live(made.ask(), number)
    try:
        value, state = _number(objective(live, **given), live, number), "complete"
    except optuna.TrialPruned:
        value, state = live.last, "pruned"
    except (MemoryError, _NoNumber):
        raise
    except Exception as error:
        if isinstance(error, HeadraceError) and not isinstance(error, UsageError | DataError | SourceError):
            raise  # not the objective's fault, such as a store that can't be reached
        raise _refused(error, live, number) from error
    _check_choices(live.distributions)
    if state == "complete" and not math.isfinite(value):
        state = "failed"
        log("trial/failed", f"trial {number}, with {live.words()}, gave {value}", number)
    log("trial/result", value, number)
    return {
        "number": number,
        "state": state,
        "value": value if math.isfinite(value) else None,
        "params": live.params,
        "distributions": {
            name: optuna.distributions.distribution_to_json(each) for name, each in live.distributions.items()
        },
        "curve": [[step, each] for step, each in live.curve.items()],
        **({"told": True} if live.told else {}),
    }


@ready("train.search.tell", version=1, kind="train")
def tell(study: Study, tried: list[dict[str, Any]]) -> Study:
    """Return the study with the trials of one more round."""
    together = [*study.record["trials"], *tried]
    return study._replace(record={"trials": sorted(together, key=lambda each: each["number"])})


@ready("train.search", version=1, on=("optuna", "matplotlib"), kind="train", name="search")
def best(study: Study, objective: str) -> Found:
    """Return the best trial of a study, and a report of the search."""
    done = [each for each in study.record["trials"] if each["state"] == "complete"]
    if not study.record["trials"]:
        raise DataError(f"all trials of `{objective}` failed", hint="`headrace show RUN --tasks` has what each raised")
    if not done:
        raise _valueless(study.record["trials"], objective)
    sign = 1.0 if study.direction == "minimize" else -1.0
    first = min(done, key=lambda each: (sign * each["value"], each["number"]))
    return Found(
        first["params"], first["value"], first["number"], _table(study), study, _report(study, first, objective)
    )


def _valueless(trials: Sequence[Mapping[str, Any]], objective: str) -> DataError:
    """Return the error for a search whose trials all ended without a value."""
    told = sum("told" in each for each in trials)
    others = [each for each in trials if "told" not in each]
    them = "the others" if told else "they"
    hints = [f"{them} were pruned, or gave no finite number, such as {_named(others[0])}"] if others else []
    if told:  # within one run, a task that succeeded never runs again
        hints.append("a new run tries again the trials that were told to stop; `headrace resume` does not")
    return DataError(
        f"none of the {len(trials)} trials of `{objective}` gave a value"
        + (f"; {told} of them had been told to stop" * bool(told)),
        hint="; ".join(hints),
    )


class Live:
    """The running trial, as the objective sees it. It is an Optuna trial that also logs the reported values, and that
    stops if the driver says so."""

    def __init__(self, inner: Any, number: int) -> None:
        self._inner = inner
        self.number = number  # Optuna's own number is the same for all trials of a round
        self.told = False
        self.curve: dict[int, float] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def words(self) -> str:
        """Return the parameters that the objective has asked for so far, as text."""
        return _words(self._inner.params)

    @property
    def last(self) -> float:
        """The last value that was reported."""
        return self.curve[max(self.curve)] if self.curve else math.nan

    def report(self, value: float, step: int) -> None:
        """Report an intermediate value, and log it."""
        self._inner.report(value, step)
        self.curve[step] = float(value)
        log("trial/value", value, step)

    def should_prune(self) -> bool:
        """Return whether to give up the trial, because the pruner or the driver says so."""
        if not self.told and attempt().told() in ("prune", "stop"):
            self.told = True
            attempt().shortened(f"it was told to give up, after step {max(self.curve, default=0)}")
        return self.told or bool(self._inner.should_prune())


def to_optuna(study: Study, *, sampler: Any | None = None, pruner: Callable[..., Any] | None = None) -> Any:
    """Return the `optuna.Study` of a search, for Optuna's plots (`optuna.visualization`), or to continue it in your own
    code."""
    import optuna  # noqa: PLC0415  see above

    states = {
        "complete": optuna.trial.TrialState.COMPLETE,
        "pruned": optuna.trial.TrialState.PRUNED,
        "failed": optuna.trial.TrialState.FAIL,
    }
    made = optuna.create_study(
        direction=study.direction, sampler=sampler, pruner=optuna.pruners.MedianPruner() if pruner is None else pruner()
    )
    for each in study.record["trials"]:
        made.add_trial(
            optuna.trial.create_trial(
                state=states[each["state"]],
                value=each["value"] if each["state"] != "failed" else None,
                params=each["params"],
                distributions={
                    name: optuna.distributions.json_to_distribution(text)
                    for name, text in each["distributions"].items()
                },
                intermediate_values=dict(each["curve"]),
            )
        )
    return made


def _check_choices(distributions: Mapping[str, Any]) -> None:
    """Raise an error if a choice isn't text, a number, a boolean or None. The study is stored as JSON, in which other
    values would change: a tuple would become a list."""
    for name, each in distributions.items():
        odd = [one for one in getattr(each, "choices", ()) if not isinstance(one, str | int | float | bool | None)]
        if odd:
            raise UsageError(
                f"a choice of the parameter `{name}` is {odd[0]!r:.80}, which is neither a text nor a number",
                hint="suggest texts or numbers, and let your function look up the object for each",
            )


class _NoNumber(UsageError):
    """An objective returned something that is not a number."""


def _number(found: Any, live: Live, number: int) -> float:
    try:
        if not isinstance(found, str | bytes):
            return float(found)
    except (TypeError, ValueError):
        pass
    raise _NoNumber(
        f"trial {number}, with {live.words()}, returned {found!r:.80}, which is no number",
        hint="the objective must return the number to minimize or maximize",
    )


def _refused(error: Exception, live: Live, number: int) -> UsageError:
    """Print the traceback of an exception that the objective raised. Return our error for it, which names the trial and
    its parameters."""
    traceback.print_exception(error)
    frames = traceback.extract_tb(error.__traceback__)[1:]
    where = f" ({frames[0].filename.rpartition('/')[2]}:{frames[0].lineno})" if frames else ""
    return UsageError(
        f"trial {number}, with {live.words()}, failed: {text_of(error)}{where}",
        hint=getattr(error, "hint", None) or "mend the objective, or let some trials fail: `allow_failures=`",
    )


def _words(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r:.80}" for name, value in params.items()) or "no parameters"


def _named(trial: Mapping[str, Any]) -> str:
    return f"trial {trial['number']} with {_words(trial['params'])}"


def _seeded(sampler: Callable[..., Any], seed: int) -> Any:
    """Return a sampler, with a seed if its class takes one."""
    takes = inspect.signature(sampler).parameters
    return sampler(seed=seed % 2**32) if "seed" in takes else sampler()


def _table(study: Study) -> pa.Table:
    rows = study.record["trials"]
    names = sorted({name for each in rows for name in each["params"]})
    columns: dict[str, Any] = {name: [each[name] for each in rows] for name in ("number", "state", "value")}
    return pa.table(columns | {name: _column([each["params"].get(name) for each in rows]) for name in names})


def _column(values: Sequence[Any]) -> pa.Array:
    """Return a parameter's values as a column. If the values are of several types, they become text."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if value is None else str(value) for value in values])


def _report(study: Study, first: Mapping[str, Any], objective: str) -> Report:
    rows = study.record["trials"]
    states = [each["state"] for each in rows]
    count = {state: states.count(state) for state in ("complete", "pruned", "failed")}
    grids = [
        Grid(
            title="Best parameters",
            columns=("parameter", "value"),
            rows=tuple((name, _cell(value)) for name, value in first["params"].items()),
        )
    ]
    importance = tuple(_importance(study))
    if importance:
        grids.append(
            Grid(
                title="What mattered",
                columns=("parameter", "share of the variance"),
                rows=importance,
                note="By fANOVA over the trials that ended (Hutter and others, 2014).",
            )
        )
    return Report(
        title=f"Search over {objective}",
        about="Of {} trials {complete} ended, {pruned} were pruned, {failed} gave no number.".format(
            len(rows), **count
        ),
        facts=(
            Fact(
                name="best value", value=first["value"], better="lower" if study.direction == "minimize" else "higher"
            ),
            Fact(name="trial", value=first["number"]),
            Fact(name="trials", value=len(rows)),
        ),
        grids=tuple(grids),
        drawings=(_drawing(study),),
        limits=("The best of many tries is too good by chance: judge it on rows that the search hasn't seen.",),
    )


def _importance(study: Study) -> Iterator[tuple[str, float]]:
    import optuna  # noqa: PLC0415  see above

    try:
        found = optuna.importance.get_param_importances(
            to_optuna(study), evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0)
        )
    except (ValueError, RuntimeError, ImportError):
        return  # too few trials, or no parameters that all trials share
    yield from ((name, round(float(value), 3)) for name, value in found.items())


def _drawing(study: Study) -> Drawing:
    done = [each for each in study.record["trials"] if each["state"] == "complete"]
    better = min if study.direction == "minimize" else max
    values = [each["value"] for each in done]
    with canvas() as drawn:
        drawn.axes.scatter([each["number"] for each in done], values, s=14, label="trial")
        drawn.axes.step(
            [each["number"] for each in done],
            [better(values[: index + 1]) for index in range(len(values))],
            where="post",
            color="#c8702a",
            label="best so far",
        )
        drawn.axes.set_xlabel("trial")
        drawn.axes.set_ylabel("value")
        drawn.axes.legend(frameon=False)
        return drawn.drawing("Value by trial", "Each dot is a trial that ended; the line is the best until then.")


def _cell(value: Any) -> str | int | float | bool | None:
    return value if isinstance(value, str | int | float | bool | None) else str(value)
