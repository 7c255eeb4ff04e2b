"""Checks whether workers can start on a machine: it must have the same Headrace, and must be able to use the store."""

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
    """Return the reason why workers can't start on this machine, and what to do about it. Return None if they can
    start.

    `release` is the Headrace version that the machine must have; `store` is the encoded address of the pool's store. A
    blob is stored there for a moment, and deleted again. This function runs on machines that may have another version
    of Headrace, so its arguments and results are plain types.
    """
    here = version("headrace")
    if here != release:
        return f"it has Headrace {here}, but needs {release}", f"install Headrace {release} there"
    try:
        with tempfile.TemporaryDirectory(prefix="headrace-trial-") as folder:
            _use(msgspec.msgpack.decode(store, type=StoreAddress), Path(folder))
    except HeadraceError as error:
        return error.message, error.hint
    except OSError as error:
        return (
            f"`{error.filename or tempfile.gettempdir()}` can't be read or written: {error.strerror or error}",
            "check the permissions and the free space there; set TMPDIR to use another folder",
        )
    return None


def _use(address: StoreAddress, local: Path) -> None:
    store = open_seen(address, local)
    blob = store.put(TRIAL)
    try:
        store.verify(blob.digest, blob.nonce)
    finally:
        store.delete(blob.digest, blob.nonce)
