"""Which columns of predictions aren't logged as they are: the settings `drop` and `hash`, and the secret that they
need."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence, Set

import pyarrow as pa
import pyarrow.compute as pc

from headrace.errors import ConfigError, listed, near
from headrace.inspect.views import Views
from headrace.models.types import kind_named, tells_whom
from headrace.project.project import Project
from headrace.project.serving import ServeSection
from headrace.project.settings import Config
from headrace.serve.predictions.redaction import Hasher, Redaction, is_hashed
from headrace.spec.endpoint import Route, number_text, takes
from headrace.spec.signature import Column

LEAST_SECRET = 16
"""The least characters of a secret. With a shorter one, all secrets could be tried."""
_HINT = (
    "the setting has the variable's name, never the secret. Set the variable to the secret with which the log's values"
    " were hashed: with another one, people can't be found in them. Only if there is none yet, make one:"
    " `python -c 'import secrets; print(secrets.token_hex(32))'`"
)


def hasher_of(settings: ServeSection) -> Hasher | None:
    """Return what hashes values with the project's secret; None if the settings name no secret.

    Raises:
        ConfigError: the environment variable with the secret isn't set, or the secret is too short.
    """
    if settings.hash_secret is None:
        return None
    secret = os.environ.get(settings.hash_secret, "")
    if len(secret) < LEAST_SECRET:
        why = f"has fewer than {LEAST_SECRET} characters" if secret else "isn't set"
        # The variable's name isn't shown: somebody may have written the secret there.
        raise ConfigError(f"the environment variable that `[serve] hash_secret` names {why}", hint=_HINT)
    return Hasher(secret)


def redaction_of(settings: ServeSection) -> Redaction:
    """Return which columns an endpoint with these settings drops and hashes.

    Raises:
        ConfigError: columns are hashed, and the secret isn't set or not named; or a column is both dropped and hashed.
    """
    if both := [column for column in settings.drop if column in settings.hash]:
        raise ConfigError(
            f"`drop` and `hash` both name {listed(both)}",
            hint="leave it out of one; `drop = []` in `[endpoint.NAME]` drops nothing that `[serve]` names",
        )
    hasher = hasher_of(settings) if settings.hash else None
    if settings.hash and hasher is None:
        raise ConfigError(
            f"`hash` names {listed(settings.hash)}, and the settings name no secret to hash with",
            hint='name the environment variable that has it: `hash_secret = "LOG_SECRET"` in `[serve]`',
        )
    return Redaction(frozenset(settings.drop), frozenset(settings.hash), hasher)


def check(project: Project, views: Views, routes: Mapping[str, Route], names: Collection[str]) -> None:
    """Check the settings `drop` and `hash` before a server logs predictions. `routes` are those of all endpoints.
    `names` are the endpoints that are served; if it is empty, all are, including those that are made later.

    Raises:
        ConfigError: the secret isn't set; or an endpoint drops its key or time column, or hashes its time column; or a
            column is named in both settings, can't be hashed, or is in no record of the endpoints.
    """
    config, served = project.config, set[str]()
    every = {name: config.of_endpoint(name) for name in names or {**config.endpoint, **routes}}
    found = {name: (route, _takes(views, name, route)) for name, route in routes.items()} if _is_any(config) else {}
    for name, settings in (every if names else {**every, "": config.serve}).items():
        if settings.log != "off":
            redaction_of(settings)
            if name in routes and (settings.drop or settings.hash):
                served.add(name)
                _check(settings, name, *found[name])
    for setting in ("drop", "hash"):
        _check_known(config, setting, found, served)


def _is_any(config: Config) -> bool:
    return any(each.drop or each.hash for each in (config.serve, *map(config.of_endpoint, config.endpoint)))


def _takes(views: Views, endpoint: str, route: Route) -> list[tuple[Column, ...]]:
    """Return the columns that records for each version of a route have; none for a version whose columns aren't known
    before it is loaded."""
    versions = {each.version: takes(each.out, each.preparation) for each in views.versions("model", endpoint)}
    return [versions.get(number, ()) for number in route.versions]


def _check(settings: ServeSection, endpoint: str, route: Route, versions: Sequence[Sequence[Column]]) -> None:
    check_about(settings, endpoint, route.key, route.time)
    for column in (column for columns in versions for column in columns if column.name in settings.hash):
        if (kind := kind_named(column.type)) is None or not tells_whom(kind):
            raise ConfigError(
                f"endpoint `{endpoint}` hashes `{column.name}`, and its values, `{column.type}`, can't be hashed",
                hint="hash columns of texts, numbers, booleans, dates or times; others can be dropped",
            )


def _check_known(
    config: Config,
    setting: str,
    found: Mapping[str, tuple[Route, Sequence[Sequence[Column]]]],
    served: Set[str],
) -> None:
    """Refuse a column that no record has: a column whose name is misspelt would be logged as it is. `found` has what is
    known of each endpoint. A column of `[serve]` must be in a record of one endpoint with this setting, even if the
    endpoint isn't `served` now. If not all columns are known before the models are loaded, the server says later what
    is wrong."""
    named: dict[str, list[str]] = {}
    for name in found:
        own = config.endpoint.get(name)
        has_own = own is not None and getattr(own, setting) is not None
        named.setdefault(f"[endpoint.{name}]" if has_own else "[serve]", []).append(name)
    for section, names in named.items():
        every = [columns for name in names for columns in found[name][1]]
        if not all(every) or served.isdisjoint(names):
            continue
        known = {column.name for columns in every for column in columns}
        known |= {each for name in names for each in (found[name][0].key, found[name][0].time) if each is not None}
        for column in getattr(config.of_endpoint(names[0]), setting):
            if column not in known:
                raise ConfigError(
                    f"`{setting}` in `{section}` names `{column:.80}`, and no record has such a column",
                    hint=near(column, sorted(known), "the columns are"),
                )


def check_about(settings: ServeSection, endpoint: str, key: str | None, time: str | None) -> None:
    """Check that an endpoint with these settings logs what tells whom and when its answers are about.

    Raises:
        ConfigError: it drops its key or time column, or hashes its time column.
    """
    for what, name in (("key", key), ("time", time)):
        if name is not None and name in settings.drop:
            hint = "hash it instead, or" if what == "key" else "log it, or"
            raise ConfigError(
                f"endpoint `{endpoint:.80}` drops `{name:.80}`, its `{what}` column, so nobody could find the"
                " predictions about a person or a time",
                hint=f"{hint} let another column be the endpoint's `{what}`",
            )
    if time is not None and time in settings.hash:
        raise ConfigError(
            f"endpoint `{endpoint:.80}` hashes `{time:.80}`, its `time` column, so no label could find its prediction",
            hint="log it, or let another column be the endpoint's `time`",
        )


def same_keys(settings: ServeSection, labels: pa.Table, made: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Return labels and predictions (`models.labels.LABELS` and `MADE`) with keys that can be compared. If the settings
    name a secret, and the keys of some predictions are hashed, all keys become hashed.

    Raises:
        ConfigError: the secret is needed, and it isn't set.
    """
    # Without a secret this isn't an error: a client could make it one, by a key that looks like a hash.
    if settings.hash_secret is None or not any(map(is_hashed, made.column("key").unique().to_pylist())):
        return labels, made
    hasher = hasher_of(settings)
    assert hasher is not None, "the settings name a secret"
    made = _with_keys(made, hasher.once)
    known = frozenset(made.column("key").to_pylist())

    def hashed(key: str) -> str:  # the same choice as in `models.labels.resolved`
        own = hasher.once(key)
        return own if own in known else hasher.once(number_text(key))

    return _with_keys(labels, hashed), made


def _with_keys(table: pa.Table, change: Callable[[str], str]) -> pa.Table:
    keys = table.column("key")
    distinct = keys.unique().drop_null()
    changed = pa.array(map(change, distinct.to_pylist()), pa.string()).take(pc.index_in(keys, value_set=distinct))
    return table.set_column(table.column_names.index("key"), table.schema.field("key"), changed)
