"""Tab completion for the shell: functions that return the words which the user can choose from. If an error occurs,
they return no words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import click
from click.shell_completion import CompletionItem

from headrace.errors import HeadraceError
from headrace.inspect.views import Views, read
from headrace.project.pipelines import Written, written, written_as
from headrace.project.project import load
from headrace.spec.policy import OURS

MANY = 50


def pipelines(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the project's pipelines whose names start with `incomplete`."""
    try:
        pipelines = list(written(load()))
    except HeadraceError:
        return []
    return [
        CompletionItem(pipeline.name, help=pipeline.doc)
        for pipeline in pipelines
        if pipeline.name.startswith(incomplete)
    ]


def parameters(words: Sequence[str]) -> list[str]:
    """Return the parameters of the pipelines that `words` name, written as options: `--month`.

    A parameter is left out if one of the command's own options has the same name. Such a parameter is given by
    `--param`.
    """
    names = [name for each in named_pipelines(words) for name in each.parameters if name not in OURS]
    return [f"--{name.replace('_', '-')}" for name in names]


def named_pipelines(words: Sequence[str]) -> list[Written]:
    """Return the pipelines that `words` name. `NAME` means a pipeline of the project, `FILE:NAME` a pipeline of any
    file."""
    by_file = [each for word in dict.fromkeys(words) for each in written_as(word)]
    try:
        return by_file + [each for each in written(load()) if each.name in words]
    except HeadraceError:
        return by_file


def runs(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the newest runs whose ids start with `incomplete`."""
    with _views() as views:
        found = views.runs(limit=MANY).runs if views else ()
    return [
        CompletionItem(run.run, help=f"{run.pipeline}, {run.state}") for run in found if run.run.startswith(incomplete)
    ]


def artifacts(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the newest runs, and the addresses of models and datasets, that start with `incomplete`."""
    return [*runs(context, parameter, incomplete), *addresses(context, parameter, incomplete)]


def tasks(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return those tasks of a run whose names start with `incomplete`. The run is named earlier in the command."""
    with _views() as views:
        try:
            found = views.show(context.params.get("run_id")).tasks if views else ()
        except HeadraceError:
            return []
    return [CompletionItem(task.name, help=task.state) for task in found or () if task.name.startswith(incomplete)]


def metrics(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of metrics that start with `incomplete`.

    The metrics are those of the runs named earlier in the command, or else of the newest run.
    """
    try:
        from headrace.inspect.metrics.metrics import names_of  # noqa: PLC0415  it loads the codecs

        found = names_of(load(), context.params.get("runs") or ("latest",))
    except HeadraceError:
        return []
    return [CompletionItem(name) for name in found if name.startswith(incomplete)]


def models(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of models that start with `incomplete`."""
    return [CompletionItem(name) for name in _names("model") if name.startswith(incomplete)]


def endpoints(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of endpoints that start with `incomplete`."""
    with _views() as views:
        found = views.routes() if views else ()
    return [CompletionItem(each.name) for each in found if each.name.startswith(incomplete)]


def datasets(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of datasets that start with `incomplete`."""
    return [CompletionItem(name) for name in _names("dataset") if name.startswith(incomplete)]


def addresses(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the addresses of models and datasets (`model:NAME`, `dataset:NAME`) that start with `incomplete`."""
    kinds: tuple[Literal["model", "dataset"], ...] = ("model", "dataset")
    found = [f"{kind}:{name}" for kind in kinds for name in _names(kind)]
    return [CompletionItem(name) for name in found if name.startswith(incomplete)]


def cursors(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of cursors that start with `incomplete`."""
    with _views() as views:
        found = views.cursors() if views else ()
    return [CompletionItem(each.name) for each in found if each.name.startswith(incomplete)]


def _names(kind: Literal["model", "dataset"]) -> list[str]:
    with _views() as views:
        found = views.versions(kind) if views else ()
    return list(dict.fromkeys(each.name for each in found))


def pools(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of the project's pools that start with `incomplete`."""
    try:
        found = [pool.name for pool in load().pools()]
    except HeadraceError:
        return []
    return [CompletionItem(name) for name in found if name.startswith(incomplete)]


@contextmanager
def _views() -> Iterator[Views | None]:
    try:
        views = read(load())
    except HeadraceError:
        yield None
        return
    with views:
        yield views
