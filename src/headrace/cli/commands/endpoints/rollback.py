"""`headrace rollback`."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.cli import complete, options
from headrace.cli.terminal.endpoints import say_moved
from headrace.operate.endpoints.routes import rollback
from headrace.project import project


@click.command()
@click.argument("endpoint", metavar="ENDPOINT", shell_complete=complete.endpoints)
@options.why
@options.as_json
@options.config
def command(endpoint: str, why: str | None, as_json: bool, config: Path | None) -> int:
    """Sends all requests of an endpoint to the version that was its `production` before the present one. Other variants
    and the shadow end. A second rollback brings back the present version. To go to any other version, use
    `headrace promote NAME:3`. If the previous version takes other columns than the present one, the command warns:
    clients may still send the columns of the present version."""
    route = rollback(project.load(overlay=config), endpoint, why=why)
    say_moved(route, as_json=as_json)
    return 0
