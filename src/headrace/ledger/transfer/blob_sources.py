"""Reads blobs from the stores of several regions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO

from headrace.errors import StoreError
from headrace.ledger.inventory import Inventory
from headrace.ledger.transfer.archive import ArchivedBlob
from headrace.store.store import Store


def have(stores: Mapping[str, Store], wanted: Inventory, lacks: Callable[[str, str], object]) -> Iterator[ArchivedBlob]:
    """Yield the wanted blobs, each from the first store that has it with the right size; call `lacks` for each blob
    that no store has."""
    for page in wanted.pages():
        places: dict[tuple[str, str], Store] = {}
        for store in stores.values():
            rest = [each for each in page if each[:2] not in places]
            sizes = store.sizes(each[:2] for each in rest)
            places.update((each[:2], store) for each, size in zip(rest, sizes, strict=True) if size == each[2])
        for digest, nonce, size in page:
            file = _open(places.get((digest, nonce)), digest, nonce)
            if file is None:
                lacks(digest, nonce)
            else:
                with file:
                    yield ArchivedBlob(digest, nonce, size, file)


def _open(store: Store | None, digest: str, nonce: str) -> BinaryIO | None:
    try:
        return None if store is None else store.reader(digest, nonce)
    except StoreError:
        return None
