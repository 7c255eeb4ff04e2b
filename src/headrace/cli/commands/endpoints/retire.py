"""`headrace retire`."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.cli import complete, options
from headrace.cli.terminal.endpoints import say_moved
from headrace.operate.endpoints.routes import retire
from headrace.project import project


@click.command()
@click.argument("endpoint", metavar="ENDPOINT", shell_complete=complete.endpoints)
@click.argument("variant", metavar="[VARIANT]", required=False)
@options.why
@options.as_json
@options.config
def command(endpoint: str, variant: str | None, why: str | None, as_json: bool, config: Path | None) -> int:
    """Ends a variant of an endpoint, such as `canary`: its share goes to `production`. If VARIANT is `shadow`, the
    shadow ends. Without VARIANT, the endpoint itself ends: nothing answers its requests any more. Its record and its
    predictions stay, and `headrace promote` begins it again."""
    route = retire(project.load(overlay=config), endpoint, variant, why=why)
    say_moved(route, as_json=as_json)
    return 0
