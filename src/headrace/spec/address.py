"""The address of a store: all that a machine needs to reach it, but for what proves its right to."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from headrace.errors import ConfigError
from headrace.spec.noun import Row

SCHEMES = ("s3", "gs", "az")
"""Kinds of object stores, as URLs begin: Amazon's protocol, Google's, Azure's."""

SECRETS = ("access_key", "account_key", "secret", "token", "password", "credential", "sas", "signature")
"""An option with one of these in its name is refused: an address is written down, sent and shown."""


class StoreAddress(Row, frozen=True):
    """Where a store is.

    `url` is a folder's path or `file://` and one, or `s3://bucket/prefix`, `gs://bucket/prefix`,
    `az://container/prefix`. `endpoint` is the server's URL where it isn't the cloud's own, `region` the cloud's name of
    the bucket's region, `options` what else the cloud's client is told (by name, such as
    `virtual_hosted_style_request`). `cache_gib` bounds what a machine keeps of an object store's blobs beside it.
    """

    url: str
    endpoint: str | None = None
    region: str | None = None
    options: tuple[tuple[str, str], ...] = ()
    cache_gib: float = 16.0

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if "@" in parts.netloc and self.is_remote:
            raise ConfigError(
                f"the store's URL `{parts.scheme}://***@{parts.netloc.rpartition('@')[2]}` holds credentials",
                hint="leave them out: they come from the cloud's usual places (environment, shared files, instance)",
            )
        if self.is_remote and not parts.netloc:
            raise ConfigError(
                f"the store's URL `{self.url}` names no bucket", hint=f"write `{parts.scheme}://BUCKET/PREFIX`"
            )
        if self.endpoint is not None:
            check_endpoint(self.endpoint)
        for name, _ in self.options:
            if any(secret in name.lower() for secret in SECRETS):
                raise ConfigError(
                    f"the store's option `{name}` looks like a secret, and addresses are written down and shown",
                    hint="leave it out: credentials come from the cloud's usual places",
                )

    @property
    def is_remote(self) -> bool:
        """Whether it is an object store, not a folder."""
        return self.url.partition("://")[0] in SCHEMES


def check_endpoint(endpoint: str) -> None:
    """See that the address of a store's server is one that a client can use, and holds nothing that is to be hidden.

    Raises:
        ConfigError: it isn't.
    """
    parts = urlsplit(endpoint)
    if "@" in parts.netloc:
        raise ConfigError(
            f"the store's endpoint `{parts.scheme}://***@{parts.netloc.rpartition('@')[2]}` holds credentials",
            hint="leave them out: they come from the cloud's usual places (environment, shared files, instance)",
        )
    if parts.scheme not in ("http", "https") or not parts.hostname or _port(parts) == 0 or parts.query:
        raise ConfigError(
            f"the store's endpoint `{endpoint.rpartition('@')[2]}` is not an address of a server",
            hint="give it as `http://HOST:PORT` or `https://HOST`",
        )


def _port(parts: SplitResult) -> int | None:
    """Return the port, or 0 where it is none."""
    try:
        return parts.port
    except ValueError:
        return 0
