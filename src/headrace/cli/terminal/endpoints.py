"""Prints endpoints and their routes on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from headrace.cli.terminal.table import Cell, table
from headrace.cli.terminal.terminal import say, say_json, say_styled, tell
from headrace.errors import listed
from headrace.inspect.endpoints.routes import EndpointView, RouteView
from headrace.operate.endpoints.routes import Moved
from headrace.report.marks import printable


def say_endpoints(routes: Sequence[EndpointView]) -> None:
    """Print a line for each endpoint: where its requests go, and which columns its log drops and hashes."""
    _say_routes("endpoint", [[each.endpoint, *_cells(each)] for each in routes])


def say_moves(routes: Sequence[RouteView]) -> None:
    """Print a line for each route that an endpoint has had, the newest first."""
    _say_routes("", [["", *_cells(each)] for each in routes])


def say_moved(route: Moved, *, as_json: bool) -> None:
    """Print where the requests of an endpoint go after a move, and on stderr the warnings of the move."""
    say_json(route) if as_json else say(f"{printable(route.endpoint)}: {route_text(route)}")
    for each in route.warnings:
        tell(each, label="warning:")


def route_text(route: RouteView) -> str:
    """Return where requests go, in words: "production 3 (90%), canary 4 (10%), key `customer`"."""
    if not route.variants:
        return "retired"
    parts = [f"{each.name} {each.version} ({100 * each.share:.4g}%)" for each in route.variants]
    parts += [] if route.shadow is None else [f"shadow {route.shadow}"]
    parts += [f"{what} `{name}`" for what, name in (("key", route.key), ("time", route.time)) if name is not None]
    if isinstance(route, EndpointView):
        parts += [f"drops {listed(route.drop)}"] * bool(route.drop) + [f"hashes {listed(route.hash)}"] * bool(
            route.hash
        )
    return printable(", ".join(parts))


def _say_routes(head: str, rows: Sequence[Sequence[Cell]]) -> None:
    for line in table([head, "route", "since", "by", "why"], rows, spare=("by", "since")):
        say_styled(line)


def _cells(route: RouteView) -> list[Cell]:
    since = f"{datetime.fromtimestamp(route.at).astimezone():%Y-%m-%d %H:%M:%S}"
    cause = route.why or f"{route.run or ''} {route.task or ''}".strip()
    return [route_text(route), since, printable(route.by), printable(cause)]
