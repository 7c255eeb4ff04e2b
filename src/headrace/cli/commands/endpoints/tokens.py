"""`headrace tokens`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from headrace.cli import complete, options
from headrace.cli.terminal.table import Cell, table
from headrace.cli.terminal.terminal import say, say_json, say_styled, tell
from headrace.inspect.views import read
from headrace.operate.endpoints.tokens import TokenView, make_token, revoke_token, token_views
from headrace.project import project
from headrace.report.marks import printable
from headrace.serve.access.tokens import SCOPES
from headrace.spec.duration import seconds


@click.group(invoke_without_command=True)
@options.as_json
@options.config
@click.pass_context
def command(context: click.Context, as_json: bool, config: Path | None) -> None:
    """A token lets a client send requests to endpoints of `headrace serve --tokens`: the client sends it in the header
    `Authorization: Bearer TOKEN`. Without a subcommand, lists all tokens, the newest first. The ledger has only a
    digest of each, so a token's text is shown once, when it is made.

    With `--json`: `{"tokens": [...]}`, each with `id`, `name`, `endpoints` (empty: all), `scopes`, `at`, `by`,
    `expires`, `revoked` and `valid`.
    """
    if context.invoked_subcommand is not None:
        return
    with read(project.load(overlay=config)) as views:
        found = token_views(views)
    if as_json:
        say_json({"tokens": found})
    elif not found:
        tell("there is no token yet: `headrace tokens make NAME` makes one")
    else:
        _say_tokens(found)


@command.command("make")
@click.argument("name", metavar="NAME")
@click.option("--endpoint", "endpoints", metavar="ENDPOINT", multiple=True, shell_complete=complete.endpoints,
              help="Make the token valid only for this endpoint; may be given again.")  # fmt: skip
@click.option("--scope", "scopes", type=click.Choice(SCOPES), multiple=True,
              help="What the token allows: to ask for predictions, or to send labels; by default both.")  # fmt: skip
@click.option("--within", metavar="TIME",
              help="How long the token is valid, such as `90d`; by default until it is revoked.")  # fmt: skip
@options.as_json
@options.config
def make_command(
    name: str,
    endpoints: tuple[str, ...],
    scopes: tuple[str, ...],
    within: str | None,
    as_json: bool,
    config: Path | None,
) -> None:
    """Make a token and print it. NAME says for whom or for what the token is."""
    within_s = None if within is None else seconds(within, name="--within")
    made = make_token(project.load(overlay=config), name, endpoints, within_s, scopes or SCOPES)
    say_json(made) if as_json else say(made.token)


@command.command("revoke")
@click.argument("token", metavar="TOKEN")
@options.as_json
@options.config
def revoke_command(token: str, as_json: bool, config: Path | None) -> None:
    """Revoke a token, given by its id or its text: servers refuse it within a second."""
    revoke_token(project.load(overlay=config), token)
    if as_json:
        say_json({"revoked": True})


def _say_tokens(tokens: list[TokenView]) -> None:
    heads = ["id", "name", "endpoints", "scopes", "made", "by", "state"]
    rows: list[list[Cell]] = [
        [
            each.id,
            printable(each.name),
            " ".join(each.endpoints) or "all",
            " ".join(each.scopes),
            _time(each.at),
            printable(each.by),
            _state(each),
        ]
        for each in tokens
    ]
    for line in table(heads, rows, spare=("by", "made", "scopes")):
        say_styled(line)


def _state(token: TokenView) -> str:
    if token.revoked is not None:
        return f"revoked {_time(token.revoked)}"
    if token.expires is None:
        return "valid"
    return f"{'valid until' if token.valid else 'expired'} {_time(token.expires)}"


def _time(at: float) -> str:
    return f"{datetime.fromtimestamp(at).astimezone():%Y-%m-%d %H:%M}"
