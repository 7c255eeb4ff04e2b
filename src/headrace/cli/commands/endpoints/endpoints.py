"""`headrace endpoints`."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.cli import complete, options
from headrace.cli.terminal.endpoints import say_endpoints, say_moves
from headrace.cli.terminal.terminal import say_json, tell
from headrace.inspect.endpoints.routes import endpoints, moves, with_settings
from headrace.inspect.views import read
from headrace.project import project


@click.command()
@click.argument("endpoint", metavar="[ENDPOINT]", required=False, shell_complete=complete.endpoints)
@options.as_json
@options.config
def command(endpoint: str | None, as_json: bool, config: Path | None) -> int:
    """Without ENDPOINT, lists all endpoints, each with the versions that answer its requests and their shares. With
    ENDPOINT, lists each change of its route, the newest first: when it was made, by whom and why, and where requests
    went after it.

    An endpoint answers with versions of the registered model that has the endpoint's name. `headrace promote` makes an
    endpoint or changes its main version, `headrace route` adds other versions, and `headrace rollback` goes back to the
    previous main version.

    With `--json`: `{"endpoints": [...]}`, or with ENDPOINT `{"moves": [...]}`. Each endpoint and each move has
    `endpoint`, `variants` (`name`, `version`, `share`), `shadow`, `key`, `time`, `at`, `by`, `run`, `task` and `why`.
    An endpoint also has `drop` and `hash`: the columns that its log drops and hashes by the present settings.
    """
    settings = project.load(overlay=config)
    with read(settings) as views:
        if endpoint is not None:
            moved = moves(views, endpoint)
            say_json({"moves": moved}) if as_json else say_moves(moved)
            return 0
        found = with_settings(endpoints(views), settings.config)
    if as_json:
        say_json({"endpoints": found})
    elif not found:
        tell("there is no endpoint yet: `headrace promote MODEL` makes one of a registered model")
    else:
        say_endpoints(found)
    return 0
