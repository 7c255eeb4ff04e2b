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
    """Open a store. `local` is the folder of this machine that goes with it; a folder has itself when not told. `own`
    are variables that count beside those of the environment: credentials.

    Raises:
        ConfigError: the URL is of a kind that there is no code for, or an object store has no `local`.
    """
    scheme = address.url.partition("://")[0]
    if scheme in (address.url, "file"):
        return FolderStore(folder_of(address), local=local)
    if address.is_remote:
        if local is None:
            raise ConfigError(f"the store `{address.url}` also needs a folder on this machine", hint="give `local`")
        return _objects(address, local, {**os.environ, **own} if own else os.environ)
    raise ConfigError(
        f"the store's URL `{address.url}` begins with `{scheme}://`, and this release can't open it",
        hint=f"give a folder, or a URL that begins with {', '.join(f'`{each}://`' for each in SCHEMES)}",
    )


def folder_of(address: StoreAddress) -> Path:
    """Return the folder of a store that is one."""
    return Path(unquote(urlsplit(address.url).path) if address.url.startswith("file://") else address.url)


def prepare(address: StoreAddress) -> None:
    """Import what opening will need, for children that fork later: no thread begins by it."""
    if address.is_remote:
        import headrace.store.bucket.object_store  # noqa: F401, PLC0415  100 ms that the way to a folder does without


def _objects(address: StoreAddress, local: Path, environment: Mapping[str, str]) -> Store:
    from headrace.store.bucket.object_store import ObjectStore  # noqa: PLC0415  100 ms that the way to a folder does without

    return ObjectStore(address, local=local, environment=environment)


def open_seen(address: StoreAddress, local: Path, own: Mapping[str, str] | None = None) -> Store:
    """Open the store of this machine's workers, which has the run's code by now; `own` are credentials.

    Raises:
        StoreUnreachable: it is a folder, and isn't here.
        HeadraceError: it can't be opened.
    """
    if not address.is_remote and not folder_of(address).is_dir():
        raise StoreUnreachable(
            f"the store `{address.url}` is a folder that this machine doesn't see",
            hint="keep the store where each machine of the pool reaches it: in a bucket, or a folder that all share",
        )
    return open_store(address, local=local, own=own)
