"""The address of a store: all that a machine needs to reach the store, except credentials."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from headrace.errors import ConfigError
from headrace.spec.noun import Row

SCHEMES = ("s3", "gs", "az")
"""The URL schemes of object stores: Amazon's protocol, Google's, Azure's."""

SECRETS = ("access_key", "account_key", "secret", "token", "password", "credential", "sas", "signature")
"""An option with one of these words in its name is refused, because an address is stored, sent and shown."""


class StoreAddress(Row, frozen=True):
    """The address of a store: a folder, or a bucket of an object store.

    `url` is the path of a folder, a `file://` URL, `s3://bucket/prefix`, `gs://bucket/prefix` or
    `az://container/prefix`. `endpoint` is the URL of the server (None: the cloud's own). `region` is the cloud's name
    for the bucket's region (None: the client's default). `options` are further options of the cloud's client, as pairs
    of name and value, such as `virtual_hosted_style_request`. `cache_gib` is the largest size, in GiB, of the cache in
    which each machine keeps blobs of an object store.
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
        """Whether the store is an object store, not a folder."""
        return self.url.partition("://")[0] in SCHEMES


def check_endpoint(endpoint: str) -> None:
    """Check that a store's endpoint is a valid URL of a server and holds no credentials.

    Raises:
        ConfigError: the endpoint isn't valid, or holds credentials.
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
    """Return the port of a URL: None if the URL has no port, 0 if the port isn't valid."""
    try:
        return parts.port
    except ValueError:
        return 0
