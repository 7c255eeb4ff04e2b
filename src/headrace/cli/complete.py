"""What the shell offers at the tab key. Whatever goes wrong, it offers nothing."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem


def pipelines(_context: click.Context, _parameter: click.Parameter, _incomplete: str) -> list[CompletionItem]:
    """Offer the names of the project's pipelines."""
    return []


def runs(_context: click.Context, _parameter: click.Parameter, _incomplete: str) -> list[CompletionItem]:
    """Offer the ids of the newest runs."""
    return []


def tasks(_context: click.Context, _parameter: click.Parameter, _incomplete: str) -> list[CompletionItem]:
    """Offer the names of the tasks of the run that was named before."""
    return []
