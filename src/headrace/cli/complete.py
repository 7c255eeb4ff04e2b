"""What the shell offers at the tab key. Whatever goes wrong, it offers nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import click
from click.shell_completion import CompletionItem

from headrace.app.pipelines import Written, written, written_as
from headrace.app.project import load
from headrace.app.reading import Views, read
from headrace.errors import HeadraceError
from headrace.spec.policy import OURS

MANY = 50


def pipelines(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the pipelines of the project."""
    try:
        found = list(written(load()))
    except HeadraceError:
        return []
    return [CompletionItem(each.name, help=each.doc) for each in found if each.name.startswith(incomplete)]


def parameters(words: Sequence[str]) -> list[str]:
    """Return the parameters of the pipeline that was named, as options; those of an option's name aren't given so."""
    names = [name for each in named_pipelines(words) for name in each.parameters if name not in OURS]
    return [f"--{name.replace('_', '-')}" for name in names]


def named_pipelines(words: Sequence[str]) -> list[Written]:
    """Give the pipelines that are named among these words: by name those of the project, by `FILE:NAME` any."""
    by_file = [each for word in dict.fromkeys(words) for each in written_as(word)]
    try:
        return by_file + [each for each in written(load()) if each.name in words]
    except HeadraceError:
        return by_file


def runs(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the newest runs."""
    with _views() as views:
        found = views.runs(limit=MANY).runs if views else ()
    return [
        CompletionItem(run.run, help=f"{run.pipeline}, {run.state}") for run in found if run.run.startswith(incomplete)
    ]


def artifacts(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the newest runs, and the addresses of models and datasets."""
    return [*runs(context, parameter, incomplete), *addresses(context, parameter, incomplete)]


def tasks(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the tasks of the run that was named before."""
    with _views() as views:
        try:
            found = views.show(context.params.get("run_id")).tasks if views else ()
        except HeadraceError:
            return []
    return [CompletionItem(task.name, help=task.state) for task in found or () if task.name.startswith(incomplete)]


def metrics(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the metrics of the runs that were named before, or of the newest one."""
    try:
        from headrace.app.readings import names_of  # noqa: PLC0415  it loads the codecs

        found = names_of(load(), context.params.get("runs") or ("latest",))
    except HeadraceError:
        return []
    return [CompletionItem(name) for name in found if name.startswith(incomplete)]


def models(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the names of models."""
    return [CompletionItem(name) for name in _names("model") if name.startswith(incomplete)]


def datasets(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the names of datasets."""
    return [CompletionItem(name) for name in _names("dataset") if name.startswith(incomplete)]


def addresses(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the addresses of models and datasets."""
    kinds: tuple[Literal["model", "dataset"], ...] = ("model", "dataset")
    found = [f"{kind}:{name}" for kind in kinds for name in _names(kind)]
    return [CompletionItem(name) for name in found if name.startswith(incomplete)]


def cursors(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the names of cursors."""
    with _views() as views:
        found = views.cursors() if views else ()
    return [CompletionItem(each.name) for each in found if each.name.startswith(incomplete)]


def _names(kind: Literal["model", "dataset"]) -> list[str]:
    with _views() as views:
        found = views.versions(kind) if views else ()
    return list(dict.fromkeys(each.name for each in found))


def pools(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the pools of the project."""
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
