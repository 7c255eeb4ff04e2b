"""Changes where the requests of endpoints go: to which versions of a model, in which shares.

An endpoint answers with versions of the registered model that has its name. Each change is recorded with its time, who
made it, and the reason.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import structs

from headrace.errors import FEW, NotFoundError, RefusedError, listed
from headrace.inspect.endpoints import redaction
from headrace.inspect.endpoints.routes import RouteView, endpoints, moves
from headrace.inspect.metrics.metrics import loader
from headrace.inspect.views import VersionView, Views, read
from headrace.ledger import registry
from headrace.models.answering import lacking
from headrace.models.fitting import check_about, differing
from headrace.operate.versions import allowed, judging
from headrace.project.project import Project
from headrace.project.state import open_ledger, reading_store
from headrace.spec.artifact import Ref
from headrace.spec.endpoint import CANARY, MAIN, SHADOW, UNSERVABLE_HINT, Route, sole, takes, unservable
from headrace.spec.signature import Column


class Moved(RouteView, frozen=True, kw_only=True):
    """The route of an endpoint after a move. `warnings` says which requests will be refused because of the move."""

    warnings: tuple[str, ...] = ()


def promote(
    project: Project,
    named: str,
    *,
    key: str | None = None,
    time: str | None = None,
    why: str | None = None,
    forced: str | None = None,
) -> Moved:
    """Make a version of a model the `production` variant of the model's endpoint: it gets all requests that no other
    variant gets. If the model has no endpoint yet, make one. Return the new route.

    `named` is the version: `NAME`, `NAME:3` or `NAME@ALIAS`. `key` is the column that says whom an answer is about,
    such as the customer, and `time` the column that says which time it is about. None keeps the endpoint's present
    column. `forced` is the reason to do this although a report on the version didn't pass.

    Raises:
        UsageError: `key` or `time` isn't a valid name of a column, or the model takes the column with a type that
            doesn't fit.
        NotFoundError: there is no such version.
        RefusedError: the version can't answer requests; or a report on it didn't pass, and `forced` is None.
    """
    version, forced = _version(project, named, MAIN, forced)
    check_about(takes(version.out, version.preparation), key, time)
    redaction.check_about(project.config.of_endpoint(version.name), version.name, key, time)

    def change(route: Route | None) -> Route:
        number = version.version
        return (sole(version.name, number) if route is None else route.promoted(number)).about(key, time)

    return _reroute(project, version.name, change, why=why, is_forced=forced is not None)


def split(
    project: Project,
    named: str,
    share: float | None,
    *,
    variant: str = CANARY,
    why: str | None = None,
    forced: str | None = None,
) -> Moved:
    """Send a share (0 to 1) of an endpoint's requests to a version of its model, which becomes the variant named
    `variant`. If `share` is None, the version becomes the shadow instead: it gets a copy of each request. Return the
    new route.

    `named` and `forced` mean the same as for `promote`.

    Raises:
        NotFoundError: there is no such version, or no such endpoint.
        RefusedError: the version can't answer requests. Or `forced` is None, and the version takes other columns than
            `production` or a report on it didn't pass. For a shadow, reports don't matter.
        UsageError: the variant can't have this name or this share.
    """
    given = forced
    version, forced = _version(project, named, SHADOW if share is None else variant, forced, is_free=share is None)
    forced = _alike(project, version, given) or forced

    def change(route: Route | None) -> Route:
        present = _must_be(route, version.name)
        if share is None:
            return present.shadowed(version.version)
        return present.sharing(variant, version.version, share)

    return _reroute(project, version.name, change, why=why, is_forced=forced is not None)


def rollback(project: Project, endpoint: str, *, why: str | None = None) -> Moved:
    """Send all requests of an endpoint to the version that was `production` before the present one. Other variants end,
    and so does the shadow. Return the new route.

    Raises:
        NotFoundError: there is no such endpoint.
        RefusedError: no other version was `production` before, or that version can't answer requests any more.
    """
    with read(project) as views:
        mains = [version for each in moves(views, endpoint) if (version := main(each)) is not None]
        last = next((version for version in mains if version != mains[0]), None)
        found = None if last is None else views.resolve("model", f"{endpoint}:{last}")
        trouble = None if found is None else unable(views, found.out, found.preparation)

    def change(route: Route | None) -> Route:
        present = _must_be(route, endpoint)
        before = next((version for version in mains if version != present.main.version), None)
        if before is None:
            raise RefusedError(
                f"`{MAIN}` of endpoint `{endpoint}` has always been version {present.main.version}, so no earlier"
                " version can be restored",
                hint="to choose any version, use `headrace promote NAME:VERSION`",
            )
        if before == last and trouble is not None:
            raise RefusedError(
                f"endpoint `{endpoint}` can't go back to version {before}: {trouble[0]}",
                hint=f"to choose another version, use `headrace promote {endpoint}:VERSION`",
            )
        return present.only(before)

    return _reroute(project, endpoint, change, why=why)


def retire(project: Project, endpoint: str, variant: str | None, *, why: str | None = None) -> Moved:
    """End a variant of an endpoint. If `variant` is `shadow`, end the shadow. If it is None, end the endpoint itself.
    Return the new route.

    The share of an ended variant goes to `production`. The record and the predictions of an ended endpoint are kept.

    Raises:
        NotFoundError: there is no such endpoint.
        UsageError: there is no such variant, or it is `production`.
    """

    def change(route: Route | None) -> Route | None:
        present = _must_be(route, endpoint)
        if variant is None:
            return None
        if variant == SHADOW and present.shadow is not None:
            return present.shadowed(None)
        return present.without(variant)

    return _reroute(project, endpoint, change, why=why)


def _version(
    project: Project, named: str, role: str, forced: str | None, *, is_free: bool = False
) -> tuple[VersionView, str | None]:
    """Return a version of a model for the variant or alias `role`, and the reason `forced` if a reason is needed,
    otherwise None. A reason is needed if a report on the version didn't pass. If `is_free` is True, no reason is
    needed.

    Raises:
        RefusedError: the version can't answer requests; or a reason is needed, and `forced` is None.
    """
    with read(project) as views:
        version = views.resolve("model", named.removeprefix("model:"))
        judged = [] if is_free else judging(views, version)
        trouble = unable(views, version.out, version.preparation)
    called = f"model `{version.name}:{version.version}`"
    if trouble is not None:
        raise RefusedError(f"{called} can't answer requests: {trouble[0]}", hint=trouble[1])
    load = loader(reading_store(project))
    if version.preparation is not None and (gone := lacking(load(version.preparation), version.out.signature)):
        raise RefusedError(
            f"{called} can't answer requests: its preparation doesn't give {listed(gone, FEW)}, which the model takes",
            hint="register the model under another name, with the preparation that was used to train it; if none was"
            " used, register it without a preparation",
        )
    return version, allowed(called, [role], judged, load, forced)


def unable(views: Views, model: Ref, preparation: Ref | None) -> tuple[str, str] | None:
    """Return why a model can't answer requests, as far as its artifacts show, with a hint. Return None if they show no
    reason."""
    if any(views.has_erased(each) for each in (model, preparation) if each is not None):
        hint = "run the pipeline that deploys it, or name another version"
        return "a table that it needs was erased together with a person's data", hint
    why = unservable(model, preparation)
    return None if why is None else (why, UNSERVABLE_HINT)


def _alike(project: Project, version: VersionView, forced: str | None) -> str | None:
    """Check that a version takes the same columns as the endpoint's `production`, as far as the columns are known
    before the models are loaded. Return `forced` if the columns differ, otherwise None.

    Raises:
        RefusedError: the columns differ, and `forced` is None.
    """
    with read(project) as views:
        found = {each.endpoint: main(each) for each in endpoints(views)}
        present = found.get(version.name)
        if present is None or present == version.version:
            return None
        columns = _differing(*(_takes(views, version.name, number) for number in (version.version, present)))
    if columns and forced is None:
        raise RefusedError(
            f"model `{version.name}:{version.version}` takes other columns than version {present}, which is `{MAIN}`:"
            f" {listed(columns, FEW)}, so records that fit one are refused by the other",
            hint='promote this version when clients send its columns; or let it answer anyway: `--force --why "..."`',
        )
    return forced if columns else None


def _takes(views: Views, model: str, version: int) -> tuple[Column, ...]:
    """Return the columns that records for a version need, or none if they aren't known before the model is loaded."""
    found = views.resolve("model", f"{model}:{version}")
    return takes(found.out, found.preparation)


def _differing(some: tuple[Column, ...], others: tuple[Column, ...]) -> list[str]:
    return differing(some, others) if some and others else []


def _warning(views: Views, now: RouteView, before: RouteView) -> str | None:
    """Return a warning if another version than before is `production` and takes other columns, otherwise None. Clients
    may still send the columns of the version before."""
    new, old = main(now), main(before)
    if new is None or old is None or new == old:
        return None
    taken, then = (_takes(views, now.endpoint, version) for version in (new, old))
    names, known = {column.name for column in taken}, {column.name for column in then}
    both = names & known
    always = {now.key, now.time}  # each record has them, whether or not the version takes them
    columns = [name for name in _differing(taken, then) if name in both or name not in always]
    if not columns:
        return None
    needed, unknown = ([name for name in columns if name not in others] for others in (known, names))
    retyped = [name for name in columns if name in both]
    ways = (("needs", needed, ""), ("doesn't take", unknown, ""), ("takes", retyped, " in another type"))
    how = " and ".join(f"{verb} {listed(found, FEW)}{more}" for verb, found, more in ways if found)
    taking = [f'`{name} = "take"`' for name, found in (("missing", needed), ("unknown", unknown)) if found]
    unless = "" if retyped else f", unless the server's settings have {' and '.join(taking)}"
    return (
        f"version {new} takes other columns than version {old}, which was `{MAIN}`: it {how}. Requests with the columns"
        f" of version {old} get the status 422{unless}"
    )


def _must_be(route: Route | None, endpoint: str) -> Route:
    if route is None:
        raise NotFoundError(
            f"there is no endpoint `{endpoint:.80}`",
            hint=f"`headrace promote {endpoint:.80}` makes it from the model of this name",
        )
    return route


def main(view: RouteView) -> int | None:
    """Return the version that is `production` in a route, or None if the endpoint is retired."""
    return next((each.version for each in view.variants if each.name == MAIN), None)


def _reroute(
    project: Project,
    endpoint: str,
    change: Callable[[Route | None], Route | None],
    *,
    why: str | None,
    is_forced: bool = False,
) -> Moved:
    with open_ledger(project) as ledger:
        registry.reroute(ledger, endpoint, change, by=ledger.user, why=why, is_forced=is_forced)
    with read(project) as views:
        return moved(views, endpoint)


def moved(views: Views, endpoint: str) -> Moved:
    """Return the present route of an endpoint, with the warnings of its last move."""
    now, *earlier = moves(views, endpoint)
    warning = _warning(views, now, earlier[0]) if earlier else None
    return Moved(**structs.asdict(now), warnings=() if warning is None else (warning,))
