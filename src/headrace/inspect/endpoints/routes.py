"""Endpoints and where their requests go, now and before."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct, structs

from headrace.errors import NotFoundError, meant
from headrace.inspect.views import Views
from headrace.ledger.records import RouteRecord
from headrace.project.settings import Config
from headrace.spec.endpoint import Variant, decode_route


class RouteView(Struct, frozen=True, kw_only=True):
    """A route of an endpoint: where its requests go after a move of the route. `variants` are the versions that answer,
    each with its share; there are none if the endpoint was retired. `shadow` is the version that gets a copy of each
    request, or None. `key` is the column that says whom an answer is about, and `time` the column that says which time
    it is about; None if no column says it.

    `at` is when the route was moved (Unix seconds), and `by` is who moved it. If a task moved it, `run` and `task` name
    this task. `why` is the user's reason, or None.
    """

    endpoint: str
    variants: tuple[Variant, ...]
    shadow: int | None
    key: str | None
    time: str | None
    at: float
    by: str
    run: str | None
    task: str | None
    why: str | None


class EndpointView(RouteView, frozen=True, kw_only=True):
    """The present route of an endpoint, and which columns its log drops and hashes. These two come from the settings
    that this process has read; a running server has those of its start."""

    drop: tuple[str, ...]
    hash: tuple[str, ...]


def endpoints(views: Views) -> list[RouteView]:
    """Return the present routes of all endpoints, sorted by endpoint. Endpoints that were retired are left out.

    Raises:
        LedgerError: a newer Headrace wrote a route.
    """
    return [_view(row) for row in views.routes() if row.route is not None]


def with_settings(routes: Sequence[RouteView], config: Config) -> list[EndpointView]:
    """Return endpoints with the columns that their logs drop and hash. A log that is off has no columns."""
    every = [(each, config.of_endpoint(each.endpoint)) for each in routes]
    return [
        EndpointView(
            **structs.asdict(each),
            drop=own.drop if own.log != "off" else (),
            hash=own.hash if own.log != "off" else (),
        )
        for each, own in every
    ]


def moves(views: Views, endpoint: str) -> list[RouteView]:
    """Return the routes that an endpoint has had, the newest first.

    Raises:
        NotFoundError: there was never such an endpoint.
        LedgerError: a newer Headrace wrote a route.
    """
    found = [_view(row) for row in views.route_moves(endpoint)]
    if not found:
        names = [row.name for row in views.routes()]
        raise NotFoundError(
            f"there is no endpoint `{endpoint:.80}`",
            hint=meant(endpoint, names) or f"`headrace promote {endpoint:.80}` makes it from the model of this name",
        )
    return found


def _view(row: RouteRecord) -> RouteView:
    route = None if row.route is None else decode_route(row.route)
    return RouteView(
        endpoint=row.name,
        variants=() if route is None else route.variants,
        shadow=None if route is None else route.shadow,
        key=None if route is None else route.key,
        time=None if route is None else route.time,
        at=row.at,
        by=row.by,
        run=row.run,
        task=row.task,
        why=row.why,
    )
