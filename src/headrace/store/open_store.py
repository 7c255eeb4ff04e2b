"""Opens the store at an address."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from headrace.errors import ConfigError, StoreUnreachable
from headrace.spec.address import SCHEMES, StoreAddress
from headrace.store.folder.folder import FolderStore
from headrace.store.store import Store


def open_store(address: StoreAddress, *, local: Path | None = None, own: Mapping[str, str] | None = None) -> Store:
    """Return the store at an address.

    `local` is the store's folder on this machine, for caches and logs. If `local` is None, a folder store uses its own
    folder. `own` are variables, such as credentials, that an object store uses in addition to this process's
    environment variables.

    Raises:
        ConfigError: the kind of the URL isn't supported, or `local` is None for an object store.
    """
    scheme = address.url.partition("://")[0]
    if scheme in (address.url, "file"):
        return FolderStore(folder_of(address), local=local)
    if address.is_remote:
        if local is None:
            raise ConfigError(
                f"the store `{address.url}` also needs a folder on this machine", hint="give that folder as `local`"
            )
        return _objects(address, local, {**os.environ, **own} if own else os.environ)
    raise ConfigError(
        f"the store's URL `{address.url}` begins with `{scheme}://`, and this release can't open it",
        hint=f"give a folder, or a URL that begins with {', '.join(f'`{kind}://`' for kind in SCHEMES)}",
    )


def folder_of(address: StoreAddress) -> Path:
    """Return the folder that the address of a folder store names."""
    return Path(unquote(urlsplit(address.url).path) if address.url.startswith("file://") else address.url)


def prepare(address: StoreAddress) -> None:
    """Import the modules that opening this store needs, so that forked processes have these modules. This starts no
    thread."""
    if address.is_remote:
        import headrace.store.bucket.object_store  # noqa: F401, PLC0415  100 ms that a folder store doesn't need


def _objects(address: StoreAddress, local: Path, environment: Mapping[str, str]) -> Store:
    from headrace.store.bucket.object_store import ObjectStore  # noqa: PLC0415  100 ms that a folder store doesn't need

    return ObjectStore(address, local=local, environment=environment)


def open_seen(address: StoreAddress, local: Path, own: Mapping[str, str] | None = None) -> Store:
    """Return the store at an address for a worker. The store must exist already: the bundle of the worker's run is in
    it.

    `own` are variables, such as credentials, that an object store uses in addition to this process's environment
    variables.

    Raises:
        StoreUnreachable: the store is a folder that this machine doesn't see.
        HeadraceError: the store can't be opened.
    """
    if not address.is_remote and not folder_of(address).is_dir():
        raise StoreUnreachable(
            f"the store `{address.url}` is a folder that this machine doesn't see",
            hint="keep the store where each machine of the pool reaches it: in a bucket, or a folder that all share",
        )
    return open_store(address, local=local, own=own)
