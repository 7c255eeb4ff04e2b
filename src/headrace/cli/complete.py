"""What the shell offers at the tab key. Whatever goes wrong, it offers nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click
from click.shell_completion import CompletionItem

from headrace.app.pipelines import written
from headrace.app.project import load
from headrace.app.reading import Views, read
from headrace.errors import HeadraceError

MANY = 50


def pipelines(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the pipelines of the project."""
    try:
        found = list(written(load()))
    except HeadraceError:
        return []
    return [CompletionItem(each.name, help=each.doc) for each in found if each.name.startswith(incomplete)]


def parameters(words: Sequence[str]) -> list[str]:
    """Give the parameters of the pipeline that was named, as options."""
    try:
        found = [each for each in written(load()) if each.name in words]
    except HeadraceError:
        return []
    return [f"--{name.replace('_', '-')}" for each in found for name in each.parameters]


def runs(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the newest runs."""
    with _views() as views:
        found = views.runs(limit=MANY).runs if views else ()
    return [
        CompletionItem(run.run, help=f"{run.pipeline}, {run.state}") for run in found if run.run.startswith(incomplete)
    ]


def tasks(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the tasks of the run that was named before."""
    with _views() as views:
        try:
            found = views.show(context.params.get("run_id")).tasks if views else ()
        except HeadraceError:
            return []
    return [CompletionItem(task.name, help=task.state) for task in found or () if task.name.startswith(incomplete)]


@contextmanager
def _views() -> Iterator[Views | None]:
    try:
        views = read(load())
    except HeadraceError:
        yield None
        return
    with views:
        yield views
