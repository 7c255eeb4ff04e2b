"""A trial of a machine that workers may begin on: whether it has this Headrace, and can use the store."""

from __future__ import annotations

import tempfile
from importlib.metadata import version
from pathlib import Path

import msgspec

from headrace.errors import HeadraceError
from headrace.spec.address import StoreAddress
from headrace.store.open_store import open_seen

TRIAL = b"trial"


def try_here(release: str, store: bytes) -> tuple[str, str | None] | None:
    """Return what keeps workers from beginning here, and what to do about it; None where nothing does.

    `release` is the Headrace that it must have, `store` the encoded address of the pool's store. What is kept there for
    a moment is deleted again. It is called on machines whose Headrace may be another, and so takes and gives no type of
    ours.
    """
    here = version("headrace")
    if here != release:
        return f"it has Headrace {here}, and this is {release}", f"install Headrace {release} there"
    try:
        with tempfile.TemporaryDirectory(prefix="headrace-trial-") as folder:
            _use(msgspec.msgpack.decode(store, type=StoreAddress), Path(folder))
    except HeadraceError as error:
        return error.message, error.hint
    except OSError as error:
        return (
            f"`{error.filename or tempfile.gettempdir()}` can't be read or written: {error.strerror or error}",
            "check the rights and the free space there; TMPDIR names another place",
        )
    return None


def _use(address: StoreAddress, local: Path) -> None:
    store = open_seen(address, local)
    blob = store.put(TRIAL)
    try:
        store.verify(blob.digest, blob.nonce)
    finally:
        store.delete(blob.digest, blob.nonce)
