"""Makes transfers. In a transfer, a blob is copied from the store of another region to the worker's own store, under
the same digest and nonce."""

from __future__ import annotations

import platform
import random
import time
from collections.abc import Callable, Mapping
from io import RawIOBase
from pathlib import Path
from typing import Any, BinaryIO, cast

from headrace.errors import BlobDamaged, HeadraceError, StoreError
from headrace.run.events import Failed, Moved
from headrace.run.wire import Move, Progress
from headrace.spec.address import StoreAddress
from headrace.spec.failure import Failure
from headrace.store.open_store import folder_of, open_store
from headrace.store.store import Store
from headrace.work.channel import Channel
from headrace.work.stop import Stop, StopAttempt

TELL_S = 0.5
"""The least number of seconds between two messages about the progress of a transfer."""


class Mover:
    """Makes transfers into one store, one after another. The store of another region is opened when it is first
    needed."""

    def __init__(self, store: Store, channel: Channel, stop: Stop, own: Mapping[str, str] | None = None) -> None:
        self._store = store
        self._own = own
        self._channel = channel
        self._stop = stop
        self._sources: dict[StoreAddress, Store] = {}

    def run(self, order: Move) -> Moved | Failed:
        """Make one transfer, and return its event."""
        started, began = time.time(), time.perf_counter()
        try:
            with self._stop:
                self._move(order)
        except StopAttempt as stop:
            failure = Failure("cancelled", str(stop) or "it was told to stop")
        except BlobDamaged as error:
            generation = f"{order.digest}.{order.nonce}"
            failure = Failure("refused", error.message, hint=error.hint, damaged=(generation,))
        except HeadraceError as error:
            failure = Failure("refused", error.message, hint=error.hint)
        except OSError as error:
            failure = Failure("refused", f"the blob can't be copied: {error.strerror or error}")
        else:
            seconds = time.perf_counter() - began
            return Moved(order.task, order.attempt, order.size, started, seconds, order.usd)
        return Failed(
            task=order.task,
            attempt=order.attempt,
            failure=failure,
            at=time.time(),
            started=started,
            seconds=time.perf_counter() - began,
            jitter=random.SystemRandom().random(),
        )

    def _move(self, order: Move) -> None:
        source = self._source(order.source)
        try:
            with source.reader(order.digest, order.nonce) as file, self._store.batch() as batch:
                batch.replicate(order.digest, order.nonce, counted(file, self._teller(order)))
        except BlobDamaged:
            source.verify(order.digest, order.nonce)  # raises if the blob is damaged in its source
            raise HeadraceError(
                f"blob `{order.digest[:12]}` was damaged while it was copied", hint="its source is intact: try again"
            ) from None

    def _source(self, address: StoreAddress) -> Store:
        """Return another region's store.

        Raises:
            StoreError: the store is a folder that this machine can't see.
        """
        if not address.is_remote and not folder_of(address).is_dir():
            raise StoreError(
                f"the other region's store `{address.url}` is a folder that machine `{platform.node()}` can't see",
                hint="keep that region's store where machines of other regions can reach it, such as in a bucket",
            )
        if address not in self._sources:
            local = Path(self._store.local) if address.is_remote else None
            self._sources[address] = open_store(address, local=local, own=self._own)
        return self._sources[address]

    def _teller(self, order: Move) -> Callable[[int], None]:
        """Return a function that sends the progress of a transfer to the driver, but at most once in `TELL_S`
        seconds."""
        last = time.monotonic()

        def tell(done: int) -> None:
            nonlocal last
            if time.monotonic() - last >= TELL_S:
                last = time.monotonic()
                with self._stop.shield:
                    self._channel.send(Progress(order.task, order.attempt, done))

        return tell


class _Counted(RawIOBase):
    """A file that is read once from start to end, and reports how many bytes have been read."""

    def __init__(self, file: BinaryIO, tell: Callable[[int], None]) -> None:
        super().__init__()
        self._file = file
        self._tell = tell
        self._done = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._done += len(data)
        self._tell(self._done)
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def counted(file: BinaryIO, tell: Callable[[int], None]) -> BinaryIO:
    """Return a file that has the contents of `file`. After each read, it calls `tell` with the number of bytes read so
    far."""
    return cast(BinaryIO, _Counted(file, tell))
