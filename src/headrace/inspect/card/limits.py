"""Warnings for the users of a model, as the record alone gives them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from headrace.inspect.card.facts import Made
from headrace.inspect.reports import Judged
from headrace.inspect.run_record import Material
from headrace.inspect.views import LIVE
from headrace.spec.artifact import Ref

MAX_BROKEN = 5


def limits(ref: Ref, run: Material, results: Sequence[Judged]) -> Iterator[str]:
    """Yield warnings for users of the model, for example that no report judges it. Limits that the reports themselves
    state are not included."""
    if not results:
        yield "No report judges this model: nothing here says how good it is."
    elif all(each.report.passed is None for each in results):
        yield "No rule had to hold for this model."
    if ref.codec == "pickle":
        yield "The model is kept as a pickle, which runs code when it is loaded: load it only if you trust who made it."
    if run.story.bundle is not None and run.story.bundle.lock is None:
        yield "The environment had no lock, so it can't be rebuilt exactly."
    if run.view.state in LIVE:
        yield f"The run `{run.view.run}` hasn't ended: tasks that judge the model may follow."
    elif run.view.state != "succeeded":
        yield f"The run `{run.view.run}` {run.view.state}: {run.view.why or 'not all of it was done'}."


def not_passed(checks: Iterable[Judged]) -> Iterator[str]:
    """Yield a sentence for each check of the data that did not pass."""
    for each in checks:
        if each.report.passed is False:
            broken = [verdict for verdict in each.report.verdicts if verdict.holds is False]
            named = "; ".join(f"`{verdict.rule}`: {verdict.why}" for verdict in broken[:MAX_BROKEN])
            more = f"; and {len(broken) - MAX_BROKEN} more" if len(broken) > MAX_BROKEN else ""
            yield f"The data didn't pass `{each.report.title}` (task `{each.task}`){f': {named}{more}' * bool(named)}."


def held_back(run: Material, below: Iterable[str]) -> Iterator[str]:
    """Yield a sentence for each task that depends on the model and was skipped, failed or cancelled. The sentence has
    the reason, for example a gate."""
    for row in (run.rows[name] for name in below):
        if row.state in ("skipped", "failed", "cancelled"):
            yield f"Task `{row.name}`, which depends on the model, has the state `{row.state}`: {row.reason}."


def erased(data: Iterable[Made], times: Mapping[str, float]) -> Iterator[str]:
    """Yield a sentence for each erasure that erased outputs from which the model was made. `times` says when each
    erasure was asked for (Unix seconds)."""
    by: dict[str, list[str]] = {}
    for each in data:
        for erasure in each.erasures:
            by.setdefault(erasure, []).append(f"`{each.task}`")
    for erasure, names in by.items():
        on = datetime.fromtimestamp(times[erasure], UTC)
        yield (
            f"Tables that this model was made from were erased on {on:%Y-%m-%d},"
            f" together with a person's data: outputs of {', '.join(names)}. The model was made before, also from the"
            f" erased rows. `headrace erasures {erasure}` lists what was erased."
        )


def forgotten(tasks: Iterable[Made]) -> Iterator[str]:
    """Yield a sentence for each forgotten run, which names the tasks whose time and cost are unknown because the run is
    forgotten."""
    by: dict[str, list[str]] = {}
    for each in tasks:
        if each.is_forgotten:
            by.setdefault(each.run, []).append(f"`{each.task}`")
    for run, names in by.items():
        yield f"The time and cost of {', '.join(names)} are unknown, since run `{run}` is forgotten."
