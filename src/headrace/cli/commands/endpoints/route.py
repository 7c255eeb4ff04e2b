"""`headrace route`."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.cli import complete, options
from headrace.cli.terminal.endpoints import say_moved
from headrace.errors import UsageError
from headrace.operate.endpoints.routes import split
from headrace.project import project
from headrace.spec.endpoint import CANARY


@click.command()
@click.argument("named", metavar="NAMED", shell_complete=complete.models)
@click.option("--share", type=float, metavar="SHARE", help="The version's share of the requests: 0.1 is a tenth.")
@click.option("--as", "variant", metavar="VARIANT", help=f"The variant's name; by default `{CANARY}`.")
@click.option("--shadow", is_flag=True, help="Send the version a copy of each request. Its answers are only logged.")
@options.forced
@options.as_json
@options.config
def command(
    named: str,
    share: float | None,
    variant: str | None,
    shadow: bool,
    why: str | None,
    forced: str | None,
    as_json: bool,
    config: Path | None,
) -> int:
    """Sends a share of an endpoint's requests to another version of its model. This version becomes a variant of the
    endpoint; the variant `production` gets the rest. NAMED is the version: `NAME:3`, `NAME` (the newest) or
    `NAME@ALIAS`. `--as` names the variant. If the endpoint has a variant of this name already, that variant gets the
    new version and share.

    `headrace promote` makes the version `production`, and `headrace retire ENDPOINT VARIANT` ends the variant.

    The command refuses a version that takes other columns than `production`. It also refuses a version if a report on
    it has not passed its gates or can't be read; a version without a report is accepted. With `--force --why "..."`, it
    changes the route anyway. With `--shadow`, reports don't matter.
    """
    if shadow == (share is not None):
        raise UsageError(
            "`--shadow` and `--share` exclude each other" if shadow else "the share of the version is missing",
            hint="give `--share 0.1` for a tenth of the requests, or `--shadow` for a copy of all of them",
        )
    if shadow and variant is not None:
        raise UsageError("the variant of a shadow is always called `shadow`", hint="leave out `--as`")
    found = project.load(overlay=config)
    route = split(found, named, share, variant=variant or CANARY, why=why, forced=forced)
    say_moved(route, as_json=as_json)
    return 0
