"""Checks that settings agree with each other. The type of each setting is checked elsewhere."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from urllib.parse import urlsplit

from headrace.errors import ConfigError, DefinitionError, meant, there
from headrace.project.layers import Layers
from headrace.project.serving import FOREVER
from headrace.project.setting_table import backends_of
from headrace.project.settings import Config, keys
from headrace.spec.duration import seconds
from headrace.spec.fleet import HOME, Pool


def check_places(config: Config, layers: Layers) -> None:
    """Raise an error if a setting names a region or pool that doesn't exist, a region has no store, two links connect
    the same regions in the same direction, or a pool has a setting that its backend doesn't take.

    Raises:
        ConfigError: a setting is wrong. The message says where it was written.
    """
    regions = dict.fromkeys((HOME, *config.region))
    for name, region in config.region.items():
        if region.store is None and name != HOME:
            where = layers.nearest_origin("region", name)
            raise ConfigError(f"{where}: region `{name}` has no `store`", hint="give it the address of its store")
    links: dict[tuple[str, str], str] = {}
    for name, link in config.link.items():
        _check_region(layers, ("link", name, "from"), link.source, regions)
        _check_region(layers, ("link", name, "to"), link.target, regions)
        if (first := links.setdefault((link.source, link.target), name)) != name:
            where, also = layers.nearest_origin("link", name), layers.nearest_origin("link", first)
            raise ConfigError(
                f"{where}: `[link.{name}]` and `[link.{first}]` ({also}) are both from `{link.source}` to"
                f" `{link.target}`",
                hint="leave one of them out; to override a link of another file, give it the same name here",
            )
    for name, pool in config.pool.items():
        _check_region(layers, ("pool", name, "region"), pool.region, regions)
        for key in keys(type(pool)):
            backends = backends_of(key)
            where = layers.nearest_origin("pool", name, key, above=False)
            if backends and pool.backend not in backends and where is not None:
                takers = " or ".join(f"`{each}`" for each in backends)
                raise ConfigError(
                    f"{where}: `{key}` has no effect on pool `{name}`, whose backend is `{pool.backend}`",
                    hint=f"it is for backend {takers}: leave it out, or change `backend`",
                )
    if config.run.pool is not None:
        _check_pool(layers, ("run", "pool"), config.run.pool, config)
    for name in config.run.pools:
        _check_pool(layers, ("run", "pools"), name, config)
    if twice := next((name for name in config.run.pools if config.run.pools.count(name) > 1), None):
        where = layers.nearest_origin("run", "pools")
        raise ConfigError(f"{where}: pool `{twice}` is named twice", hint="name each pool once, the best first")
    if config.run.pool is not None and config.run.pools:
        where, also = layers.nearest_origin("run", "pools"), layers.origin("run", "pool")
        raise ConfigError(
            f"{where}: `[run] pools` and `[run] pool` ({also}) are both set", hint="leave one of them out"
        )
    for stage, name in config.place.items():
        _check_pool(layers, ("place", stage), name, config)


def check_times(config: Config, layers: Layers) -> None:
    """Raise an error if a setting that says how long isn't a time.

    Raises:
        ConfigError: a setting is wrong. The message says where it was written.
    """
    times: dict[tuple[str, ...], str | float | None] = {
        ("run", "timeout"): config.run.timeout,
        ("gc", "keep"): config.gc.keep,
        ("serve", "keep"): config.serve.keep,
        **{("endpoint", name, "keep"): section.keep for name, section in config.endpoint.items()},
    }
    for path, value in times.items():
        try:
            is_forever = value == FOREVER and path[0] in ("serve", "endpoint")
            if value is not None and not is_forever and seconds(value, name=path[-1]) <= 0:
                raise DefinitionError(f"`{path[-1]}` is {value!r}", hint="give a time above 0")
        except DefinitionError as error:
            raise ConfigError(f"{layers.origin(*path)}: {error.message}", hint=error.hint) from None


def check_notify(config: Config, layers: Layers) -> None:
    """Raise an error if notices can't be sent as the settings say. No message shows the URL of a webhook, because
    the URL may be secret.

    Raises:
        ConfigError: a setting is wrong. The message says where it was written.
    """
    section = config.notify
    if section.command is not None:
        try:
            words = shlex.split(section.command) if isinstance(section.command, str) else section.command
        except ValueError as error:
            wrong = f"`command` can't be split into words: {str(error).lower()}"
        else:
            wrong = (
                "" if words and words[0].strip() and not any("\0" in word for word in words) else "`command` is empty"
            )
        if wrong:
            where = layers.nearest_origin("notify", "command")
            raise ConfigError(f"{where}: {wrong}", hint='write it as a list of words, such as ["./tell", "team"]')
    if section.webhook is not None and not _is_web_address(section.webhook):
        where = layers.nearest_origin("notify", "webhook")
        raise ConfigError(
            f"{where}: `webhook` is not a URL of a web server",
            hint="it begins with `https://` (or `http://`), then comes the host, without a user name or password",
        )
    if section.secret is not None and section.webhook is None:
        where = layers.nearest_origin("notify", "secret")
        raise ConfigError(
            f"{where}: `secret` has no effect without `webhook`", hint="set `webhook`, or leave `secret` out"
        )


def _is_web_address(url: str) -> bool:
    """Return whether a text is the URL of a web server, without a user name or password."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises for an impossible one
    except ValueError:
        return False
    is_plain = url.isascii() and url.isprintable() and " " not in url
    return is_plain and parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc


def no_pool(name: str, pools: Sequence[Pool | str]) -> ConfigError:
    """Return the error for a pool name that doesn't exist. Its hint has the most similar name, or all names."""
    known = [pool if isinstance(pool, str) else pool.name for pool in pools] or ["local"]
    hint = meant(name, known, there(known))
    return ConfigError(f"there is no pool `{name}`", hint=hint)


def _check_pool(layers: Layers, path: tuple[str, ...], name: str, config: Config) -> None:
    if name not in (config.pool or ("local",)):
        error = no_pool(name, tuple(config.pool))
        raise ConfigError(f"{layers.nearest_origin(*path)}: {error.message}", hint=error.hint)


def _check_region(layers: Layers, path: tuple[str, ...], name: str, known: Collection[str]) -> None:
    if name in known:
        return
    hint = meant(name, known, f"describe it under `[region.{name}]`; {there(known)}")
    raise ConfigError(f"{layers.nearest_origin(*path)}: there is no region `{name}`", hint=hint)
