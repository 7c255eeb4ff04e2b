"""Whether this machine sees the store that its workers are to use."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from headrace.errors import StoreUnreachable
from headrace.spec.address import StoreAddress
from headrace.store.open_store import folder_of, open_store
from headrace.store.store import Store


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
