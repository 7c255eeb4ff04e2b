"""A store in a bucket, beside bare obstore on the same server: a blob of 1 GB, and 1,000 of 1 KB.

The server is SeaweedFS on this machine, so both sides share its processors with it. Each side begins with the bytes in
a file (big) or in memory (small). Ours digests them, sends them, has what arrived checked, and keeps a copy in its
cache; back, it digests what arrives before it gives the file. Bare, nothing is digested and what is small stays in
memory.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import obstore
from obstore.store import S3Store

from bench.table import Row
from bench.turns import in_turns
from headrace.spec.address import StoreAddress
from headrace.store.blob import Blob
from headrace.store.bucket.bucket import PART_BYTES, PARTS_AT_ONCE
from headrace.store.bucket.upload import AT_ONCE
from headrace.store.open_store import open_store
from headrace.store.store import Store
from tests.servers.s3 import KEY, S3, SECRET

BIG_BYTES = 10**9
MANY, SMALL_BYTES = 1000, 1000
BIG_BAR, SMALL_BAR = 0.9, 0.8
MOST_ROUNDS = 3  # each moves 4 GB


def rows(folder: Path, rounds: int) -> Iterator[Row]:
    """Put and get in turns, first what is big, then what is small."""
    server = S3(folder / "server")
    os.environ.update(server.environment)
    try:
        yield from _big(folder, server, min(rounds, MOST_ROUNDS))
        yield from _small(folder, server, rounds)
    finally:
        server.kill()


class _Sides:
    """One server, and both ways to it."""

    def __init__(self, folder: Path, server: S3) -> None:
        self.bucket = server.bucket()
        self.address = StoreAddress(url=f"s3://{self.bucket}/ours", endpoint=server.endpoint)
        self.bare: Any = S3Store(
            self.bucket,
            endpoint=server.endpoint,
            region="us-east-1",
            access_key_id=KEY,
            secret_access_key=SECRET,
            client_options={"allow_http": True, "timeout": "600s"},
        )
        self._folder = folder
        self._number = count()

    def store(self) -> Store:
        """Return our store with an empty cache."""
        return open_store(self.address, local=self._folder / f"local-{next(self._number)}")


def _big(folder: Path, server: S3, rounds: int) -> Iterator[Row]:
    sides = _Sides(folder, server)
    file = folder / "big"
    with file.open("wb") as out:
        for _ in range(BIG_BYTES // 10**6):
            out.write(os.urandom(10**6))
    kept: list[Blob] = []

    def put_ours() -> float:
        store = sides.store()
        seconds = _timed(lambda: kept.append(_put(store, file)))
        shutil.rmtree(store.local)
        return seconds

    def put_bare() -> float:
        return _timed(
            lambda: obstore.put(
                sides.bare, "bare", file, chunk_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE, use_multipart=True
            )
        )

    def get_ours() -> float:
        store, blob = sides.store(), kept[-1]
        seconds = _timed(lambda: store.path(blob.digest, blob.nonce))
        store.delete(blob.digest, blob.nonce)
        shutil.rmtree(store.local)
        return seconds

    def get_bare() -> float:
        def stream() -> None:
            with (folder / "got").open("wb") as out:
                for piece in obstore.get(sides.bare, "bare").stream():
                    out.write(piece)

        seconds = _timed(stream)
        (folder / "got").unlink()
        return seconds

    found = in_turns(rounds, {"put bare": put_bare, "put ours": put_ours, "get bare": get_bare, "get ours": get_ours})
    for act, told in (
        ("put", f"obstore's put of the same file, in parts of {PART_BYTES >> 20} MiB, {PARTS_AT_ONCE} at once"),
        ("get", "obstore's get, streamed into a file"),
    ):
        yield _row(f"store on S3: {act} of 1 GB", found[f"{act} ours"], found[f"{act} bare"], BIG_BAR, told)


def _put(store: Store, file: Path) -> Blob:
    with store.draft() as draft:
        os.link(file, draft.path)
        return draft.keep()


def _small(folder: Path, server: S3, rounds: int) -> Iterator[Row]:
    sides = _Sides(folder, server)
    numbers = count()
    kept: list[list[Blob]] = []

    def put_ours() -> float:
        store = sides.store()
        data = [os.urandom(SMALL_BYTES) for _ in range(MANY)]

        def put() -> None:
            with store.batch() as batch:
                kept.append([batch.put(each) for each in data])

        return _timed(put)

    def put_bare() -> float:
        data = [os.urandom(SMALL_BYTES) for _ in range(MANY)]
        place = f"bare-{next(numbers)}"

        def put(number: int) -> None:
            obstore.put(sides.bare, f"{place}/{number}", data[number], mode="create")

        return _timed(lambda: _at_once(put))

    def get_ours() -> float:
        store = sides.store()
        names = [(each.digest, each.nonce, each.size) for each in kept[-1]]
        return _timed(lambda: store.prefetch(names))

    def get_bare() -> float:
        place = f"bare-{next(numbers) - 1}"
        found = _timed(lambda: _at_once(lambda number: obstore.get(sides.bare, f"{place}/{number}").bytes()))
        next(numbers)
        return found

    found = in_turns(rounds, {"put bare": put_bare, "get bare": get_bare, "put ours": put_ours, "get ours": get_ours})
    for act in ("put", "get"):
        told = f"obstore's {act}, {AT_ONCE} threads at once"
        yield _row(f"store on S3: {act} of 1,000 x 1 KB", found[f"{act} ours"], found[f"{act} bare"], SMALL_BAR, told)


def _at_once(act: Callable[[int], object]) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(act, range(MANY)))


def _row(what: str, ours: list[float], bare: list[float], bar: float, floor_is: str) -> Row:
    floor = median(bare)
    return Row(
        what=what,
        measured=median(ours),
        floor=floor,
        bar=floor / bar,
        bar_is=f"the floor / {bar}",
        floor_is=floor_is,
    )


def _timed(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began
